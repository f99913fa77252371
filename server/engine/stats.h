/*
 * stats.h - figures of an engine.
 *
 * It only reads: each room counts what happens in it. It must not know INFO, nor names or units of
 * metrics (engine_metrics.h). Invariants: what happens is counted once, whatever is undone or asked
 * again later; a counter since the start never falls, except to 0 by stats_reset.
 *
 * Only the thread that holds the engine calls; stats_add may be called by any thread.
 */
#ifndef IDEM_SERVER_ENGINE_STATS_H
#define IDEM_SERVER_ENGINE_STATS_H

#include <stdint.h>

#include "server/rules/rules.h"

struct engine;

struct stats {                     /* numbers only: stats_add adds them up as such */
  uint64_t records, values;        /* by kind; records in any phase */
  uint64_t expiring;               /* keys that end by themselves */
  uint64_t phases[RULES_DONE + 1]; /* records by enum rules_phase */
  uint64_t oldest_held_ms;         /* these two are set by stats_read_oldest only */
  uint64_t oldest_unknown_ms;
  uint64_t waiters;
  uint64_t memory_bytes, memory_peak_bytes; /* allocated for keys, bodies, waiters and the table;
                                               with allocator rounding */
  /* Since the start, or stats_reset. handed_over: when a waiter is settled, so without those that
   * were undone, which taken_back counts. lapsed: leases that expired, whatever came after. stale:
   * the sum of its kinds. */
  uint64_t granted, granted_again, handed_over, taken_back, replayed, busy, unknown, mismatched;
  uint64_t stored, stale, stale_absent, stale_stored, stale_overtaken, conflicts, renewed, released,
      lapsed, became_unknown, expired, forgotten, waits_timed_out, refused_memory;
};

/* Reads all of them, in O(1). */
void stats_read(const struct engine *engine, struct stats *stats);
/* Raises oldest_held_ms and oldest_unknown_ms to the ages of this engine's oldest: 0, if it has
 * none in that state. If very many other claims are older than it, too high an age may be read, and
 * less so in each further call (open_claims_oldest). */
void stats_read_oldest(struct engine *engine, int64_t now_ms, struct stats *stats);
/* Adds up all figures; the peaks too, though they may be of different times. */
void stats_add(struct stats *sum, const struct stats *stats);
/* Sets the counters since the start to 0, and the peak to what is taken now. */
void stats_reset(struct engine *engine);

#endif
