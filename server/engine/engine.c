/* engine.c - the six commands: find the entry, let the rules decide, carry out the verdict. */
#include "server/engine/engine.h"

#include <assert.h>
#include <stdlib.h>

#include "server/engine/binding.h"
#include "server/engine/effect.h"
#include "server/engine/emit.h"
#include "server/engine/fill_answer.h"
#include "server/engine/find.h"
#include "server/engine/grant.h"
#include "server/engine/holding.h"
#include "server/engine/memory_limit.h"
#include "server/engine/open_claims.h"
#include "server/engine/pin.h"
#include "server/engine/queued_owners.h"
#include "server/engine/token.h"

/* ---- life ---- */

static void set_reserve(struct engine *engine, size_t store_reserve) {
  engine->options.store_reserve = store_reserve;
  engine->claim_reserve = memory_limit_reserve(store_reserve);
}

struct engine *engine_create(const struct engine_options *options, int64_t now_ms) {
  struct engine *engine = calloc(1, sizeof *engine);
  if (engine == NULL) return NULL;
  engine->memory.bytes = engine->memory.peak_bytes = memory_rounded(sizeof *engine);
  engine->memory.regions = options->regions;
  if (!index_init(&engine->index, &engine->memory)) {
    free(engine);
    return NULL;
  }
  engine->options = *options;
  set_reserve(engine, options->store_reserve);
  engine->next_token = options->first_token;
  engine->waits_past_ms = INT64_MIN;
  const struct horizon_place place = {options->horizon_bits, options->shard,
                                      options->shards > 0 ? options->shards : 1};
  horizon_init(&engine->horizon, &engine->memory, &place, now_ms);
  response_log_init(&engine->log, &engine->memory, now_ms);
  open_claims_init(&engine->open_claims, &engine->memory);
  slab_init(&engine->records, &engine->memory, now_ms);
  wheel_init(&engine->waits, now_ms);
  for (unsigned loop_id = 0; loop_id < ENGINE_MAX_LOOPS; loop_id++)
    list_init(&engine->ready[loop_id]);
  list_init(&engine->waited);
  list_init(&engine->closing);
  list_init(&engine->effects);
  list_init(&engine->effects_lost);
  return engine;
}

void engine_destroy(struct engine *engine) {
  if (engine == NULL) return;
  assert(engine->waiters == 0 && engine->ready_loops == 0);
  effect_want(engine, false);
  for (uint64_t cursor = 0, next;;) {
    struct index_walk walk = index_scan(&engine->index, cursor, &next);
    uint64_t word = index_next(&walk);
    if (word != 0) {
      entry_remove(engine, entry_of_word(word));
      continue;
    }
    if (next == 0) break;
    cursor = next;
  }
  open_claims_deinit(&engine->open_claims);
  index_deinit(&engine->index);
  queued_owners_deinit(engine);
  horizon_deinit(&engine->horizon);
  free(engine);
}

void engine_reconfigure(struct engine *engine, const struct engine_options *options) {
  engine->options.retention_ms = options->retention_ms;
  engine->options.unknown_retention_ms = options->unknown_retention_ms;
  engine->options.born_skew_ms = options->born_skew_ms;
  engine->options.memory_limit = options->memory_limit;
  set_reserve(engine, options->store_reserve);
  engine->options.waiters_per_key = options->waiters_per_key;
  engine->options.waiters_total = options->waiters_total;
}

void engine_stop_grants(struct engine *engine, int64_t now_ms) {
  engine->no_grants = true;
  struct list *node = engine->waited.next, *next;
  for (; node != &engine->waited; node = next) {
    next = node->next;
    struct record *record = LIST_ENTRY(node, struct claim, waited)->record;
    wait_queue_end_claims(engine, record, now_ms);
  }
}

void engine_use_outbox(struct engine *engine, struct outbox *outbox, bool no_room) {
  engine->outbox = outbox;
  engine->no_room = no_room;
}

