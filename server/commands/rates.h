/*
 * rates.h - how often something happened, lately: a ring of samples of counters, a sample every
 * RATES_EVERY_MS. For the charts of the status page.
 *
 * It must not know who looks. Invariants: at most RATES_SAMPLES are kept; a counter that was set to
 * 0 meanwhile (CONFIG RESETSTAT) counts from there. Called by the worker's own thread.
 */
#ifndef IDEM_SERVER_COMMANDS_RATES_H
#define IDEM_SERVER_COMMANDS_RATES_H

#include "server/commands/worker.h"

/* Ten minutes. */
#define RATES_SAMPLES 120u
#define RATES_EVERY_MS 5000

enum rates_kind { RATES_GRANTED, RATES_REPLAYED, RATES_MISMATCHED, RATES_STALE, RATES_KINDS };

struct rates_sample {
  uint64_t counts[RATES_KINDS]; /* of this sample alone */
  int64_t ms;                   /* its length */
};

struct rates {
  struct rates_sample samples[RATES_SAMPLES];
  unsigned next, count;
  uint64_t totals[RATES_KINDS]; /* at the last sample */
  int64_t sampled_ms;           /* when that was, on the monotonic clock */
  bool begun;
};

/* Zero-filled it is empty. Call it often: takes a sample when one is due. */
void rates_look(struct rates *rates, struct worker *worker);
/* Of the index-th kept sample, the oldest first: how often in a second. index < rates->count */
double rates_per_second(const struct rates *rates, enum rates_kind kind, unsigned index);

#endif
