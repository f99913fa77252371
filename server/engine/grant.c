/* grant.c - see grant.h. */
#include "server/engine/grant.h"

#include "server/engine/binding.h"
#include "server/engine/effect.h"
#include "server/engine/emit.h"
#include "server/engine/fill_answer.h"
#include "server/engine/forget.h"
#include "server/engine/holding.h"
#include "server/engine/outbox.h"
#include "server/engine/pin.h"
#include "server/engine/token.h"

/* ---- hand-over ---- */

/* Moves the owner, stage and binding of the record to the waiter's undo. */
static void keep_former(struct record *record, enum rules_end end, struct waiter_undo *undo) {
  struct claim *claim = record_claim(record);
  *undo = (struct waiter_undo){
      .end = end,
      .user = record->user,
      .facts = record_facts(record),
      .owner = record_owner(record),
      .stage = claim->stage,
      .binding = claim->binding,
  };
  binding_refer(claim->binding);
}

static int64_t horizon_of(const struct engine *engine, const struct record *record) {
  return state_horizon_ms(engine, name_hash(engine, record_key(record).bytes));
}

/* What the rules know of: token, lease, attempt, options. SAY_FORGOTTEN: the facts are unchanged.
 */
static enum rules_verdict hand_over_facts(struct engine *engine, const struct record *record,
                                          const struct waiter *waiter, enum rules_end end,
                                          int64_t now_ms, struct rules_record *facts) {
  struct rules_claim request = {
      .hold = waiter->hold,
      .bind = waiter->binding != NULL,
      .forgotten = waiter->born && waiter->born_ms <= horizon_of(engine, record),
      .lease_ms = waiter->lease_ms,
      .token = token_peek(engine),
  };
  return rules_hand_over(facts, end, &request, now_ms);
}

/* What they do not know of: owner, connection, stage. keep_former has kept the former ones. */
static void hand_over_parts(struct engine *engine, struct record *record,
                            const struct waiter *waiter, enum rules_verdict verdict) {
  struct claim *claim = record_claim(record);
  binding_unbind(engine, claim);
  binding_bind(waiter->binding, claim);
  record_set_owner(record, pin_take(waiter->owner));
  claim->stage = verdict == RULES_GRANT_NEXT ? pin_take(waiter->undo.stage) : NULL;
}

/* To the oldest claimer. false: its request may have been forgotten, or its user's quota is
 * reached, which is its answer; the record is unchanged. */
static bool hand_over(struct engine *engine, struct record *record, enum rules_end end,
                      int64_t now_ms) {
  struct claim *claim = record_claim(record);
  struct waiter *waiter = LIST_ENTRY(claim->claimers.next, struct waiter, link);
  struct rules_record facts = record_facts(record);
  enum rules_verdict verdict = hand_over_facts(engine, record, waiter, end, now_ms, &facts);
  if (verdict == RULES_SAY_FORGOTTEN) {
    wait_queue_forget(engine, waiter, horizon_of(engine, record));
    return false;
  }
  if (!holding_take(engine, record, waiter->user)) {
    wait_queue_refuse(engine, waiter);
    return false;
  }
  token_take(engine);
  wait_queue_leave(engine, waiter);
  keep_former(record, end, &waiter->undo);
  entry_set_user(engine, record, waiter->user);
  entry_set_facts(engine, record, &facts);
  hand_over_parts(engine, record, waiter, verdict);
  emit_record(engine, record);
  fill_answer_record(record, verdict, now_ms, &waiter->answer);
  pin_take_answer(&waiter->answer);
  waiter->phase = WAITER_GRANTED;
  waiter->record = record;
  claim->granted = waiter;
  wait_queue_make_ready(engine, waiter);
  return true;
}

/* ---- ends ---- */

/* What the rules do not know of: a grant that was struck out leaves no owner, and no connection. */
static void drop_owner(struct engine *engine, struct record *record) {
  blob_release(&engine->memory, record_owner(record));
  record_set_owner(record, NULL);
  if (record_claim(record) != NULL) binding_unbind(engine, record_claim(record));
}

/* Those that claim wait on when it is for lack of room that nobody is granted. */
static void tell_ended(struct engine *engine, struct record *record, int64_t now_ms) {
  bool unknown = record->phase == RULES_UNKNOWN;
  if (unknown || record_claim(record) == NULL || list_empty(&record->claim->claimers)) {
    wait_queue_answer_all(engine, record, unknown ? RULES_SAY_UNKNOWN : RULES_SAY_LAPSED, now_ms);
    return;
  }
  wait_queue_answer_readers(engine, record, RULES_SAY_LAPSED, now_ms);
  wait_queue_time_out_all(engine, record_claim(record), state_past_ms(engine, now_ms));
  engine->held_back = true;
}

/* What a lease leaves is not written: its end is known from the image of the grant. Nor is, when
 * the outbox spares, that a connection closed: any number of them may; a start lets the lease run
 * on. */
static bool is_emitted(const struct engine *engine, enum rules_end end) {
  if (engine->outbox == NULL || end == RULES_END_LEASE_OVER) return false;
  return end != RULES_END_BIND_CLOSED || !engine->outbox->spares;
}

