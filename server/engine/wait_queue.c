/* wait_queue.c - see wait_queue.h. */
#include "server/engine/wait_queue.h"

#include "server/engine/binding.h"
#include "server/engine/fill_answer.h"
#include "server/engine/pin.h"
#include "server/engine/queued_owners.h"
#include "server/engine/quotas.h"

/* ---- joining and leaving ---- */

static void note_waiting(struct engine *engine, struct claim *claim, int delta) {
  claim->waiting = (uint32_t)((int)claim->waiting + delta);
  engine->waiters = (uint64_t)((int64_t)engine->waiters + delta);
  struct engine_common *common = engine->options.common;
  if (common != NULL)
    atomic_fetch_add_explicit(&common->waiters, (uint64_t)(int64_t)delta, memory_order_relaxed);
  if (claim->waiting == 0) {
    list_remove(&claim->waited);
    claim->first_wait_ms = RULES_NEVER;
  } else if (claim->waiting == 1 && delta > 0) {
    list_append(&engine->waited, &claim->waited);
  }
}

static bool too_many_wait(const struct engine *engine, const struct record *record) {
  uint32_t here = record_claim(record) != NULL ? record->claim->waiting : 0;
  if (here >= engine->options.waiters_per_key) return true;
  const struct engine_common *common = engine->options.common;
  uint64_t all = common != NULL ? atomic_load_explicit(&common->waiters, memory_order_relaxed)
                                : engine->waiters;
  return all >= engine->options.waiters_total;
}

/* One that takes another one's place counts anew for its own user, whatever the quota is. */
static bool take_place(struct engine *engine, uint16_t user, bool replaces) {
  if (user == 0 || engine->quotas == NULL) return true;
  if (!replaces) return quotas_take(engine->quotas, QUOTAS_WAITERS, user);
  quotas_add(engine->quotas, QUOTAS_WAITERS, user);
  return true;
}

static void give_place(struct engine *engine, uint16_t user) {
  if (user != 0 && engine->quotas != NULL) quotas_give(engine->quotas, QUOTAS_WAITERS, user);
}

/* NULL: no memory. */
static struct waiter *create_waiter(struct engine *engine, struct record *record,
                                    const struct wait_queue_request *request) {
  struct waiter *waiter = memory_take(&engine->memory, sizeof *waiter);
  if (waiter == NULL) return NULL;
  *waiter = request->as;
  waiter->phase = WAITER_WAITING;
  waiter->record = record;
  if (!span_present(request->owner)) return waiter;
  waiter->owner = blob_create(&engine->memory, request->owner);
  if (waiter->owner != NULL && (!waiter->claims || queued_owners_prepare(engine))) return waiter;
  blob_release(&engine->memory, waiter->owner);
  memory_give(&engine->memory, waiter, sizeof *waiter);
  return NULL;
}

static bool is_listed(const struct waiter *waiter) {
  return waiter->claims && waiter->owner != NULL;
}

/* The one that waits with the same owner; NULL: none. */
static struct waiter *same_owner(const struct engine *engine, const struct record *record,
                                 const struct wait_queue_request *request) {
  if (!request->as.claims || !span_present(request->owner)) return NULL;
  return queued_owners_find(engine, record, request->owner);
}

static void start_wait(struct engine *engine, struct waiter *waiter, int64_t deadline_ms) {
  struct claim *claim = record_claim(waiter->record);
  wheel_node_init(&waiter->timer);
  wheel_set(&engine->waits, &waiter->timer, deadline_ms);
  if (deadline_ms < claim->first_wait_ms) claim->first_wait_ms = deadline_ms;
  binding_refer(waiter->binding);
  if (is_listed(waiter)) queued_owners_add(engine, waiter);
  note_waiting(engine, claim, 1);
}

void wait_queue_join(struct engine *engine, struct record *record,
                     const struct wait_queue_request *request, int64_t now_ms,
                     struct engine_answer *answer) {
  struct waiter *former = same_owner(engine, record, request);
  if (former == NULL && too_many_wait(engine, record)) {
    fill_answer_status(answer, ENGINE_BUSYKEY);
    return;
  }
  if (!take_place(engine, request->as.user, former != NULL)) {
    fill_answer_quota(engine->quotas, QUOTAS_WAITERS, request->as.user, answer);
    return;
  }
  struct claim *claim = record_need_claim(&engine->memory, record);
  struct waiter *waiter = claim != NULL ? create_waiter(engine, record, request) : NULL;
  if (waiter == NULL) {
    give_place(engine, request->as.user);
    fill_answer_status(answer, ENGINE_NO_MEMORY);
    return;
  }
  if (former != NULL) {
    list_append(&former->link, &waiter->link); /* in front of it */
    wait_queue_time_out(engine, former, now_ms);
  } else {
    list_append(waiter->claims ? &claim->claimers : &claim->readers, &waiter->link);
  }
  start_wait(engine, waiter, now_ms + request->wait_ms);
  *answer = (struct engine_answer){.status = ENGINE_QUEUED, .waiter = waiter};
}

