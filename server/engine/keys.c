/* keys.c - what is the same for records and plain values: looking, fetching ahead, deleting,
 * deadlines, scanning, flushing. */
#include "server/engine/engine.h"

#include "server/engine/record.h"

static void describe(struct entry entry, int64_t now_ms, struct engine_entry *as) {
  *as = (struct engine_entry){.kind = ENGINE_RECORD, .phase = RULES_DONE, .left_ms = -1};
  int64_t end_ms = ENGINE_NO_DEADLINE;
  if (entry.stored != NULL) {
    struct response response;
    stored_read(entry.stored, &response);
    as->body = response.body_blob;
    end_ms = response.deadline_ms;
  } else if (record_is_value(entry.record)) {
    as->kind = ENGINE_VALUE;
    as->phase = RULES_ABSENT;
    as->body = entry.record->value;
    end_ms = entry.record->timer.deadline_ms;
  } else {
    as->phase = (enum rules_phase)entry.record->phase;
    if (as->phase != RULES_HELD) end_ms = entry.record->timer.deadline_ms;
  }
  if (end_ms != ENGINE_NO_DEADLINE) as->left_ms = end_ms > now_ms ? end_ms - now_ms : 0;
}

static struct entry find(struct engine *engine, struct span key, int64_t now_ms) {
  struct engine_name name;
  struct response response;
  engine_name_of(engine, key, &name);
  return entry_find(engine, &name, now_ms, &response);
}

static bool absent(struct entry entry) { return entry.record == NULL && entry.stored == NULL; }

void engine_look(struct engine *engine, struct span key, int64_t now_ms,
                 struct engine_entry *entry) {
  struct entry found = find(engine, key, now_ms);
  if (absent(found)) {
    *entry = (struct engine_entry){.kind = ENGINE_ABSENT, .left_ms = -1};
    return;
  }
  describe(found, now_ms, entry);
}

void engine_prefetch(const struct engine *engine, const struct engine_name *name) {
  index_prefetch(&engine->index, name->hash);
}

void engine_prefetch_entry(const struct engine *engine, const struct engine_name *name) {
  struct index_search search = index_search(&engine->index, name->hash);
  uint64_t word = index_next_here(&search); /* one in 300 has the tag and is not it */
  if (word == 0) {                          /* what is chained to the bucket is not waited for */
    __builtin_prefetch(index_behind(search.bucket));
    return;
  }
  struct entry entry = entry_of_word(word);
  if (entry.stored != NULL) {
    stored_prefetch(entry.stored);
  } else {
    __builtin_prefetch(entry.record);
    __builtin_prefetch(entry.record->bytes);
  }
}

size_t engine_memory_of(struct engine *engine, struct span key, int64_t now_ms) {
  struct entry entry = find(engine, key, now_ms);
  if (absent(entry)) return 0;
  return sizeof(uint64_t) +
         (entry.record != NULL ? record_memory(entry.record) : stored_size(entry.stored));
}

bool engine_delete(struct engine *engine, struct span key, int64_t now_ms) {
  struct entry entry = find(engine, key, now_ms);
  if (absent(entry)) return false;
  if (entry.record != NULL && entry.record->phase == RULES_HELD) {
    record_end_grant(engine, entry.record, RULES_END_DELETED, now_ms, now_ms);
    return true;
  }
  effect_emit_free(engine, entry);
  entry_destroy(engine, entry);
  return true;
}