/* To LAPSED or UNKNOWN, which all waiters are told. Watchers are told once. */
static void to_ended(struct engine *engine, struct record *record, const struct rules_record *facts,
                     int64_t now_ms) {
  bool unknown = facts->phase == RULES_UNKNOWN, was_unknown = record->phase == RULES_UNKNOWN;
  if (!unknown) effect_emit_free(engine, (struct entry){.record = record});
  if (facts->nobody && facts->token != record->token) {
    token_take(engine);
    drop_owner(engine, record);
  }
  entry_set_facts(engine, record, facts);
  tell_ended(engine, record, now_ms);
  if (!unknown || was_unknown) return;
  engine->counters.became_unknown++;
  effect_emit(engine, EFFECT_UNKNOWN, record_key(record));
}

static void to_absent(struct engine *engine, struct record *record, int64_t now_ms) {
  if (engine->outbox != NULL) emit_absent(engine, record_key(record));
  if (record_claim(record) != NULL) {
    wait_queue_end_claims(engine, record, now_ms); /* nobody can be granted */
    wait_queue_answer_all(engine, record, RULES_SAY_NOTHING, now_ms);
  }
  forget_record(engine, record);
}

static struct rules_ending ending_of(struct engine *engine, const struct record *record,
                                     enum rules_end end, int64_t at_ms) {
  const struct claim *claim = record_claim(record);
  bool strikes_out = end == RULES_END_RELEASED && record_attempt(record) > 1;
  return (struct rules_ending){
      .end = end,
      .claim_waits = claim != NULL && !list_empty(&claim->claimers) && state_may_grant(engine),
      .at_ms = at_ms,
      .retention_ms = engine->options.retention_ms,
      .unknown_retention_ms = engine->options.unknown_retention_ms,
      .token = strikes_out ? token_peek(engine) : 0,
  };
}

/* No wait is left that had ended before the grant did. Each turn answers a waiter, but the last. */
static struct record *end_grant(struct engine *engine, struct record *record, enum rules_end end,
                                int64_t at_ms, int64_t now_ms) {
  for (;;) {
    struct rules_record facts = record_facts(record);
    const struct rules_ending ending = ending_of(engine, record, end, at_ms);
    switch (rules_end_grant(&facts, &ending)) {
      case RULES_HAND_OVER:
        if (!hand_over(engine, record, end, now_ms)) continue;
        wait_queue_time_out_all(engine, record_claim(record), state_past_ms(engine, now_ms));
        return record;
      case RULES_TO_LAPSED:
      case RULES_TO_UNKNOWN:
        to_ended(engine, record, &facts, now_ms);
        if (is_emitted(engine, end)) emit_record(engine, record);
        return record;
      case RULES_TO_ABSENT:
      default: to_absent(engine, record, now_ms); return NULL;
    }
  }
}

struct record *grant_end(struct engine *engine, struct record *record, enum rules_end end,
                         int64_t at_ms, int64_t now_ms) {
  struct claim *claim = record_claim(record);
  claim_confirm(claim);
  if (claim != NULL)
    wait_queue_time_out_all(engine, claim, rules_waits_past_ms(end, state_moment(engine, at_ms)));
  return end_grant(engine, record, end, at_ms, now_ms);
}

bool grant_has_waiters_or_runs(const struct record *record) {
  if (record->phase == RULES_HELD) return true;
  return record->phase == RULES_LAPSED && record_claim(record) != NULL &&
         record->claim->waiting > 0;
}

void grant_held_back(struct engine *engine, struct record *record, int64_t now_ms) {
  if (!state_may_grant(engine)) return;
  while (record->phase == RULES_LAPSED && !list_empty(&record->claim->claimers))
    hand_over(engine, record, RULES_END_LEASE_OVER, now_ms);
}

/* ---- undo ---- */

void grant_undo(struct engine *engine, struct waiter *waiter, int64_t now_ms) {
  struct record *record = waiter->record;
  struct claim *claim = record_claim(record);
  struct waiter_undo *undo = &waiter->undo;
  claim_confirm(claim);
  binding_unbind(engine, claim);
  if (undo->binding != NULL && !undo->binding->closed) binding_bind(undo->binding, claim);
  pin_release(engine, record_owner(record));
  pin_release(engine, claim->stage);
  record_set_owner(record, undo->owner);
  claim->stage = undo->stage;
  undo->owner = undo->stage = NULL;
  undo->facts.bind = claim->binding != NULL;
  undo->facts.phase = RULES_HELD; /* that of one that was held back ends once more, too */
  entry_set_user(engine, record, undo->user);
  entry_set_facts(engine, record, &undo->facts);
  engine->counters.taken_back++;
  /* Not grant_end: the lease did not end now, so now is not compared with waits as its deadline. */
  record = end_grant(engine, record, undo->end, now_ms, now_ms);
  /* The image of the grant that is taken back was written. */
  if (record != NULL && record->phase != RULES_HELD && undo->end == RULES_END_LEASE_OVER)
    emit_record(engine, record);
}
