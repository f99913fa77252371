/*
 * instance.h - what all workers of a server share: data only.
 *
 *     instance     the keyspace, options, what all connections have in common
 *       | |
 *     worker worker ...  one for each loop: its sessions, its counters, its share of pub/sub
 *
 * setup.h makes them; net/ embeds and drives them: it runs commands (execute.h), sends the
 * sessions' replies (worker.unsent), and sets the time. Commands call the network through the
 * pointers below. Several servers can live in one process.
 *
 * Threads. A worker, and the sessions in it, belong to the thread that runs its loop. Another
 * thread may touch it in two ways only:
 *  - fields that are atomic, or have a lock (inbox, topics);
 *  - while all other loops are paused (access_pause_others): rare commands that read or change what
 *    belongs to all, like CLIENT LIST or CONFIG SET, then need no locks at all.
 * Locks are taken in this order: pause, shards in the order of their numbers, then one of topics,
 * inbox, slowlog, ACL log or strangers, or the journal's. With one loop none of them is ever
 * contended, and shards have none. No shard is locked in a commit: a new segment's head locks each.
 */
#ifndef IDEM_SERVER_COMMANDS_INSTANCE_H
#define IDEM_SERVER_COMMANDS_INSTANCE_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/base/eras.h"
#include "server/base/list.h"
#include "server/base/served_clock.h"
#include "server/base/wall_clock.h"
#include "server/commands/lookup.h"
#include "server/engine/keyspace.h"
#include "server/ops/log.h"
#include "server/ops/options.h"

struct acl_log;
struct instance;
struct journal;
struct session;
struct session_address;
struct slowlog;
struct trimming;
struct users;
struct worker;

/* What only the network knows of a session. */
typedef void instance_describe(const struct session *session, struct session_address *address);
/* CONFIG SET has changed the options: copies again what was copied from them at start. Returns
 * NULL, or the name of an option that needs more than the system gives, with the reason in error;
 * nothing was copied then. */
typedef const char *instance_reconfigured(struct instance *instance, char error[REFUSAL_BYTES]);
/* Wakes loops, a bit each, that have something to do that they did not have when they went to
 * sleep. */
typedef void instance_wake(struct instance *instance, uint64_t loops);
typedef void instance_action(struct worker *worker);

/* The last one does not wait for owners. */
enum instance_shutdown { INSTANCE_STAYS, INSTANCE_DRAINS, INSTANCE_LEAVES };

#define INSTANCE_AUTH_ADDRESSES 1024u

/* What the network knows of its certificates; as options. */
struct instance_tls {
  int64_t port;   /* 0: none */
  int64_t ends_s; /* unix time at which the certificate ends; 0: unknown */
  uint64_t renewals, failed_renewals;
  _Atomic uint64_t connections; /* of all loops */
  _Atomic unsigned handshakes;  /* of them, with something that waits for CPU */
};

struct instance {
  struct keyspace *keyspace;
  struct options *options; /* changed only while the other loops are paused */
  struct log *log;
  struct lookup *commands;
  struct acl_log *acl_log;
  struct users *users; /* changed only while the other loops are paused */
  struct slowlog *slowlog;
  struct journal *journal;       /* borrowed; NULL: memory only */
  _Atomic size_t promised_bytes; /* that running commands may append to it */
  struct trimming *trimming;     /* the first loop's; NULL without a journal */
  uint64_t recovered_ms;         /* that the start took to read it */
  size_t restored_most_bytes;    /* of an image without a body, at the start */
  instance_describe *describe;
  instance_reconfigured *reconfigured;
  instance_wake *wake;
  /* Called with more than one worker only. Pauses all other loops between two of their turns, until
   * they are resumed. The caller's own gate is unlocked and locked again in between, so its
   * sessions may be marked for closing by then. */
  instance_action *pause_others, *resume_others;
  /* Reads the clocks, for worker.now_ms and monotonic_ms; with one worker it may be NULL. */
  instance_action *see_time;
  struct worker *workers[KEYSPACE_MAX_LOOPS];
  unsigned worker_count;

  _Atomic uint64_t next_session_id;
  _Atomic uint64_t session_count, peak_sessions, monitor_count;
  _Atomic uint64_t effect_workers; /* workers with a session that is subscribed to effects */
  _Atomic uint64_t gathered_bytes; /* bytes that tasks have, for replies that are not written yet */
  /* Of all sessions: replies handed over and not yet taken by the kernel. */
  _Atomic uint64_t sending_bytes;
  /* Of all sessions: commands half received or queued, subscriptions. */
  _Atomic uint64_t input_bytes;
  pthread_mutex_t strangers_lock;
  struct list strangers; /* of all loops, oldest first; under its lock, as is the count */
  unsigned stranger_count;
  /* Failed AUTHs by the hash of the address: the upper half is the second, the lower half the count
   * in it. */
  _Atomic uint64_t auth_failures[INSTANCE_AUTH_ADDRESSES];
  uint64_t address_seed;
  _Atomic int shutdown_wanted; /* enum instance_shutdown: SHUTDOWN was called */
  _Atomic bool draining;       /* nobody is granted a claim from here on; no CLIENT PAUSE */
  _Atomic bool leaving;        /* no command waits from here on */

  struct served_clock clock; /* the engines' */
  struct wall_clock wall;    /* sampled by the first loop */
  struct eras eras;          /* of the engines' clock, in unix time; set at the start */
  int64_t started_ms;        /* on the monotonic clock, as pause_until_ms */
  int64_t horizon_start_ms;  /* on the engines' clock: their memory of requests began */
  int port;                  /* that listens; 0 none */
  struct instance_tls tls;
  char run_id[41];
  int64_t pause_until_ms; /* CLIENT PAUSE; 0 none. As options */
  bool pause_writes_only;
};

#endif
