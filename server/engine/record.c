/* record.c - memory and life of one entry; what is due on it. See record.h for the layout. */
#include "server/engine/record.h"

#include <assert.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(ENGINE_HASH_SECRET_BYTES >= XXH3_SECRET_SIZE_MIN,
               "a shorter secret is refused by XXH3");

/* ---- names ---- */

static inline uint64_t hash_of(const struct engine *engine, const char *bytes, size_t len) {
  return XXH3_64bits_withSecret(bytes, len, engine->options.hash_secret, ENGINE_HASH_SECRET_BYTES);
}

/* Most keys are UUIDs: where the length is known, little is left of XXH3. */
static __attribute__((flatten)) uint64_t hash_of_uuid(const struct engine *engine,
                                                      const char *bytes) {
  return hash_of(engine, bytes, KEY_UUID_BYTES);
}

uint64_t engine_hash(const struct engine *engine, struct span key) {
  return key.len == KEY_UUID_BYTES ? hash_of_uuid(engine, key.data)
                                   : hash_of(engine, key.data, key.len);
}

uint64_t engine_key_hash(const struct engine *engine, struct key key) {
  return engine_hash(engine, key.bytes);
}

void engine_name_of(const struct engine *engine, struct span key, struct engine_name *name) {
  name->key = key_of(key, name->packed);
  name->hash = engine_key_hash(engine, name->key);
}

/* ---- a record's parts ---- */

static enum key_form form_of(const struct record *record) {
  return (enum key_form)(record->flags >> RECORD_FORM_SHIFT);
}

static const char *read_length(const char *from, size_t *len) {
  uint32_t length;
  memcpy(&length, from, sizeof length);
  *len = length;
  return from + sizeof length;
}

static char *write_length(char *to, size_t len) {
  uint32_t length = (uint32_t)len;
  memcpy(to, &length, sizeof length);
  return to + sizeof length;
}

static char *write_bytes(char *to, struct span bytes) {
  if (bytes.len != 0) memcpy(to, bytes.data, bytes.len);
  return to + bytes.len;
}

struct key record_key(const struct record *record) {
  const char *from = record->bytes;
  if ((record->flags & RECORD_OWNER) != 0) from += sizeof(struct engine_blob *);
  size_t len = KEY_UUID_BYTES;
  if (form_of(record) == KEY_RAW) from = read_length(from, &len);
  return (struct key){form_of(record), {from, len}};
}

struct span record_fingerprint(const struct record *record) {
  if ((record->flags & RECORD_FINGERPRINT) == 0) return SPAN_ABSENT;
  struct span key = record_key(record).bytes, fingerprint;
  fingerprint.data = read_length(key.data + key.len, &fingerprint.len);
  return fingerprint;
}

struct engine_blob *record_owner(const struct record *record) {
  struct engine_blob *owner = record->claim != NULL ? record->claim->owner : NULL;
  if ((record->flags & RECORD_OWNER) != 0) memcpy(&owner, record->bytes, sizeof owner);
  return owner;
}

void record_set_owner(struct record *record, struct engine_blob *owner) {
  if ((record->flags & RECORD_OWNER) != 0) {
    memcpy(record->bytes, &owner, sizeof owner);
  } else if (record->claim != NULL) {
    record->claim->owner = owner;
  } else {
    assert(owner == NULL);
  }
}

static size_t size_for(bool owner, struct key key, struct span fingerprint) {
  size_t size = offsetof(struct record, bytes) + key.bytes.len;
  if (owner) size += sizeof(struct engine_blob *);
  if (key.form == KEY_RAW) size += sizeof(uint32_t);
  if (span_present(fingerprint)) size += sizeof(uint32_t) + fingerprint.len;
  return size > sizeof(struct record) ? size : sizeof(struct record);
}

static size_t record_size(const struct record *record) {
  return size_for((record->flags & RECORD_OWNER) != 0, record_key(record),
                  record_fingerprint(record));
}

size_t record_memory(const struct record *record) {
  size_t bytes = memory_rounded(record_size(record));
  if (record_is_value(record)) return bytes + memory_rounded(blob_size(record->value));
  const struct engine_blob *owner = record_owner(record);
  if (owner != NULL) bytes += memory_rounded(blob_size(owner));
  if (record->claim == NULL) return bytes;
  bytes += memory_rounded(sizeof *record->claim);
  if (record->claim->stage != NULL) bytes += memory_rounded(blob_size(record->claim->stage));
  return bytes;
}

