/*
 * resp_write.h - the reply writer: replies in RESP2 or RESP3, into an output (resp_output.h).
 *
 * It must not know what the replies mean. No function here fails by itself: when memory is short
 * the output has failed, and what follows is dropped. Not thread-safe.
 */
#ifndef IDEM_PROTO_RESP_WRITE_H
#define IDEM_PROTO_RESP_WRITE_H

#include <assert.h>

#include "proto/rare.h"
#include "proto/resp_output.h"

struct resp_writer {
  struct resp_output *out; /* borrowed */
  int version;             /* 2 or 3 */
};

/* ---- texts and errors ---- */

/* `+` and the text, which has no line end. */
void resp_write_simple_span(struct resp_writer *w, struct span text);
/* Inline, so that the compiler counts the length of a literal and checks that it has no line end.
 */
static inline void resp_write_simple(struct resp_writer *w, const char *text) {
  assert(strchr(text, '\n') == NULL);
  resp_write_simple_span(w, span_of(text));
}

/*
 * `-` and the text. Bytes outside printable ASCII are written as \xHH, so that no error breaks the
 * framing or carries a client's bytes raw. The text begins with its code: "ERR ...", "STALE ...".
 * After RESP_WRITE_ERROR_MAX bytes it is cut. The output's errors count it, by its code.
 */
#define RESP_WRITE_ERROR_MAX 1024
RARE void resp_write_error(struct resp_writer *w, const char *text);
RARE void resp_write_errorf(struct resp_writer *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The prefix, the quoted bytes and the suffix, for an error that quotes what the client sent. Of
 * one that is too long the quoted bytes are cut. */
RARE void resp_write_error_quoting(struct resp_writer *w, const char *prefix, struct span quoted,
                                   const char *suffix);

/* ---- values ---- */

void resp_write_integer(struct resp_writer *w, int64_t value);
/* An absent span is written as null. */
void resp_write_bulk(struct resp_writer *w, struct span bytes);
void resp_write_bulk_text(struct resp_writer *w, const char *text);
/* A bulk string by reference: `bytes` must stay until the owner of the output releases `pin`. */
void resp_write_bulk_pinned(struct resp_writer *w, struct span bytes, void *pin, void *keeper);
/* `$-1`, or `_` in RESP3. */
void resp_write_null(struct resp_writer *w);
/* `*-1`, or `_` in RESP3. */
void resp_write_null_array(struct resp_writer *w);
/* Verbatim text (`=n txt:`), or a bulk string in RESP2; null when it is absent. `format` has three
 * letters. */
void resp_write_verbatim(struct resp_writer *w, const char *format, struct span text);
/* The same without the `len` bytes of text and the line end after them, which the caller appends.
 */
void resp_write_verbatim_header(struct resp_writer *w, const char *format, size_t len);

/* ---- headers, which the caller follows up with so many values ---- */

void resp_write_array(struct resp_writer *w, size_t count);
/* A map of `pairs`: `%n`, or in RESP2 an array of 2n. */
void resp_write_map(struct resp_writer *w, size_t pairs);
/* `~n`, or an array in RESP2. */
void resp_write_set(struct resp_writer *w, size_t count);
/* `>n`, or an array in RESP2. */
void resp_write_push(struct resp_writer *w, size_t count);

/* ---- several values at once ----
 *
 * For replies that are written often: the room is looked at once.
 *
 *     char *p = resp_write_reserve(w, sizeof "*2\r\n" + RESP_WRITE_INTEGER_MAX +
 *                                         RESP_WRITE_BULK_MAX(name.len));
 *     if (p == NULL) return;
 *     p = resp_write_put_literal(p, SPAN_LITERAL("*2\r\n"));
 *     p = resp_write_put_integer(p, 7);
 *     resp_write_commit(w, resp_write_put_bulk(w, p, name));
 *
 * The put functions return where the next byte goes; the caller keeps within what it reserved.
 */
#define RESP_WRITE_INTEGER_MAX (1 + SPAN_NUMBER_MAX + 2)
#define RESP_WRITE_BULK_MAX(len) (RESP_WRITE_INTEGER_MAX + (len) + 2)

/* NULL: the output has failed. */
char *resp_write_reserve(struct resp_writer *w, size_t bytes);
char *resp_write_put_integer(char *to, int64_t value);
/* An absent span is written as null. */
char *resp_write_put_bulk(const struct resp_writer *w, char *to, struct span bytes);
static inline char *resp_write_put_literal(char *to, struct span literal) {
  memcpy(to, literal.data, literal.len);
  return to + literal.len;
}
static inline void resp_write_commit(struct resp_writer *w, const char *end) {
  resp_output_commit(w->out, end);
}

#endif
