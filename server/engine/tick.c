/* tick.c - see tick.h. */
#include "server/engine/tick.h"

#include "server/engine/binding.h"
#include "server/engine/deadlines.h"
#include "server/engine/due.h"
#include "server/engine/effect.h"
#include "server/engine/emit.h"
#include "server/engine/response_expiry.h"
#include "server/engine/sweep.h"
#include "server/engine/wait_queue.h"

/* ---- records and waits ---- */

/* Leases before waits: of equal deadlines, the lease's is first. */
static void tick_records(struct engine *engine, int64_t now_ms, unsigned *budget) {
  struct deadlines_pass pass = {0};
  int64_t past_ms = state_past_ms(engine, now_ms);
  struct record *record;
  while ((record = deadlines_next(&engine->records, &pass, past_ms, budget)) != NULL) {
    due_apply(engine, record, now_ms);
    if (emit_is_full(engine)) *budget = 0;
  }
}

/* tick_records has ended the leases that have expired, since it left a budget. A grant may also
 * have ended by FLUSHALL or a closed connection before the wait did; that end is applied first. */
static bool grant_may_have_ended(const struct engine *engine, const struct record *record) {
  const struct binding *binding = record->claim->binding;
  return record_is_flushed(engine, record) || (binding != NULL && binding->closed);
}

static void tick_waits(struct engine *engine, int64_t now_ms, unsigned *budget) {
  int64_t past_ms = state_past_ms(engine, now_ms);
  struct wheel_node *node;
  while ((node = wheel_pop(&engine->waits, past_ms, budget)) != NULL) {
    struct waiter *waiter = LIST_ENTRY(node, struct waiter, timer);
    wheel_set(&engine->waits, node, node->deadline_ms);
    if (grant_may_have_ended(engine, waiter->record)) due_apply(engine, waiter->record, now_ms);
    if (waiter->phase == WAITER_WAITING) wait_queue_time_out(engine, waiter, node->deadline_ms);
    if (emit_is_full(engine)) *budget = 0;
  }
  if (*budget > 0) engine->waits_past_ms = past_ms;
}

/* There is room again. Only those that are granted count: the others are passed by. */
static void tick_held_back(struct engine *engine, int64_t now_ms, unsigned *budget) {
  if (!engine->held_back || !state_may_grant(engine)) return;
  struct list *node = engine->waited.next, *next;
  for (; *budget > 0 && node != &engine->waited; node = next) {
    next = node->next;
    struct record *record = LIST_ENTRY(node, struct claim, waited)->record;
    if (record->phase != RULES_LAPSED) continue;
    due_apply(engine, record, now_ms);
    *budget = emit_is_full(engine) ? 0 : *budget - 1;
  }
  if (node == &engine->waited) engine->held_back = false;
}

/* ---- closed connections ---- */

static void tick_claim(struct engine *engine, struct claim *claim, int64_t now_ms) {
  struct binding *binding = claim->binding;
  struct record *record = claim->record;
  binding_refer(binding); /* keeps it for another look after its last claim has left */
  if (record->phase == RULES_HELD) record = due_apply(engine, record, now_ms);
  /* When it was LAPSED or UNKNOWN before, nothing ends with the connection but BIND. */
  if (record != NULL && record_claim(record) != NULL && record->claim->binding == binding) {
    binding_unbind(engine, record_claim(record));
    record_clear(record, RECORD_BIND);
  }
  binding_release(engine, binding);
}

static void tick_bindings(struct engine *engine, int64_t now_ms, unsigned *budget) {
  while (*budget > 0 && !list_empty(&engine->closing)) {
    struct binding *binding = LIST_ENTRY(engine->closing.next, struct binding, link);
    if (list_empty(&binding->claims)) {
      list_remove(&binding->link);
    } else {
      tick_claim(engine, LIST_ENTRY(binding->claims.next, struct claim, bound), now_ms);
    }
    *budget = emit_is_full(engine) ? 0 : *budget - 1;
  }
}

/* ---- responses ---- */

_Static_assert(RESPONSE_EXPIRY_AT_ONCE <= INDEX_GROUP, "what is due at once is removed at once");

