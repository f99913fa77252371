/*
 * waiter.c - those who wait: queueing, answering, handing over, taking back.
 *
 * A waiter's answer is complete when it enters the ready list: a grant has happened by then, so
 * nobody can slip in between the end of one grant and the next. What a grant replaced is kept in
 * the waiter until the host has settled it.
 */
#include "server/engine/record.h"

#include <assert.h>

/* ---- queueing ---- */

static void note_waiting(struct engine *engine, struct claim *claim, int delta) {
  claim->waiting = (uint32_t)((int)claim->waiting + delta);
  engine->stats.waiters = (uint64_t)((int64_t)engine->stats.waiters + delta);
  struct engine_common *common = engine->options.common;
  if (common != NULL)
    atomic_fetch_add_explicit(&common->waiters, (uint64_t)(int64_t)delta, memory_order_relaxed);
  if (claim->waiting == 0) {
    list_remove(&claim->waited);
    claim->first_wait_ms = INT64_MAX;
  } else if (claim->waiting == 1 && delta > 0) {
    list_append(&engine->waited, &claim->waited);
  }
}

static bool too_many_wait(const struct engine *engine) {
  const struct engine_common *common = engine->options.common;
  uint64_t waiting = common != NULL ? atomic_load_explicit(&common->waiters, memory_order_relaxed)
                                    : engine->stats.waiters;
  return waiting >= engine->options.waiters_total;
}

enum engine_status waiter_enqueue(struct engine *engine, struct record *record,
                                  const struct engine_waiter *as, struct span owner,
                                  int64_t wait_ms, int64_t now_ms, struct engine_waiter **made) {
  uint32_t waiting = record->claim != NULL ? record->claim->waiting : 0;
  if (waiting >= engine->options.waiters_per_key || too_many_wait(engine)) return ENGINE_BUSYKEY;
  struct claim *claim = record_claim(engine, record);
  if (claim == NULL) return ENGINE_NO_MEMORY;
  struct engine_waiter *waiter = memory_take(&engine->memory, sizeof *waiter);
  if (waiter == NULL) return ENGINE_NO_MEMORY;
  *waiter = *as;
  waiter->record = record;
  waiter->owner = blob_create(&engine->memory, owner);
  if (span_present(owner) && waiter->owner == NULL) {
    memory_give(&engine->memory, waiter, sizeof *waiter);
    return ENGINE_NO_MEMORY;
  }
  list_append(waiter->claims ? &claim->claimers : &claim->readers, &waiter->link);
  wheel_node_init(&waiter->timer);
  wheel_set(&engine->waits, &waiter->timer, now_ms + wait_ms);
  if (waiter->timer.deadline_ms < claim->first_wait_ms)
    claim->first_wait_ms = waiter->timer.deadline_ms;
  if (waiter->binding != NULL) waiter->binding->references++;
  note_waiting(engine, claim, 1);
  *made = waiter;
  return ENGINE_QUEUED;
}

static void dequeue(struct engine *engine, struct engine_waiter *waiter) {
  list_remove(&waiter->link);
  wheel_cancel(&engine->waits, &waiter->timer);
  note_waiting(engine, waiter->record->claim, -1);
  waiter->record = NULL;
}

/* ---- answering ---- */

static void make_ready(struct engine *engine, struct engine_waiter *waiter) {
  waiter->answered = true;
  list_append(&engine->ready[waiter->loop_id], &waiter->link);
  engine->ready_loops |= UINT64_C(1) << waiter->loop_id;
}

static void keep_blobs(struct engine_answer *answer) {
  engine_pin(answer->body);
  engine_pin(answer->meta);
  engine_pin(answer->stage);
  engine_pin(answer->owner);
}

static void answer_waiter(struct engine *engine, struct engine_waiter *waiter,
                          const struct engine_answer *answer) {
  dequeue(engine, waiter);
  waiter->answer = *answer;
  keep_blobs(&waiter->answer);
  make_ready(engine, waiter);
}

static void answer_list(struct engine *engine, struct list *waiters,
                        const struct engine_answer *answer) {
  while (!list_empty(waiters))
    answer_waiter(engine, LIST_ENTRY(waiters->next, struct engine_waiter, link), answer);
}

void waiters_share(struct engine *engine, struct record *record,
                   const struct engine_answer *answer) {
  if (record->claim == NULL) return;
  answer_list(engine, &record->claim->claimers, answer);
  answer_list(engine, &record->claim->readers, answer);
}

