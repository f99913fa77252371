/* worker.c - see worker.h. */
#include "server/commands/worker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "server/commands/command.h"
#include "server/commands/inbox.h"
#include "server/commands/pubsub.h"
#include "server/commands/slowlog.h"
#include "server/commands/task.h"

static bool make_run_id(char id[41]) {
  unsigned char random[20];
  if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) return false;
  for (size_t i = 0; i < sizeof random; i++) snprintf(id + 2 * i, 3, "%02x", random[i]);
  return true;
}

bool instance_init(struct instance *instance, struct keyspace *keyspace, struct options *options,
                   struct log *log, int64_t now_ms) {
  *instance = (struct instance){
      .keyspace = keyspace,
      .options = options,
      .log = log,
      .started_ms = now_ms,
      .commands = command_index_create(),
      .slowlog = slowlog_create(),
  };
  atomic_init(&instance->next_session_id, 1);
  pthread_mutex_init(&instance->strangers_lock, NULL);
  list_init(&instance->strangers);
  if (instance->commands != NULL && instance->slowlog != NULL && make_run_id(instance->run_id) &&
      getrandom(&instance->address_seed, sizeof instance->address_seed, 0) ==
          (ssize_t)sizeof instance->address_seed)
    return true;
  instance_deinit(instance);
  return false;
}

void instance_deinit(struct instance *instance) {
  command_index_destroy(instance->commands);
  slowlog_destroy(instance->slowlog);
  pthread_mutex_destroy(&instance->strangers_lock);
}

bool worker_init(struct worker *worker, struct instance *instance, int64_t now_ms) {
  assert(instance->worker_count < KEYSPACE_MAX_LOOPS);
  *worker = (struct worker){
      .instance = instance,
      .number = instance->worker_count,
      .options = instance->options,
      .log = instance->log,
      .commands = instance->commands,
      .slowlog = instance->slowlog,
      .now_ms = now_ms,
      .unasked_bytes = request_least_limit(&instance->options->limits),
      .stats = calloc(COMMAND_COUNT, sizeof *worker->stats),
      .pubsub = pubsub_create(),
      .inbox = inbox_create(),
      .spare_outputs = calloc(WORKER_SPARE_OUTPUTS, sizeof *worker->spare_outputs),
  };
  list_init(&worker->sessions);
  list_init(&worker->unsent);
  list_init(&worker->tasks);
  list_init(&worker->cursors);
  list_init(&worker->delayed);
  list_init(&worker->evicted);
  bool made = worker->stats != NULL && worker->pubsub != NULL && worker->inbox != NULL &&
              worker->spare_outputs != NULL;
  if (made) {
    instance->workers[instance->worker_count++] = worker;
    return true;
  }
  worker_deinit(worker);
  *worker = (struct worker){0};
  return false;
}

static void output_destroy(struct resp_output *out) {
  resp_output_deinit(out);
  free(out);
}

void worker_deinit(struct worker *worker) {
  task_destroy_all(worker);
  free(worker->stats);
  pubsub_destroy(worker->pubsub);
  inbox_destroy(worker->inbox);
  while (worker->spare_count > 0) output_destroy(worker->spare_outputs[--worker->spare_count]);
  free(worker->spare_outputs);
}

/* ---- engines ---- */

static void wake_others(struct worker *worker, uint64_t loops) {
  loops &= ~(UINT64_C(1) << worker->number);
  if (loops != 0) worker->instance->wake(worker->instance, loops);
}

/* One host has one shard, which nobody else uses: there is nothing to lock or to tell, and the
 * shard's time is the host's. Asked here, so that it is one question and not one at each step. */
static bool alone(const struct worker *worker) { return worker->instance->worker_count == 1; }

/* Behind a wait for others: a lease must not begin in the past. */
static void see_time(struct worker *worker, int64_t *now_ms) {
  if (alone(worker)) return;
  worker->instance->see_time(worker);
  *now_ms = worker->now_ms;
}

struct engine *worker_lock(struct worker *worker, struct shard *shard, int64_t *now_ms) {
  if (worker->holds_all || alone(worker)) return shard_engine(shard);
  struct engine *engine = shard_try_lock(shard, now_ms);
  if (engine != NULL) return engine;
  engine = shard_lock(shard, now_ms);
  see_time(worker, now_ms);
  shard_see_time(shard, now_ms);
  return engine;
}

