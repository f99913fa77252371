/* host.c - see host.h. */
#include "server/commands/host.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "server/commands/command.h"
#include "server/commands/inbox.h"
#include "server/commands/pubsub.h"
#include "server/commands/slowlog.h"
#include "server/commands/task.h"

uint64_t host_clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool make_run_id(char id[41]) {
  unsigned char random[20];
  if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) return false;
  for (size_t i = 0; i < sizeof random; i++) snprintf(id + 2 * i, 3, "%02x", random[i]);
  return true;
}

bool shared_init(struct shared *shared, struct keyspace *keyspace, struct options *options,
                 struct log *log, int64_t now_ms) {
  *shared = (struct shared){
      .keyspace = keyspace,
      .options = options,
      .log = log,
      .started_ms = now_ms,
      .commands = command_index_create(),
      .slowlog = slowlog_create(),
  };
  atomic_init(&shared->next_client_id, 1);
  pthread_mutex_init(&shared->strangers_lock, NULL);
  list_init(&shared->strangers);
  if (shared->commands != NULL && shared->slowlog != NULL && make_run_id(shared->run_id) &&
      getrandom(&shared->address_seed, sizeof shared->address_seed, 0) ==
          (ssize_t)sizeof shared->address_seed)
    return true;
  shared_deinit(shared);
  return false;
}

void shared_deinit(struct shared *shared) {
  command_index_destroy(shared->commands);
  slowlog_destroy(shared->slowlog);
  pthread_mutex_destroy(&shared->strangers_lock);
}

bool host_init(struct host *host, struct shared *shared, int64_t now_ms) {
  assert(shared->host_count < KEYSPACE_MAX_LOOPS);
  *host = (struct host){
      .shared = shared,
      .number = shared->host_count,
      .options = shared->options,
      .log = shared->log,
      .commands = shared->commands,
      .slowlog = shared->slowlog,
      .now_ms = now_ms,
      .unasked_bytes = command_unasked_bytes(shared->options),
      .stats = calloc(COMMAND_COUNT, sizeof *host->stats),
      .pubsub = pubsub_create(),
      .inbox = inbox_create(),
      .spare_outputs = calloc(HOST_SPARE_OUTPUTS, sizeof *host->spare_outputs),
  };
  list_init(&host->clients);
  list_init(&host->unsent);
  list_init(&host->tasks);
  list_init(&host->cursors);
  list_init(&host->delayed);
  list_init(&host->evicted);
  bool made = host->stats != NULL && host->pubsub != NULL && host->inbox != NULL &&
              host->spare_outputs != NULL;
  if (made) {
    shared->hosts[shared->host_count++] = host;
    return true;
  }
  host_deinit(host);
  *host = (struct host){0};
  return false;
}

static void output_destroy(struct resp_output *out) {
  resp_output_deinit(out);
  free(out);
}

void host_deinit(struct host *host) {
  task_destroy_all(host);
  free(host->stats);
  pubsub_destroy(host->pubsub);
  inbox_destroy(host->inbox);
  while (host->spare_count > 0) output_destroy(host->spare_outputs[--host->spare_count]);
  free(host->spare_outputs);
}

/* ---- engines ---- */

static void wake_others(struct host *host, uint64_t loops) {
  loops &= ~(UINT64_C(1) << host->number);
  if (loops != 0) host->shared->wake(host->shared, loops);
}

/* One host has one shard, which nobody else uses: there is nothing to lock or to tell, and the
 * shard's time is the host's. Asked here, so that it is one question and not one at each step. */
static bool alone(const struct host *host) { return host->shared->host_count == 1; }

/* Behind a wait for others: a lease must not begin in the past. */
static void see_time(struct host *host, int64_t *now_ms) {
  if (alone(host)) return;
  host->shared->see_time(host);
  *now_ms = host->now_ms;
}

struct engine *host_lock(struct host *host, struct shard *shard, int64_t *now_ms) {
  if (host->holds_all || alone(host)) return shard_engine(shard);
  struct engine *engine = shard_try_lock(shard, now_ms);
  if (engine != NULL) return engine;
  engine = shard_lock(shard, now_ms);
  see_time(host, now_ms);
  shard_see_time(shard, now_ms);
  return engine;
}

