/*
 * drain.h - the end of a server: listeners close, what clients had sent is answered, waits end with
 * BUSY, then connections are closed; after drain-timeout also those that do not take their replies.
 *
 * Every loop drains itself. The first one hears the signals, closes the listeners before it tells
 * the others, so that no connection is handed to a loop that has ended, and is the last to end.
 */
#ifndef IDEM_SERVER_NET_DRAIN_H
#define IDEM_SERVER_NET_DRAIN_H

#include "server/net/listener.h"

enum drain_stage { DRAIN_NOT, DRAIN_BEGUN, DRAIN_AT_ONCE };

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
  _Atomic int stage; /* enum drain_stage: what every loop is to follow */
  struct drain_loop of_loop[KEYSPACE_MAX_LOOPS];
};

/* All is borrowed; the loops are all there. */
void drain_init(struct drain *drain, struct instance *instance, struct loop_set *loops,
                struct listener *listener);
/* On the first loop only. A second call closes all connections at once. */
void drain_begin(struct drain *drain, const char *why);
bool drain_has_begun(const struct drain *drain);

/* The duties of each loop: see loop.h. */
void drain_end_turn(struct drain *drain, struct loop *loop);
bool drain_left_work(const struct drain *drain, const struct loop *loop);

#endif