struct rules_record record_facts(const struct record *record) {
  return (struct rules_record){
      .token = record->token,
      .since_ms = record->since_ms,
      .deadline_ms = record->timer.deadline_ms,
      .lease_ms = record->lease_ms,
      .attempt = record->attempt,
      .phase = record->phase,
      .hold = (record->flags & RECORD_HOLD) != 0,
      .bind = (record->flags & RECORD_BIND) != 0,
  };
}

/* ---- figures ---- */

static void count_in(struct engine *engine, const struct record *record) {
  engine->counts[record->phase]++;
  if (record_is_value(record) && record->timer.deadline_ms != ENGINE_NO_DEADLINE)
    engine->values_ending++;
}

static void count_out(struct engine *engine, const struct record *record) {
  if (record->epoch != engine->epoch) return;
  engine->counts[record->phase]--;
  if (record_is_value(record) && record->timer.deadline_ms != ENGINE_NO_DEADLINE)
    engine->values_ending--;
}

/* ---- making, changing and ending records ---- */

static struct wheel *wheel_of(struct engine *engine, const struct record *record) {
  return record->phase == RULES_HELD ? &engine->leases : &engine->ends;
}

/* All but the timer, which is armed last. */
static void write_facts(struct record *record, const struct rules_record *facts) {
  record->token = facts->token;
  record->since_ms = facts->since_ms;
  record->lease_ms = facts->lease_ms;
  record->attempt = facts->attempt;
  record->phase = facts->phase;
  unsigned flags = record->flags & ~(RECORD_HOLD | RECORD_BIND);
  if (facts->hold) flags |= RECORD_HOLD;
  if (facts->bind) flags |= RECORD_BIND;
  record->flags = (uint8_t)flags;
}

static char *write_key(char *to, struct key key) {
  if (key.form == KEY_RAW) return write_bytes(write_length(to, key.bytes.len), key.bytes);
  memcpy(to, key.bytes.data, KEY_UUID_BYTES);
  return to + KEY_UUID_BYTES;
}

/* In the index, but in no wheel, and not counted. */
static struct record *make_record(struct engine *engine, const struct engine_name *name,
                                  struct span fingerprint, struct engine_blob *owner,
                                  const struct rules_record *facts) {
  assert(name->key.bytes.len <= UINT32_MAX && fingerprint.len <= UINT32_MAX);
  size_t size = size_for(owner != NULL, name->key, fingerprint);
  struct record *record = memory_take(&engine->memory, size);
  if (record == NULL) return NULL;
  wheel_node_init(&record->timer);
  record->timer.deadline_ms = ENGINE_NO_DEADLINE;
  record->flags = (uint8_t)((unsigned)name->key.form << RECORD_FORM_SHIFT);
  write_facts(record, facts);
  record->claim = NULL;
  record->epoch = engine->epoch;
  char *to = record->bytes;
  if (owner != NULL) {
    record->flags |= RECORD_OWNER;
    memcpy(to, &owner, sizeof owner);
    to += sizeof owner;
  }
  to = write_key(to, name->key);
  if (span_present(fingerprint)) {
    record->flags |= RECORD_FINGERPRINT;
    write_bytes(write_length(to, fingerprint.len), fingerprint);
  }
  if (index_insert(&engine->index, name->hash, index_word(name->hash, record, ENTRY_RECORD)))
    return record;
  memory_give(&engine->memory, record, size);
  return NULL;
}

struct record *record_create(struct engine *engine, const struct engine_name *name,
                             struct span fingerprint, struct engine_blob *owner,
                             const struct rules_record *facts) {
  struct record *record = make_record(engine, name, fingerprint, owner, facts);
  if (record == NULL) return NULL;
  wheel_set(wheel_of(engine, record), &record->timer, facts->deadline_ms);
  count_in(engine, record);
  return record;
}

struct record *record_create_value(struct engine *engine, const struct engine_name *name) {
  const struct rules_record facts = {.phase = RECORD_VALUE};
  struct record *record = make_record(engine, name, SPAN_ABSENT, NULL, &facts);
  if (record != NULL) count_in(engine, record);
  return record;
}

static void claim_destroy(struct engine *engine, struct claim *claim) {
  if (claim == NULL) return;
  assert(claim->waiting == 0);
  claim_confirm(claim);
  claim_unbind(engine, claim);
  list_remove(&claim->waited);
  blob_release(&engine->memory, claim->owner);
  blob_release(&engine->memory, claim->stage);
  memory_give(&engine->memory, claim, sizeof *claim);
}

