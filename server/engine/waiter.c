/* waiter.c - see waiter.h. */
#include "server/engine/waiter.h"

#include <assert.h>

#include "server/engine/binding.h"
#include "server/engine/due.h"
#include "server/engine/grant.h"
#include "server/engine/pin.h"
#include "server/engine/wait_queue.h"

static void forget_ready(struct engine *engine, unsigned loop_id) {
  if (list_empty(&engine->ready[loop_id])) engine->ready_loops &= ~(UINT64_C(1) << loop_id);
}

struct waiter *waiter_next_ready(struct engine *engine, unsigned loop_id) {
  struct list *node = list_pop(&engine->ready[loop_id]);
  forget_ready(engine, loop_id);
  return node != NULL ? LIST_ENTRY(node, struct waiter, link) : NULL;
}

uint64_t waiter_ready_loops(const struct engine *engine) { return engine->ready_loops; }

const struct engine_answer *waiter_answer(const struct waiter *waiter) { return &waiter->answer; }

void *waiter_context(const struct waiter *waiter) { return waiter->context; }

/* Counted when it can no longer be undone, so that the counter never falls. */
static void count_hand_over(struct engine *engine, const struct waiter *waiter) {
  if (waiter->answer.status == ENGINE_CLAIMED) engine->counters.handed_over++;
}

/* It is in no queue. */
static void destroy(struct engine *engine, struct waiter *waiter) {
  list_remove(&waiter->link);
  forget_ready(engine, waiter->loop_id);
  pin_release_answer(engine, &waiter->answer);
  pin_release(engine, waiter->undo.owner);
  pin_release(engine, waiter->undo.stage);
  binding_release(engine, waiter->undo.binding);
  pin_release(engine, waiter->owner);
  binding_release(engine, waiter->binding);
  memory_give(&engine->memory, waiter, sizeof *waiter);
}

void waiter_settle(struct engine *engine, struct waiter *waiter) {
  assert(waiter->phase != WAITER_WAITING);
  if (waiter->phase == WAITER_GRANTED) claim_confirm(record_claim(waiter->record));
  count_hand_over(engine, waiter);
  destroy(engine, waiter);
}

void waiter_take_back(struct engine *engine, struct waiter *waiter, int64_t now_ms) {
  assert(waiter->phase != WAITER_WAITING);
  if (waiter->phase == WAITER_GRANTED) due_apply(engine, waiter->record, now_ms);
  if (waiter->phase == WAITER_GRANTED) {
    grant_undo(engine, waiter, now_ms);
  } else {
    count_hand_over(engine, waiter);
  }
  destroy(engine, waiter);
}

void waiter_cancel(struct engine *engine, struct waiter *waiter, int64_t now_ms) {
  if (waiter->phase != WAITER_WAITING) {
    waiter_take_back(engine, waiter, now_ms);
    return;
  }
  wait_queue_leave(engine, waiter);
  destroy(engine, waiter);
}

void waiter_expire(struct engine *engine, struct waiter *waiter, int64_t now_ms) {
  if (waiter->phase == WAITER_WAITING) due_apply(engine, waiter->record, now_ms);
  if (waiter->phase == WAITER_WAITING) wait_queue_time_out(engine, waiter, now_ms);
}
