/* rates.c - see rates.h. */
#include "server/commands/rates.h"

#include "server/commands/shards.h"

static void read_totals(struct worker *worker, uint64_t totals[RATES_KINDS]) {
  struct stats stats;
  shards_stats(worker, &stats);
  totals[RATES_GRANTED] = stats.granted + stats.handed_over;
  totals[RATES_REPLAYED] = stats.replayed;
  totals[RATES_MISMATCHED] = stats.mismatched;
  totals[RATES_STALE] = stats.stale;
}

static void add(struct rates *rates, const uint64_t totals[RATES_KINDS], int64_t ms) {
  struct rates_sample *sample = &rates->samples[rates->next];
  sample->ms = ms;
  for (unsigned i = 0; i < RATES_KINDS; i++) {
    bool was_reset = totals[i] < rates->totals[i];
    sample->counts[i] = was_reset ? totals[i] : totals[i] - rates->totals[i];
  }
  rates->next = (rates->next + 1) % RATES_SAMPLES;
  if (rates->count < RATES_SAMPLES) rates->count++;
}

void rates_look(struct rates *rates, struct worker *worker) {
  int64_t ms = worker->monotonic_ms - rates->sampled_ms;
  if (rates->begun && ms < RATES_EVERY_MS) return;
  uint64_t totals[RATES_KINDS];
  read_totals(worker, totals);
  if (rates->begun) add(rates, totals, ms);
  for (unsigned i = 0; i < RATES_KINDS; i++) rates->totals[i] = totals[i];
  rates->sampled_ms = worker->monotonic_ms;
  rates->begun = true;
}

double rates_per_second(const struct rates *rates, enum rates_kind kind, unsigned index) {
  unsigned oldest = (rates->next + RATES_SAMPLES - rates->count) % RATES_SAMPLES;
  const struct rates_sample *sample = &rates->samples[(oldest + index) % RATES_SAMPLES];
  return (double)sample->counts[kind] * 1000 / (double)sample->ms;
}
