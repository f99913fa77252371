/*
 * stream_tls.h - a stream that carries TLS over another one, as the server.
 *
 *     connection                         plaintext
 *         |   ^
 *      stream_tls    SSL, between two streams: its own memory, and no descriptor
 *         |   ^
 *      below         its records          (a socket, or memory in tests)
 *
 * Sending. One record at a time is encrypted and given to the stream below; while some of it has
 * not been taken there it is `flying`, and nothing more is encrypted. For a peer that wants short
 * records it is several, written at once. Plaintext counts as taken once the kernel has all of its
 * record: so a reply is not called written, nor a grant kept, because it was encrypted. After a
 * write without `later` that took a part, the rest has to be left to the stream at once, or the
 * stream closed: its first bytes may be encrypted already.
 *
 * Receiving. Records are read into a buffer that all streams of a loop share. What cannot be
 * decrypted now (its user does not read, or it had its share of the turn) is kept, at most one
 * buffer of it, and nothing more is read below meanwhile.
 *
 * Handshakes cost milliseconds of CPU. What arrives for one is kept until stream_tls_shake gives it
 * time.
 *
 * The end. The peer's close_notify, or its end without one, is the end of its bytes: commands say
 * themselves where they end. A handshake that fails is told to the user (struct stream_tls_hooks);
 * then an alert has been sent, what arrives is dropped, and the user shuts down and closes as
 * usual.
 *
 * An idle stream owns no buffer. Knows no connection, loop or options.
 */
#ifndef IDEM_SERVER_NET_STREAM_TLS_H
#define IDEM_SERVER_NET_STREAM_TLS_H

#include "server/net/tls_state.h"

extern const struct stream_ops STREAM_TLS;
/* Of the stream below. */
extern const struct stream_events STREAM_TLS_BELOW;

/* group is zero but for hooks, handshake_count and stream_count, which are borrowed; its address
 * does not change. False: memory is short. */
bool stream_tls_group_init(struct stream_tls_group *group);
/* All its streams are closed. */
void stream_tls_group_deinit(struct stream_tls_group *group);

/* Makes a stream over stream.below, which the caller opens next, with the events STREAM_TLS_BELOW.
 * events: of its user. False: memory is short, and there is nothing to be undone. */
bool stream_tls_open(struct stream_tls *stream, const struct stream_type *type,
                     struct stream_tls_group *group, SSL_CTX *context);

/* Whether there is something for the two below. */
static inline bool stream_tls_has_work(const struct stream_tls_group *group) {
  return !list_empty(&group->handshakes) || !list_empty(&group->readers);
}
/* Breaks the streams of which a record has not arrived in time. Call it about ten times a second,
 * when they have been read. */
void stream_tls_end_late(struct stream_tls_group *group);
/* Begins a turn: every stream may decrypt as much as in the last one. */
static inline void stream_tls_begin_turn(struct stream_tls_group *group) { group->turn++; }
/* These two go on with handshakes, and with streams that have something kept: those that are there
 * now, each once, the first of them in any case and each further one while `more` says so. */
void stream_tls_shake(struct stream_tls_group *group, bool (*more)(void *context), void *context);
void stream_tls_read_on(struct stream_tls_group *group, bool (*more)(void *context), void *context);

#endif
