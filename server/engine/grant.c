/* grant.c - see grant.h. */
#include "server/engine/grant.h"

#include "server/engine/binding.h"
#include "server/engine/effect.h"
#include "server/engine/fill_answer.h"
#include "server/engine/forget.h"
#include "server/engine/pin.h"
#include "server/engine/token.h"

/* ---- hand-over ---- */

/* Moves the owner, stage and binding of the record to the waiter's undo. */
static void keep_former(struct record *record, enum rules_end end, struct waiter_undo *undo) {
  struct claim *claim = record->claim;
  *undo = (struct waiter_undo){
      .end = end,
      .facts = record_facts(record),
      .owner = record_owner(record),
      .stage = claim->stage,
      .binding = claim->binding,
  };
  binding_refer(claim->binding);
}

/* What the rules know of: token, lease, attempt, options. */
static enum rules_verdict hand_over_facts(struct engine *engine, struct record *record,
                                          const struct waiter *waiter, int64_t now_ms) {
  struct rules_record facts = record_facts(record);
  struct rules_claim request = {
      .hold = waiter->hold,
      .bind = waiter->binding != NULL,
      .lease_ms = waiter->lease_ms,
      .token = token_peek(engine),
  };
  token_take(engine);
  enum rules_verdict verdict = rules_hand_over(&facts, waiter->undo.end, &request, now_ms);
  entry_set_facts(engine, record, &facts);
  return verdict;
}

/* What they do not know of: owner, connection, stage. keep_former has kept the former ones. */
static void hand_over_parts(struct engine *engine, struct record *record,
                            const struct waiter *waiter, enum rules_verdict verdict) {
  struct claim *claim = record->claim;
  binding_unbind(engine, claim);
  binding_bind(waiter->binding, claim);
  record_set_owner(record, pin_take(waiter->owner));
  claim->stage = verdict == RULES_GRANT_NEXT ? pin_take(waiter->undo.stage) : NULL;
}

static void hand_over(struct engine *engine, struct record *record, enum rules_end end,
                      int64_t now_ms) {
  struct claim *claim = record->claim;
  struct waiter *waiter = LIST_ENTRY(claim->claimers.next, struct waiter, link);
  wait_queue_leave(engine, waiter);
  keep_former(record, end, &waiter->undo);
  enum rules_verdict verdict = hand_over_facts(engine, record, waiter, now_ms);
  hand_over_parts(engine, record, waiter, verdict);
  fill_answer_record(record, verdict, now_ms, &waiter->answer);
  pin_take_answer(&waiter->answer);
  waiter->phase = WAITER_GRANTED;
  waiter->record = record;
  claim->granted = waiter;
  wait_queue_make_ready(engine, waiter);
}

/* ---- ends ---- */

static void to_lapsed(struct engine *engine, struct record *record,
                      const struct rules_record *facts, int64_t now_ms) {
  wait_queue_answer_all(engine, record, RULES_SAY_NOTHING, now_ms);
  effect_emit_free(engine, (struct entry){.record = record});
  entry_set_facts(engine, record, facts);
}

static void to_unknown(struct engine *engine, struct record *record,
                       const struct rules_record *facts, int64_t now_ms) {
  wait_queue_answer_all(engine, record, RULES_SAY_UNKNOWN, now_ms);
  entry_set_facts(engine, record, facts);
  effect_emit(engine, EFFECT_UNKNOWN, record_key(record));
}

static void to_absent(struct engine *engine, struct record *record, int64_t now_ms) {
  wait_queue_answer_all(engine, record, RULES_SAY_NOTHING, now_ms);
  forget_record(engine, record);
}

/* No wait is left that had ended before the grant did. */
static struct record *end_grant(struct engine *engine, struct record *record, enum rules_end end,
                                int64_t at_ms, int64_t now_ms) {
  struct claim *claim = record->claim;
  struct rules_record facts = record_facts(record);
  bool claim_waits = claim != NULL && !list_empty(&claim->claimers);
  switch (rules_end_grant(&facts, end, claim_waits, engine->options.retention_ms, at_ms)) {
    case RULES_HAND_OVER:
      hand_over(engine, record, end, now_ms);
      wait_queue_time_out_all(engine, claim, state_past_ms(engine, now_ms));
      return record;
    case RULES_TO_LAPSED: to_lapsed(engine, record, &facts, now_ms); return record;
    case RULES_TO_UNKNOWN: to_unknown(engine, record, &facts, now_ms); return record;
    case RULES_TO_ABSENT:
    default: to_absent(engine, record, now_ms); return NULL;
  }
}

struct record *grant_end(struct engine *engine, struct record *record, enum rules_end end,
                         int64_t at_ms, int64_t now_ms) {
  struct claim *claim = record->claim;
  claim_confirm(claim);
  if (claim != NULL)
    wait_queue_time_out_all(engine, claim, rules_waits_past_ms(end, state_moment(engine, at_ms)));
  return end_grant(engine, record, end, at_ms, now_ms);
}

/* ---- undo ---- */

void grant_undo(struct engine *engine, struct waiter *waiter, int64_t now_ms) {
  struct record *record = waiter->record;
  struct claim *claim = record->claim;
  struct waiter_undo *undo = &waiter->undo;
  claim_confirm(claim);
  binding_unbind(engine, claim);
  if (undo->binding != NULL && !undo->binding->closed) binding_bind(undo->binding, claim);
  pin_release(engine, record_owner(record));
  pin_release(engine, claim->stage);
  record_set_owner(record, undo->owner);
  claim->stage = undo->stage;
  undo->owner = undo->stage = NULL;
  entry_set_facts(engine, record, &undo->facts);
  engine->counters.taken_back++;
  /* Not grant_end: the lease did not end now, so now is not compared with waits as its deadline. */
  end_grant(engine, record, undo->end, now_ms, now_ms);
}
