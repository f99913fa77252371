/* restore.c - see restore.h. */
#include "server/engine/restore.h"

#include "server/engine/emit.h"
#include "server/engine/entry.h"
#include "server/engine/keys.h"
#include "server/engine/sweep.h"
#include "server/engine/tick.h"

/* ---- what is there ---- */

/* Without applying what is due on it. */
static struct entry find(const struct engine *engine, const struct name *name) {
  struct index_search search = index_search(&engine->index, name->hash);
  for (uint64_t word; (word = index_next_of(&search)) != 0;) {
    struct entry entry = entry_of_word(word);
    if (key_equal(entry_key(entry), name->key)) return entry;
  }
  return (struct entry){0};
}

static int64_t deadline_of(struct entry entry) {
  return entry.record != NULL ? record_deadline_ms(entry.record)
                              : response_log_deadline_ms(entry.response);
}

static uint64_t token_of(struct entry entry) {
  if (entry.record != NULL) return entry.record->token;
  struct response response;
  response_log_read(entry.response, &response);
  return response.token;
}

static void note_in_horizon(struct engine *engine, struct entry entry) {
  if (entry.record != NULL && record_is_value(entry.record)) return;
  int64_t since_ms =
      entry.record != NULL ? record_since_ms(entry.record) : response_log_since_ms(entry.response);
  horizon_note(&engine->horizon, name_hash(engine, entry_key(entry).bytes), since_ms);
}

/* Whether it is an image of the same request: of the same grant, of a later attempt, or of the
 * first one after a later one was struck out. */
static bool goes_on(struct entry former, const struct image *image) {
  if (image->kind == IMAGE_VALUE) return false;
  bool later = image->kind == IMAGE_RECORD && (image->attempt > 1 || image->nobody);
  return later || image->token == token_of(former);
}

/* Whether nothing says what became of the entry, so that it ended by itself. A claim whose lease
 * had not expired was cleared, and a waiter was granted. The end of its retention does not count:
 * that may have been another one then. */
static bool ended_by_itself(const struct engine *engine, struct entry former,
                            const struct image *image) {
  if (image->kind == IMAGE_ABSENT || goes_on(former, image)) return false;
  bool held = former.record != NULL && former.record->phase == RULES_HELD;
  return !held || rules_is_over(deadline_of(former), state_past_ms(engine, image->since_ms));
}

static void remove_former(struct engine *engine, struct entry former, const struct image *image) {
  if (entry_is_absent(former)) return;
  if (ended_by_itself(engine, former, image)) note_in_horizon(engine, former);
  entry_remove(engine, former);
}

/* ---- records ---- */

static struct rules_record facts_of(const struct image *image) {
  return (struct rules_record){
      .token = image->token,
      .since_ms = image->since_ms,
      .deadline_ms = image->deadline_ms,
      .lease_ms = image->lease_ms,
      .attempt = image->attempt,
      .phase = image->phase,
      .hold = image->hold,
      .nobody = image->nobody,
  };
}

static bool set_stage(struct engine *engine, struct record *record, struct span bytes) {
  if (!span_present(bytes)) return true;
  struct claim *claim = record_need_claim(&engine->memory, record);
  if (claim == NULL) return false;
  claim->stage = blob_create(&engine->memory, bytes);
  return claim->stage != NULL;
}

static bool restore_record(struct engine *engine, const struct name *name,
                           const struct image *image) {
  char packed[FINGERPRINT_PACKED];
  struct record_parts parts = {.key = name->key,
                               .fingerprint = fingerprint_of(image->fingerprint, packed)};
  if (span_present(image->owner)) {
    parts.owner = blob_create(&engine->memory, image->owner);
    if (parts.owner == NULL) return false;
  }
  const struct rules_record facts = facts_of(image);
  struct record *record = entry_add_record(engine, name, &parts, &facts);
  if (record == NULL) {
    blob_release(&engine->memory, parts.owner);
    return false;
  }
  entry_set_user(engine, record, image->user);
  return set_stage(engine, record, image->stage);
}

/* ---- responses and values ---- */

/* The record that stored it, or none. */
static bool put_response(struct engine *engine, const struct name *name, struct record *record,
                         struct response_ref *ref) {
  if (record == NULL) return entry_add_response(engine, name->hash, ref);
  entry_store(engine, record, name->hash, ref);
  return true;
}

static bool restore_response(struct engine *engine, const struct name *name, struct record *record,
                             const struct image *image) {
  char packed[FINGERPRINT_PACKED];
  struct response response = {
      .key = name->key,
      .fingerprint = fingerprint_of(image->fingerprint, packed),
      .body = image->body,
      .meta = image->meta,
      .token = image->token,
      .since_ms = image->since_ms,
      .deadline_ms = image->deadline_ms,
  };
  struct response_ref *ref = response_log_write(&engine->log, &response, SIZE_MAX, image->since_ms);
  if (ref == NULL) return false;
  if (put_response(engine, name, record, ref)) return true;
  response_log_drop(&engine->log, ref);
  return false;
}

