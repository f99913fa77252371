/* keyspace.c - see keyspace.h. */
#include "server/engine/keyspace.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "server/engine/regions.h"

#define CACHE_LINE_BYTES 64

struct shard {
  _Alignas(CACHE_LINE_BYTES) pthread_mutex_t lock;
  struct engine *engine;
  struct keyspace *keyspace;
  int64_t now_ms;               /* the latest that its engine was told */
  _Atomic int64_t announced_ms; /* the due time that its loop was last told */
  unsigned number;
};

struct errands { /* of one loop */
  _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t ready;
  _Atomic int64_t due_ms;
};

struct keyspace {
  unsigned loops, count;
  struct regions *regions;
  struct engine_common common;
  struct engine *engines[KEYSPACE_MAX_SHARDS];
  struct errands errands[KEYSPACE_MAX_LOOPS];
  struct shard shards[KEYSPACE_MAX_SHARDS];
};

static bool alone(const struct keyspace *keyspace) { return keyspace->loops == 1; }

/* ---- life ---- */

static bool shard_init(struct keyspace *keyspace, const struct engine_options *options,
                       int64_t now_ms) {
  struct shard *shard = &keyspace->shards[keyspace->count];
  *shard = (struct shard){.keyspace = keyspace, .now_ms = now_ms, .number = keyspace->count};
  shard->engine = engine_create(options, now_ms);
  if (shard->engine == NULL) return false;
  if (pthread_mutex_init(&shard->lock, NULL) != 0) {
    engine_destroy(shard->engine);
    return false;
  }
  atomic_init(&shard->announced_ms, INT64_MAX);
  keyspace->engines[keyspace->count++] = shard->engine;
  return true;
}

struct keyspace *keyspace_create(const struct engine_options *options, unsigned loops,
                                 int64_t now_ms) {
  assert(loops >= 1 && loops <= KEYSPACE_MAX_LOOPS);
  struct keyspace *keyspace = aligned_alloc(CACHE_LINE_BYTES, sizeof *keyspace);
  if (keyspace == NULL) return NULL;
  unsigned shards = loops == 1 ? 1 : loops * KEYSPACE_SHARDS_PER_LOOP;
  if (shards > KEYSPACE_MAX_SHARDS) shards = KEYSPACE_MAX_SHARDS;
  keyspace->loops = loops;
  keyspace->regions = regions_create();
  keyspace->count = 0;
  keyspace->common = (struct engine_common){.engines = keyspace->engines, .count = shards};
  atomic_init(&keyspace->common.next_token, options->first_token);
  struct engine_options each = *options;
  each.common = loops == 1 ? NULL : &keyspace->common;
  each.regions = keyspace->regions;
  for (unsigned loop = 0; loop < loops; loop++) {
    atomic_init(&keyspace->errands[loop].ready, 0);
    atomic_init(&keyspace->errands[loop].due_ms, INT64_MAX);
  }
  while (keyspace->count < shards) {
    if (shard_init(keyspace, &each, now_ms)) continue;
    keyspace_destroy(keyspace);
    return NULL;
  }
  for (unsigned i = 0; i < shards; i++) engine_publish(keyspace->engines[i]);
  return keyspace;
}

void keyspace_destroy(struct keyspace *keyspace) {
  if (keyspace == NULL) return;
  for (unsigned i = 0; i < keyspace->count; i++) {
    engine_destroy(keyspace->shards[i].engine);
    pthread_mutex_destroy(&keyspace->shards[i].lock);
  }
  regions_destroy(keyspace->regions);
  free(keyspace);
}

unsigned keyspace_shards(const struct keyspace *keyspace) { return keyspace->count; }

struct shard *keyspace_shard(struct keyspace *keyspace, unsigned number) {
  assert(number < keyspace->count);
  return &keyspace->shards[number];
}

struct shard *keyspace_find_name(struct keyspace *keyspace, const struct engine_name *name) {
  if (alone(keyspace)) return &keyspace->shards[0];
  return &keyspace->shards[(name->hash >> 32) * keyspace->count >> 32]; /* not the index's bits */
}

struct shard *keyspace_find(struct keyspace *keyspace, struct span key) {
  if (alone(keyspace)) return &keyspace->shards[0];
  struct engine_name name;
  keyspace_name(keyspace, key, &name);
  return keyspace_find_name(keyspace, &name);
}

void keyspace_name(const struct keyspace *keyspace, struct span key, struct engine_name *name) {
  engine_name_of(keyspace->engines[0], key, name);
}

unsigned shard_number(const struct shard *shard) { return shard->number; }

struct engine *shard_engine(struct shard *shard) {
  return shard->engine;
}

/* ---- locks ---- */

static void lock(struct shard *shard) {
  if (alone(shard->keyspace)) return;
  int error = pthread_mutex_lock(&shard->lock);
  assert(error == 0);
  (void)error;
}

static void unlock(struct shard *shard) {
  if (alone(shard->keyspace)) return;
  int error = pthread_mutex_unlock(&shard->lock);
  assert(error == 0);
  (void)error;
}

static bool try_lock(struct shard *shard) {
  return alone(shard->keyspace) || pthread_mutex_trylock(&shard->lock) == 0;
}

void keyspace_prefetch(struct keyspace *keyspace, const struct engine_name *name) {
  if (alone(keyspace)) {
    engine_prefetch(keyspace->engines[0], name);
    return;
  }
  struct shard *shard = keyspace_find_name(keyspace, name);
  if (!try_lock(shard)) return;
  engine_prefetch(shard->engine, name);
  unlock(shard);
}

