/*
 * transport.h - bytes over one connected socket, in plain text or under TLS: the one place in which
 * the two differ. Knows no deadline and no protocol.
 *
 * Under TLS nothing here blocks, whatever the socket is. In plain text a socket that blocks does so
 * for as long as its timeouts say: that is one call of the system for a reply, where waiting and
 * reading would be two.
 */
#ifndef IDEM_CLIENT_TRANSPORT_H
#define IDEM_CLIENT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "client/idem.h"
#include "client/stream.h"
#include "client/tls.h"

/* Zero-filled but for fd before transport_open. */
struct transport {
  int fd;                /* its own; -1: none */
  struct stream *stream; /* NULL: plain text */
  int error;             /* errno, in plain text */
};

/* Takes over a socket that is connected or connecting to this peer; tls NULL: plain text. False: no
 * memory (and fd is closed by transport_close). */
bool transport_open(struct transport *transport, int fd, struct tls *tls,
                    const struct stream_peer *peer);
void transport_close(struct transport *transport);

/* Plain text: DONE at once. */
enum stream_result transport_handshake(struct transport *transport);
/* DONE: *done bytes, at least 1. What a read or write WANTS, it may be called again for. */
enum stream_result transport_read(struct transport *transport, void *out, size_t size,
                                  size_t *done);
/* DONE: *done bytes of the parts, not always all. After a WANTS the same bytes again. */
enum stream_result transport_write(struct transport *transport, const struct iovec *parts,
                                   size_t count, size_t *done);
/* True when nothing lies unread and the server has not hung up. */
bool transport_idle(struct transport *transport);
/* True when more can be read than the socket tells. */
bool transport_pending(const struct transport *transport);
/* Nothing more will be written; what comes can be read. */
void transport_half_close(struct transport *transport);

/* Why a call ended as it did, with IDEM_MESSAGE_BYTES at `why`: REFUSED (see stream.h) or
 * UNAVAILABLE. */
enum idem_status transport_explain(const struct transport *transport, enum stream_result result,
                                   char *why);

#endif