static bool restore_value(struct engine *engine, const struct name *name,
                          const struct image *image) {
  struct blob *body = blob_create(&engine->memory, image->body);
  if (body == NULL) return false;
  struct record *record = entry_add_value(engine, name, image->token);
  if (record == NULL) {
    blob_release(&engine->memory, body);
    return false;
  }
  record->value = body;
  record->value_since_ms = image->since_ms;
  if (engine->value_serial < image->token) engine->value_serial = image->token;
  entry_set_end(engine, record, image->deadline_ms);
  return true;
}

/* It is there: its end was moved while it was, and this engine's time is behind. */
static bool move_end(struct engine *engine, struct entry entry, const struct image *image) {
  if (entry.record != NULL && record_is_value(entry.record))
    entry_set_end(engine, entry.record, image->deadline_ms);
  if (entry.response == NULL) return true;
  struct response_ref *copy = response_log_copy(&engine->log, entry.response, image->deadline_ms,
                                                SIZE_MAX, response_log_since_ms(entry.response));
  if (copy == NULL) return false;
  entry_move(engine, entry.response, copy);
  return true;
}

/* ---- images ---- */

/* It is what became of that claim. */
static bool stores(struct entry former, const struct image *image) {
  return former.record != NULL && !record_is_value(former.record) &&
         former.record->token == image->token;
}

bool restore_image(struct engine *engine, const struct name *name, const struct image *image) {
  struct entry former = find(engine, name);
  if (image->kind == IMAGE_END) return move_end(engine, former, image);
  if (image->kind == IMAGE_RESPONSE && stores(former, image))
    return restore_response(engine, name, former.record, image);
  remove_former(engine, former, image);
  switch (image->kind) {
    case IMAGE_RECORD: return restore_record(engine, name, image);
    case IMAGE_RESPONSE: return restore_response(engine, name, NULL, image);
    case IMAGE_VALUE: return restore_value(engine, name, image);
    default: return true; /* ABSENT */
  }
}

bool restore_stored(struct engine *engine, const struct name *name, const struct image *claim,
                    const struct image *response) {
  remove_former(engine, find(engine, name), claim);
  return restore_response(engine, name, NULL, response);
}

/* When it ended by itself, or will. */
static int64_t end_of(const struct engine *engine, struct entry entry) {
  int64_t end_ms = deadline_of(entry);
  const struct record *record = entry.record;
  if (record == NULL || record->phase != RULES_HELD) return end_ms;
  return emit_after_lease_ms(engine, end_ms, (record->flags & RECORD_HOLD) != 0);
}

/* What had ended by itself is not forgotten on purpose. */
static void note_ended(struct engine *engine, int64_t now_ms) {
  uint64_t next = 0;
  do {
    struct index_walk walk = index_scan(&engine->index, next, &next);
    for (uint64_t word; (word = index_next(&walk)) != 0;) {
      struct entry entry = entry_of_word(word);
      if (end_of(engine, entry) <= now_ms) note_in_horizon(engine, entry);
    }
  } while (next != 0);
}

/* At once, so that a key that comes back finds nothing. */
void restore_flush(struct engine *engine, int64_t now_ms) {
  note_ended(engine, now_ms);
  keys_flush(engine, now_ms);
  engine->flushed_token = engine->flushed_serial = UINT64_MAX; /* what comes may have any token */
  for (unsigned budget = UINT32_MAX; engine->sweeping; budget = UINT32_MAX)
    sweep_flushed(engine, now_ms, &budget);
  engine->flushed_token = engine->flushed_serial = 0;
}

void restore_keyspace(struct engine *engine, const struct image *image) {
  horizon_begin(&engine->horizon, image->since_ms);
}

/* Slots of a table of 2^lg_slots: each is one of this table's, a part of one, or several. */
static void raise(struct engine *engine, uint32_t slot, uint32_t lg_slots, int64_t since_ms) {
  struct horizon *horizon = &engine->horizon;
  unsigned bits = engine->options.horizon_bits;
  uint64_t first = slot, end = (uint64_t)slot + 1;
  if (lg_slots > bits) {
    first >>= lg_slots - bits;
    end = first + 1;
  } else {
    first <<= bits - lg_slots;
    end <<= bits - lg_slots;
  }
  uint64_t own = horizon_first_slot(horizon), own_end = own + horizon_slots(horizon);
  if (first < own) first = own;
  if (end > own_end) end = own_end;
  for (; first < end; first++) horizon_raise(horizon, (uint32_t)first, since_ms);
}

bool restore_horizon(struct engine *engine, const struct image *image) {
  bool sound = image->lg_slots <= HORIZON_MOST_BITS &&
               image->slot + image->token <= UINT64_C(1) << image->lg_slots &&
               (!span_present(image->body) || image->body.len == image->token * sizeof(int64_t));
  if (!sound) return false;
  if (!span_present(image->body) && image->since_ms <= horizon_start_ms(&engine->horizon))
    return true; /* all are from then on */
  for (uint64_t i = 0; i < image->token; i++) {
    int64_t since_ms = image->since_ms;
    if (span_present(image->body)) memcpy(&since_ms, image->body.data + i * 8, sizeof since_ms);
    raise(engine, image->slot + (uint32_t)i, image->lg_slots, since_ms);
  }
  return true;
}

void restore_tick(struct engine *engine, int64_t engine_ms) {
  int64_t now_ms = engine_ms - RESTORE_BEHIND_MS;
  if (now_ms < 0) return;
  while (tick_run(engine, now_ms, UINT32_MAX)) continue;
}
