/* stats.c - see stats.h. */
#include "server/engine/stats.h"

#include "server/engine/open_claims.h"

static void read_keys(const struct engine *engine, struct stats *stats) {
  for (unsigned phase = 0; phase <= RULES_DONE; phase++)
    stats->records += stats->phases[phase] = engine->counts[phase];
  stats->values = engine->counts[STATE_VALUE];
  stats->expiring = stats->phases[RULES_DONE] + engine->ending;
}

static void read_answers(const uint64_t answers[ENGINE_STATUSES], struct stats *stats) {
  stats->replayed = answers[ENGINE_DONE];
  stats->busy = answers[ENGINE_BUSY];
  stats->unknown = answers[ENGINE_UNKNOWN];
  stats->mismatched = answers[ENGINE_MISMATCH];
  stats->stale_absent = answers[ENGINE_STALE_ABSENT];
  stats->stale_stored = answers[ENGINE_STALE_STORED];
  stats->stale_overtaken = answers[ENGINE_STALE_OVERTAKEN];
  stats->stale = stats->stale_absent + stats->stale_stored + stats->stale_overtaken;
  stats->conflicts = answers[ENGINE_CONFLICT];
  stats->refused_memory = answers[ENGINE_OOM];
}

void stats_read(const struct engine *engine, struct stats *stats) {
  const struct state_counters *counters = &engine->counters;
  *stats = (struct stats){
      .waiters = engine->waiters,
      .memory_bytes = engine->memory.bytes,
      .memory_peak_bytes = engine->memory.peak_bytes,
      .granted = counters->granted,
      .granted_again = counters->granted_again,
      .handed_over = counters->handed_over,
      .taken_back = counters->taken_back,
      .stored = counters->stored,
      .renewed = counters->renewed,
      .released = counters->released,
      .lapsed = counters->lapsed,
      .became_unknown = counters->became_unknown,
      .expired = counters->expired,
      .forgotten = counters->forgotten,
      .waits_timed_out = counters->waits_timed_out,
  };
  read_keys(engine, stats);
  read_answers(engine->answers, stats);
}

static void raise_age(struct engine *engine, enum rules_phase phase, int64_t now_ms,
                      uint64_t *age_ms) {
  if (engine->counts[phase] == 0) return;
  const struct record *record =
      open_claims_oldest(&engine->open_claims, phase, engine->flushed_token);
  if (record == NULL || record_since_ms(record) >= now_ms) return;
  uint64_t age = (uint64_t)(now_ms - record_since_ms(record));
  if (age > *age_ms) *age_ms = age;
}

void stats_read_oldest(struct engine *engine, int64_t now_ms, struct stats *stats) {
  raise_age(engine, RULES_HELD, now_ms, &stats->oldest_held_ms);
  raise_age(engine, RULES_UNKNOWN, now_ms, &stats->oldest_unknown_ms);
}

_Static_assert(sizeof(struct stats) % sizeof(uint64_t) == 0, "added up as numbers");

void stats_add(struct stats *sum, const struct stats *stats) {
  uint64_t *to = (void *)sum;
  const uint64_t *from = (const void *)stats;
  for (size_t i = 0; i < sizeof *stats / sizeof *from; i++) to[i] += from[i];
}

void stats_reset(struct engine *engine) {
  engine->counters = (struct state_counters){0};
  memset(engine->answers, 0, sizeof engine->answers);
  engine->memory.peak_bytes = engine->memory.bytes;
}
