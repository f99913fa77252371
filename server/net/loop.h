/*
 * loop.h - one event loop: its handles, sleeping and waking, and what other threads may leave for
 * it. conn.h has the connections, turn.h the end of a turn.
 *
 *     poll     what sockets bring: read -> parse in place -> run, a few connections together
 *     check    sockets that were handed over -> turn_end -> duties of rooms above -> poll
 *     prepare  sleep until the next deadline, or not at all when work is left
 *
 * Everything that a loop owns is touched by its own thread only, within a turn (gate.h), or by a
 * thread that has paused all loops between two of their turns. What is _Atomic or has a lock may be
 * used by all.
 */
#ifndef IDEM_SERVER_NET_LOOP_H
#define IDEM_SERVER_NET_LOOP_H

#include <pthread.h>
#include <uv.h>

#include "server/net/conn.h"
#include "server/net/cron.h"
#include "server/net/descriptors.h"
#include "server/net/handed.h"
#include "server/net/tls_turn.h"

struct loop;

/* All loops of a server. */
struct loop_set {
  struct loop *loops[KEYSPACE_MAX_LOOPS];
  unsigned count;
  struct gate_set gates;
  _Atomic uint64_t connections; /* of all of them */
  struct tls *tls;              /* borrowed; NULL: no tls-port */
};

/* What rooms above do in each loop. */
struct loop_duties {
  void (*end_turn)(struct loop *loop);
  bool (*left_work)(struct loop *loop); /* so that the next turn follows at once */
  void (*cron)(struct loop *loop);      /* every CRON_MS */
};

struct loop {
  uv_loop_t uv;
  uv_prepare_t prepare;
  uv_check_t check;
  uv_idle_t busy; /* runs while there is work, so that the loop does not sleep */
  uv_timer_t due, cron_timer;
  uv_async_t wake;
  uv_tcp_t first_stream; /* never connected: with its first one libuv sets a descriptor aside, now
                            rather than when they are short */
  struct descriptors descriptors;
  const struct loop_duties *duties;
  void *context; /* of the duties */
  struct gate gate;
  struct cron cron;
  int64_t due_ms;        /* what the timer is set to, on the engines' clock */
  unsigned clock_number; /* in the engines' clock */
  bool draining;         /* it ends soon: nothing is answered late from here on */
  pthread_t thread;
  struct handed handed;
  struct tls_turn *tls; /* NULL without tls-port */
  struct conn_group group;
};

struct loop_setup {
  struct instance *instance;
  int descriptors; /* the limit: connections and others */
  const struct loop_duties *duties;
  void *context;
};

/* False: the set could not be made. It is zero-filled before. */
bool loop_set_init(struct loop_set *set);
/* All loops are closed: ends and frees them. */
void loop_set_deinit(struct loop_set *set);
/* Makes one more loop. 0, or a libuv error: memory is short. All is borrowed. */
int loop_set_add(struct loop_set *set, const struct loop_setup *setup);
/* From any thread: these loops, a bit each, have something to do that they did not have when they
 * went to sleep. */
void loop_set_wake(struct loop_set *set, uint64_t loops);
void loop_set_wake_all(struct loop_set *set);
/* The one with the fewest connections. */
struct loop *loop_set_fewest(const struct loop_set *set);

/* Runs until loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* At once, even with replies to take. */
void loop_close_connections(struct loop *loop);
/* Hands a connection over to the loop, from any thread; false: it has too many that it has not
 * taken yet. */
bool loop_hand(struct loop *loop, struct handed_socket socket);
/* The loop's own thread: serves a connection that it has been given, or refuses it. */
void loop_adopt(struct loop *loop, struct handed_socket socket);

#endif