void wait_queue_leave(struct engine *engine, struct waiter *waiter) {
  if (is_listed(waiter)) queued_owners_remove(engine, waiter);
  list_remove(&waiter->link);
  wheel_cancel(&engine->waits, &waiter->timer);
  note_waiting(engine, record_claim(waiter->record), -1);
  give_place(engine, waiter->user);
  waiter->record = NULL;
}

/* ---- answers ---- */

void wait_queue_make_ready(struct engine *engine, struct waiter *waiter) {
  list_append(&engine->ready[waiter->loop_id], &waiter->link);
  engine->ready_loops |= UINT64_C(1) << waiter->loop_id;
}

static void answer_waiter(struct engine *engine, struct waiter *waiter,
                          const struct engine_answer *answer) {
  wait_queue_leave(engine, waiter);
  waiter->phase = WAITER_ANSWERED;
  waiter->answer = *answer;
  pin_take_answer(&waiter->answer);
  wait_queue_make_ready(engine, waiter);
}

static void answer_list(struct engine *engine, struct list *waiters,
                        const struct engine_answer *answer) {
  while (!list_empty(waiters))
    answer_waiter(engine, LIST_ENTRY(waiters->next, struct waiter, link), answer);
}

void wait_queue_share(struct engine *engine, struct record *record,
                      const struct engine_answer *answer) {
  if (record_claim(record) == NULL) return;
  answer_list(engine, &record->claim->claimers, answer);
  answer_list(engine, &record->claim->readers, answer);
}

void wait_queue_answer_all(struct engine *engine, struct record *record, enum rules_verdict verdict,
                           int64_t now_ms) {
  if (record_claim(record) == NULL) return;
  struct engine_answer answer;
  fill_answer_record(record, verdict, now_ms, &answer);
  wait_queue_share(engine, record, &answer);
}

void wait_queue_answer_readers(struct engine *engine, struct record *record,
                               enum rules_verdict verdict, int64_t now_ms) {
  struct engine_answer answer;
  fill_answer_record(record, verdict, now_ms, &answer);
  answer_list(engine, &record->claim->readers, &answer);
}

void wait_queue_refuse(struct engine *engine, struct waiter *waiter) {
  struct engine_answer answer;
  fill_answer_quota(engine->quotas, QUOTAS_CLAIMS, waiter->user, &answer);
  answer_waiter(engine, waiter, &answer);
}

void wait_queue_forget(struct engine *engine, struct waiter *waiter, int64_t horizon_ms) {
  struct engine_answer answer;
  fill_answer_forgotten(horizon_ms, &answer);
  engine->counters.forgotten++;
  answer_waiter(engine, waiter, &answer);
}

/* ---- waits that have ended ---- */

void wait_queue_time_out(struct engine *engine, struct waiter *waiter, int64_t at_ms) {
  struct engine_answer answer;
  fill_answer_record(waiter->record, RULES_SAY_BUSY, at_ms, &answer);
  engine->counters.waits_timed_out++;
  answer_waiter(engine, waiter, &answer);
}

void wait_queue_end_claims(struct engine *engine, struct record *record, int64_t at_ms) {
  struct claim *claim = record_claim(record);
  while (claim != NULL && !list_empty(&claim->claimers))
    wait_queue_time_out(engine, LIST_ENTRY(claim->claimers.next, struct waiter, link), at_ms);
}

/* Returns the first deadline of those that still wait. */
static int64_t time_out_list(struct engine *engine, struct list *waiters, int64_t past_ms) {
  int64_t first_ms = RULES_NEVER;
  for (struct list *node = waiters->next, *next; node != waiters; node = next) {
    next = node->next;
    struct waiter *waiter = LIST_ENTRY(node, struct waiter, link);
    int64_t deadline_ms = waiter->timer.deadline_ms;
    if (rules_is_over(deadline_ms, past_ms)) {
      wait_queue_time_out(engine, waiter, deadline_ms);
    } else if (deadline_ms < first_ms) {
      first_ms = deadline_ms;
    }
  }
  return first_ms;
}

void wait_queue_time_out_all(struct engine *engine, struct claim *claim, int64_t past_ms) {
  bool seen_to = past_ms <= engine->waits_past_ms;
  if (seen_to || !rules_is_over(claim->first_wait_ms, past_ms)) return;
  int64_t claimer_ms = time_out_list(engine, &claim->claimers, past_ms);
  int64_t reader_ms = time_out_list(engine, &claim->readers, past_ms);
  claim->first_wait_ms = claimer_ms < reader_ms ? claimer_ms : reader_ms;
}
