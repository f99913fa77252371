/*
 * tls.h - what TLS needs to know of a server: authorities, own certificate, the name that the
 * server's certificate has to bear; and streams (stream.h) that are begun with it. Knows no call.
 *
 * Files are read when the client is opened, and again for the next connection when one has changed:
 * a renewed certificate needs no restart. What cannot be used then leaves the former one in place.
 * A connection resumes the session of the one before it (resumption.h), unless a file has changed.
 * May be used by several threads at once.
 */
#ifndef IDEM_CLIENT_TLS_H
#define IDEM_CLIENT_TLS_H

#include "client/idem.h"

struct tls;
struct stream;
struct stream_peer;

/* IDEM_OK, IDEM_INVALID (a file cannot be used, an option makes no sense: error
 * says which) or IDEM_NO_MEMORY. */
enum idem_status tls_create(struct tls **tls, const struct idem_options *options,
                            struct idem_error *error);
/* NULL is fine. Every stream has been destroyed. */
void tls_destroy(struct tls *tls);
/* The client's side of a session on a socket that is connected to this peer, before its handshake.
 * The certificate has to bear the host, unless the options name another one: that one is the
 * user's, and not provisional. NULL: no memory. */
struct stream *tls_begin(struct tls *tls, int fd, const struct stream_peer *peer);

#endif
