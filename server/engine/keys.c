/* keys.c - see keys.h. */
#include "server/engine/keys.h"

#include "server/engine/due.h"
#include "server/engine/emit.h"
#include "server/engine/find.h"
#include "server/engine/forget.h"
#include "server/engine/grant.h"
#include "server/engine/memory_limit.h"
#include "server/engine/token.h"

/* ---- looking ---- */

/* Returns the time at which it ends by itself. */
static int64_t describe_response(const struct response_ref *ref, struct keys_entry *as) {
  struct response response;
  response_log_read(ref, &response);
  *as = (struct keys_entry){KEYS_RECORD, RULES_DONE, response.body_blob, .left_ms = -1};
  return response.deadline_ms;
}

static int64_t describe_record(const struct record *record, struct keys_entry *as) {
  if (record_is_value(record)) {
    *as = (struct keys_entry){KEYS_VALUE, RULES_ABSENT, record->value, .left_ms = -1};
    return record_deadline_ms(record);
  }
  *as = (struct keys_entry){KEYS_RECORD, (enum rules_phase)record->phase, NULL, .left_ms = -1};
  return record->phase != RULES_HELD ? record_deadline_ms(record) : RULES_NEVER;
}

static void describe(struct entry entry, int64_t now_ms, struct keys_entry *as) {
  int64_t end_ms = entry.response != NULL ? describe_response(entry.response, as)
                                          : describe_record(entry.record, as);
  if (end_ms != RULES_NEVER) as->left_ms = end_ms > now_ms ? end_ms - now_ms : 0;
}

void keys_look(struct engine *engine, struct span key, int64_t now_ms, struct keys_entry *entry) {
  struct entry found = find_key(engine, key, now_ms);
  if (entry_is_absent(found)) {
    *entry = (struct keys_entry){.kind = KEYS_ABSENT, .left_ms = -1};
  } else {
    describe(found, now_ms, entry);
  }
}

size_t keys_memory(struct engine *engine, struct span key, int64_t now_ms) {
  struct entry entry = find_key(engine, key, now_ms);
  return entry_is_absent(entry) ? 0 : entry_memory(entry);
}

/* 512 KiB of buckets, 50,000 keys: a core keeps them, and their entries, in its own cache. */
#define CACHED_BUCKETS ((512u << 10) / sizeof(struct index_bucket))

bool keys_exceed_cache(const struct engine *engine, size_t engines) {
  return index_size_seen(&engine->index) * engines > CACHED_BUCKETS;
}

void keys_prefetch(const struct engine *engine, const struct name *name) {
  index_prefetch(&engine->index, name->hash);
}

/* The statement keeps the calls: without one that it does not see through, the compiler takes a
 * function that only fetches for one without an effect, and leaves them out. */
void keys_prefetch_chain(const struct engine *engine, const struct name *name) {
  __asm__ volatile("");
  __builtin_prefetch(index_behind(index_bucket_of(&engine->index, name->hash)));
}

/* The statement as above. */
void keys_prefetch_entry(const struct engine *engine, const struct name *name) {
  __asm__ volatile("");
  struct index_search search = index_search(&engine->index, name->hash);
  uint64_t word = index_next_of(&search); /* one in 300 has the tag and another key */
  if (word == 0) return;
  struct entry entry = entry_of_word(word);
  if (entry.response != NULL) {
    response_log_prefetch(entry.response);
  } else {
    __builtin_prefetch(entry.record);
    __builtin_prefetch(entry.record->bytes);
  }
}

/* ---- changing ---- */

bool keys_has_claim(const struct engine *engine, struct span key) {
  const struct record *record = find_record(engine, key);
  return record != NULL && !record_is_value(record);
}

bool keys_delete(struct engine *engine, struct span key, int64_t now_ms) {
  struct entry entry = find_key(engine, key, now_ms);
  if (entry_is_absent(entry)) return false;
  if (entry.record != NULL && grant_has_waiters_or_runs(entry.record)) {
    grant_end(engine, entry.record, RULES_END_CLEARED, now_ms, now_ms);
  } else {
    emit_absent(engine, entry_key(entry));
    forget_entry(engine, entry);
  }
  return true;
}

/* Whether a deadline that a call brings with it has passed, by the clock of that call. Without the
 * clock's grain: that is for a deadline which was computed from an earlier reading, and so may be
 * that much too early. This one was computed from this reading (EXPIRE key 0 removes the key at
 * once, as in Redis) or is absolute, and a clock that is rounded down has certainly reached it. */
static bool is_past(int64_t deadline_ms, int64_t now_ms) {
  return rules_is_over(deadline_ms, rules_past_ms(now_ms, 0));
}

/* The record of the value, made when there is none; NULL: no memory. */
static struct record *record_of_value(struct engine *engine, const struct name *name,
                                      struct record *record, struct span value) {
  struct blob *body = blob_create(&engine->memory, value);
  if (body == NULL) return NULL;
  if (record == NULL) record = entry_add_value(engine, name, engine->value_serial + 1);
  if (record == NULL) {
    blob_release(&engine->memory, body);
    return NULL;
  }
  blob_release(&engine->memory, record->value);
  record->value = body;
  return record;
}

