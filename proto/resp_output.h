/*
 * resp_output.h - bytes to be sent, gathered in memory for one write.
 *
 * An output is a run of bytes with references in it. Short things are copied into the bytes; a
 * large body is a reference (no copy per reader), whose pin the owner of the output releases when
 * it has been sent or dropped:
 *
 *     bytes  [ *5 $4 DONE $100000 | CRLF $-1 :12 :500 ]
 *                                 ^ refs[0].at: refs[0].data goes out here
 *
 * It must not know what the bytes mean or where they go. Invariants: refs are in the order of `at`.
 * A failed allocation sets `failed`, and from then on nothing is added; the owner checks it once,
 * before sending, and closes the connection: a failed output is never sent.
 *
 * A zero-filled output is empty and valid. Not thread-safe.
 */
#ifndef IDEM_PROTO_RESP_OUTPUT_H
#define IDEM_PROTO_RESP_OUTPUT_H

#include "proto/span.h"

/* Far above any output limit; doubling it cannot overflow. */
#define RESP_OUTPUT_BYTES_MAX (SIZE_MAX / 4)

struct resp_errors;

struct resp_output_ref {
  size_t at; /* the data goes out before bytes[at] */
  const char *data;
  size_t len;
  void *pin, *keeper; /* opaque; the output's owner releases pin, which is keeper's */
};

struct resp_output {
  char *bytes;
  size_t len, capacity;
  struct resp_output_ref *refs;
  size_t ref_count, ref_capacity;
  size_t ref_bytes; /* sum of the lengths of refs */
  bool failed;
  struct resp_errors *errors; /* counts those that are written here; borrowed, or NULL */
};

/* Both keep `errors`. Empties the output and keeps its memory. Releases no pins. */
void resp_output_reset(struct resp_output *out);

/* Empties the output and frees its memory. Releases no pins. */
void resp_output_deinit(struct resp_output *out);

/* Bytes on the wire. */
static inline size_t resp_output_size(const struct resp_output *out) {
  return out->len + out->ref_bytes;
}

/* Makes room for `extra` more bytes; false: there is no memory, and the output is as it was. */
bool resp_output_grow(struct resp_output *out, size_t extra);

/* Room for `extra` > 0 bytes after those that are there. NULL: the output has failed. What is
 * written into it counts after resp_output_commit. */
static inline char *resp_output_reserve(struct resp_output *out, size_t extra) {
  if (out->failed) return NULL;
  if (extra > out->capacity - out->len && !resp_output_grow(out, extra)) {
    out->failed = true;
    return NULL;
  }
  return out->bytes + out->len;
}

/* The bytes end at `end`, which lies within what was reserved. */
static inline void resp_output_commit(struct resp_output *out, const char *end) {
  out->len = (size_t)(end - out->bytes);
}

/* Appends a copy of raw, already framed bytes. */
void resp_output_append(struct resp_output *out, const char *data, size_t len);

/* Appends raw bytes by reference: they must stay until `pin` is released. False: memory is short,
 * the output has failed and the pin stays the caller's. */
bool resp_output_refer(struct resp_output *out, struct span bytes, void *pin, void *keeper);

/* Forgets the first `bytes` < len of an output without references and gives their room back.
 * Returns how many are forgotten: all of them, or none when memory is short. */
size_t resp_output_forget(struct resp_output *out, size_t bytes);

/* Appends all of `from` to `to`, which takes over the references. Returns how many references it
 * took over: fewer than there are when memory is short, and then `to` has failed. */
size_t resp_output_move(struct resp_output *to, const struct resp_output *from);

#endif
