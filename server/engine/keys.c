/* keys.c - what is the same for records and plain values: looking, deleting, deadlines, scanning,
 * flushing. */
#include "server/engine/engine.h"

#include <malloc.h>

#include "server/engine/record.h"

static size_t usable(const void *memory) {
  return memory != NULL ? malloc_usable_size((void *)(uintptr_t)memory) : 0;
}

static size_t memory_of(const struct record *record) {
  size_t bytes =
      usable(record) + usable(record->body) + usable(record->meta) + sizeof(struct table_node *);
  if (record->claim != NULL)
    bytes += usable(record->claim) + usable(record->claim->owner) + usable(record->claim->stage);
  return bytes;
}

static void describe(const struct record *record, int64_t now_ms, struct engine_entry *entry) {
  const struct rules_record *facts = &record->facts;
  *entry = (struct engine_entry){
      .kind = (enum engine_kind)record->kind,
      .phase = (enum rules_phase)facts->phase,
      .body = record->body,
      .left_ms = -1,
  };
  int64_t end_ms = record->kind == ENGINE_VALUE ? record->timer.deadline_ms : facts->deadline_ms;
  bool ends =
      record->kind == ENGINE_VALUE ? end_ms != ENGINE_NO_DEADLINE : facts->phase != RULES_HELD;
  if (ends) entry->left_ms = end_ms > now_ms ? end_ms - now_ms : 0;
}

void engine_look(struct engine *engine, struct span key, int64_t now_ms,
                 struct engine_entry *entry) {
  const struct record *record = record_find(engine, key, now_ms);
  if (record == NULL) {
    *entry = (struct engine_entry){.kind = ENGINE_ABSENT, .left_ms = -1};
    return;
  }
  describe(record, now_ms, entry);
}

size_t engine_memory_of(struct engine *engine, struct span key, int64_t now_ms) {
  const struct record *record = record_find(engine, key, now_ms);
  return record != NULL ? memory_of(record) : 0;
}

bool engine_delete(struct engine *engine, struct span key, int64_t now_ms) {
  struct record *record = record_find(engine, key, now_ms);
  if (record == NULL) return false;
  if (record->kind == ENGINE_RECORD && record->facts.phase == RULES_HELD) {
    record_end_grant(engine, record, RULES_END_DELETED, now_ms, now_ms);
    return true;
  }
  effect_emit_free(engine, record);
  record_destroy(engine, record);
  return true;
}

enum engine_status engine_set_value(struct engine *engine, struct span key, struct span value,
                                    int64_t deadline_ms, int64_t now_ms) {
  struct record *record = record_find(engine, key, now_ms);
  if (record != NULL && record->kind == ENGINE_RECORD) return ENGINE_WRONGTYPE;
  size_t more = value.len + (record == NULL ? sizeof *record + key.len : 0);
  if (engine_over_limit(engine, more, false, now_ms)) {
    engine->stats.refused_memory++;
    return ENGINE_OOM;
  }
  struct engine_blob *body = blob_create(engine, value);
  if (body == NULL) return ENGINE_NO_MEMORY;
  /* The sweep inside engine_over_limit removes flushed records only; this one was judged and lives.
   */
  if (record == NULL) record = record_create(engine, ENGINE_VALUE, key, SPAN_ABSENT);
  if (record == NULL) {
    engine_unpin(engine, body);
    return ENGINE_NO_MEMORY;
  }
  engine_unpin(engine, record->body);
  record->body = body;
  record_set_end(engine, record, deadline_ms);
  if (deadline_ms <= now_ms) record_destroy(engine, record);
  return ENGINE_STORED;
}

bool engine_set_deadline(struct engine *engine, struct span key, int64_t deadline_ms,
                         int64_t now_ms) {
  struct record *record = record_find(engine, key, now_ms);
  if (record == NULL) return false;
  if (record->kind == ENGINE_RECORD &&
      (record->facts.phase != RULES_DONE || deadline_ms == ENGINE_NO_DEADLINE))
    return false;
  record_set_end(engine, record, deadline_ms);
  if (deadline_ms <= now_ms) {
    effect_emit_free(engine, record);
    record_destroy(engine, record);
  }
  return true;
}

void engine_flush(struct engine *engine, int64_t now_ms) {
  struct engine_stats *stats = &engine->stats;
  engine->epoch++;
  engine->flushed_ms = now_ms;
  engine->sweeping = true;
  engine->sweep_cursor = 0;
  engine->open_claims = 0;
  stats->records = stats->values = stats->expiring = 0;
  for (unsigned phase = 0; phase <= RULES_DONE; phase++) stats->phases[phase] = 0;
}

uint64_t engine_scan(struct engine *engine, uint64_t cursor, int64_t now_ms, engine_visitor *visit,
                     void *context) {
  uint64_t next = 0;
  for (struct table_node *node = table_scan(&engine->table, cursor, &next); node != NULL;
       node = node->next) {
    const struct record *record = LIST_ENTRY(node, struct record, node);
    if (record_over(engine, record, now_ms)) continue;
    struct engine_entry entry;
    describe(record, now_ms, &entry);
    visit(context, record_key(record), &entry);
  }
  return next;
}

/* Buckets are looked through from a random one on, so a key behind empty buckets is likelier: good
 * enough for a look. The walk is bounded; a table that is nearly empty has shrunk, so a live key is
 * near. */
#define RANDOM_MAX_BUCKETS 4096

struct span engine_random_key(struct engine *engine, uint64_t random, int64_t now_ms) {
  uint64_t cursor = random & ((UINT64_C(1) << TABLE_CURSOR_BITS) - 1);
  for (unsigned step = 0; step < RANDOM_MAX_BUCKETS; step++) {
    uint64_t next = 0;
    unsigned alive = 0;
    const struct record *chosen = NULL;
    for (struct table_node *node = table_scan(&engine->table, cursor, &next); node != NULL;
         node = node->next) {
      const struct record *record = LIST_ENTRY(node, struct record, node);
      if (record_over(engine, record, now_ms)) continue;
      alive++;
      if ((random >> 8) % alive == 0) chosen = record;
    }
    if (chosen != NULL) return record_key(chosen);
    cursor = next;
  }
  return SPAN_ABSENT;
}
