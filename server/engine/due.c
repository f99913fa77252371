/* due.c - see due.h. */
#include "server/engine/due.h"

#include "server/engine/binding.h"
#include "server/engine/forget.h"
#include "server/engine/grant.h"

/* ---- questions to the rules ---- */

/* A plain value ends as a response does. */
static inline enum rules_due due_at(const struct engine *engine, const struct record *record,
                                    int64_t bind_closed_ms, int64_t now_ms) {
  const struct rules_record facts = {
      .deadline_ms = record_deadline_ms(record),
      .phase = record_is_value(record) ? RULES_DONE : record->phase,
  };
  return rules_due(&facts, bind_closed_ms, state_moment(engine, now_ms));
}

/* When the connection of a HELD claim was closed; RULES_NEVER: it is open, or there is none. */
static int64_t binding_closed_ms(const struct record *record) {
  if (record->phase != RULES_HELD || record_claim(record) == NULL) return RULES_NEVER;
  const struct binding *binding = record->claim->binding;
  return binding != NULL && binding->closed ? binding->closed_ms : RULES_NEVER;
}

static enum rules_due due_on(const struct engine *engine, const struct record *record,
                             int64_t now_ms) {
  return due_at(engine, record, binding_closed_ms(record), now_ms);
}

static bool response_is_gone(const struct engine *engine, const struct response_ref *response,
                             int64_t deadline_ms, int64_t now_ms) {
  const struct rules_record facts = {.deadline_ms = deadline_ms, .phase = RULES_DONE};
  return response_log_is_flushed(&engine->log, response) ||
         rules_due(&facts, RULES_NEVER, state_moment(engine, now_ms)) == RULES_GONE;
}

bool due_is_gone(const struct engine *engine, struct entry entry, int64_t now_ms) {
  if (entry.record == NULL)
    return response_is_gone(engine, entry.response, response_log_deadline_ms(entry.response),
                            now_ms);
  return record_is_flushed(engine, entry.record) ||
         due_on(engine, entry.record, now_ms) == RULES_GONE;
}

/* ---- records ---- */

/* Nobody can be granted: those whose time was over are told so as of then, as by grant_end. */
static void end_flushed_waits(struct engine *engine, struct record *record, int64_t now_ms) {
  struct rules_moment flushed = state_moment(engine, engine->flushed_ms);
  wait_queue_time_out_all(engine, record_claim(record),
                          rules_waits_past_ms(RULES_END_CLEARED, flushed));
  wait_queue_end_claims(engine, record, now_ms);
  wait_queue_answer_all(engine, record, RULES_SAY_NOTHING, now_ms);
}

/* Its end is known from the flush: there is nothing to emit, unless a waiter is granted. */
static struct record *end_flushed(struct engine *engine, struct record *record, int64_t now_ms) {
  struct claim *claim = record_claim(record);
  bool waits = claim != NULL && claim->waiting > 0;
  if (waits && !engine->no_room) {
    entry_revive(engine, record);
    return grant_end(engine, record, RULES_END_CLEARED, engine->flushed_ms, now_ms);
  }
  claim_confirm(claim);
  if (waits) end_flushed_waits(engine, record, now_ms);
  forget_record(engine, record);
  return NULL;
}

/* Of one that was held back: those whose time was over are told so as of then. */
static void end_waits_on(struct engine *engine, struct record *record, int64_t now_ms) {
  if (record_claim(record) == NULL || record->claim->waiting == 0) return;
  wait_queue_time_out_all(engine, record_claim(record), state_past_ms(engine, now_ms));
  wait_queue_end_claims(engine, record, now_ms);
}

/* What ends by time may be asked for again by a request that was born before. */
static struct record *end_expired(struct engine *engine, struct record *record, int64_t now_ms) {
  engine->counters.expired++;
  if (!record_is_value(record)) {
    end_waits_on(engine, record, now_ms);
    uint64_t hash = name_hash(engine, record_key(record).bytes);
    horizon_note(&engine->horizon, hash, record_since_ms(record));
  }
  forget_record(engine, record);
  return NULL;
}