/* All but its place in the index. */
static void free_record(struct engine *engine, struct record *record) {
  count_out(engine, record);
  wheel_cancel(wheel_of(engine, record), &record->timer);
  if (record_is_value(record)) {
    blob_release(&engine->memory, record->value);
  } else if (record->claim != NULL || (record->flags & RECORD_OWNER) != 0) {
    struct engine_blob *owner = record_owner(record);
    record_set_owner(record, NULL);
    blob_release(&engine->memory, owner);
    claim_destroy(engine, record->claim);
  }
  memory_give(&engine->memory, record, record_size(record));
}

void record_destroy(struct engine *engine, struct record *record) {
  uint64_t hash = engine_key_hash(engine, record_key(record));
  index_remove(&engine->index, hash, index_word(hash, record, ENTRY_RECORD));
  free_record(engine, record);
}

void record_set_facts(struct engine *engine, struct record *record,
                      const struct rules_record *facts) {
  assert(facts->phase == RULES_HELD || facts->phase == RULES_LAPSED ||
         facts->phase == RULES_UNKNOWN);
  assert(record->epoch == engine->epoch);
  if (record->phase != facts->phase) {
    count_out(engine, record);
    wheel_cancel(wheel_of(engine, record), &record->timer);
    engine->counts[facts->phase]++;
  }
  write_facts(record, facts);
  wheel_set(wheel_of(engine, record), &record->timer, facts->deadline_ms);
}

void record_set_end(struct engine *engine, struct record *record, int64_t deadline_ms) {
  count_out(engine, record);
  if (deadline_ms == ENGINE_NO_DEADLINE) {
    wheel_cancel(&engine->ends, &record->timer);
    record->timer.deadline_ms = ENGINE_NO_DEADLINE;
  } else {
    wheel_set(&engine->ends, &record->timer, deadline_ms);
  }
  count_in(engine, record);
}

/* ---- stored responses ---- */

void record_become(struct engine *engine, struct record *record, uint64_t hash,
                   struct stored *stored) {
  index_replace(&engine->index, hash, index_word(hash, record, ENTRY_RECORD),
                index_word(hash, stored, ENTRY_STORED));
  free_record(engine, record);
  engine->counts[RULES_DONE]++;
}

void stored_become(struct engine *engine, struct stored *former, struct stored *stored) {
  uint64_t hash = engine_key_hash(engine, stored_key(former));
  index_replace(&engine->index, hash, index_word(hash, former, ENTRY_STORED),
                index_word(hash, stored, ENTRY_STORED));
  shelf_drop(&engine->shelf, former);
}

bool response_make_blobs(struct engine *engine, struct response *response) {
  if (response->body_blob == NULL)
    response->body_blob = blob_create(&engine->memory, response->body);
  if (response->meta_blob == NULL)
    response->meta_blob = blob_create(&engine->memory, response->meta);
  bool made =
      response->body_blob != NULL && (response->meta_blob != NULL || !span_present(response->meta));
  if (!made) response_drop_blobs(engine, response);
  return made;
}

void response_drop_blobs(struct engine *engine, struct response *response) {
  blob_release(&engine->memory, response->body_blob);
  blob_release(&engine->memory, response->meta_blob);
}

struct stored *stored_write(struct engine *engine, struct response *response, size_t room_bytes,
                            int64_t now_ms) {
  bool crowded = shelf_crowded(&engine->shelf, response, room_bytes, now_ms);
  if (shelf_apart(response, crowded) && !response_make_blobs(engine, response)) return NULL;
  struct stored *stored = shelf_append(&engine->shelf, response, room_bytes, now_ms);
  if (stored == NULL) response_drop_blobs(engine, response);
  return stored;
}

struct stored *stored_copy(struct engine *engine, const struct stored *stored, int64_t deadline_ms,
                           size_t room_bytes, int64_t now_ms) {
  struct response response;
  stored_read(stored, &response);
  if (deadline_ms != ENGINE_NO_DEADLINE) response.deadline_ms = deadline_ms;
  bool apart = response.body_blob != NULL && blob_part(response.body_blob) == BLOB_ITSELF;
  if (!apart) response.body_blob = response.meta_blob = NULL;
  engine_pin(response.body_blob); /* the copy's */
  engine_pin(response.meta_blob);
  return stored_write(engine, &response, room_bytes, now_ms);
}

