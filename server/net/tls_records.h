/*
 * tls_records.h - a TLS stream and the one below it: the records that OpenSSL reads and writes.
 *
 *     SSL  --- write --> group.sent  --- pass_on --> stream below | flying | untaken
 *          <-- read ---  group.source <-- set_source --  what was read below, or kept
 */
#ifndef IDEM_SERVER_NET_TLS_RECORDS_H
#define IDEM_SERVER_NET_TLS_RECORDS_H

#include "server/net/tls_state.h"

/* What SSL reads by and writes to. NULL: memory is short. */
BIO_METHOD *tls_records_method(void);

/* From here on SSL takes these bytes, as many of their records as the stream may still have in this
 * turn; until group.taking is NULL. */
void tls_records_set_source(struct stream_tls *tls, const char *data, size_t len);

/* Sends what SSL has written: call it after each call of SSL. all: what the stream below could take
 * at once is left to it too, so that it tells when it was taken. May set `broken`. */
void tls_records_pass_on(struct stream_tls *tls, bool all);
/* The same for other bytes. */
void tls_records_send(struct stream_tls *tls, const char *bytes, size_t len, bool all);
/* What flew was taken: sends what followed it. */
void tls_records_send_untaken(struct stream_tls *tls);
/* Reads from the stream below, or not. 0, or its error. */
int tls_records_draw(struct stream_tls *tls, bool on);

#endif
