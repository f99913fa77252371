/*
 * state.h - the layout of an engine, for its own rooms. engine.h and each room's header say what it
 * does; outside this folder struct engine is opaque.
 *
 * Invariants:
 *  - the timer of a record's slab is armed not after its deadline (deadlines.h), and the record has
 *    no other;
 *  - only a HELD record has waiters, but for a LAPSED one with those that claim and were not
 * granted for lack of room (held_back); while no_grants is set none that claims;
 *  - a waiter is in exactly one of: a record's queue, a ready list, the caller's hands;
 *  - memory.bytes counts every allocation of the engine.
 */
#ifndef IDEM_SERVER_ENGINE_STATE_H
#define IDEM_SERVER_ENGINE_STATE_H

#include "server/base/list.h"
#include "server/base/wheel.h"
#include "server/engine/engine_answer.h"
#include "server/engine/engine_options.h"
#include "server/engine/horizon.h"
#include "server/engine/index.h"
#include "server/engine/memory.h"
#include "server/engine/open_claims_state.h"
#include "server/engine/queued_owners_state.h"
#include "server/engine/response_log.h"
#include "server/engine/slab.h"
#include "server/rules/rules.h"

#define STATE_VALUE (RULES_DONE + 1) /* one more than enum rules_phase: a plain value */

struct effect_kept;
struct outbox;
struct quotas;

/* Since the start or stats_reset; only what counts and answers do not show. */
struct state_counters {
  uint64_t granted, granted_again, handed_over, taken_back;
  uint64_t stored, renewed, released;
  uint64_t lapsed, became_unknown, expired, forgotten, waits_timed_out;
};

struct engine {
  struct engine_options options;
  struct memory memory;
  struct index index;
  struct response_log log;
  struct open_claims open_claims;
  struct slabs records; /* and their deadlines */
  struct wheel waits;
  int64_t waits_past_ms;               /* every wait that had ended by then has been answered */
  struct list ready[ENGINE_MAX_LOOPS]; /* struct waiter.link */
  uint64_t ready_loops;                /* a bit for each that is not empty */
  struct list waited;                  /* struct claim.waited */
  struct list closing;                 /* struct binding.link */
  struct queued_owners queued_owners;
  struct horizon horizon;
  bool no_grants; /* the server leaves */
  bool no_room;   /* the journal takes no grant: nobody is granted until there is room */
  bool held_back; /* a LAPSED record has waiters that claim, and were not granted for that */
  uint64_t next_token;
  uint64_t value_serial; /* of the last plain value that was set, in record.token */
  /* FLUSHALL removed the claims with lower tokens, values with lower serials, and responses of
   * other epochs than log.epoch. */
  uint64_t flushed_token, flushed_serial;
  int64_t flushed_ms; /* when it did: waiters alive at that time are granted, even if it is noticed
                         later */
  bool sweeping;      /* flushed entries are left; sweep_cursor as of index_scan */
  uint64_t sweep_cursor;
  struct outbox *outbox; /* NULL: nobody keeps images */
  struct quotas *quotas; /* NULL: nobody is counted */
  uint16_t taken_for;    /* the user for whom a claim was taken in advance (holding.h); 0: none */
  bool effects_wanted;
  struct list effects;
  struct list effects_lost; /* in effects in place of those that could not be kept */
  struct effect_kept *effect_given;
  size_t claim_reserve;         /* of a HELD claim, from options.store_reserve */
  _Atomic int64_t demand_bytes; /* what the limit is compared with, as last published */
  int64_t counted_bytes;        /* of it, in common.demand_bytes */
  char random_key[KEY_UUID_TEXT];
  char shown_fingerprint[FINGERPRINT_TEXT];
  uint64_t counts[STATE_VALUE + 1];  /* entries by phase, not flushed */
  uint64_t ending;                   /* of them, those that are not HELD and have an end */
  uint64_t answers[ENGINE_STATUSES]; /* given at once */
  uint64_t waiters;
  struct state_counters counters;
};

static inline struct rules_moment state_moment(const struct engine *engine, int64_t now_ms) {
  return (struct rules_moment){now_ms, engine->options.clock_grain_ms};
}

/* Deadlines up to this have passed. */
static inline int64_t state_past_ms(const struct engine *engine, int64_t now_ms) {
  return rules_past_ms(now_ms, engine->options.clock_grain_ms);
}

/* Whether a claim can be granted now. */
static inline bool state_may_grant(const struct engine *engine) {
  return !engine->no_grants && !engine->no_room;
}

/* Up to when requests of a key of this hash may have been forgotten, by clocks that differ. */
static inline int64_t state_horizon_ms(const struct engine *engine, uint64_t hash) {
  return horizon_ms(&engine->horizon, hash) + engine->options.born_skew_ms;
}

#endif