static void forget_stored(struct engine *engine, struct stored *stored, uint64_t hash) {
  if (!stored_flushed(&engine->shelf, stored)) engine->counts[RULES_DONE]--;
  index_remove(&engine->index, hash, index_word(hash, stored, ENTRY_STORED));
}

void stored_destroy(struct engine *engine, struct stored *stored, uint64_t hash) {
  forget_stored(engine, stored, hash);
  shelf_drop(&engine->shelf, stored);
}

void stored_ended(struct engine *engine, struct stored *stored, uint64_t hash) {
  if (!stored_flushed(&engine->shelf, stored)) engine->stats.expired++;
  effect_emit_free(engine, (struct entry){.stored = stored});
  forget_stored(engine, stored, hash);
}

void stored_ended_all(struct engine *engine, const struct due *due) {
  uint64_t count = due->count - due->flushed;
  engine->stats.expired += count;
  engine->counts[RULES_DONE] -= count;
  for (size_t i = 0; engine->effects_wanted && i < due->count; i++)
    effect_emit_free(engine, (struct entry){.stored = due->stored[i]});
}

/* ---- claims and bindings ---- */

struct claim *record_claim(struct engine *engine, struct record *record) {
  if (record->claim != NULL) return record->claim;
  struct claim *claim = memory_take(&engine->memory, sizeof *claim);
  if (claim == NULL) return NULL;
  *claim = (struct claim){.record = record, .first_wait_ms = INT64_MAX};
  list_init(&claim->claimers);
  list_init(&claim->readers);
  list_init(&claim->waited);
  list_init(&claim->bound);
  record->claim = claim;
  return claim;
}

void binding_release(struct engine *engine, struct engine_binding *binding) {
  if (binding == NULL || --binding->references > 0 || !binding->closed) return;
  list_remove(&binding->link);
  memory_give(&engine->memory, binding, sizeof *binding);
}

void claim_bind(struct claim *claim, struct engine_binding *binding) {
  if (binding == NULL) return;
  binding->references++;
  claim->binding = binding;
  list_append(&binding->claims, &claim->bound);
}

void claim_unbind(struct engine *engine, struct claim *claim) {
  struct engine_binding *binding = claim->binding;
  list_remove(&claim->bound);
  claim->binding = NULL;
  binding_release(engine, binding);
}

void claim_confirm(struct claim *claim) {
  if (claim == NULL || claim->granted == NULL) return;
  claim->granted->record = NULL;
  claim->granted = NULL;
}

/* ---- what is due ---- */

static struct record *judge_flushed(struct engine *engine, struct record *record, int64_t now_ms) {
  record->epoch = engine->epoch;
  count_in(engine, record);
  if (record->phase == RULES_HELD)
    return record_end_grant(engine, record, RULES_END_DELETED, engine->flushed_ms, now_ms);
  effect_emit_free(engine, (struct entry){.record = record});
  record_destroy(engine, record);
  return NULL;
}

/* The end of its grant, if that has come: the lease or the connection, whichever ended first. */
static struct record *judge_held(struct engine *engine, struct record *record, int64_t now_ms) {
  struct claim *claim = record->claim;
  const struct engine_binding *binding = claim != NULL ? claim->binding : NULL;
  int64_t past_ms = engine_past_ms(engine, now_ms), deadline_ms = record->timer.deadline_ms;
  bool lease_over = deadline_ms <= past_ms;
  bool closed = binding != NULL && binding->closed;
  /* Whichever was sure first, so that it does not matter when this is asked. */
  if (closed && (!lease_over || engine_past_ms(engine, binding->closed_ms) < deadline_ms))
    return record_end_grant(engine, record, RULES_END_BIND_CLOSED, binding->closed_ms, now_ms);
  if (lease_over)
    return record_end_grant(engine, record, RULES_END_LEASE_OVER, deadline_ms, now_ms);
  if (claim != NULL && claim->waiting > 0) waiters_time_out(engine, claim, past_ms);
  return record;
}

static bool record_over(const struct engine *engine, const struct record *record, int64_t now_ms) {
  if (record->epoch != engine->epoch) return true;
  return record->phase != RULES_HELD && record->timer.deadline_ms <= engine_past_ms(engine, now_ms);
}

struct record *record_judge(struct engine *engine, struct record *record, int64_t now_ms) {
  if (record->epoch != engine->epoch) record = judge_flushed(engine, record, now_ms);
  if (record == NULL) return NULL;
  if (record->phase == RULES_HELD) record = judge_held(engine, record, now_ms);
  if (record == NULL || !record_over(engine, record, now_ms)) return record;
  engine->stats.expired++;
  effect_emit_free(engine, (struct entry){.record = record});
  record_destroy(engine, record);
  return NULL;
}

