/* shards.c - see shards.h. */
#include "server/commands/shards.h"

#include <assert.h>

#include "server/commands/access.h"
#include "server/engine/effect.h"
#include "server/engine/engine.h"
#include "server/engine/stats.h"
#include "server/engine/tick.h"

void shards_tick(struct worker *worker, unsigned steps) {
  struct keyspace *keyspace = worker->instance->keyspace;
  assert(steps >= SHARDS_TICK_LEAST);
  uint64_t due = keyspace_take_due(keyspace, worker->number, worker->now_ms);
  if (due == 0) return;
  unsigned share = steps / (unsigned)__builtin_popcountll(due);
  for (; due != 0; due &= due - 1) {
    struct shard *shard = keyspace_shard(keyspace, (unsigned)__builtin_ctzll(due));
    int64_t now_ms = worker->now_ms;
    struct engine *engine = access_lock(worker, shard, &now_ms);
    tick_run(engine, now_ms, share);
    access_unlock(worker, shard);
  }
}

void shards_stats(struct worker *worker, struct stats *sum) {
  struct keyspace *keyspace = worker->instance->keyspace;
  *sum = (struct stats){0};
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++) {
    struct shard *shard = keyspace_shard(keyspace, i);
    int64_t now_ms = worker->now_ms;
    struct stats stats;
    stats_read(access_lock(worker, shard, &now_ms), &stats);
    access_unlock(worker, shard);
    stats_add(sum, &stats);
  }
}

void shards_oldest(struct worker *worker, struct stats *sum) {
  struct keyspace *keyspace = worker->instance->keyspace;
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++) {
    struct shard *shard = keyspace_shard(keyspace, i);
    int64_t now_ms = worker->now_ms;
    struct engine *engine = access_lock(worker, shard, &now_ms);
    stats_read_oldest(engine, now_ms, sum);
    access_unlock(worker, shard);
  }
}

void shards_stop_grants(struct worker *worker) {
  struct keyspace *keyspace = worker->instance->keyspace;
  int64_t now_ms = worker->now_ms;
  access_lock_all(worker, &now_ms);
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++) {
    struct shard *shard = keyspace_shard(keyspace, i);
    struct engine *engine = access_lock(worker, shard, &now_ms);
    engine_stop_grants(engine, now_ms);
    access_unlock(worker, shard);
  }
  access_unlock_all(worker);
}

/* If two workers change it at the same time, their order does not matter, since each reads the
 * count under the locks. A worker that begins to want effects sets all engines, even if another
 * worker began earlier, because that one may not have finished. */
void shards_want_effects(struct worker *worker, bool wanted) {
  struct instance *instance = worker->instance;
  if (wanted == atomic_load(&worker->wants_effects)) return;
  atomic_store(&worker->wants_effects, wanted);
  if (wanted) {
    atomic_fetch_add(&instance->effect_workers, 1);
  } else if (atomic_fetch_sub(&instance->effect_workers, 1) > 1) {
    return;
  }
  for (unsigned i = 0; i < keyspace_shards(instance->keyspace); i++) {
    struct shard *shard = keyspace_shard(instance->keyspace, i);
    int64_t now_ms = worker->now_ms;
    struct engine *engine = access_lock(worker, shard, &now_ms);
    effect_want(engine, atomic_load(&instance->effect_workers) > 0);
    access_unlock(worker, shard);
  }
}
