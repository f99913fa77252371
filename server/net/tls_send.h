/*
 * tls_send.h - what the user of a TLS stream sends: a record at a time, and what was left to it.
 */
#ifndef IDEM_SERVER_NET_TLS_SEND_H
#define IDEM_SERVER_NET_TLS_SEND_H

#include "server/net/tls_state.h"

/* stream_write without `later`, and with it. */
int64_t tls_send_now(struct stream_tls *tls, const struct iovec *parts, unsigned count);
int64_t tls_send_later(struct stream_tls *tls, const struct iovec *parts, unsigned count,
                       void *later);
/* stream_shutdown. */
int tls_send_shutdown(struct stream_tls *tls);
/* The goodbye, if it can be said at once. */
void tls_send_goodbye(struct stream_tls *tls);

/* The stream below has taken what flew, or never will. May close. */
void tls_send_taken(struct stream_tls *tls, int error);
/* On with what was left. Nothing flies. May close. */
void tls_send_on(struct stream_tls *tls);
/* What was left will never be written. May close. */
void tls_send_fail(struct stream_tls *tls, int error);

#endif