void host_unlock(struct host *host, struct shard *shard) {
  struct engine *engine = shard_engine(shard);
  if (engine_has_effects(engine)) pubsub_tell_effects(host, engine);
  if (alone(host)) return;
  if (host->holds_all) {
    engine_publish(engine); /* for the other shards' commands in EXEC */
  } else {
    wake_others(host, shard_unlock(shard));
  }
}

void host_lock_all(struct host *host, int64_t *now_ms) {
  assert(!host->holds_all);
  keyspace_lock_all(host->shared->keyspace);
  see_time(host, now_ms);
  keyspace_see_time(host->shared->keyspace, now_ms);
  host->holds_all = true;
}

void host_unlock_all(struct host *host) {
  struct keyspace *keyspace = host->shared->keyspace;
  assert(host->holds_all);
  host->holds_all = false;
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++) {
    struct engine *engine = shard_engine(keyspace_shard(keyspace, i));
    if (engine_has_effects(engine)) pubsub_tell_effects(host, engine);
  }
  wake_others(host, keyspace_unlock_all(keyspace));
}

void host_stop_others(struct host *host) {
  assert(!host->holds_all && !host->others_stopped);
  if (host->shared->host_count > 1) host->shared->stop_others(host);
  host->others_stopped = true;
}

void host_go_on(struct host *host) {
  assert(host->others_stopped);
  host->others_stopped = false;
  if (host->shared->host_count > 1) host->shared->go_on(host);
}

void host_tick(struct host *host, unsigned steps) {
  struct keyspace *keyspace = host->shared->keyspace;
  assert(steps >= HOST_TICK_LEAST);
  uint64_t due = keyspace_take_due(keyspace, host->number, host->now_ms);
  if (due == 0) return;
  unsigned share = steps / (unsigned)__builtin_popcountll(due);
  for (; due != 0; due &= due - 1) {
    struct shard *shard = keyspace_shard(keyspace, (unsigned)__builtin_ctzll(due));
    int64_t now_ms = host->now_ms;
    engine_tick(host_lock(host, shard, &now_ms), now_ms, share);
    host_unlock(host, shard);
  }
}

void host_engine_stats(struct host *host, struct engine_stats *sum) {
  struct keyspace *keyspace = host->shared->keyspace;
  *sum = (struct engine_stats){0};
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++) {
    struct shard *shard = keyspace_shard(keyspace, i);
    int64_t now_ms = host->now_ms;
    struct engine_stats stats;
    engine_stats(host_lock(host, shard, &now_ms), &stats);
    host_unlock(host, shard);
    engine_stats_add(sum, &stats);
  }
}

/* ---- outputs ---- */

struct resp_output *host_output_take(struct host *host) {
  if (host->spare_count > 0) return host->spare_outputs[--host->spare_count];
  return calloc(1, sizeof(struct resp_output));
}

void host_release(struct counted *counted) {
  if (--counted->references == 0) free(counted);
}

void host_output_unpin(struct host *host, struct resp_output *out, size_t first) {
  for (size_t i = first; i < out->ref_count; i++) {
    int64_t now_ms = host->now_ms;
    if (out->refs[i].keeper == NULL) {
      host_release(out->refs[i].pin);
      continue;
    }
    struct engine *engine = host_lock(host, out->refs[i].keeper, &now_ms);
    engine_unpin(engine, out->refs[i].pin);
    host_unlock(host, out->refs[i].keeper);
  }
}

void host_received_free(struct host *host, struct received *received) {
  if (received->piece.taken == NULL) {
    free(received->piece.bytes);
  } else {
    int64_t now_ms = host->now_ms;
    engine_unpin(host_lock(host, received->keeper, &now_ms), received->piece.taken);
    host_unlock(host, received->keeper);
  }
  *received = (struct received){0};
}

void host_output_give(struct host *host, struct resp_output *out) {
  if (host->spare_count == HOST_SPARE_OUTPUTS || out->capacity > HOST_SPARE_BYTES) {
    output_destroy(out);
    return;
  }
  resp_output_reset(out);
  host->spare_outputs[host->spare_count++] = out;
}
