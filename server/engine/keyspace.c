/* keyspace.c - see keyspace.h. */
#include "server/engine/keyspace.h"

#include <assert.h>
#include <stdlib.h>

#include "server/engine/holding.h"
#include "server/engine/keys.h"
#include "server/engine/memory_limit.h"
#include "server/engine/regions.h"
#include "server/engine/tick.h"
#include "server/engine/waiter.h"

struct keyspace {
  unsigned loops, count;
  struct regions *regions;
  struct quotas *quotas;
  struct engine_common common;
  struct engine *engines[KEYSPACE_MAX_SHARDS];
  struct shard_errands errands[KEYSPACE_MAX_LOOPS];
  struct shard shards[KEYSPACE_MAX_SHARDS];
};

static bool alone(const struct keyspace *keyspace) { return keyspace->loops == 1; }

/* ---- life ---- */

static bool add_shard(struct keyspace *keyspace, const struct engine_options *options,
                      int64_t now_ms) {
  unsigned number = keyspace->count;
  struct shard *shard = &keyspace->shards[number];
  const struct shard as = {
      .errands = keyspace->errands, .loops = keyspace->loops, .number = number, .now_ms = now_ms};
  if (!shard_init(shard, &as, options)) return false;
  keyspace->engines[number] = shard_engine(shard);
  keyspace->count++;
  return true;
}

static unsigned shards_for(unsigned loops) {
  if (loops == 1) return 1;
  unsigned shards = loops * KEYSPACE_SHARDS_PER_LOOP;
  return shards < KEYSPACE_MAX_SHARDS ? shards : KEYSPACE_MAX_SHARDS;
}

static void init(struct keyspace *keyspace, unsigned loops, uint64_t first_token) {
  keyspace->loops = loops;
  keyspace->count = 0;
  keyspace->regions = regions_create();
  keyspace->quotas = NULL;
  keyspace->common =
      (struct engine_common){.engines = keyspace->engines, .count = shards_for(loops)};
  atomic_init(&keyspace->common.next_token, first_token);
  for (unsigned loop = 0; loop < loops; loop++) {
    atomic_init(&keyspace->errands[loop].ready, 0);
    atomic_init(&keyspace->errands[loop].due_ms, INT64_MAX);
  }
}

struct keyspace *keyspace_create(const struct engine_options *options, unsigned loops,
                                 int64_t now_ms) {
  assert(loops >= 1 && loops <= KEYSPACE_MAX_LOOPS);
  struct keyspace *keyspace = aligned_alloc(SHARD_CACHE_LINE_BYTES, sizeof *keyspace);
  if (keyspace == NULL) return NULL;
  init(keyspace, loops, options->first_token);
  struct engine_options each = *options;
  each.common = loops == 1 ? NULL : &keyspace->common;
  each.regions = keyspace->regions;
  each.shards = keyspace->common.count;
  while (keyspace->count < keyspace->common.count) {
    each.shard = keyspace->count;
    if (add_shard(keyspace, &each, now_ms)) continue;
    keyspace_destroy(keyspace);
    return NULL;
  }
  for (unsigned i = 0; i < keyspace->count; i++) memory_limit_publish(keyspace->engines[i]);
  return keyspace;
}

void keyspace_destroy(struct keyspace *keyspace) {
  if (keyspace == NULL) return;
  for (unsigned i = 0; i < keyspace->count; i++) shard_deinit(&keyspace->shards[i]);
  regions_destroy(keyspace->regions);
  quotas_destroy(keyspace->quotas);
  free(keyspace);
}

bool keyspace_count_users(struct keyspace *keyspace) {
  keyspace->quotas = quotas_create();
  if (keyspace->quotas == NULL) return false;
  for (unsigned i = 0; i < keyspace->count; i++)
    holding_begin(keyspace->engines[i], keyspace->quotas);
  return true;
}

struct quotas *keyspace_quotas(struct keyspace *keyspace) {
  return keyspace->quotas;
}

/* ---- which shard ---- */

unsigned keyspace_shards(const struct keyspace *keyspace) { return keyspace->count; }

struct shard *keyspace_shard(struct keyspace *keyspace, unsigned number) {
  assert(number < keyspace->count);
  return &keyspace->shards[number];
}

