/* stats.c - see stats.h. */
#include "server/engine/stats.h"

#include "server/engine/state.h"

static void read_keys(const struct engine *engine, struct stats *stats) {
  for (unsigned phase = 0; phase <= RULES_DONE; phase++)
    stats->records += stats->phases[phase] = engine->counts[phase];
  stats->values = engine->counts[STATE_VALUE];
  stats->expiring = stats->records - stats->phases[RULES_HELD] + engine->values_ending;
}

static void read_answers(const uint64_t answers[ENGINE_STATUSES], struct stats *stats) {
  stats->replayed = answers[ENGINE_DONE];
  stats->busy = answers[ENGINE_BUSY];
  stats->unknown = answers[ENGINE_UNKNOWN];
  stats->mismatched = answers[ENGINE_MISMATCH];
  stats->stale = answers[ENGINE_STALE];
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
      .expired = counters->expired,
      .waits_timed_out = counters->waits_timed_out,
  };
  read_keys(engine, stats);
  read_answers(engine->answers, stats);
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