int64_t engine_horizon_start_ms(const struct engine *engine) {
  return horizon_start_ms(&engine->horizon);
}

/* ---- what the commands share ---- */

/* The name that the caller has computed already, or else a new one. */
static inline const struct name *named(const struct engine *engine, const struct name *known,
                                       struct span key, struct name *own) {
  if (known != NULL) return known;
  name_of(engine, key, own);
  return own;
}

static struct rules_record facts_of_response(const struct response *response) {
  return (struct rules_record){
      .token = response->token,
      .since_ms = response->since_ms,
      .deadline_ms = response->deadline_ms,
      .phase = RULES_DONE,
  };
}

/* Whether it is the fingerprint of this text. Not inlined: often both are absent. */
static __attribute__((noinline)) bool is_of(struct fingerprint fingerprint, struct span text) {
  char packed[FINGERPRINT_PACKED];
  return fingerprint_equal(fingerprint, fingerprint_of(text, packed));
}

static inline bool record_is_of(const struct record *record, struct span text) {
  if (record->fingerprint == 0 || !span_present(text))
    return (record->fingerprint == 0) == !span_present(text);
  return is_of(record_fingerprint(record), text);
}

static inline bool response_is_of(const struct response *response, struct span text) {
  if (!span_present(response->fingerprint.bytes) && !span_present(text)) return true;
  return is_of(response->fingerprint, text);
}

static bool wrong_type(struct entry entry, struct engine_answer *answer) {
  if (entry.record == NULL || !record_is_value(entry.record)) return false;
  fill_answer_status(answer, ENGINE_WRONGTYPE);
  return true;
}

/* ---- CLAIM ---- */

static void bind_anew(struct engine *engine, struct record *record, struct binding *binding) {
  struct claim *claim = record_claim(record);
  if (claim == NULL || claim->binding == binding) return;
  binding_unbind(engine, claim);
  binding_bind(binding, claim);
}

/* Carries out a grant to the caller; false when memory is short, then nothing has changed. */
static bool grant(struct engine *engine, struct record *record, const struct engine_claim *claim,
                  const struct rules_record *facts, enum rules_verdict verdict) {
  bool has_place = (record->flags & RECORD_OWNER) != 0 || !span_present(claim->owner);
  bool needs_claim = claim->binding != NULL || !has_place || !record_facts_are_brief(facts);
  if (needs_claim && record_need_claim(&engine->memory, record) == NULL) return false;
  if (verdict == RULES_GRANT_AGAIN) {
    engine->counters.granted_again++;
  } else {
    struct blob *owner = blob_create(&engine->memory, claim->owner);
    if (owner == NULL && span_present(claim->owner)) return false;
    token_take(engine);
    engine->counters.granted++;
    blob_release(&engine->memory, record_owner(record));
    record_set_owner(record, owner);
  }
  claim_confirm(record_claim(record));
  bind_anew(engine, record, claim->binding);
  if (verdict != RULES_GRANT_AGAIN) entry_set_user(engine, record, claim->user);
  entry_set_facts(engine, record, facts);
  return true;
}

static void queue_claim(struct engine *engine, struct record *record,
                        const struct engine_claim *claim, int64_t now_ms,
                        struct engine_answer *answer) {
  const struct wait_queue_request request = {
      .as = {.claims = true,
             .hold = claim->hold,
             .user = claim->user,
             .lease_ms = claim->lease_ms,
             .born = claim->born,
             .born_ms = claim->born_ms,
             .binding = claim->binding,
             .context = claim->context,
             .loop_id = (uint8_t)claim->loop_id},
      .owner = claim->owner,
      .wait_ms = claim->wait_ms,
  };
  wait_queue_join(engine, record, &request, now_ms, answer);
}

static struct rules_claim rules_request(const struct engine *engine,
                                        const struct engine_claim *claim) {
  return (struct rules_claim){
      .hold = claim->hold,
      .bind = claim->binding != NULL,
      .no_grants = !state_may_grant(engine),
      .takeover = claim->takeover,
      .lease_ms = claim->lease_ms,
  };
}

