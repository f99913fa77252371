/* entry.c - see entry.h. */
#include "server/engine/entry.h"

#include <assert.h>

#include "server/engine/binding.h"
#include "server/engine/deadlines.h"
#include "server/engine/holding.h"
#include "server/engine/open_claims.h"

static uint64_t word_of_record(uint64_t hash, const struct record *record) {
  return index_word(hash, record, ENTRY_RECORD);
}

static uint64_t word_of_response(uint64_t hash, const struct response_ref *response) {
  return index_word(hash, response, ENTRY_RESPONSE);
}

static uint64_t hash_of_response(const struct engine *engine, const struct response_ref *response) {
  return name_hash(engine, codec_key(response).bytes);
}

/* ---- either kind ---- */

struct key entry_key(struct entry entry) {
  return entry.record != NULL ? record_key(entry.record) : codec_key(entry.response);
}

size_t entry_memory(struct entry entry) {
  return sizeof(uint64_t) +
         (entry.record != NULL ? record_memory(entry.record) : response_log_size(entry.response));
}

bool entry_is_flushed(const struct engine *engine, struct entry entry) {
  return entry.record != NULL ? record_is_flushed(engine, entry.record)
                              : response_log_is_flushed(&engine->log, entry.response);
}

void entry_remove(struct engine *engine, struct entry entry) {
  if (entry.record != NULL) {
    entry_remove_record(engine, entry.record);
  } else {
    entry_remove_response(engine, entry.response, hash_of_response(engine, entry.response));
  }
}

/* ---- counts of records ---- */

static bool ends_by_itself(const struct record *record) {
  return record->phase != RULES_HELD && record_deadline_ms(record) != RULES_NEVER;
}

static void count_in(struct engine *engine, const struct record *record) {
  engine->counts[record->phase]++;
  if (ends_by_itself(record)) engine->ending++;
}

static void count_out(struct engine *engine, const struct record *record) {
  if (record_is_flushed(engine, record)) return;
  engine->counts[record->phase]--;
  if (ends_by_itself(record)) engine->ending--;
}

/* ---- records ---- */

/* In the index, but without a deadline, and not counted. */
static struct record *insert_record(struct engine *engine, const struct name *name,
                                    const struct record_parts *parts,
                                    const struct rules_record *facts) {
  struct record *record = record_create(&engine->records, parts, facts);
  if (record == NULL) return NULL;
  if (index_insert(&engine->index, name->hash, word_of_record(name->hash, record))) return record;
  if (parts->owner != NULL) record_set_owner(record, NULL); /* the caller's again */
  record_free(&engine->records, record);
  return NULL;
}

struct record *entry_add_record(struct engine *engine, const struct name *name,
                                const struct record_parts *parts,
                                const struct rules_record *facts) {
  struct record *record = insert_record(engine, name, parts, facts);
  if (record == NULL) return NULL;
  deadlines_set(&engine->records, record, facts->deadline_ms);
  open_claims_add(&engine->open_claims, record);
  count_in(engine, record);
  return record;
}

struct record *entry_add_value(struct engine *engine, const struct name *name, uint64_t serial) {
  const struct rules_record facts = {.token = serial, .phase = STATE_VALUE};
  const struct record_parts parts = {.key = name->key};
  struct record *record = insert_record(engine, name, &parts, &facts);
  if (record != NULL) count_in(engine, record);
  return record;
}

/* Another grant, or the former one again. Not inlined: RENEW has no use for it. */
static __attribute__((noinline)) void set_token(struct engine *engine, struct record *record,
                                                uint64_t token) {
  open_claims_remove(&engine->open_claims, record);
  record->token = token;
  if (token < engine->flushed_token) {
    record->flags |= RECORD_REVIVED; /* a grant of before, which is taken back into this time */
  } else {
    record_clear(record, RECORD_REVIVED);
  }
  open_claims_add(&engine->open_claims, record);
}

/* Not inlined: RENEW of a HELD claim has no use for it either. */
static __attribute__((noinline)) void set_phase(struct engine *engine, struct record *record,
                                                uint8_t phase) {
  uint16_t former = holding_user(engine, record);
  record->phase = phase;
  open_claims_changed(&engine->open_claims, record);
  holding_move(engine, former, holding_user(engine, record));
}

void entry_set_facts(struct engine *engine, struct record *record,
                     const struct rules_record *facts) {
  assert(facts->phase == RULES_HELD || facts->phase == RULES_LAPSED ||
         facts->phase == RULES_UNKNOWN);
  assert(!record_is_flushed(engine, record));
  if (record->token != facts->token) set_token(engine, record, facts->token);
  count_out(engine, record);
  if (record->phase != facts->phase) set_phase(engine, record, facts->phase);
  record_write_facts(record, facts);
  deadlines_set(&engine->records, record, facts->deadline_ms);
  count_in(engine, record);
}

void entry_change_user(struct engine *engine, struct record *record, uint16_t user) {
  uint16_t former = holding_user(engine, record);
  record->user = user;
  holding_move(engine, former, holding_user(engine, record));
}

void entry_set_end(struct engine *engine, struct record *record, int64_t deadline_ms) {
  count_out(engine, record);
  deadlines_set(&engine->records, record, deadline_ms);
  count_in(engine, record);
}

void entry_revive(struct engine *engine, struct record *record) {
  record->flags |= RECORD_REVIVED;
  open_claims_changed(&engine->open_claims, record);
  count_in(engine, record);
  holding_move(engine, 0, holding_user(engine, record));
}

/* All but its place in the index. */
static void retire_record(struct engine *engine, struct record *record) {
  count_out(engine, record);
  if (!record_is_value(record)) {
    open_claims_remove(&engine->open_claims, record);
    holding_move(engine, holding_user(engine, record), 0);
    if (record_claim(record) != NULL) binding_unbind(engine, record_claim(record));
  }
  record_free(&engine->records, record);
}

void entry_remove_record(struct engine *engine, struct record *record) {
  uint64_t hash = name_hash(engine, record_key(record).bytes);
  index_remove(&engine->index, hash, word_of_record(hash, record));
  retire_record(engine, record);
}

/* ---- responses ---- */

bool entry_add_response(struct engine *engine, uint64_t hash, struct response_ref *response) {
  if (!index_insert(&engine->index, hash, word_of_response(hash, response))) return false;
  engine->counts[RULES_DONE]++;
  return true;
}

void entry_store(struct engine *engine, struct record *record, uint64_t hash,
                 struct response_ref *response) {
  index_replace(&engine->index, hash, word_of_record(hash, record),
                word_of_response(hash, response));
  retire_record(engine, record);
  engine->counts[RULES_DONE]++;
}

void entry_move(struct engine *engine, struct response_ref *former, struct response_ref *copy) {
  uint64_t hash = hash_of_response(engine, former);
  index_replace(&engine->index, hash, word_of_response(hash, former), word_of_response(hash, copy));
  response_log_drop(&engine->log, former);
}

void entry_remove_response(struct engine *engine, struct response_ref *response, uint64_t hash) {
  if (!response_log_is_flushed(&engine->log, response)) engine->counts[RULES_DONE]--;
  index_remove(&engine->index, hash, word_of_response(hash, response));
  response_log_drop(&engine->log, response);
}
