/*
 * tls_kept.h - records that a TLS stream has received and not decrypted, and the queue in which it
 * waits for its turn to do so.
 */
#ifndef IDEM_SERVER_NET_TLS_KEPT_H
#define IDEM_SERVER_NET_TLS_KEPT_H

#include "server/net/tls_state.h"

/* group.handshakes or group.readers, as its state says. In a queue or in none already: nothing
 * happens. */
void tls_kept_join_queue(struct stream_tls *tls);
void tls_kept_leave_queue(struct stream_tls *tls);

/* Notes whether it waits for the rest of a record; anew: of another one than before. Call it when
 * SSL has used all that arrived, or its user reads on. */
void tls_kept_note_half(struct stream_tls *tls, bool anew);

/* Keeps what is left of the source, which may lie in what was kept before. False: no memory. */
bool tls_kept_keep(struct stream_tls *tls);
void tls_kept_forget(struct stream_tls *tls);

#endif