/* Whether a record of these parts fits below the limit; a slab may come with it. */
static bool has_room(struct engine *engine, const struct record_parts *parts, struct span owner,
                     int64_t now_ms) {
  if (engine->options.memory_limit == 0) return true;
  size_t more = record_growth(&engine->records, parts, span_present(owner)) + owner.len;
  return memory_limit_make_room(engine, (struct memory_limit_demand){more, true}, now_ms);
}

/* The record of a first grant; NULL: no memory. */
static struct record *grant_first(struct engine *engine, const struct name *name,
                                  const struct engine_claim *claim, struct record_parts *parts,
                                  const struct rules_record *facts) {
  if (span_present(claim->owner)) {
    parts->owner = blob_create(&engine->memory, claim->owner);
    if (parts->owner == NULL) return NULL;
  }
  struct record *record = entry_add_record(engine, name, parts, facts);
  if (record == NULL) {
    blob_release(&engine->memory, parts->owner);
    return NULL;
  }
  if (claim->user != 0) entry_change_user(engine, record, claim->user);
  if (claim->binding == NULL) return record;
  if (record_need_claim(&engine->memory, record) == NULL) {
    entry_remove_record(engine, record);
    return NULL;
  }
  binding_bind(claim->binding, record_claim(record));
  return record;
}

static void refuse_absent(struct engine *engine, enum rules_verdict verdict, uint64_t hash,
                          struct engine_answer *answer) {
  if (verdict == RULES_SAY_FORGOTTEN) {
    engine->counters.forgotten++;
    fill_answer_forgotten(state_horizon_ms(engine, hash), answer);
  } else {
    fill_answer_refused(verdict, answer);
  }
}

/* No entry: the claim is granted, unless its request may have been forgotten or memory is short. */
static void claim_absent(struct engine *engine, const struct name *name,
                         const struct engine_claim *claim, int64_t now_ms,
                         struct engine_answer *answer) {
  struct rules_record facts = {.phase = RULES_ABSENT};
  struct rules_claim request = rules_request(engine, claim);
  request.forgotten = claim->born && claim->born_ms <= state_horizon_ms(engine, name->hash);
  enum rules_verdict verdict = rules_claim(&facts, &request, now_ms);
  if (verdict != RULES_GRANT_FIRST) {
    refuse_absent(engine, verdict, name->hash, answer);
    return;
  }
  char packed[FINGERPRINT_PACKED];
  struct record_parts parts = {.key = name->key,
                               .fingerprint = fingerprint_of(claim->fingerprint, packed)};
  if (!has_room(engine, &parts, claim->owner, now_ms)) {
    fill_answer_status(answer, ENGINE_OOM);
    return;
  }
  if (!holding_take(engine, NULL, claim->user)) {
    fill_answer_quota(engine->quotas, QUOTAS_CLAIMS, claim->user, answer);
    return;
  }
  facts.token = token_peek(engine); /* not before: making room may have granted others */
  struct record *record = grant_first(engine, name, claim, &parts, &facts);
  if (record == NULL) {
    holding_give_back(engine);
    fill_answer_status(answer, ENGINE_NO_MEMORY);
    return;
  }
  token_take(engine);
  engine->counters.granted++;
  emit_record(engine, record);
  fill_answer_claimed(record, answer);
}

/* A grant on a record that was not HELD takes the reserve again. */
static bool has_reserve(struct engine *engine, const struct record *record, size_t more_bytes,
                        int64_t now_ms) {
  if (record->phase == RULES_HELD) return true;
  return memory_limit_make_room(engine, (struct memory_limit_demand){more_bytes, true}, now_ms);
}

static void grant_record(struct engine *engine, struct record *record,
                         const struct engine_claim *claim, const struct rules_record *facts,
                         enum rules_verdict verdict, struct engine_answer *answer) {
  if (grant(engine, record, claim, facts, verdict)) {
    emit_record(engine, record);
    fill_answer_claimed(record, answer);
  } else {
    holding_give_back(engine);
    fill_answer_status(answer, ENGINE_NO_MEMORY);
  }
}