enum engine_status engine_set_value(struct engine *engine, struct span key, struct span value,
                                    int64_t deadline_ms, int64_t now_ms) {
  struct engine_name name;
  struct response response;
  engine_name_of(engine, key, &name);
  struct entry entry = entry_find(engine, &name, now_ms, &response);
  struct record *record = entry.record;
  if (entry.stored != NULL || (record != NULL && !record_is_value(record))) return ENGINE_WRONGTYPE;
  size_t more = value.len + (record == NULL ? sizeof *record + key.len : 0);
  if (engine_over_limit(engine, more, false, now_ms)) {
    engine->answers[ENGINE_OOM]++;
    return ENGINE_OOM;
  }
  struct engine_blob *body = blob_create(&engine->memory, value);
  if (body == NULL) return ENGINE_NO_MEMORY;
  /* The sweep inside engine_over_limit removes flushed records only; this one was judged and lives.
   */
  if (record == NULL) record = record_create_value(engine, &name);
  if (record == NULL) {
    blob_release(&engine->memory, body);
    return ENGINE_NO_MEMORY;
  }
  blob_release(&engine->memory, record->value);
  record->value = body;
  record_set_end(engine, record, deadline_ms);
  if (deadline_ms <= now_ms) record_destroy(engine, record);
  return ENGINE_STORED;
}

/* A response is written anew: where it lies depends on its end. */
static bool move_end(struct engine *engine, struct stored *stored, int64_t deadline_ms,
                     int64_t now_ms) {
  struct stored *moved = stored_copy(engine, stored, deadline_ms, engine_room(engine, 0), now_ms);
  if (moved == NULL) return false;
  stored_become(engine, stored, moved);
  return true;
}

bool engine_set_deadline(struct engine *engine, struct span key, int64_t deadline_ms,
                         int64_t now_ms) {
  struct entry entry = find(engine, key, now_ms);
  if (absent(entry)) return false;
  if (entry.stored != NULL && deadline_ms == ENGINE_NO_DEADLINE) return false;
  if (entry.record != NULL && !record_is_value(entry.record)) return false;
  if (deadline_ms <= now_ms) {
    effect_emit_free(engine, entry);
    entry_destroy(engine, entry);
    return true;
  }
  if (entry.stored != NULL) return move_end(engine, entry.stored, deadline_ms, now_ms);
  record_set_end(engine, entry.record, deadline_ms);
  return true;
}

void engine_flush(struct engine *engine, int64_t now_ms) {
  engine->epoch++;
  engine->shelf.epoch++;
  engine->flushed_ms = now_ms;
  engine->sweeping = true;
  engine->sweep_cursor = 0;
  memset(engine->counts, 0, sizeof engine->counts);
  engine->values_ending = 0;
}

uint64_t engine_scan(struct engine *engine, uint64_t cursor, int64_t now_ms, engine_visitor *visit,
                     void *context) {
  uint64_t next = 0;
  struct index_walk walk = index_scan(&engine->index, cursor, &next);
  for (uint64_t word; (word = index_next(&walk)) != 0;) {
    struct entry entry = entry_of_word(word);
    if (entry_over(engine, entry, now_ms)) continue;
    struct engine_entry as;
    describe(entry, now_ms, &as);
    char text[KEY_UUID_TEXT];
    visit(context, key_text(entry_key(entry), text), &as);
  }
  return next;
}

/* Buckets are looked through from a random one on, so a key behind empty buckets is likelier: good
 * enough for a look. The walk is bounded; an index that is nearly empty has shrunk, so a live key
 * is near. */
#define RANDOM_MAX_BUCKETS 4096

struct span engine_random_key(struct engine *engine, uint64_t random, int64_t now_ms) {
  uint64_t cursor = random & ((UINT64_C(1) << INDEX_CURSOR_BITS) - 1);
  for (unsigned step = 0; step < RANDOM_MAX_BUCKETS; step++) {
    uint64_t next = 0;
    unsigned alive = 0;
    struct entry chosen = {0};
    struct index_walk walk = index_scan(&engine->index, cursor, &next);
    for (uint64_t word; (word = index_next(&walk)) != 0;) {
      struct entry entry = entry_of_word(word);
      if (entry_over(engine, entry, now_ms)) continue;
      if ((random >> 8) % ++alive == 0) chosen = entry;
    }
    if (!absent(chosen)) return key_text(entry_key(chosen), engine->random_key);
    cursor = next;
  }
  return SPAN_ABSENT;
}
