/*
 * resp_inline.h - inline requests: the words of one line, split and unquoted as Redis' sdssplitargs
 * does it.
 *
 * It must not know where a line ends, how long it may be, or what its words mean. It reads nothing
 * outside the line.
 */
#ifndef IDEM_PROTO_RESP_INLINE_H
#define IDEM_PROTO_RESP_INLINE_H

#include "proto/span.h"

enum resp_inline_result {
  RESP_INLINE_WORD,       /* there is one */
  RESP_INLINE_END,        /* the line has no more */
  RESP_INLINE_UNBALANCED, /* a quote is not closed, or its end is not the end of a word */
  RESP_INLINE_NO_MEMORY,
};

struct resp_inline {
  struct span rest; /* of the line */
  /* The words that had quotes, without them; NULL as long as there is none. The words point into
   * it, so the caller frees it after them. */
  char *unquoted;
  char *room; /* where the next one goes */
};

/* `line` is without its LF; a CR is a blank. Borrowed until the last word has been used. */
static inline struct resp_inline resp_inline_begin(struct span line) {
  return (struct resp_inline){.rest = line};
}

/* RESP_INLINE_WORD: *word is the next one, in the line or in `unquoted`. */
enum resp_inline_result resp_inline_next(struct resp_inline *words, struct span *word);

/* Whether a line begins an HTTP request or is a header of one: a browser may be led here and can
 * send any word as a method, with a path after it. */
bool resp_inline_is_http(struct span line);
/* Whether a line is of a PROXY header, of version 1 or 2, which a load balancer sends first. */
bool resp_inline_is_proxy(struct span line);

#endif