static void claim_record(struct engine *engine, struct record *record,
                         const struct engine_claim *claim, int64_t now_ms,
                         struct engine_answer *answer) {
  struct rules_record facts = record_facts(record);
  struct rules_claim request = rules_request(engine, claim);
  request.fingerprint_matches = record_is_of(record, claim->fingerprint);
  request.owner_matches =
      span_present(claim->owner) && span_equal(pin_bytes(record_owner(record)), claim->owner);
  enum rules_verdict verdict = rules_claim(&facts, &request, now_ms);
  if (verdict == RULES_SAY_BUSY && claim->wait_ms > 0 && !engine->no_grants) {
    queue_claim(engine, record, claim, now_ms, answer);
  } else if (!fill_answer_grants(verdict)) {
    fill_answer_record(record, verdict, now_ms, answer);
  } else if (!has_reserve(engine, record, claim->owner.len, now_ms)) {
    fill_answer_status(answer, ENGINE_OOM);
  } else if (verdict != RULES_GRANT_AGAIN && !holding_take(engine, record, claim->user)) {
    fill_answer_quota(engine->quotas, QUOTAS_CLAIMS, claim->user, answer);
  } else {
    if (verdict != RULES_GRANT_AGAIN) facts.token = token_peek(engine);
    grant_record(engine, record, claim, &facts, verdict, answer);
  }
}

/* There is a response: it is replayed, unless the fingerprint differs. */
static void claim_response(const struct engine *engine, const struct response *response,
                           const struct engine_claim *claim, int64_t now_ms,
                           struct engine_answer *answer) {
  struct rules_record facts = facts_of_response(response);
  struct rules_claim request = rules_request(engine, claim);
  request.fingerprint_matches = response_is_of(response, claim->fingerprint);
  if (rules_claim(&facts, &request, now_ms) == RULES_MISMATCH) {
    fill_answer_status(answer, ENGINE_MISMATCH);
  } else {
    fill_answer_response(response, now_ms, answer);
  }
}

/* Why nobody is granted. */
static void name_refusal(const struct engine *engine, struct engine_answer *answer) {
  if (answer->status == ENGINE_DRAINING && !engine->no_grants) answer->status = ENGINE_NO_ROOM;
}

void engine_claim(struct engine *engine, const struct engine_claim *claim, int64_t now_ms,
                  struct engine_answer *answer) {
  assert(claim->lease_ms > 0);
  struct name own;
  const struct name *name = named(engine, claim->name, claim->key, &own);
  struct response response;
  struct entry entry = find_entry(engine, name, now_ms, &response);
  if (entry.response != NULL) {
    claim_response(engine, &response, claim, now_ms, answer);
  } else if (entry.record == NULL) {
    claim_absent(engine, name, claim, now_ms, answer);
  } else if (!wrong_type(entry, answer)) {
    claim_record(engine, entry.record, claim, now_ms, answer);
  }
  name_refusal(engine, answer);
  engine->answers[answer->status]++;
}

/* ---- STORE ---- */

/* All waiters get what was stored. */
static void share_stored(struct engine *engine, struct record *record,
                         const struct response_ref *stored, int64_t now_ms) {
  struct response response;
  struct engine_answer shared;
  response_log_read(stored, &response);
  fill_answer_response(&response, now_ms, &shared);
  wait_queue_share(engine, record, &shared);
}

/* A HELD claim has kept a reserve for its response; one that has lapsed asks, before the body is
 * adopted, which counts as taken from then on. */
static bool response_fits(struct engine *engine, const struct record *record,
                          const struct response *response, int64_t now_ms) {
  if (record->phase == RULES_HELD) return true;
  size_t bytes = response->key.bytes.len + response->fingerprint.bytes.len + response->body.len +
                 response->meta.len;
  const struct memory_limit_demand more = {response_log_alone_bytes(bytes), false};
  return memory_limit_make_room(engine, more, now_ms);
}