void waiters_answer_all(struct engine *engine, struct record *record, enum rules_verdict verdict,
                        int64_t now_ms) {
  struct engine_answer answer;
  answer_record(record, verdict, now_ms, &answer);
  waiters_share(engine, record, &answer);
}

void waiter_time_out(struct engine *engine, struct engine_waiter *waiter, int64_t at_ms) {
  struct engine_answer answer;
  answer_record(waiter->record, RULES_SAY_BUSY, at_ms, &answer);
  engine->stats.waits_timed_out++;
  answer_waiter(engine, waiter, &answer);
}

static int64_t time_out_list(struct engine *engine, struct list *waiters, int64_t until_ms) {
  int64_t first_ms = INT64_MAX;
  for (struct list *node = waiters->next, *next; node != waiters; node = next) {
    next = node->next;
    struct engine_waiter *waiter = LIST_ENTRY(node, struct engine_waiter, link);
    int64_t deadline_ms = waiter->timer.deadline_ms;
    if (deadline_ms <= until_ms) {
      waiter_time_out(engine, waiter, deadline_ms);
    } else if (deadline_ms < first_ms) {
      first_ms = deadline_ms;
    }
  }
  return first_ms;
}

/* Those whose time was over by until_ms get BUSY. Looks through the queue only when engine_tick has
 * not been there before and somebody may be due: at most once per deadline. */
void waiters_time_out(struct engine *engine, struct claim *claim, int64_t until_ms) {
  if (until_ms <= engine->waits_judged_ms || until_ms < claim->first_wait_ms) return;
  int64_t claimer_ms = time_out_list(engine, &claim->claimers, until_ms);
  int64_t reader_ms = time_out_list(engine, &claim->readers, until_ms);
  claim->first_wait_ms = claimer_ms < reader_ms ? claimer_ms : reader_ms;
}

/* ---- hand-over ---- */

static void hand_over(struct engine *engine, struct record *record, enum rules_end end,
                      int64_t now_ms) {
  struct claim *claim = record->claim;
  struct engine_waiter *waiter = LIST_ENTRY(claim->claimers.next, struct engine_waiter, link);
  dequeue(engine, waiter);
  waiter->undo = (struct undo){
      .end = end,
      .facts = record_facts(record),
      .owner = record_owner(record),
      .stage = claim->stage,
      .binding = claim->binding,
  };
  if (claim->binding != NULL) claim->binding->references++; /* the undo's */
  claim_unbind(engine, claim);
  claim_bind(claim, waiter->binding);
  record_set_owner(record, engine_pin(waiter->owner));

  struct rules_record facts = record_facts(record);
  struct rules_claim request = {
      .hold = waiter->hold,
      .bind = waiter->binding != NULL,
      .lease_ms = waiter->lease_ms,
      .token = engine_peek_token(engine),
  };
  engine_take_token(engine);
  enum rules_verdict verdict = rules_hand_over(&facts, end, &request, now_ms);
  claim->stage = verdict == RULES_GRANT_NEXT ? engine_pin(waiter->undo.stage) : NULL;
  record_set_facts(engine, record, &facts);
  engine->stats.handed_over++;

  answer_record(record, verdict, now_ms, &waiter->answer);
  keep_blobs(&waiter->answer);
  waiter->record = record;
  claim->granted = waiter;
  make_ready(engine, waiter);
}

struct record *record_end_grant(struct engine *engine, struct record *record, enum rules_end end,
                                int64_t at_ms, int64_t now_ms) {
  struct claim *claim = record->claim;
  claim_confirm(claim);
  /* In the order of the deadlines; of equal ones the lease is first. */
  if (claim != NULL)
    waiters_time_out(engine, claim,
                     end == RULES_END_LEASE_OVER ? at_ms - 1 : engine_past_ms(engine, at_ms));
  struct rules_record facts = record_facts(record);
  bool claim_waits = claim != NULL && !list_empty(&claim->claimers);
  enum rules_after after =
      rules_end_grant(&facts, end, claim_waits, engine->options.retention_ms, at_ms);
  if (end == RULES_END_LEASE_OVER) engine->stats.lapsed++;
  switch (after) {
    case RULES_HAND_OVER:
      hand_over(engine, record, end, now_ms);
      waiters_time_out(engine, claim, engine_past_ms(engine, now_ms));
      return record;
    case RULES_TO_LAPSED:
      waiters_answer_all(engine, record, RULES_SAY_NOTHING, now_ms);
      effect_emit_free(engine, (struct entry){.record = record});
      record_set_facts(engine, record, &facts);
      return record;
    case RULES_TO_UNKNOWN:
      record_set_facts(engine, record, &facts);
      waiters_answer_all(engine, record, RULES_SAY_UNKNOWN, now_ms);
      effect_emit(engine, ENGINE_EFFECT_UNKNOWN, record_key(record));
      return record;
    case RULES_TO_ABSENT:
    default:
      waiters_answer_all(engine, record, RULES_SAY_NOTHING, now_ms);
      effect_emit_free(engine, (struct entry){.record = record});
      record_destroy(engine, record);
      return NULL;
  }
}