/* If the end of its grant is noticed late, the record's own deadline may have passed too. */
static struct record *end_if_gone(struct engine *engine, struct record *record, int64_t now_ms) {
  bool gone = record != NULL && due_on(engine, record, now_ms) == RULES_GONE;
  return gone ? end_expired(engine, record, now_ms) : record;
}

/* Counted here, where it is noticed: grant_end ends the same grant again when a hand-over is
 * undone. */
static struct record *end_lease(struct engine *engine, struct record *record, int64_t now_ms) {
  engine->counters.lapsed++;
  return grant_end(engine, record, RULES_END_LEASE_OVER, record_deadline_ms(record), now_ms);
}

static struct record *end_bound(struct engine *engine, struct record *record, int64_t now_ms) {
  return grant_end(engine, record, RULES_END_BIND_CLOSED, binding_closed_ms(record), now_ms);
}

/* Waits that have ended; then those that were held back for lack of room, when there is room. */
static void end_waits(struct engine *engine, struct record *record, int64_t now_ms) {
  if (record_is_value(record) || record_claim(record) == NULL || record->claim->waiting == 0)
    return;
  wait_queue_time_out_all(engine, record_claim(record), state_past_ms(engine, now_ms));
  if (record->phase == RULES_LAPSED) grant_held_back(engine, record, now_ms);
}

struct record *due_apply(struct engine *engine, struct record *record, int64_t now_ms) {
  if (record_is_flushed(engine, record)) record = end_flushed(engine, record, now_ms);
  if (record == NULL) return NULL;
  switch (due_on(engine, record, now_ms)) {
    case RULES_LEASE_OVER: return end_if_gone(engine, end_lease(engine, record, now_ms), now_ms);
    case RULES_BIND_CLOSED: return end_if_gone(engine, end_bound(engine, record, now_ms), now_ms);
    case RULES_GONE: return end_expired(engine, record, now_ms);
    case RULES_NOT_DUE:
    default: end_waits(engine, record, now_ms); return record;
  }
}

/* ---- responses ---- */

static void end_response(struct engine *engine, struct response_ref *response, uint64_t hash) {
  if (!response_log_is_flushed(&engine->log, response)) {
    engine->counters.expired++;
    horizon_note(&engine->horizon, hash, response_log_since_ms(response));
  }
  forget_response(engine, response, hash);
}

/* ---- either kind ---- */

void due_apply_entry(struct engine *engine, struct entry entry, int64_t now_ms) {
  if (entry.record != NULL) {
    due_apply(engine, entry.record, now_ms);
  } else if (due_is_gone(engine, entry, now_ms)) {
    end_response(engine, entry.response, name_hash(engine, codec_key(entry.response).bytes));
  }
}

/* Most records have no claim, are no values, and are not due; without an end, the deadline of one
 * is larger than any time. */
struct entry due_found_record(struct engine *engine, struct record *record, int64_t now_ms) {
  const struct rules_record facts = {.deadline_ms = record->deadline_ms, .phase = record->phase};
  bool settled = (record->flags & RECORD_CLAIM) == 0 && !record_is_value(record) &&
                 record->token >= engine->flushed_token &&
                 rules_due(&facts, RULES_NEVER, state_moment(engine, now_ms)) == RULES_NOT_DUE;
  return (struct entry){.record = settled ? record : due_apply(engine, record, now_ms)};
}

struct entry due_found_response(struct engine *engine, struct response_ref *response,
                                int64_t deadline_ms, uint64_t hash, int64_t now_ms) {
  if (!response_is_gone(engine, response, deadline_ms, now_ms))
    return (struct entry){.response = response};
  end_response(engine, response, hash);
  return (struct entry){0};
}
