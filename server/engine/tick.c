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

/* Leases that are over have ended: tick_leases came first, and left a budget. What may have ended a
 * grant besides, before the wait was over, counts first. */
static void tick_waits(struct engine *engine, int64_t now_ms, unsigned *budget) {
  struct wheel_node *node;
  while ((node = wheel_pop(&engine->waits, engine_past_ms(engine, now_ms), budget)) != NULL) {
    struct engine_waiter *waiter = LIST_ENTRY(node, struct engine_waiter, timer);
    wheel_set(&engine->waits, node, node->deadline_ms);
    struct record *record = waiter->record;
    const struct engine_binding *binding = record->claim->binding;
    bool grant_has_ended = record->epoch != engine->epoch || (binding != NULL && binding->closed);
    if (grant_has_ended) record_judge(engine, record, now_ms);
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

_Static_assert(SHELF_DUE_AT_ONCE <= INDEX_GROUP, "what is due at once is removed at once");

static void group_due(const struct engine *engine, const struct due *due,
                      struct index_group *group) {
  for (size_t i = 0; i < due->count; i++) {
    group->hashes[i] = engine_hash(engine, due->keys[i]);
    group->words[i] = index_word(group->hashes[i], due->stored[i], ENTRY_STORED);
  }
  group->count = due->count;
}

/* Responses end by the thousand, each somewhere else in the index: while a group is found and read,
 * the buckets of the group before are on their way. */
static void tick_shelf(struct engine *engine, int64_t now_ms, unsigned *budget) {
  struct due due;
  struct index_group groups[2], *group = &groups[0], *former = NULL;
  int64_t past_ms = engine_past_ms(engine, now_ms);
  while (shelf_due(&engine->shelf, past_ms, budget, &due) > 0) {
    stored_ended_all(engine, &due);
    group_due(engine, &due, group);
    index_fetch_group(&engine->index, group);
    if (former != NULL) index_remove_group(&engine->index, former);
    former = group;
    group = group == &groups[0] ? &groups[1] : &groups[0];
  }
  if (former != NULL) index_remove_group(&engine->index, former);
}

/* Appends a live response of a sparse chunk anew. false: there is no memory for it. */
static bool move_stored(struct engine *engine, struct stored *stored, int64_t now_ms) {
  if (entry_over(engine, (struct entry){.stored = stored}, now_ms)) {
    entry_judge(engine, (struct entry){.stored = stored}, now_ms);
    return true;
  }
  struct stored *moved = stored_copy(engine, stored, ENGINE_NO_DEADLINE, SIZE_MAX, now_ms);
  if (moved == NULL) return false;
  stored_become(engine, stored, moved);
  return true;
}

#define MOVED_AT_ONCE 16u

void engine_tidy(struct engine *engine, int64_t now_ms, unsigned *budget) {
  struct stored *live[MOVED_AT_ONCE];
  while (*budget > 0) {
    size_t room = *budget < MOVED_AT_ONCE ? *budget : MOVED_AT_ONCE;
    size_t count = shelf_sparse(&engine->shelf, live, room);
    if (count == 0) return;
    *budget -= (unsigned)count;
    for (size_t i = 0; i < count; i++) {
      if (move_stored(engine, live[i], now_ms)) continue;
      shelf_keep_sparse(&engine->shelf);
      return;
    }
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
    if (record->phase == RULES_HELD) record = record_judge(engine, record, now_ms);
    /* LAPSED or UNKNOWN before the connection closed: nothing ends with it any more. */
    if (record != NULL && record->claim != NULL && record->claim->binding == binding)
      claim_unbind(engine, record->claim);
    binding_release(engine, binding);
  }
}

/* The next flushed entry in the bucket under the cursor; false when there is none. */
static bool flushed_in_bucket(const struct engine *engine, uint64_t *next, struct entry *entry) {
  struct index_walk walk = index_scan(&engine->index, engine->sweep_cursor, next);
  for (uint64_t word; (word = index_next(&walk)) != 0;) {
    *entry = entry_of_word(word);
    if (entry_flushed(engine, *entry)) return true;
  }
  return false;
}

/* Frees flushed entries, those with waiters first. Each is judged as if somebody had asked for it.
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
    struct entry entry;
    if (flushed_in_bucket(engine, &next, &entry)) {
      entry_judge(engine, entry, now_ms);
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
  tick_shelf(engine, now_ms, &budget);
  engine_tidy(engine, now_ms, &budget);
  engine_sweep(engine, now_ms, &budget);
  wheel_refresh(&engine->leases);
  wheel_refresh(&engine->waits);
  wheel_refresh(&engine->ends);
  wheel_refresh(&engine->shelf.ends);
  return engine_next_due_hint(engine) <= now_ms;
}

static bool due_at_once(const struct engine *engine) {
  return engine->sweeping || !list_empty(&engine->closing) || !list_empty(&engine->shelf.sparse);
}

int64_t engine_next_due_hint(const struct engine *engine) {
  if (due_at_once(engine)) return INT64_MIN;
  int64_t first = engine->leases.nearest_ms;
  const int64_t others[] = {engine->waits.nearest_ms, engine->ends.nearest_ms,
                            engine->shelf.ends.nearest_ms};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    if (others[i] < first) first = others[i];
  }
  return first == INT64_MAX ? first : first + engine->options.clock_grain_ms;
}

int64_t engine_next_due(const struct engine *engine) {
  if (due_at_once(engine)) return INT64_MIN;
  int64_t first = wheel_next(&engine->leases);
  const int64_t others[] = {wheel_next(&engine->waits), wheel_next(&engine->ends),
                            shelf_next(&engine->shelf)};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    if (others[i] < first) first = others[i];
  }
  return first == INT64_MAX ? first : first + engine->options.clock_grain_ms;
}

/* ---- effects ---- */

static void drop_given(struct engine *engine) {
  struct effect *effect = engine->effect_given;
  if (effect != NULL) memory_give(&engine->memory, effect, sizeof *effect + effect->key_len);
  engine->effect_given = NULL;
}

void engine_want_effects(struct engine *engine, bool wanted) {
  engine->effects_wanted = wanted;
  if (wanted) return;
  for (struct engine_effect effect; engine_next_effect(engine, &effect);) continue;
}

bool engine_has_effects(const struct engine *engine) { return !list_empty(&engine->effects); }

bool engine_next_effect(struct engine *engine, struct engine_effect *effect) {
  drop_given(engine);
  struct list *node = list_pop(&engine->effects);
  if (node == NULL) return false;
  if (node == &engine->effects_lost) {
    *effect = (struct engine_effect){.kind = ENGINE_EFFECTS_LOST};
    return true;
  }
  struct effect *given = LIST_ENTRY(node, struct effect, link);
  engine->effect_given = given;
  *effect = (struct engine_effect){.kind = given->kind, .key = {given->key, given->key_len}};
  return true;
}

/* ---- figures ---- */

void engine_stats(const struct engine *engine, struct engine_stats *stats) {
  *stats = engine->stats;
  for (unsigned phase = 0; phase <= RULES_DONE; phase++)
    stats->records += stats->phases[phase] = engine->counts[phase];
  stats->values = engine->counts[RECORD_VALUE];
  stats->expiring = stats->records - stats->phases[RULES_HELD] + engine->values_ending;
  stats->replayed = engine->answers[ENGINE_DONE];
  stats->busy = engine->answers[ENGINE_BUSY];
  stats->unknown = engine->answers[ENGINE_UNKNOWN];
  stats->mismatched = engine->answers[ENGINE_MISMATCH];
  stats->stale = engine->answers[ENGINE_STALE];
  stats->conflicts = engine->answers[ENGINE_CONFLICT];
  stats->refused_memory = engine->answers[ENGINE_OOM];
  stats->memory_bytes = engine->memory.bytes;
  stats->memory_peak_bytes = engine->memory.peak_bytes;
}

_Static_assert(sizeof(struct engine_stats) % sizeof(uint64_t) == 0, "added up as numbers");

void engine_stats_add(struct engine_stats *sum, const struct engine_stats *stats) {
  uint64_t *to = (void *)sum;
  const uint64_t *from = (const void *)stats;
  for (size_t i = 0; i < sizeof *stats / sizeof *from; i++) to[i] += from[i];
}

void engine_reset_stats(struct engine *engine) {
  engine->stats = (struct engine_stats){.waiters = engine->stats.waiters};
  memset(engine->answers, 0, sizeof engine->answers);
  engine->memory.peak_bytes = engine->memory.bytes;
}
