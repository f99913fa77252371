/*
 * worker.h - what the commands act upon: a server without its network.
 *
 *     shared     the keyspace, options, what all connections have in common
 *       | |
 *     host host ...  one for each loop: its connections, its counters, its share of pub/sub
 *
 * net/ makes them, embeds them and drives them: feeds commands in (command.h), sends what clients
 * have to say (worker.unsent), and tells the time. Several servers can live in one process.
 *
 * Threads. A host, and the clients in it, belong to the thread that runs its loop. Another thread
 * may touch it in two ways only:
 *  - what is said to be atomic, or to have a lock (inbox, pubsub);
 *  - while all other loops stand still (worker_pause_others): rare commands that look at, or
 * change, what belongs to all, like CLIENT LIST or CONFIG SET, then need no locks at all. Locks are
 * taken in this order: loops standing still, shards in the order of their numbers, then one of
 * pubsub, inbox, slowlog or strangers. With one loop none of them is ever contended, and shards
 * have none.
 */
#ifndef IDEM_SERVER_COMMANDS_WORKER_H
#define IDEM_SERVER_COMMANDS_WORKER_H

#include <pthread.h>

#include "server/base/clock.h"
#include "server/commands/session.h"
#include "server/engine/keyspace.h"
#include "server/ops/log.h"
#include "server/ops/options.h"

struct command_index;
struct inbox;
struct pubsub;
struct instance;
struct slowlog;

/* Counted by the command rows; index as in the table. */
struct command_stats {
  uint64_t calls, nanoseconds, rejected, failed;
};

/* Commands of one kind in a row that are measured together; see command.c. */
struct stretch {
  const struct command *command;
  struct session *session;
  uint64_t start_ns;
  unsigned calls; /* 0: none */
};

struct worker_counters {
  uint64_t connections, connections_refused, commands, protocol_errors, auth_failures;
  uint64_t bytes_in, bytes_out;
  uint64_t closed_by_output_limit, closed_by_input_limit, closed_before_auth;
  uint64_t closed_by_request_timeout;
};

/* A body in a piece of its own; and, once that has been taken over, of which shard it is. */
struct received {
  struct engine_piece piece;
  struct shard *keeper;
};

struct session_address {
  char peer[SESSION_ADDRESS_BYTES], local[SESSION_ADDRESS_BYTES];
  int fd;
  size_t input_bytes, output_bytes; /* buffered */
};

/* In front of bytes that several outputs of one host may refer to, without a keeper: they are freed
 * with the last reference. */
struct counted {
  unsigned references;
};

/* What the network knows and a command may ask. */
typedef void worker_describe(const struct session *session, struct session_address *address);
/* CONFIG SET has changed the options: what was copied from them at start is to be copied again.
 * NULL, or the name of an option that asks for more than the system gives, with the reason in
 * error; nothing was copied then. */
typedef const char *worker_reconfigured(struct instance *instance, char error[REFUSAL_BYTES]);
/* Loops, a bit each, have something to do that was not there when they went to sleep. */
typedef void worker_wake(struct instance *instance, uint64_t loops);
typedef void worker_action(struct worker *worker);

#define INSTANCE_AUTH_ADDRESSES 1024u

struct instance {
  struct keyspace *keyspace;
  struct options *options; /* changed only while the other loops stand still */
  struct log *log;
  struct command_index *commands;
  struct slowlog *slowlog;
  worker_describe *describe;
  worker_reconfigured *reconfigured;
  worker_wake *wake;
  /* These are called with more than one host only. */
  worker_action *pause_others,
      *resume_others; /* all other loops stand still between two of their turns, until
              they may go on. The caller's own turn is left and taken again
              meanwhile: its clients may have been marked to be closed */
  worker_action
      *see_time; /* looks at the clock anew, for worker.now_ms; with one host it may be NULL */
  struct worker *workers[KEYSPACE_MAX_LOOPS];
  unsigned worker_count;

  _Atomic uint64_t next_session_id;
  _Atomic uint64_t session_count, peak_sessions, monitor_count;
  _Atomic uint64_t effect_workers; /* with somebody who listens to effects */
  _Atomic uint64_t gathered_bytes; /* by tasks, for replies that are not written yet */
  _Atomic uint64_t sending_bytes;  /* of all clients: handed over and not yet taken by the kernel */
  _Atomic uint64_t
      input_bytes; /* of all clients: commands half received or queued, subscriptions */
  pthread_mutex_t strangers_lock;
  struct list strangers; /* of all loops, oldest first; under its lock, as is the count */
  unsigned stranger_count;
  /* Failed AUTHs by the hash of the address: the second in the upper half, how many in it below. */
  _Atomic uint64_t auth_failures[INSTANCE_AUTH_ADDRESSES];
  uint64_t address_seed;
  _Atomic bool shutdown_wanted; /* SHUTDOWN was called */
  _Atomic bool draining;        /* nothing waits any more */

