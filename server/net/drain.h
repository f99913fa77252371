/*
 * drain.h - the end of a server.
 *
 *     SERVES -> FINISHES: owners finish; no claim is granted. Everything else goes on, also for
 *        |      |         connections that come
 *        |      | no claim is HELD (with a journal: at once), drain-timeout, SHUTDOWN NOW
 *        |      v
 *        +--> LEAVES: listeners close, what clients had sent is answered, waits end with BUSY, then
 *               |     connections are closed
 *               | a second signal, or what is left of drain-timeout, at least DRAIN_LAST_MS
 *               v
 *             GONE: connections are closed, also those that do not take their replies
 *
 * Every loop follows by itself. The first one hears the signals, asks the shards, closes the
 * listeners before it tells the others, so that no connection is handed to a loop that has ended,
 * and is the last to end. All times are on the monotonic clock.
 */
#ifndef IDEM_SERVER_NET_DRAIN_H
#define IDEM_SERVER_NET_DRAIN_H

#include "server/net/listener.h"
#include "server/ops/notify.h"

/* Time for the last replies, when owners used all of drain-timeout. */
#define DRAIN_LAST_MS 500
/* What a supervisor is asked to wait longer than drain-timeout: for the last replies and commits. */
#define DRAIN_EXTEND_MS 10000

enum drain_stage { DRAIN_SERVES, DRAIN_FINISHES, DRAIN_LEAVES, DRAIN_GONE };

/* Of one loop. */
struct drain_loop {
  struct drain *drain;
  struct loop *loop;
  uv_timer_t deadline;
  enum drain_stage stage; /* the last drain.stage that it has followed */
  unsigned turns;
};

struct drain {
  struct instance *instance;
  struct loop_set *loops;
  struct listener *listener;
  const struct notify *notify; /* the caller may set it */
  int64_t deadline_ms; /* drain-timeout after the beginning; the first loop's */
  _Atomic int stage;   /* enum drain_stage: what every loop is to follow */
  struct drain_loop of_loop[KEYSPACE_MAX_LOOPS];
};

/* All is borrowed; the loops are all there. */
void drain_init(struct drain *drain, struct instance *instance, struct loop_set *loops,
                struct listener *listener);
/* On the first loop only. Lets owners finish; a second call closes all connections at once. `why`
 * is for the log. */
void drain_begin(struct drain *drain, const char *why);
/* On the first loop only. Waits for no owner. */
void drain_leave(struct drain *drain, const char *why);
bool drain_has_begun(const struct drain *drain);

/* The duties of each loop: see loop.h. */
void drain_end_turn(struct drain *drain, struct loop *loop);
bool drain_left_work(const struct drain *drain, const struct loop *loop);
void drain_cron(struct drain *drain, struct loop *loop);

/* All loops have ended: logs what goes with the server. */
void drain_log_end(const struct drain *drain);

#endif
