/* access.c - see access.h. */
#include "server/commands/access.h"

#include <assert.h>

#include "server/commands/effects.h"
#include "server/commands/inbox.h"
#include "server/commands/journaling.h"
#include "server/engine/effect.h"
#include "server/engine/memory_limit.h"

static void wake_others(struct worker *worker, uint64_t loops) {
  loops &= ~(UINT64_C(1) << worker->number);
  if (loops != 0) worker->instance->wake(worker->instance, loops);
}

/* Tested here once, rather than in each step. */
static bool alone(const struct worker *worker) { return worker->instance->worker_count == 1; }

/* After waiting for another loop: a lease must not begin in the past. */
static void see_time(struct worker *worker, int64_t *now_ms) {
  if (alone(worker)) return;
  worker->instance->see_time(worker);
  *now_ms = worker->now_ms;
}

static struct engine *lock(struct worker *worker, struct shard *shard, int64_t *now_ms) {
  if (worker->holds_all || alone(worker)) return shard_engine(shard);
  struct engine *engine = shard_try_lock(shard, now_ms);
  if (engine != NULL) return engine;
  engine = shard_lock(shard, now_ms);
  see_time(worker, now_ms);
  shard_see_time(shard, now_ms);
  return engine;
}

struct engine *access_lock_shared(struct worker *worker, struct shard *shard, int64_t *now_ms) {
  struct engine *engine = lock(worker, shard, now_ms);
  if (worker->journal != NULL) journaling_attach(worker, engine);
  return engine;
}

/* Before anybody can learn of it. */
static inline void append(struct worker *worker) {
  if (worker->outbox.len > 0) journaling_append(worker);
}

void access_unlock_shared(struct worker *worker, struct shard *shard) {
  struct engine *engine = shard_engine(shard);
  if (!worker->holds_all) append(worker);
  if (effect_any(engine)) effects_post(worker, engine);
  if (alone(worker)) return;
  if (worker->holds_all) {
    memory_limit_publish(engine); /* for the other shards' commands in EXEC */
  } else {
    wake_others(worker, shard_unlock(shard));
  }
}

static void attach_all(struct worker *worker) {
  struct keyspace *keyspace = worker->instance->keyspace;
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++)
    journaling_attach(worker, shard_engine(keyspace_shard(keyspace, i)));
}

void access_lock_all(struct worker *worker, int64_t *now_ms) {
  assert(!worker->holds_all);
  keyspace_lock_all(worker->instance->keyspace);
  see_time(worker, now_ms);
  keyspace_see_time(worker->instance->keyspace, now_ms);
  worker->holds_all = true;
  if (worker->journal != NULL) attach_all(worker);
}

void access_unlock_all(struct worker *worker) {
  struct keyspace *keyspace = worker->instance->keyspace;
  assert(worker->holds_all);
  worker->holds_all = false;
  append(worker);
  inbox_release(worker);
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++) {
    struct engine *engine = shard_engine(keyspace_shard(keyspace, i));
    if (effect_any(engine)) effects_post(worker, engine);
  }
  wake_others(worker, keyspace_unlock_all(keyspace));
}

void access_pause_others(struct worker *worker) {
  assert(!worker->holds_all && !worker->others_paused);
  if (!alone(worker)) worker->instance->pause_others(worker);
  worker->others_paused = true;
}

void access_resume_others(struct worker *worker) {
  assert(worker->others_paused);
  worker->others_paused = false;
  if (!alone(worker)) worker->instance->resume_others(worker);
}