  _Atomic int64_t wall_offset_ms; /* unix time = now_ms + wall_offset_ms */
  int64_t started_ms;
  int port; /* that listens; 0 none */
  char run_id[41];
  int64_t pause_until_ms; /* CLIENT PAUSE; 0 none. As options */
  bool pause_writes_only;
};

struct worker {
  struct instance *instance;
  unsigned number;         /* in instance.hosts, and as the engines' home */
  struct options *options; /* these four as in shared */
  struct log *log;
  const struct command_index *commands;
  struct slowlog *slowlog;
  struct command_stats *stats;
  struct pubsub *pubsub;
  struct inbox *inbox;

  struct list sessions;     /* struct session.link */
  struct list unsent;       /* struct session.unsent */
  struct list tasks;        /* struct task.link; whose turn it is first */
  struct list cursors;      /* of walks through clients (sessions.c) */
  struct list delayed;      /* of guards (strangers.c), as are the next two */
  struct list evicted;      /* under instance.strangers_lock */
  _Atomic bool has_evicted; /* there may be any */
  struct resp_output **spare_outputs;
  size_t spare_count;
  struct resp_output aside;       /* of a command whose replies CLIENT REPLY may cover */
  struct resp_output lost_output; /* stands in when no output can be allocated: takes nothing */
  uint64_t session_count, waiting_count;
  _Atomic uint64_t monitor_count;

  int64_t now_ms;    /* this turn, on the engines' clock */
  uint64_t stamp_ns; /* when the clock was read last, in this batch; 0: not yet */
  struct stretch stretch;
  struct received *received; /* of the commands that run; NULL nearly always */
  size_t unasked_bytes;      /* request_least_limit: within every limit, so not asked about */
  struct worker_counters counters;
  int64_t pause_ended_ms; /* the instance.pause_until_ms whose end was seen to */
  bool holds_all;         /* all shards, for the command that runs */
  bool others_paused;
};

static inline int64_t worker_wall_offset_ms(const struct worker *worker) {
  return atomic_load_explicit(&worker->instance->wall_offset_ms, memory_order_relaxed);
}

/* Outputs kept for the next turn, so that a busy server allocates none. */
#define WORKER_SPARE_OUTPUTS 64
/* A spare output gives back a larger buffer than this. */
#define WORKER_SPARE_BYTES (64u * 1024)

/* False when memory, or randomness, is short. Keyspace, options and log are borrowed; callbacks are
 * set by the caller. */
bool instance_init(struct instance *instance, struct keyspace *keyspace, struct options *options,
                   struct log *log, int64_t now_ms);
void instance_deinit(struct instance *instance);
/* Joins instance.hosts. All of them are to be there before the first command runs. False: memory is
 * short; the host is zero then. */
bool worker_init(struct worker *worker, struct instance *instance, int64_t now_ms);
void worker_deinit(struct worker *worker);

/*
 * Around every use of an engine: the shard's lock, the engine's time (*now_ms as in shard_lock),
 * and behind it what the use brought about for others: effects are noted, loops are woken. Inside
 * worker_lock_all, and only there, they may be nested.
 */
struct engine *worker_lock(struct worker *worker, struct shard *shard, int64_t *now_ms);
void worker_unlock(struct worker *worker, struct shard *shard);
void worker_lock_all(struct worker *worker, int64_t *now_ms);
void worker_unlock_all(struct worker *worker);

/* No shard may be held. May be nested. */
void worker_pause_others(struct worker *worker);
void worker_resume_others(struct worker *worker);

/* What is due by itself in the shards that this host looks after, in so many steps of all of them
 * together (at least one for each shard that it can have); what is left is due again. */
#define WORKER_TICK_LEAST KEYSPACE_MAX_SHARDS
void worker_tick(struct worker *worker, unsigned steps);

/* Of all engines. */
void worker_engine_stats(struct worker *worker, struct engine_stats *sum);

/* An empty output from the spares, NULL when memory is short; and back, when its pins have been
 * released. */
struct resp_output *worker_output_take(struct worker *worker);
void worker_output_give(struct worker *worker, struct resp_output *out);
/* What is left of it once its command is over. */
void worker_received_free(struct worker *worker, struct received *received);
/* Releases every reference that the output holds, from the one with this number on: what a shard
 * keeps is unpinned, what has no keeper is counted. */
void worker_release(struct counted *counted);
void worker_output_unpin(struct worker *worker, struct resp_output *out, size_t first);

#endif