void keyspace_prefetch_entry(struct keyspace *keyspace, const struct engine_name *name) {
  if (alone(keyspace)) {
    engine_prefetch_entry(keyspace->engines[0], name);
    return;
  }
  struct shard *shard = keyspace_find_name(keyspace, name);
  if (!try_lock(shard)) return;
  engine_prefetch_entry(shard->engine, name);
  unlock(shard);
}

void shard_see_time(struct shard *shard, int64_t *now_ms) {
  if (shard->now_ms < *now_ms) shard->now_ms = *now_ms;
  *now_ms = shard->now_ms;
}

struct engine *shard_lock(struct shard *shard, int64_t *now_ms) {
  lock(shard);
  shard_see_time(shard, now_ms);
  return shard->engine;
}

struct engine *shard_try_lock(struct shard *shard, int64_t *now_ms) {
  if (!try_lock(shard)) return NULL;
  shard_see_time(shard, now_ms);
  return shard->engine;
}

static void lower(_Atomic int64_t *least, int64_t value) {
  int64_t seen = atomic_load(least);
  while (value < seen && !atomic_compare_exchange_weak(least, &seen, value)) continue;
}

/* Waiters that are ready are told to their loops once until they have looked. */
static uint64_t tell_ready(struct shard *shard) {
  uint64_t told = 0, bit = UINT64_C(1) << shard->number;
  for (uint64_t loop_ids = engine_ready_loops(shard->engine); loop_ids != 0;
       loop_ids &= loop_ids - 1) {
    unsigned loop = (unsigned)__builtin_ctzll(loop_ids);
    uint64_t before = atomic_fetch_or(&shard->keyspace->errands[loop].ready, bit);
    if ((before & bit) == 0) told |= UINT64_C(1) << loop;
  }
  return told;
}

/* A deadline that is nearer than its loop knows is told; one that moved away is found out by a look
 * that was not needed. */
static uint64_t tell_due(struct shard *shard) {
  int64_t due_ms = engine_next_due_hint(shard->engine);
  if (due_ms >= atomic_load_explicit(&shard->announced_ms, memory_order_relaxed)) return 0;
  unsigned loop = shard->number % shard->keyspace->loops;
  atomic_store(&shard->announced_ms, due_ms);
  lower(&shard->keyspace->errands[loop].due_ms, due_ms);
  return UINT64_C(1) << loop;
}

static uint64_t tell(struct shard *shard) {
  engine_publish(shard->engine);
  return tell_ready(shard) | tell_due(shard);
}

uint64_t shard_unlock(struct shard *shard) {
  if (alone(shard->keyspace)) return 0;
  uint64_t told = tell(shard);
  unlock(shard);
  return told;
}

void keyspace_lock_all(struct keyspace *keyspace) {
  for (unsigned i = 0; i < keyspace->count; i++) lock(&keyspace->shards[i]);
}

void keyspace_see_time(struct keyspace *keyspace, int64_t *now_ms) {
  for (unsigned i = 0; i < keyspace->count; i++) {
    if (keyspace->shards[i].now_ms > *now_ms) *now_ms = keyspace->shards[i].now_ms;
  }
  for (unsigned i = 0; i < keyspace->count; i++) keyspace->shards[i].now_ms = *now_ms;
}

uint64_t keyspace_unlock_all(struct keyspace *keyspace) {
  uint64_t told = 0;
  for (unsigned i = 0; i < keyspace->count; i++) told |= shard_unlock(&keyspace->shards[i]);
  return told;
}

/* ---- what a loop has to do ---- */

uint64_t keyspace_take_ready(struct keyspace *keyspace, unsigned loop) {
  if (alone(keyspace)) return engine_ready_loops(keyspace->engines[0]) != 0;
  if (!keyspace_has_ready(keyspace, loop)) return 0;
  return atomic_exchange(&keyspace->errands[loop].ready, 0);
}

void keyspace_still_ready(struct keyspace *keyspace, unsigned loop, uint64_t shards) {
  if (!alone(keyspace) && shards != 0) atomic_fetch_or(&keyspace->errands[loop].ready, shards);
}

bool keyspace_has_ready(const struct keyspace *keyspace, unsigned loop) {
  if (alone(keyspace)) return engine_ready_loops(keyspace->engines[0]) != 0;
  return atomic_load(&keyspace->errands[loop].ready) != 0;
}

int64_t keyspace_next_due(const struct keyspace *keyspace, unsigned loop) {
  if (alone(keyspace)) return engine_next_due_hint(keyspace->engines[0]);
  return atomic_load(&keyspace->errands[loop].due_ms);
}

/*
 * The loop's due time is forgotten before its shards are asked: what another loop announces
 * meanwhile lowers it again. A shard that is due counts as announced for never, so that the unlock
 * behind its tick tells when it is due next.
 */
uint64_t keyspace_take_due(struct keyspace *keyspace, unsigned loop, int64_t now_ms) {
  if (alone(keyspace)) return 1;
  struct errands *errands = &keyspace->errands[loop];
  if (atomic_load(&errands->due_ms) > now_ms) return 0;
  atomic_store(&errands->due_ms, INT64_MAX);
  uint64_t due = 0;
  int64_t next_ms = INT64_MAX;
  for (unsigned i = loop; i < keyspace->count; i += keyspace->loops) {
    struct shard *shard = &keyspace->shards[i];
    int64_t announced_ms = atomic_load(&shard->announced_ms);
    if (announced_ms <= now_ms) {
      atomic_store(&shard->announced_ms, INT64_MAX);
      due |= UINT64_C(1) << i;
    } else if (announced_ms < next_ms) {
      next_ms = announced_ms;
    }
  }
  lower(&errands->due_ms, next_ms);
  return due;
}