enum engine_status keys_set_value(struct engine *engine, struct span key, struct span value,
                                  int64_t deadline_ms, int64_t now_ms) {
  struct name name;
  struct response response;
  name_of(engine, key, &name);
  struct entry entry = find_entry(engine, &name, now_ms, &response);
  struct record *record = entry.record;
  if (entry.response != NULL || (record != NULL && !record_is_value(record)))
    return ENGINE_WRONGTYPE;
  const struct record_parts parts = {.key = name.key};
  size_t more = value.len + (record == NULL ? record_growth(&engine->records, &parts, false) : 0);
  /* The sweep removes flushed records only, so not this one. */
  if (!memory_limit_make_room(engine, (struct memory_limit_demand){more, false}, now_ms)) {
    engine->answers[ENGINE_OOM]++;
    return ENGINE_OOM;
  }
  bool replaces = record != NULL;
  record = record_of_value(engine, &name, record, value);
  if (record == NULL) return ENGINE_NO_MEMORY;
  record->value_since_ms = now_ms;
  record->token = ++engine->value_serial;
  entry_set_end(engine, record, deadline_ms);
  if (is_past(deadline_ms, now_ms)) {
    if (replaces) emit_absent(engine, name.key);
    entry_remove_record(engine, record);
  } else {
    emit_value(engine, record);
  }
  return ENGINE_STORED;
}

/* A response is written again: its place depends on its end. */
static bool move_end(struct engine *engine, struct response_ref *response, int64_t deadline_ms,
                     int64_t now_ms) {
  size_t room_bytes = memory_limit_room(engine, 0);
  struct response_ref *copy =
      response_log_copy(&engine->log, response, deadline_ms, room_bytes, now_ms);
  if (copy == NULL) return false;
  emit_end(engine, codec_key(response), deadline_ms);
  entry_move(engine, response, copy);
  return true;
}

bool keys_set_deadline(struct engine *engine, struct span key, int64_t deadline_ms,
                       int64_t now_ms) {
  struct entry entry = find_key(engine, key, now_ms);
  if (entry_is_absent(entry)) return false;
  if (entry.response != NULL && deadline_ms == RULES_NEVER) return false;
  if (entry.record != NULL && !record_is_value(entry.record)) return false;
  if (is_past(deadline_ms, now_ms)) {
    emit_absent(engine, entry_key(entry));
    forget_entry(engine, entry);
    return true;
  }
  if (entry.response != NULL) return move_end(engine, entry.response, deadline_ms, now_ms);
  entry_set_end(engine, entry.record, deadline_ms);
  emit_end(engine, record_key(entry.record), deadline_ms);
  return true;
}

void keys_flush(struct engine *engine, int64_t now_ms) {
  engine->flushed_token = token_end(engine);
  engine->flushed_serial = engine->value_serial + 1;
  engine->log.epoch++;
  engine->flushed_ms = now_ms;
  engine->sweeping = true;
  engine->sweep_cursor = 0;
  memset(engine->counts, 0, sizeof engine->counts);
  engine->ending = 0;
  emit_flush(engine);
}

/* ---- scanning ---- */

uint64_t keys_scan(struct engine *engine, uint64_t cursor, int64_t now_ms, keys_visitor *visit,
                   void *context) {
  uint64_t next = 0;
  struct index_walk walk = index_scan(&engine->index, cursor, &next);
  for (uint64_t word; (word = index_next(&walk)) != 0;) {
    struct entry entry = entry_of_word(word);
    if (due_is_gone(engine, entry, now_ms)) continue;
    struct keys_entry as;
    describe(entry, now_ms, &as);
    char text[KEY_UUID_TEXT];
    visit(context, key_text(entry_key(entry), text), &as);
  }
  return next;
}

/* One of the live entries of a bucket, each as likely as the others. */
static struct entry pick(const struct engine *engine, struct index_walk walk, uint64_t random,
                         int64_t now_ms) {
  unsigned alive = 0;
  struct entry chosen = {0};
  for (uint64_t word; (word = index_next(&walk)) != 0;) {
    struct entry entry = entry_of_word(word);
    if (due_is_gone(engine, entry, now_ms)) continue;
    if ((random >> 8) % ++alive == 0) chosen = entry;
  }
  return chosen;
}

/* Walks the buckets from a random one on, so a key after empty buckets is likelier, which is good
 * enough here. The walk is bounded; an index that is nearly empty has shrunk, so a live key is
 * near. */
#define RANDOM_MAX_BUCKETS 4096

struct span keys_random(struct engine *engine, uint64_t random, int64_t now_ms) {
  uint64_t cursor = random & ((UINT64_C(1) << CURSOR_BITS) - 1);
  for (unsigned step = 0; step < RANDOM_MAX_BUCKETS; step++) {
    uint64_t next = 0;
    struct index_walk walk = index_scan(&engine->index, cursor, &next);
    struct entry chosen = pick(engine, walk, random, now_ms);
    if (!entry_is_absent(chosen)) return key_text(entry_key(chosen), engine->random_key);
    cursor = next;
  }
  return SPAN_ABSENT;
}