void worker_unlock(struct worker *worker, struct shard *shard) {
  struct engine *engine = shard_engine(shard);
  if (engine_has_effects(engine)) pubsub_tell_effects(worker, engine);
  if (alone(worker)) return;
  if (worker->holds_all) {
    engine_publish(engine); /* for the other shards' commands in EXEC */
  } else {
    wake_others(worker, shard_unlock(shard));
  }
}

void worker_lock_all(struct worker *worker, int64_t *now_ms) {
  assert(!worker->holds_all);
  keyspace_lock_all(worker->instance->keyspace);
  see_time(worker, now_ms);
  keyspace_see_time(worker->instance->keyspace, now_ms);
  worker->holds_all = true;
}

void worker_unlock_all(struct worker *worker) {
  struct keyspace *keyspace = worker->instance->keyspace;
  assert(worker->holds_all);
  worker->holds_all = false;
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++) {
    struct engine *engine = shard_engine(keyspace_shard(keyspace, i));
    if (engine_has_effects(engine)) pubsub_tell_effects(worker, engine);
  }
  wake_others(worker, keyspace_unlock_all(keyspace));
}

void worker_pause_others(struct worker *worker) {
  assert(!worker->holds_all && !worker->others_paused);
  if (worker->instance->worker_count > 1) worker->instance->pause_others(worker);
  worker->others_paused = true;
}

void worker_resume_others(struct worker *worker) {
  assert(worker->others_paused);
  worker->others_paused = false;
  if (worker->instance->worker_count > 1) worker->instance->resume_others(worker);
}

void worker_tick(struct worker *worker, unsigned steps) {
  struct keyspace *keyspace = worker->instance->keyspace;
  assert(steps >= WORKER_TICK_LEAST);
  uint64_t due = keyspace_take_due(keyspace, worker->number, worker->now_ms);
  if (due == 0) return;
  unsigned share = steps / (unsigned)__builtin_popcountll(due);
  for (; due != 0; due &= due - 1) {
    struct shard *shard = keyspace_shard(keyspace, (unsigned)__builtin_ctzll(due));
    int64_t now_ms = worker->now_ms;
    engine_tick(worker_lock(worker, shard, &now_ms), now_ms, share);
    worker_unlock(worker, shard);
  }
}

void worker_engine_stats(struct worker *worker, struct engine_stats *sum) {
  struct keyspace *keyspace = worker->instance->keyspace;
  *sum = (struct engine_stats){0};
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++) {
    struct shard *shard = keyspace_shard(keyspace, i);
    int64_t now_ms = worker->now_ms;
    struct engine_stats stats;
    engine_stats(worker_lock(worker, shard, &now_ms), &stats);
    worker_unlock(worker, shard);
    engine_stats_add(sum, &stats);
  }
}

/* ---- outputs ---- */

struct resp_output *worker_output_take(struct worker *worker) {
  if (worker->spare_count > 0) return worker->spare_outputs[--worker->spare_count];
  return calloc(1, sizeof(struct resp_output));
}

void worker_release(struct counted *counted) {
  if (--counted->references == 0) free(counted);
}

void worker_output_unpin(struct worker *worker, struct resp_output *out, size_t first) {
  for (size_t i = first; i < out->ref_count; i++) {
    int64_t now_ms = worker->now_ms;
    if (out->refs[i].keeper == NULL) {
      worker_release(out->refs[i].pin);
      continue;
    }
    struct engine *engine = worker_lock(worker, out->refs[i].keeper, &now_ms);
    engine_unpin(engine, out->refs[i].pin);
    worker_unlock(worker, out->refs[i].keeper);
  }
}

void worker_received_free(struct worker *worker, struct received *received) {
  if (received->piece.taken == NULL) {
    free(received->piece.bytes);
  } else {
    int64_t now_ms = worker->now_ms;
    engine_unpin(worker_lock(worker, received->keeper, &now_ms), received->piece.taken);
    worker_unlock(worker, received->keeper);
  }
  *received = (struct received){0};
}

void worker_output_give(struct worker *worker, struct resp_output *out) {
  if (worker->spare_count == WORKER_SPARE_OUTPUTS || out->capacity > WORKER_SPARE_BYTES) {
    output_destroy(out);
    return;
  }
  resp_output_reset(out);
  worker->spare_outputs[worker->spare_count++] = out;
}
