/* shard.c - see shard.h. */
#include "server/engine/shard.h"

#include <assert.h>

#include "server/engine/engine.h"
#include "server/engine/keys.h"
#include "server/engine/memory_limit.h"
#include "server/engine/tick.h"
#include "server/engine/waiter.h"

/* One loop: no other thread uses it. */
static bool alone(const struct shard *shard) { return shard->loops == 1; }

/* ---- life ---- */

bool shard_init(struct shard *shard, const struct shard *as, const struct engine_options *options) {
  *shard = (struct shard){
      .errands = as->errands, .loops = as->loops, .number = as->number, .now_ms = as->now_ms};
  shard->engine = engine_create(options, as->now_ms);
  if (shard->engine == NULL) return false;
  if (pthread_mutex_init(&shard->lock, NULL) != 0) {
    engine_destroy(shard->engine);
    return false;
  }
  atomic_init(&shard->announced_ms, INT64_MAX);
  return true;
}

void shard_deinit(struct shard *shard) {
  engine_destroy(shard->engine);
  pthread_mutex_destroy(&shard->lock);
}

unsigned shard_number(const struct shard *shard) { return shard->number; }

struct engine *shard_engine(struct shard *shard) {
  return shard->engine;
}

/* ---- locks ---- */

static void lock(struct shard *shard) {
  if (alone(shard)) return;
  int error = pthread_mutex_lock(&shard->lock);
  assert(error == 0);
  (void)error;
}

static void unlock(struct shard *shard) {
  int error = pthread_mutex_unlock(&shard->lock);
  assert(error == 0);
  (void)error;
}

static bool try_lock(struct shard *shard) { return pthread_mutex_trylock(&shard->lock) == 0; }

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
  if (!alone(shard) && !try_lock(shard)) return NULL;
  shard_see_time(shard, now_ms);
  return shard->engine;
}

/* ---- announcements to other loops ---- */

void shard_errands_lower(struct shard_errands *errands, int64_t due_ms) {
  int64_t seen = atomic_load(&errands->due_ms);
  while (due_ms < seen && !atomic_compare_exchange_weak(&errands->due_ms, &seen, due_ms)) continue;
}

/* Announces to a loop that its waiters are ready, once until it has looked. */
static uint64_t announce_ready(struct shard *shard) {
  uint64_t to_wake = 0, bit = UINT64_C(1) << shard->number;
  for (uint64_t loops = waiter_ready_loops(shard->engine); loops != 0; loops &= loops - 1) {
    unsigned loop = (unsigned)__builtin_ctzll(loops);
    uint64_t before = atomic_fetch_or(&shard->errands[loop].ready, bit);
    if ((before & bit) == 0) to_wake |= UINT64_C(1) << loop;
  }
  return to_wake;
}

/* Announces a deadline that is earlier than its loop knows. A later one is not announced: the loop
 * then looks once in vain. */
static uint64_t announce_due(struct shard *shard) {
  int64_t due_ms = tick_next_due_hint(shard->engine);
  if (due_ms >= atomic_load_explicit(&shard->announced_ms, memory_order_relaxed)) return 0;
  unsigned loop = shard->number % shard->loops;
  atomic_store(&shard->announced_ms, due_ms);
  shard_errands_lower(&shard->errands[loop], due_ms);
  return UINT64_C(1) << loop;
}

uint64_t shard_unlock(struct shard *shard) {
  if (alone(shard)) return 0;
  memory_limit_publish(shard->engine);
  uint64_t to_wake = announce_ready(shard) | announce_due(shard);
  unlock(shard);
  return to_wake;
}

/* ---- fetching ahead ---- */

void shard_prefetch_chain(struct shard *shard, const struct name *name) {
  if (!try_lock(shard)) return;
  keys_prefetch_chain(shard->engine, name);
  unlock(shard);
}

void shard_prefetch_entry(struct shard *shard, const struct name *name) {
  if (!try_lock(shard)) return;
  keys_prefetch_entry(shard->engine, name);
  unlock(shard);
}