/* The response replaces the record; all waiters get it. */
static enum engine_status keep_response(struct engine *engine, struct record *record, uint64_t hash,
                                        struct response *response, int64_t now_ms) {
  bool reserved = record->phase == RULES_HELD;
  size_t room_bytes = memory_limit_room(engine, reserved ? engine->claim_reserve : 0);
  struct response_ref *stored = response_log_write(&engine->log, response, room_bytes, now_ms);
  if (stored == NULL) return ENGINE_NO_MEMORY;
  if (record_claim(record) != NULL) share_stored(engine, record, stored, now_ms);
  effect_emit(engine, EFFECT_DONE, response->key);
  emit_response(engine, response);
  entry_store(engine, record, hash, stored);
  return ENGINE_STORED;
}

/* The waiters get it. false: memory is short. */
static bool share_response(struct engine *engine, struct record *record, struct response *response,
                           int64_t now_ms) {
  if (record_claim(record) == NULL || record->claim->waiting == 0) return true;
  if (!response_make_blobs(&engine->memory, response)) return false;
  response->body = pin_bytes(response->body_blob); /* the waiters outlive the caller's bytes */
  response->meta = pin_bytes(response->meta_blob);
  struct engine_answer shared;
  fill_answer_response(response, now_ms, &shared);
  wait_queue_share(engine, record, &shared);
  response_drop_blobs(&engine->memory, response);
  return true;
}

/* TTL 0: the waiters get it, it is not kept, and the grant ends as by RELEASE. */
static enum engine_status share_and_end(struct engine *engine, struct record *record,
                                        struct response *response, const struct engine_store *store,
                                        int64_t now_ms) {
  response->since_ms = response->deadline_ms = now_ms;
  if (!share_response(engine, record, response, now_ms)) return ENGINE_NO_MEMORY;
  effect_emit(engine, EFFECT_DONE, response->key);
  struct rules_record facts = record_facts(record);
  enum rules_end end;
  if (rules_release(&facts, store->token, store->word, &end) == RULES_RELEASE)
    grant_end(engine, record, end, now_ms, now_ms);
  return ENGINE_STORED;
}

static struct response response_to(const struct record *record, const struct engine_store *store,
                                   const struct rules_record *facts) {
  return (struct response){
      .key = record_key(record),
      .fingerprint = record_fingerprint(record),
      .body = store->body,
      .meta = store->meta,
      .token = facts->token,
      .since_ms = facts->since_ms,
      .deadline_ms = facts->deadline_ms,
  };
}

_Static_assert(ADOPTED_BODY_LEAST_BYTES >= RESPONSE_BLOB_BYTES, "the log takes it as a blob");

static struct blob *adopt(struct engine *engine, const struct engine_store *store) {
  assert(store->body.len >= ADOPTED_BODY_LEAST_BYTES);
  return blob_adopt(&engine->memory, store->adopted, store->body.len);
}

static void store_record(struct engine *engine, struct record *record, uint64_t hash,
                         const struct engine_store *store, int64_t now_ms,
                         struct engine_answer *answer) {
  struct rules_record facts = record_facts(record);
  const struct rules_store request = {.token = store->token, .ttl_ms = store->ttl_ms};
  enum rules_verdict verdict = rules_store(&facts, &request, now_ms);
  if (verdict != RULES_STORED && verdict != RULES_SHARED) {
    fill_answer_refused(verdict, answer);
    return;
  }
  struct response response = response_to(record, store, &facts);
  if (verdict == RULES_STORED && !response_fits(engine, record, &response, now_ms)) {
    fill_answer_status(answer, ENGINE_OOM);
    return;
  }
  uint64_t waiting = record_claim(record) != NULL ? record->claim->waiting : 0;
  if (store->adopted != NULL && (verdict == RULES_STORED || waiting > 0))
    response.body_blob = adopt(engine, store);
  enum engine_status status = verdict == RULES_SHARED
                                  ? share_and_end(engine, record, &response, store, now_ms)
                                  : keep_response(engine, record, hash, &response, now_ms);
  fill_answer_status(answer, status);
  if (status != ENGINE_STORED) return;
  engine->counters.stored++;
  answer->count = waiting;
}