/* They have left the log, but are still in the index. */
static void note_expired(struct engine *engine, const struct response_expiry_batch *batch) {
  uint64_t count = batch->count - batch->flushed;
  engine->counters.expired += count;
  engine->counts[RULES_DONE] -= count;
  for (size_t i = 0; engine->effects_wanted && i < batch->count; i++)
    effect_emit_free(engine, (struct entry){.response = batch->refs[i]});
}

static void group_batch(const struct engine *engine, const struct response_expiry_batch *batch,
                        struct index_group *group) {
  for (size_t i = 0; i < batch->count; i++) {
    group->hashes[i] = name_hash(engine, batch->keys[i]);
    group->words[i] = index_word(group->hashes[i], batch->refs[i], ENTRY_RESPONSE);
  }
  group->count = batch->count;
}

static void note_horizon(struct engine *engine, const struct response_expiry_batch *batch,
                         const struct index_group *group) {
  for (size_t i = 0; i < batch->count; i++) {
    if (batch->flushed > 0 && response_log_is_flushed(&engine->log, batch->refs[i])) continue;
    horizon_note(&engine->horizon, group->hashes[i], batch->since_ms[i]);
  }
}

/* Thousands of responses may end together, each in another place of the index: while one group is
 * found and read, the buckets of the group before it are being fetched. */
static void tick_responses(struct engine *engine, int64_t now_ms, unsigned *budget) {
  struct response_expiry_batch batch;
  struct index_group groups[2], *group = &groups[0], *former = NULL;
  int64_t past_ms = state_past_ms(engine, now_ms);
  while (response_expiry_due(&engine->log, past_ms, budget, &batch) > 0) {
    note_expired(engine, &batch);
    group_batch(engine, &batch, group);
    note_horizon(engine, &batch, group);
    index_fetch_group(&engine->index, group);
    if (former != NULL) index_remove_group(&engine->index, former);
    former = group;
    group = group == &groups[0] ? &groups[1] : &groups[0];
  }
  if (former != NULL) index_remove_group(&engine->index, former);
}

/* ---- all of it ---- */

bool tick_run(struct engine *engine, int64_t now_ms, unsigned budget) {
  tick_held_back(engine, now_ms, &budget);
  tick_records(engine, now_ms, &budget);
  tick_waits(engine, now_ms, &budget);
  tick_bindings(engine, now_ms, &budget);
  /* What the former has ended may be gone by now. */
  if (engine->records.timers.nearest_ms <= state_past_ms(engine, now_ms))
    tick_records(engine, now_ms, &budget);
  tick_responses(engine, now_ms, &budget);
  sweep_sparse(engine, now_ms, &budget);
  sweep_flushed(engine, now_ms, &budget);
  wheel_refresh(&engine->records.timers);
  wheel_refresh(&engine->waits);
  wheel_refresh(&engine->log.ends);
  return tick_next_due_hint(engine) <= now_ms;
}

#define WHEELS 3u

static int64_t due_after(const struct engine *engine, const int64_t deadlines[WHEELS]) {
  if (sweep_is_needed(engine) || !list_empty(&engine->closing)) return INT64_MIN;
  if (engine->held_back && state_may_grant(engine)) return INT64_MIN;
  int64_t first_ms = deadlines[0];
  for (size_t i = 1; i < WHEELS; i++) {
    if (deadlines[i] < first_ms) first_ms = deadlines[i];
  }
  return rules_over_at_ms(first_ms, engine->options.clock_grain_ms);
}

int64_t tick_next_due_hint(const struct engine *engine) {
  const int64_t deadlines[WHEELS] = {engine->records.timers.nearest_ms, engine->waits.nearest_ms,
                                     engine->log.ends.nearest_ms};
  return due_after(engine, deadlines);
}

int64_t tick_past_ms(const struct engine *engine, int64_t now_ms) {
  const int64_t ends[] = {wheel_earliest(&engine->records.timers),
                          wheel_earliest(&engine->log.ends)};
  int64_t past_ms = now_ms;
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    if (ends[i] <= past_ms) past_ms = ends[i] - 1;
  }
  return past_ms;
}

int64_t tick_next_due(const struct engine *engine) {
  const int64_t deadlines[WHEELS] = {wheel_next(&engine->records.timers),
                                     wheel_next(&engine->waits),
                                     response_expiry_next(&engine->log)};
  return due_after(engine, deadlines);
}
