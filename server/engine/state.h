/*
 * state.h - the layout of an engine, for its own rooms. What it does is said in engine.h and in the
 * header of each room; outside this folder a struct engine has no inside.
 *
 * Invariants:
 *  - a record's timer is armed in `leases` while it is HELD, else in `ends` (values without an end:
 *    nowhere), and its deadline is the record's only one;
 *  - only a HELD record has waiters;
 *  - a waiter is in exactly one of: a record's queue, a ready list, the caller's hands;
 *  - memory.bytes counts every allocation of the engine.
 */
#ifndef IDEM_SERVER_ENGINE_STATE_H
#define IDEM_SERVER_ENGINE_STATE_H

#include "server/base/list.h"
#include "server/base/wheel.h"
#include "server/engine/engine_answer.h"
#include "server/engine/engine_options.h"
#include "server/engine/index.h"
#include "server/engine/memory.h"
#include "server/engine/response_log.h"
#include "server/rules/rules.h"

#define STATE_VALUE (RULES_DONE + 1) /* beside enum rules_phase: a plain value */

struct effect_kept;

/* Since the start or stats_reset; only what counts and answers do not tell. */
struct state_counters {
  uint64_t granted, granted_again, handed_over, taken_back;
  uint64_t stored, renewed, released;
  uint64_t lapsed, expired, waits_timed_out;
};

struct engine {
  struct engine_options options;
  struct memory memory;
  struct index index;
  struct response_log log;
  struct wheel leases, waits, ends;
  int64_t waits_past_ms;               /* every wait that was over by then has been answered */
  struct list ready[ENGINE_MAX_LOOPS]; /* struct waiter.link */
  uint64_t ready_loops;                /* a bit for each that is not empty */
  struct list waited;                  /* struct claim.waited */
  struct list closing;                 /* struct binding.link */
  uint64_t next_token;
  uint32_t epoch;     /* of records; log.epoch of responses */
  int64_t flushed_ms; /* when the epoch began: a waiter that was in time then is granted, whenever
                         that is noticed */
  bool sweeping;      /* flushed entries are left; sweep_cursor as of index_scan */
  uint64_t sweep_cursor;
  bool effects_wanted;
  struct list effects;
  struct list effects_lost; /* stands in effects for those that could not be kept */
  struct effect_kept *effect_given;
  size_t claim_reserve;         /* of an open claim, from options.store_reserve */
  _Atomic int64_t demand_bytes; /* what the limit is compared with, as last published */
  int64_t counted_bytes;        /* of it, in common.demand_bytes */
  char random_key[KEY_UUID_TEXT];
  uint64_t counts[STATE_VALUE + 1]; /* entries by phase; flushed ones were taken out of them all at
                                       once */
  uint64_t values_ending;
  uint64_t answers[ENGINE_STATUSES]; /* given at once */
  uint64_t waiters;
  struct state_counters counters;
};

static inline struct rules_moment state_moment(const struct engine *engine, int64_t now_ms) {
  return (struct rules_moment){now_ms, engine->options.clock_grain_ms};
}

/* Deadlines up to this are over. */
static inline int64_t state_past_ms(const struct engine *engine, int64_t now_ms) {
  return rules_past_ms(now_ms, engine->options.clock_grain_ms);
}

#endif
