/*
 * stream.h - one TLS session over a socket: handshake, read, write, end, none of which blocks.
 * Knows neither a deadline nor which authorities are trusted (tls.h does); the caller waits for
 * what a result wants.
 *
 * The socket is read and written here and not by OpenSSL, which knows no MSG_NOSIGNAL: no signal.
 *
 * Invariants: what came without a close_notify after it is never taken for an orderly end. After
 * STREAM_ENDED or STREAM_FAILED a stream is only explained and destroyed. The thread's queue of
 * OpenSSL errors is empty after each call.
 */
#ifndef IDEM_CLIENT_STREAM_H
#define IDEM_CLIENT_STREAM_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "client/idem.h"

struct stream;

/* Whom the certificate has to be of. */
struct stream_peer {
  const char *host; /* a name or an address, for messages; borrowed */
  bool provisional; /* a better name for it may still come: one that is not borne is no refusal */
};

enum stream_result {
  STREAM_DONE,
  STREAM_WANTS_INPUT,  /* the same call again when the socket is readable */
  STREAM_WANTS_OUTPUT, /* ... when it is writable */
  STREAM_ENDED,        /* the server has closed in good order */
  STREAM_FAILED        /* stream_explain says why */
};

/* How OpenSSL reaches the sockets of streams. NULL: no memory. BIO_meth_free after the last of
 * them.
 */
BIO_METHOD *stream_method(void);
/* Takes over ssl, on success only; fd stays the caller's. NULL: no memory. */
struct stream *stream_create(SSL *ssl, BIO_METHOD *method, int fd, const struct stream_peer *peer);
/* Says close_notify where that makes sense, without waiting. NULL is fine. */
void stream_destroy(struct stream *stream);

enum stream_result stream_handshake(struct stream *stream);
/* DONE: *done bytes, at least 1. A write that was not DONE is repeated with the same bytes. */
enum stream_result stream_read(struct stream *stream, void *out, size_t size, size_t *done);
enum stream_result stream_write(struct stream *stream, const void *data, size_t len, size_t *done);
/* True when what was received already may have more to read: the socket does not tell. */
bool stream_pending(const struct stream *stream);
/* WANTS_INPUT: nothing to read. DONE: something. Session tickets are taken and not told of. */
enum stream_result stream_peek(struct stream *stream);
/* Says that nothing more will be written. */
void stream_half_close(struct stream *stream);

/* Why it FAILED, with IDEM_MESSAGE_BYTES at `why`: REFUSED (trying again does not help: the
 * certificate, another protocol) or UNAVAILABLE (the network; the name, when that is provisional).
 */
enum idem_status stream_explain(const struct stream *stream, char *why);

#endif