/* A response is stored already: STORE of the same bytes succeeds again, of other bytes it does
 * not. */
static void store_again(const struct response *response, const struct engine_store *store,
                        int64_t now_ms, struct engine_answer *answer) {
  struct rules_record facts = facts_of_response(response);
  bool same = span_equal(response->body, store->body) && span_equal(response->meta, store->meta);
  const struct rules_store request = {store->token, same, store->ttl_ms};
  enum rules_verdict verdict = rules_store(&facts, &request, now_ms);
  switch (verdict) {
    case RULES_SAME_STORED: fill_answer_status(answer, ENGINE_STORED); break;
    case RULES_CONFLICT: fill_answer_status(answer, ENGINE_CONFLICT); break;
    default: fill_answer_refused(verdict, answer); break;
  }
}

void engine_store(struct engine *engine, const struct engine_store *store, int64_t now_ms,
                  struct engine_answer *answer) {
  struct name own;
  memory_limit_relieve(engine, now_ms);
  const struct name *name = named(engine, store->name, store->key, &own);
  struct response response;
  struct entry entry = find_entry(engine, name, now_ms, &response);
  if (entry.response != NULL) {
    store_again(&response, store, now_ms, answer);
  } else if (entry.record == NULL) {
    fill_answer_status(answer, ENGINE_STALE_ABSENT);
  } else if (!wrong_type(entry, answer)) {
    store_record(engine, entry.record, name->hash, store, now_ms, answer);
  }
  engine->answers[answer->status]++;
}

/* ---- RENEW, RELEASE ---- */

static bool set_stage(struct engine *engine, struct record *record, struct span bytes) {
  struct claim *claim = record_need_claim(&engine->memory, record);
  if (claim == NULL) return false;
  struct blob *stage = blob_create(&engine->memory, bytes);
  if (stage == NULL) return false;
  blob_release(&engine->memory, claim->stage);
  claim->stage = stage;
  return true;
}

/* A renewal of a claim that was not HELD takes the reserve and its user's place again. False with
 * the answer. */
static bool take_again(struct engine *engine, const struct record *record, size_t more_bytes,
                       int64_t now_ms, struct engine_answer *answer) {
  if (!has_reserve(engine, record, more_bytes, now_ms)) {
    fill_answer_status(answer, ENGINE_OOM);
    return false;
  }
  if (holding_take(engine, record, record->user)) return true;
  fill_answer_quota(engine->quotas, QUOTAS_CLAIMS, record->user, answer);
  return false;
}

static void renew_record(struct engine *engine, struct record *record,
                         const struct engine_renew *renew, int64_t now_ms,
                         struct engine_answer *answer) {
  struct rules_record facts = record_facts(record);
  enum rules_verdict verdict = rules_renew(&facts, renew->token, (uint32_t)renew->lease_ms, now_ms);
  if (verdict != RULES_RENEWED) {
    fill_answer_refused(verdict, answer);
    return;
  }
  if (record->phase != RULES_HELD && !take_again(engine, record, renew->stage.len, now_ms, answer))
    return;
  if (span_present(renew->stage) && !set_stage(engine, record, renew->stage)) {
    holding_give_back(engine);
    fill_answer_status(answer, ENGINE_NO_MEMORY);
    return;
  }
  struct claim *claim = record_claim(record);
  claim_confirm(claim);
  /* A connection that closed while the claim was not HELD did not end it then, and must not end it
   * now. */
  if (claim != NULL && claim->binding != NULL && claim->binding->closed)
    binding_unbind(engine, claim);
  facts.bind = claim != NULL && claim->binding != NULL;
  entry_set_facts(engine, record, &facts);
  emit_record(engine, record);
  engine->counters.renewed++;
  *answer = (struct engine_answer){.status = ENGINE_RENEWED, .lease_ms = facts.lease_ms};
}