/* ---- what the host does with them ---- */

struct engine_waiter *engine_next_ready(struct engine *engine, unsigned loop_id) {
  struct list *node = list_pop(&engine->ready[loop_id]);
  if (list_empty(&engine->ready[loop_id])) engine->ready_loops &= ~(UINT64_C(1) << loop_id);
  return node != NULL ? LIST_ENTRY(node, struct engine_waiter, link) : NULL;
}

uint64_t engine_ready_loops(const struct engine *engine) { return engine->ready_loops; }

const struct engine_answer *engine_waiter_answer(const struct engine_waiter *waiter) {
  return &waiter->answer;
}

void *engine_waiter_context(const struct engine_waiter *waiter) { return waiter->context; }

static void waiter_destroy(struct engine *engine, struct engine_waiter *waiter) {
  list_remove(&waiter->link);
  if (list_empty(&engine->ready[waiter->loop_id]))
    engine->ready_loops &= ~(UINT64_C(1) << waiter->loop_id);
  engine_unpin(engine, waiter->answer.body);
  engine_unpin(engine, waiter->answer.meta);
  engine_unpin(engine, waiter->answer.stage);
  engine_unpin(engine, waiter->answer.owner);
  engine_unpin(engine, waiter->undo.owner);
  engine_unpin(engine, waiter->undo.stage);
  binding_release(engine, waiter->undo.binding);
  engine_unpin(engine, waiter->owner);
  binding_release(engine, waiter->binding);
  memory_give(&engine->memory, waiter, sizeof *waiter);
}

void engine_waiter_settle(struct engine *engine, struct engine_waiter *waiter) {
  assert(waiter->answered);
  if (waiter->record != NULL) claim_confirm(waiter->record->claim);
  waiter_destroy(engine, waiter);
}

/* Puts back what the hand-over replaced, and lets the former grant end once more, now. */
static void undo_grant(struct engine *engine, struct engine_waiter *waiter, int64_t now_ms) {
  struct record *record = waiter->record;
  struct claim *claim = record->claim;
  struct undo *undo = &waiter->undo;
  claim_confirm(claim);
  claim_unbind(engine, claim);
  if (undo->binding != NULL && !undo->binding->closed) claim_bind(claim, undo->binding);
  engine_unpin(engine, record_owner(record));
  engine_unpin(engine, claim->stage);
  record_set_owner(record, undo->owner);
  claim->stage = undo->stage;
  undo->owner = undo->stage = NULL;
  record_set_facts(engine, record, &undo->facts);
  engine->stats.handed_over--;
  engine->stats.taken_back++;
  record_end_grant(engine, record, undo->end, now_ms, now_ms);
}

void engine_waiter_take_back(struct engine *engine, struct engine_waiter *waiter, int64_t now_ms) {
  assert(waiter->answered);
  if (waiter->record != NULL) record_judge(engine, waiter->record, now_ms);
  if (waiter->record != NULL) undo_grant(engine, waiter, now_ms);
  waiter_destroy(engine, waiter);
}

void engine_waiter_cancel(struct engine *engine, struct engine_waiter *waiter, int64_t now_ms) {
  if (waiter->answered) {
    engine_waiter_take_back(engine, waiter, now_ms);
    return;
  }
  dequeue(engine, waiter);
  waiter_destroy(engine, waiter);
}

void engine_waiter_expire(struct engine *engine, struct engine_waiter *waiter, int64_t now_ms) {
  if (!waiter->answered) record_judge(engine, waiter->record, now_ms);
  if (!waiter->answered) waiter_time_out(engine, waiter, now_ms);
}
