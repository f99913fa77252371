/*
 * tls_receive.h - what a TLS stream receives: handshakes, and plaintext for its user.
 */
#ifndef IDEM_SERVER_NET_TLS_RECEIVE_H
#define IDEM_SERVER_NET_TLS_RECEIVE_H

#include "server/net/tls_state.h"

/* Bytes for its handshake have come: they wait for their turn. May close. */
void tls_receive_hello(struct stream_tls *tls, const char *data, size_t len);
/* Its turn has come. May close. */
void tls_receive_shake(struct stream_tls *tls);
/* Reads from the source until its user, or the turn, has had enough. May close. */
void tls_receive_take(struct stream_tls *tls);

/* Nothing more is read: tells its user, as stream_events.read says; in a handshake, first that it
 * failed. May close. */
void tls_receive_end(struct stream_tls *tls, ssize_t count);
void tls_receive_fail(struct stream_tls *tls, enum stream_tls_failure failure, ssize_t count);

#endif