void engine_renew(struct engine *engine, const struct engine_renew *renew, int64_t now_ms,
                  struct engine_answer *answer) {
  assert(renew->lease_ms >= 0 && renew->lease_ms <= UINT32_MAX);
  struct name own;
  const struct name *name = named(engine, renew->name, renew->key, &own);
  struct response response;
  struct entry entry = find_entry(engine, name, now_ms, &response);
  if (entry.record == NULL) {
    fill_answer_status(answer, entry.response != NULL ? ENGINE_STALE_STORED : ENGINE_STALE_ABSENT);
  } else if (!wrong_type(entry, answer)) {
    renew_record(engine, entry.record, renew, now_ms, answer);
  }
  engine->answers[answer->status]++;
}

void engine_release(struct engine *engine, const struct engine_release *release, int64_t now_ms,
                    struct engine_answer *answer) {
  struct name own;
  const struct name *name = named(engine, release->name, release->key, &own);
  struct response response;
  struct entry entry = find_entry(engine, name, now_ms, &response);
  if (wrong_type(entry, answer)) return;
  struct rules_record facts = {.phase = RULES_ABSENT}; /* absent or DONE: NOT_YOURS in both cases */
  if (entry.record != NULL) facts = record_facts(entry.record);
  enum rules_end end;
  enum rules_verdict verdict = rules_release(&facts, release->token, release->word, &end);
  if (verdict == RULES_NOT_YOURS) {
    fill_answer_status(answer, ENGINE_NOT_YOURS);
    return;
  }
  if (verdict == RULES_RELEASE) grant_end(engine, entry.record, end, now_ms, now_ms);
  engine->counters.released++;
  fill_answer_status(answer, ENGINE_RELEASED);
}

/* ---- FETCH, WAIT ---- */

static void read_record(struct engine *engine, struct record *record,
                        const struct engine_read *read, int64_t now_ms,
                        struct engine_answer *answer) {
  const struct rules_record facts = record_facts(record);
  struct span given = read->fingerprint;
  bool differs = span_present(given) && !record_is_of(record, given);
  enum rules_verdict verdict = rules_read(&facts, differs);
  if (verdict != RULES_SAY_BUSY || read->wait_ms == 0) {
    fill_answer_record(record, verdict, now_ms, answer);
    return;
  }
  const struct wait_queue_request request = {
      .as = {.user = read->user, .context = read->context, .loop_id = (uint8_t)read->loop_id},
      .wait_ms = read->wait_ms,
  };
  wait_queue_join(engine, record, &request, now_ms, answer);
}

static void read_response(const struct response *response, const struct engine_read *read,
                          int64_t now_ms, struct engine_answer *answer) {
  const struct rules_record facts = facts_of_response(response);
  struct span given = read->fingerprint;
  bool differs = span_present(given) && !response_is_of(response, given);
  if (rules_read(&facts, differs) == RULES_MISMATCH) {
    fill_answer_status(answer, ENGINE_MISMATCH);
  } else {
    fill_answer_response(response, now_ms, answer);
  }
}

void engine_read(struct engine *engine, const struct engine_read *read, int64_t now_ms,
                 struct engine_answer *answer) {
  struct name own;
  const struct name *name = named(engine, read->name, read->key, &own);
  struct response response;
  struct entry entry = find_entry(engine, name, now_ms, &response);
  if (entry.response != NULL) {
    read_response(&response, read, now_ms, answer);
  } else if (entry.record == NULL) {
    fill_answer_status(answer, ENGINE_NOTHING);
  } else if (!wrong_type(entry, answer)) {
    read_record(engine, entry.record, read, now_ms, answer);
  }
  engine->answers[answer->status]++;
}