struct shard *keyspace_find_name(struct keyspace *keyspace, const struct name *name) {
  if (alone(keyspace)) return &keyspace->shards[0];
  return &keyspace->shards[name_shard(name->hash, keyspace->count)];
}

struct shard *keyspace_find(struct keyspace *keyspace, struct span key) {
  if (alone(keyspace)) return &keyspace->shards[0];
  struct name name;
  keyspace_name(keyspace, key, &name);
  return keyspace_find_name(keyspace, &name);
}

void keyspace_name(const struct keyspace *keyspace, struct span key, struct name *name) {
  name_of(keyspace->engines[0], key, name);
}

bool keyspace_exceeds_cache(const struct keyspace *keyspace) {
  return keys_exceed_cache(keyspace->engines[0], keyspace->count);
}

void keyspace_prefetch(const struct keyspace *keyspace, const struct name *name) {
  unsigned number = alone(keyspace) ? 0 : name_shard(name->hash, keyspace->count);
  keys_prefetch(keyspace->engines[number], name);
}

void keyspace_prefetch_chain(struct keyspace *keyspace, const struct name *name) {
  if (alone(keyspace)) {
    keys_prefetch_chain(keyspace->engines[0], name);
  } else {
    shard_prefetch_chain(keyspace_find_name(keyspace, name), name);
  }
}

void keyspace_prefetch_entry(struct keyspace *keyspace, const struct name *name) {
  if (alone(keyspace)) {
    keys_prefetch_entry(keyspace->engines[0], name);
  } else {
    shard_prefetch_entry(keyspace_find_name(keyspace, name), name);
  }
}

/* ---- all shards ---- */

void keyspace_lock_all(struct keyspace *keyspace) {
  for (unsigned i = 0; i < keyspace->count; i++) {
    int64_t now_ms = 0; /* keyspace_see_time sets the time */
    shard_lock(&keyspace->shards[i], &now_ms);
  }
}

/* The second pass is for the shards that were read before the latest time was known. */
void keyspace_see_time(struct keyspace *keyspace, int64_t *now_ms) {
  for (unsigned i = 0; i < keyspace->count; i++) shard_see_time(&keyspace->shards[i], now_ms);
  for (unsigned i = 0; i < keyspace->count; i++) shard_see_time(&keyspace->shards[i], now_ms);
}

uint64_t keyspace_unlock_all(struct keyspace *keyspace) {
  uint64_t to_wake = 0;
  for (unsigned i = 0; i < keyspace->count; i++) to_wake |= shard_unlock(&keyspace->shards[i]);
  return to_wake;
}

/* ---- what a loop has to do ---- */

uint64_t keyspace_take_ready(struct keyspace *keyspace, unsigned loop) {
  if (!keyspace_has_ready(keyspace, loop)) return 0;
  return alone(keyspace) ? 1 : atomic_exchange(&keyspace->errands[loop].ready, 0);
}

void keyspace_still_ready(struct keyspace *keyspace, unsigned loop, uint64_t shards) {
  if (!alone(keyspace) && shards != 0) atomic_fetch_or(&keyspace->errands[loop].ready, shards);
}

bool keyspace_has_ready(const struct keyspace *keyspace, unsigned loop) {
  if (alone(keyspace)) return waiter_ready_loops(keyspace->engines[0]) != 0;
  return atomic_load(&keyspace->errands[loop].ready) != 0;
}

int64_t keyspace_next_due(const struct keyspace *keyspace, unsigned loop) {
  if (alone(keyspace)) return tick_next_due_hint(keyspace->engines[0]);
  return atomic_load(&keyspace->errands[loop].due_ms);
}

/*
 * The loop's due time is reset before its shards are read, so that another loop's announcement in
 * between lowers it again. A shard that is due counts as announced for never, so that the unlock
 * after its tick announces when it is due next.
 */
uint64_t keyspace_take_due(struct keyspace *keyspace, unsigned loop, int64_t now_ms) {
  if (alone(keyspace)) return 1;
  struct shard_errands *errands = &keyspace->errands[loop];
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
  shard_errands_lower(errands, next_ms);
  return due;
}
