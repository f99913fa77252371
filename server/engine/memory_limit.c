/* memory_limit.c - see memory_limit.h. */
#include "server/engine/memory_limit.h"

#include "server/engine/state.h"
#include "server/engine/sweep.h"

size_t memory_limit_reserve(size_t store_reserve) {
  return store_reserve == 0 ? 0 : response_log_alone_bytes(store_reserve);
}

/* ---- this engine and the others ---- */

static int64_t demand_of(const struct engine *engine) {
  uint64_t held = engine->counts[RULES_HELD];
  return (int64_t)(engine->memory.bytes + held * engine->claim_reserve);
}

/* An engine adds its change to the common sum when it is at least this much: the sum is written
 * rarely, and is right within this much for each engine. */
#define DEMAND_GRAIN_BYTES (64 * 1024)

void memory_limit_publish(struct engine *engine) {
  struct engine_common *common = engine->options.common;
  if (common == NULL || engine->options.memory_limit == 0) return;
  int64_t demand = engine->sweeping ? 0 : demand_of(engine);
  atomic_store_explicit(&engine->demand_bytes, demand, memory_order_relaxed);
  int64_t change = demand - engine->counted_bytes;
  if (change > -DEMAND_GRAIN_BYTES && change < DEMAND_GRAIN_BYTES) return;
  atomic_fetch_add_explicit(&common->demand_bytes, change, memory_order_relaxed);
  engine->counted_bytes = demand;
}

/* What the other engines take, without those that are sweeping. Near the limit each engine's figure
 * is read, since the sum is not exact enough there. */
static int64_t demand_of_others(const struct engine *engine, int64_t own) {
  const struct engine_common *common = engine->options.common;
  if (common == NULL) return 0;
  int64_t most = atomic_load_explicit(&common->demand_bytes, memory_order_relaxed) -
                 engine->counted_bytes + (int64_t)common->count * DEMAND_GRAIN_BYTES;
  if (most + own <= (int64_t)engine->options.memory_limit) return most;
  int64_t sum = 0;
  for (unsigned i = 0; i < common->count; i++) {
    if (common->engines[i] == engine) continue;
    sum += atomic_load_explicit(&common->engines[i]->demand_bytes, memory_order_relaxed);
  }
  return sum;
}

/* ---- making room ---- */

#define SWEPT_PER_ENTRY 8u
#define FREED_AT_ONCE 256u /* entries looked at */

static void free_some(struct engine *engine, int64_t now_ms) {
  unsigned budget = FREED_AT_ONCE;
  sweep_sparse(engine, now_ms, &budget);
  sweep_flushed(engine, now_ms, &budget);
}

/* Not inlined: without a limit no call pays for its registers. */
static __attribute__((noinline)) bool make_room(struct engine *engine,
                                                struct memory_limit_demand more, int64_t now_ms) {
  const struct engine_options *options = &engine->options;
  /* While it sweeps it counts as empty for the other engines, so it must not grow meanwhile. */
  if (engine->sweeping && options->common != NULL) {
    unsigned budget = SWEPT_PER_ENTRY;
    sweep_flushed(engine, now_ms, &budget);
  }
  for (;;) {
    int64_t own =
        demand_of(engine) + (int64_t)more.bytes + (more.claim ? (int64_t)engine->claim_reserve : 0);
    if (own + demand_of_others(engine, own) <= (int64_t)options->memory_limit) return true;
    if (!sweep_is_needed(engine) || sweep_is_full(engine)) return false;
    free_some(engine, now_ms);
  }
}

bool memory_limit_make_room(struct engine *engine, struct memory_limit_demand more,
                            int64_t now_ms) {
  return engine->options.memory_limit == 0 || make_room(engine, more, now_ms);
}

size_t memory_limit_room(const struct engine *engine, size_t freed_bytes) {
  if (engine->options.memory_limit == 0) return SIZE_MAX;
  int64_t own = demand_of(engine) - (int64_t)freed_bytes;
  int64_t room = (int64_t)engine->options.memory_limit - own - demand_of_others(engine, own);
  return room > 0 ? (size_t)room : 0;
}

void memory_limit_relieve(struct engine *engine, int64_t now_ms) {
  if (sweep_is_needed(engine) && memory_limit_room(engine, 0) < RESPONSE_LOG_ROOM_BYTES)
    free_some(engine, now_ms);
}
