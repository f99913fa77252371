/*
 * tls_turn.h - the streams over TLS of one loop: their part of each turn, with its budget. A loop
 * of a server without tls-port has none, and pays nothing.
 *
 *     poll -> records, hellos -> check: handshakes (budget), streams that have something kept
 *                                (budget) -> the loop's own check: output leaves
 *
 * Belongs to the thread of the loop.
 */
#ifndef IDEM_SERVER_NET_TLS_TURN_H
#define IDEM_SERVER_NET_TLS_TURN_H

#include <uv.h>

#include "server/net/conn.h"
#include "server/net/stream_tls.h"
#include "server/net/tls.h"

/* What handshakes may take of a turn, beside one that begins in any case: about three with a key of
 * 2048 bits, or thirty with P-256. A connection that is established waits so long at most. */
#define TLS_TURN_HANDSHAKES_NS 2000000u
/* The same for streams that go on reading what they have. */
#define TLS_TURN_READERS_NS 3000000u

struct tls_turn {
  struct stream_tls_group group;
  const struct tls *tls; /* whose present context new connections get */
  struct conn_group *conns;
  uint64_t end_ns; /* of the part that runs */
  int64_t seen_ms; /* monotonic time of the last turn */
  uv_check_t check;
  uv_prepare_t prepare;
  uv_idle_t busy;
};

/* NULL: memory is short. All is borrowed; the handles are closed with the others of the loop,
 * before it is destroyed. */
struct tls_turn *tls_turn_create(uv_loop_t *uv, struct conn_group *conns, struct tls *tls);
void tls_turn_destroy(struct tls_turn *turn);

#endif
