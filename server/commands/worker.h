/*
 * worker.h - what the commands of one loop work on: a server without its network. Data only; see
 * instance.h for what workers share, and for which thread may use what.
 */
#ifndef IDEM_SERVER_COMMANDS_WORKER_H
#define IDEM_SERVER_COMMANDS_WORKER_H

#include "proto/resp_errors.h"
#include "proto/resp_write.h"
#include "server/commands/instance.h"
#include "server/engine/outbox.h"

struct histogram;
struct inbox;
struct topics;

/* Consecutive commands of one kind that are measured together; see measure.c. */
struct worker_timed_run {
  const struct command *command;
  struct session *session;
  uint64_t start_ns;
  unsigned calls; /* 0: none */
};

struct worker_counters {
  uint64_t connections, connections_refused, commands, protocol_errors, auth_failures;
  uint64_t denied_commands, denied_keys, denied_channels;
  uint64_t bytes_in, bytes_out;
  uint64_t closed_for_unread_replies, closed_by_input_limit, closed_before_auth;
  uint64_t closed_by_request_timeout, proxy_errors;
  uint64_t tls_handshakes, tls_handshakes_failed;
  uint64_t tls_handshakes_late; /* closed by strangers.h */
  uint64_t refused_by_journal;
};

/* How a wait ended (waits.h). */
enum worker_wait {
  WORKER_WAIT_CLAIMED,
  WORKER_WAIT_DONE,
  WORKER_WAIT_BUSY,
  WORKER_WAIT_LAPSED,
  WORKER_WAIT_UNKNOWN,
  WORKER_WAIT_NOTHING,
  WORKER_WAIT_ERROR,
  WORKER_WAIT_GONE,
  WORKER_WAIT_OUTCOMES
};

struct worker {
  struct instance *instance;
  unsigned number;         /* in instance.workers, and as the engines' loop_id */
  struct options *options; /* these four as in instance */
  struct log *log;
  const struct lookup *commands;
  struct slowlog *slowlog;
  struct command_stats *stats; /* in the order of commands->rows */
  struct topics *topics;
  struct inbox *inbox;

  struct list sessions;     /* struct session.link */
  struct list unsent;       /* struct session.unsent */
  struct list tasks;        /* struct task.link; whose turn it is first */
  struct list cursors;      /* of walks through sessions (session_walk.h) */
  struct list delayed;      /* of guards (strangers.c), as are the next two */
  struct list kept_back;    /* struct inbox_entry.link: until its shards are unlocked */
  struct list evicted;      /* under instance.strangers_lock */
  _Atomic bool has_evicted; /* there may be any */
  struct resp_output **spare_outputs;
  size_t spare_count;
  struct resp_output aside;       /* of a command whose replies CLIENT REPLY may cover */
  struct resp_output lost_output; /* used when no output can be allocated: takes nothing */
  struct resp_errors *errors;     /* that were written to any of these outputs */
  uint64_t session_count, waiting_count;
  _Atomic uint64_t monitor_count;
  _Atomic bool wants_effects; /* counted in instance.effect_workers */
  char *effect_channel;       /* room for the name of an effect's channel (effects.c) */
  size_t effect_channel_capacity;

  /* The last reading of two clocks. now_ms: the engines' (base/served_clock.h), for leases, TTLs,
   * waits and all other deadlines of keys. monotonic_ms: the system's, for everything else. */
  int64_t now_ms, monotonic_ms;
  bool plain; /* one loop and no journal: nobody to lock out, and nothing to append (access.h) */
  struct journal *journal; /* as in instance; NULL: memory only, and the next six are not used */
  bool awaits_sync;        /* appendfsync is always */
  struct outbox outbox;
  size_t promised_bytes; /* its part of instance.promised_bytes */
  unsigned appends;      /* since the last commit */
  bool no_room;          /* the journal takes no grants */
  bool had_no_room;      /* when it was last looked at */
  bool emits_again;      /* trimming.h */
  bool trims;            /* there is more to do for it at once */
  struct worker_timed_run timed_run;
  size_t unasked_bytes; /* request_least_limit: arguments up to this need no check */
  struct worker_counters counters;
  struct histogram *waits[WORKER_WAIT_OUTCOMES]; /* owned; NULL: none yet */
  int64_t pause_ended_ms; /* the instance.pause_until_ms whose end was handled */
  bool holds_all;         /* all shards, for the command that runs */
  bool others_paused;
};

/* Unix time, now. */
static inline int64_t worker_unix_ms(const struct worker *worker) {
  return worker->monotonic_ms + wall_clock_offset_ms(&worker->instance->wall);
}

/* Unix time = the engines' clock + this, as it is now: it grows by what their clock does not
 * count. */
static inline int64_t worker_wall_offset_ms(const struct worker *worker) {
  return worker_unix_ms(worker) - worker->now_ms;
}

/* The largest that offset can have been since the start (of times before: eras.h). With it a time
 * of the engines' clock that has passed becomes the latest unix time that it can have been, and a
 * unix time the earliest on their clock. */
static inline int64_t worker_largest_offset_ms(const struct worker *worker) {
  return worker->monotonic_ms + wall_clock_largest_ms(&worker->instance->wall) - worker->now_ms;
}

/* What is counted of a row. */
static inline struct command_stats *worker_stats(const struct worker *worker,
                                                 const struct command *command) {
  return &worker->stats[command - worker->commands->rows];
}

#endif
