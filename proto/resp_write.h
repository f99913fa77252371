/*
 * resp_write.h - the reply writer: replies in RESP2 or RESP3, gathered in memory for one write.
 *
 * An output is a run of bytes with references in it. Short things are copied into the bytes; a
 * large body is a reference (no copy per reader) that the owner of the output releases when it has
 * been sent or dropped:
 *
 *     bytes  [ *5 $4 DONE $100000 | CRLF $-1 :12 :500 ]
 *                                 ^ refs[0].at: refs[0].data goes out here
 *
 * A failed allocation sets `failed` and drops what follows; the owner checks it once, before
 * sending, and closes the connection. Not thread-safe; an output belongs to one loop.
 */
#ifndef IDEM_PROTO_RESP_WRITE_H
#define IDEM_PROTO_RESP_WRITE_H

#include <assert.h>
#include <stdint.h>

#include "proto/span.h"

struct resp_ref {
  size_t at; /* offset in bytes in front of which the data goes out */
  const char *data;
  size_t len;
  void *pin, *keeper; /* opaque; the output's owner releases pin, which is keeper's */
};

struct resp_output {
  char *bytes;
  size_t len, capacity;
  struct resp_ref *refs;
  size_t ref_count, ref_capacity;
  size_t ref_bytes; /* sum of the lengths of refs */
  bool failed;
};

/* A zero-filled output is empty and valid. reset keeps the memory, deinit frees it; neither
 * releases pins. */
void resp_output_reset(struct resp_output *out);
void resp_output_deinit(struct resp_output *out);
/* Bytes on the wire. */
static inline size_t resp_output_size(const struct resp_output *out) {
  return out->len + out->ref_bytes;
}
/* Forgets the first bytes of an output without references, and gives back their room, unless memory
 * is short. Returns how many are forgotten: all or none. */
size_t resp_output_forget(struct resp_output *out, size_t bytes);
/* Appends all of `from` to `to`, which takes the references over. Returns how many: fewer than
 * there are when memory is short, and then `to` has failed. */
size_t resp_output_move(struct resp_output *to, const struct resp_output *from);
/* Appends raw, already framed bytes. */
void resp_output_append(struct resp_output *out, const char *data, size_t len);

struct resp_writer {
  struct resp_output *out;
  int version; /* 2 or 3 */
};

/* Inline, so that the length of a literal is the compiler's to count, and its line ends to miss. */
void resp_simple_span(struct resp_writer *w, struct span text);
static inline void resp_simple(struct resp_writer *w, const char *text) {
  assert(strchr(text, '\n') == NULL);
  resp_simple_span(w, span_of(text));
}
/*
 * `-` and the text. Bytes outside printable ASCII are written as \xHH, so no error can break the
 * framing or carry a client's bytes raw. The text begins with its code: "ERR ...", "STALE ...". At
 * most RESP_MAX_ERROR bytes.
 */
#define RESP_MAX_ERROR 1024
/* Cold: the compiler takes every way to an error for a rare one, and keeps it off the straight one.
 */
#define RESP_COLD __attribute__((cold))
RESP_COLD void resp_error(struct resp_writer *w, const char *text);
RESP_COLD void resp_errorf(struct resp_writer *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* prefix, bytes (escaped), suffix: for errors that quote what the client sent. */
RESP_COLD void resp_error_quoting(struct resp_writer *w, const char *prefix, struct span quoted,
                                  const char *suffix);
void resp_integer(struct resp_writer *w, int64_t value);
/* An absent span is written as null. */
void resp_bulk(struct resp_writer *w, struct span bytes);
void resp_bulk_text(struct resp_writer *w, const char *text);
/* A bulk string by reference: `bytes` must stay until the owner of the output releases `pin`. */
void resp_bulk_pinned(struct resp_writer *w, struct span bytes, void *pin, void *keeper);
/* Raw bytes by reference. False: memory is short, and the pin stays the caller's. */
bool resp_output_refer(struct resp_output *out, struct span bytes, void *pin, void *keeper);
/* `$-1`, or `_` in RESP3. */
void resp_null(struct resp_writer *w);
/* `*-1`, or `_` in RESP3. */
void resp_null_array(struct resp_writer *w);
void resp_array(struct resp_writer *w, size_t count);
/* A map of `pairs`: `%n`, or in RESP2 an array of 2n. */
void resp_map(struct resp_writer *w, size_t pairs);
/* `~n`, or an array in RESP2. */
void resp_set(struct resp_writer *w, size_t count);
/* `>n`, or an array in RESP2. */
void resp_push(struct resp_writer *w, size_t count);
/* `#t`, or `:1` in RESP2. */
void resp_boolean(struct resp_writer *w, bool value);
/* `,1.5`, or a bulk string in RESP2. */
void resp_double(struct resp_writer *w, double value);
/* Verbatim text (`=n txt:`), or a bulk string in RESP2. format has three letters. */
void resp_verbatim(struct resp_writer *w, const char *format, struct span text);
/* The same without the text and the line end after it, which the caller appends. */
void resp_verbatim_header(struct resp_writer *w, const char *format, size_t len);

/*
 * A reply of several parts that come again and again, with one look at the room there is:
 *
 *     char *p = resp_reserve(w, sizeof "*2\r\n" + RESP_INTEGER_MAX + RESP_BULK_MAX(name.len));
 *     if (p == NULL) return;
 *     p = resp_put_literal(p, SPAN_LITERAL("*2\r\n"));
 *     resp_commit(w, resp_put_bulk(w, resp_put_integer(p, 7), name));
 *
 * resp_reserve: NULL when the output has failed. The put functions return what is behind what they
 * wrote; the caller keeps within what it reserved.
 */
#define RESP_INTEGER_MAX (1 + SPAN_NUMBER_MAX + 2)
#define RESP_BULK_MAX(len) (RESP_INTEGER_MAX + (len) + 2)
char *resp_reserve(struct resp_writer *w, size_t bytes);
char *resp_put_integer(char *to, int64_t value);
/* An absent span is written as null. */
char *resp_put_bulk(const struct resp_writer *w, char *to, struct span bytes);
static inline char *resp_put_literal(char *to, struct span literal) {
  memcpy(to, literal.data, literal.len);
  return to + literal.len;
}
static inline void resp_commit(struct resp_writer *w, const char *end) {
  w->out->len = (size_t)(end - w->out->bytes);
}

#endif
