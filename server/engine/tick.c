/* tick.c - what happens by itself: deadlines nobody asked about, closed connections, the sweep
 * behind FLUSHALL; and figures. */
#include "server/engine/engine.h"

#include "server/engine/record.h"

/* Leases before waits: of equal deadlines the lease is first. */
static void tick_leases(struct engine *engine, int64_t now_ms, unsigned *budget) {
  struct wheel_node *node;
  while ((node = wheel_pop(&engine->leases, engine_past_ms(engine, now_ms), budget)) != NULL) {
    struct record *record = LIST_ENTRY(node, struct record, timer);
    wheel_set(&engine->leases, node, node->deadline_ms); /* a record that is HELD is armed */
    record_judge(engine, record, now_ms);
  }
}

static void tick_waits(struct engine *engine, int64_t now_ms, unsigned *budget) {
  struct wheel_node *node;
  while ((node = wheel_pop(&engine->waits, engine_past_ms(engine, now_ms), budget)) != NULL) {
    struct engine_waiter *waiter = LIST_ENTRY(node, struct engine_waiter, timer);
    wheel_set(&engine->waits, node, node->deadline_ms);
    struct record *record = waiter->record;
    bool grant_ends_first = rules_due(&record->facts, node->deadline_ms) != RULES_NOT_DUE ||
                            record->epoch != engine->epoch ||
                            (record->claim->binding != NULL && record->claim->binding->closed);
    if (grant_ends_first) record_judge(engine, record, now_ms);
    if (!waiter->answered) waiter_time_out(engine, waiter, node->deadline_ms);
  }
  if (*budget > 0) engine->waits_judged_ms = engine_past_ms(engine, now_ms);
}

static void tick_ends(struct engine *engine, int64_t now_ms, unsigned *budget) {
  struct wheel_node *node;
  while ((node = wheel_pop(&engine->ends, engine_past_ms(engine, now_ms), budget)) != NULL) {
    record_judge(engine, LIST_ENTRY(node, struct record, timer), now_ms);
  }
}

static void tick_bindings(struct engine *engine, int64_t now_ms, unsigned *budget) {
  while (*budget > 0 && !list_empty(&engine->closing)) {
    --*budget;
    struct engine_binding *binding = LIST_ENTRY(engine->closing.next, struct engine_binding, link);
    if (list_empty(&binding->claims)) {
      list_remove(&binding->link);
      continue;
    }
    struct claim *claim = LIST_ENTRY(binding->claims.next, struct claim, bound);
    binding->references++; /* survives its last claim, so that it can be looked at again */
    struct record *record = claim->record;
    if (record->facts.phase == RULES_HELD || record->epoch != engine->epoch)
      record = record_judge(engine, record, now_ms);
    /* LAPSED or UNKNOWN before the connection closed: nothing ends with it any more. */
    if (record != NULL && record->claim != NULL && record->claim->binding == binding)
      claim_unbind(engine, record->claim);
    binding_release(engine, binding);
  }
}

static struct record *flushed_in_bucket(const struct engine *engine, uint64_t *next) {
  for (struct table_node *node = table_scan(&engine->table, engine->sweep_cursor, next);
       node != NULL; node = node->next) {
    struct record *record = LIST_ENTRY(node, struct record, node);
    if (record->epoch != engine->epoch) return record;
  }
  return NULL;
}

/* Frees flushed records, those with waiters first. Each is judged as if somebody had asked for it.
 * True when done. */
bool engine_sweep(struct engine *engine, int64_t now_ms, unsigned *budget) {
  for (; engine->sweeping && *budget > 0; --*budget) {
    if (!list_empty(&engine->waited)) {
      struct record *record = LIST_ENTRY(engine->waited.next, struct claim, waited)->record;
      if (record->epoch != engine->epoch) {
        list_remove(&record->claim->waited);
        list_append(&engine->waited,
                    &record->claim->waited); /* behind the others, should it be handed over */
        record_judge(engine, record, now_ms);
        continue;
      }
    }
    uint64_t next = 0;
    struct record *record = flushed_in_bucket(engine, &next);
    if (record != NULL) {
      record_judge(engine, record, now_ms);
      continue;
    }
    engine->sweep_cursor = next;
    if (next == 0) engine->sweeping = false;
  }
  return !engine->sweeping;
}

bool engine_tick(struct engine *engine, int64_t now_ms, unsigned budget) {
  tick_leases(engine, now_ms, &budget);
  tick_waits(engine, now_ms, &budget);
  tick_bindings(engine, now_ms, &budget);
  tick_ends(engine, now_ms, &budget);
  engine_sweep(engine, now_ms, &budget);
  return engine_next_due(engine) <= now_ms;
}

int64_t engine_next_due(const struct engine *engine) {
  if (engine->sweeping || !list_empty(&engine->closing)) return INT64_MIN;
  int64_t first = wheel_next(&engine->leases);
  int64_t waits = wheel_next(&engine->waits), ends = wheel_next(&engine->ends);
  if (waits < first) first = waits;
  if (ends < first) first = ends;
  return first == INT64_MAX ? first : first + engine->options.clock_grain_ms;
}

/* ---- effects ---- */

static void drop_effect(struct engine *engine) {
  engine_free(engine, engine->effect_given);
  engine->effect_given = NULL;
}

void engine_want_effects(struct engine *engine, bool wanted) {
  engine->effects_wanted = wanted;
  if (wanted) return;
  drop_effect(engine);
  for (struct list *node; (node = list_pop(&engine->effects)) != NULL;)
    engine_free(engine, LIST_ENTRY(node, struct effect, link));
}

bool engine_next_effect(struct engine *engine, struct engine_effect *effect) {
  drop_effect(engine);
  struct list *node = list_pop(&engine->effects);
  if (node == NULL) return false;
  struct effect *given = LIST_ENTRY(node, struct effect, link);
  engine->effect_given = given;
  *effect = (struct engine_effect){.kind = given->kind, .key = {given->key, given->key_len}};
  return true;
}

/* ---- figures ---- */

void engine_stats(const struct engine *engine, struct engine_stats *stats) {
  *stats = engine->stats;
  stats->memory_bytes = engine->memory_bytes + engine->table.memory_bytes;
  /* The table grows between two allocations. */
  if (stats->memory_peak_bytes < stats->memory_bytes)
    stats->memory_peak_bytes = stats->memory_bytes;
}

void engine_reset_stats(struct engine *engine) {
  struct engine_stats *stats = &engine->stats;
  const struct engine_stats kept = *stats;
  *stats = (struct engine_stats){
      .records = kept.records,
      .values = kept.values,
      .expiring = kept.expiring,
      .waiters = kept.waiters,
      .memory_peak_bytes = engine->memory_bytes + engine->table.memory_bytes,
  };
  memcpy(stats->phases, kept.phases, sizeof stats->phases);
}