/* ---- entries of both kinds ---- */

struct entry entry_of_word(uint64_t word) {
  if ((word & INDEX_KIND_MASK) == ENTRY_RECORD)
    return (struct entry){.record = index_address(word)};
  return (struct entry){.stored = index_address(word)};
}

struct key entry_key(struct entry entry) {
  return entry.record != NULL ? record_key(entry.record) : stored_key(entry.stored);
}

bool entry_flushed(const struct engine *engine, struct entry entry) {
  return entry.record != NULL ? entry.record->epoch != engine->epoch
                              : stored_flushed(&engine->shelf, entry.stored);
}

bool entry_over(const struct engine *engine, struct entry entry, int64_t now_ms) {
  if (entry.record != NULL) return record_over(engine, entry.record, now_ms);
  return stored_flushed(&engine->shelf, entry.stored) ||
         stored_deadline_ms(entry.stored) <= engine_past_ms(engine, now_ms);
}

void entry_destroy(struct engine *engine, struct entry entry) {
  if (entry.record != NULL) {
    record_destroy(engine, entry.record);
  } else {
    stored_destroy(engine, entry.stored, engine_key_hash(engine, stored_key(entry.stored)));
  }
}

/* A response is over, or was flushed; one that was flushed did not expire. */
static void end_stored(struct engine *engine, struct stored *stored, uint64_t hash) {
  stored_ended(engine, stored, hash);
  shelf_drop(&engine->shelf, stored);
}

void entry_judge(struct engine *engine, struct entry entry, int64_t now_ms) {
  if (entry.record != NULL) {
    record_judge(engine, entry.record, now_ms);
  } else if (entry_over(engine, entry, now_ms)) {
    end_stored(engine, entry.stored, engine_key_hash(engine, stored_key(entry.stored)));
  }
}

static struct entry found_record(struct engine *engine, struct record *record, int64_t now_ms) {
  bool settled = record->epoch == engine->epoch && record->claim == NULL &&
                 record->timer.deadline_ms > engine_past_ms(engine, now_ms);
  return (struct entry){.record = settled ? record : record_judge(engine, record, now_ms)};
}

static struct entry found_stored(struct engine *engine, struct stored *stored, int64_t deadline_ms,
                                 uint64_t hash, int64_t now_ms) {
  if (!stored_flushed(&engine->shelf, stored) && deadline_ms > engine_past_ms(engine, now_ms))
    return (struct entry){.stored = stored};
  end_stored(engine, stored, hash);
  return (struct entry){0};
}

struct entry entry_find(struct engine *engine, const struct engine_name *name, int64_t now_ms,
                        struct response *response) {
  struct index_search search = index_search(&engine->index, name->hash);
  for (uint64_t word; (word = index_next_of(&search)) != 0;) {
    struct entry entry = entry_of_word(word);
    if (entry.record != NULL) {
      if (!key_equal(record_key(entry.record), name->key)) continue;
      return found_record(engine, entry.record, now_ms);
    }
    stored_prefetch(entry.stored);
    stored_read(entry.stored, response);
    if (!key_equal(response->key, name->key)) continue;
    return found_stored(engine, entry.stored, response->deadline_ms, name->hash, now_ms);
  }
  return (struct entry){0};
}

/* ---- effects ---- */

void effect_note(struct engine *engine, enum engine_effect_kind kind, struct key key) {
  size_t len = key_text_len(key);
  struct effect *effect = memory_take(&engine->memory, sizeof *effect + len);
  if (effect == NULL) { /* the record has changed already */
    list_remove(&engine->effects_lost);
    list_append(&engine->effects, &engine->effects_lost);
    return;
  }
  effect->kind = kind;
  effect->key_len = (uint32_t)len;
  if (key.form == KEY_RAW) {
    memcpy(effect->key, key.bytes.data, len);
  } else {
    key_text(key, effect->key);
  }
  list_append(&engine->effects, &effect->link);
}

void effect_note_free(struct engine *engine, struct entry entry) {
  const struct record *record = entry.record;
  if (record != NULL && (record_is_value(record) || record->phase == RULES_LAPSED)) return;
  effect_note(engine, ENGINE_EFFECT_FREE, entry_key(entry));
}
