/* engine.c - the six commands: find the record, let the rules judge, carry out the verdict. */
#include "server/engine/engine.h"

#include <assert.h>
#include <stdlib.h>

#include "server/engine/record.h"

/* ---- life ---- */

size_t engine_reserve_bytes(size_t store_reserve) {
  return store_reserve == 0 ? 0 : shelf_alone_bytes(store_reserve);
}

static void set_reserve(struct engine *engine, size_t store_reserve) {
  engine->options.store_reserve = store_reserve;
  engine->claim_reserve = engine_reserve_bytes(store_reserve);
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
  engine->waits_judged_ms = INT64_MIN;
  shelf_init(&engine->shelf, &engine->memory, now_ms);
  wheel_init(&engine->leases, now_ms);
  wheel_init(&engine->waits, now_ms);
  wheel_init(&engine->ends, now_ms);
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
  assert(engine->stats.waiters == 0 && engine->ready_loops == 0);
  engine_want_effects(engine, false);
  for (uint64_t cursor = 0, next;;) {
    struct index_walk walk = index_scan(&engine->index, cursor, &next);
    uint64_t word = index_next(&walk);
    if (word != 0) {
      entry_destroy(engine, entry_of_word(word));
      continue;
    }
    if (next == 0) break;
    cursor = next;
  }
  index_deinit(&engine->index);
  free(engine);
}

void engine_reconfigure(struct engine *engine, const struct engine_options *options) {
  engine->options.retention_ms = options->retention_ms;
  engine->options.memory_limit = options->memory_limit;
  set_reserve(engine, options->store_reserve);
  engine->options.waiters_per_key = options->waiters_per_key;
  engine->options.waiters_total = options->waiters_total;
}

/* ---- memory against the limit ---- */

static int64_t demand_of(const struct engine *engine) {
  return (int64_t)(engine->memory.bytes + engine_open_claims(engine) * engine->claim_reserve);
}

/* Engines add what has changed to the common sum when it is so much: it is written rarely, and
 * right within so much for each of them. */
#define DEMAND_GRAIN_BYTES (64 * 1024)

void engine_publish(struct engine *engine) {
  struct engine_common *common = engine->options.common;
  if (common == NULL || engine->options.memory_limit == 0) return;
  int64_t demand = engine->sweeping ? 0 : demand_of(engine);
  atomic_store_explicit(&engine->demand_bytes, demand, memory_order_relaxed);
  int64_t change = demand - engine->counted_bytes;
  if (change > -DEMAND_GRAIN_BYTES && change < DEMAND_GRAIN_BYTES) return;
  atomic_fetch_add_explicit(&common->demand_bytes, change, memory_order_relaxed);
  engine->counted_bytes = demand;
}

/* What the other engines take. What one of them is sweeping away does not count. Near the limit
 * each is asked, since there the sum is not exact enough. */
static int64_t demand_of_others(const struct engine *engine, int64_t own) {
  const struct engine_common *common = engine->options.common;
  if (common == NULL) return 0;
  int64_t most = atomic_load_explicit(&common->demand_bytes, memory_order_relaxed) -
                 engine->counted_bytes + (int64_t)common->count * DEMAND_GRAIN_BYTES;
  if (most + own <= (int64_t)engine->options.memory_limit) return most;
  int64_t sum = 0;
  for (unsigned i = 0; i < common->count; i++) {
    if (common->engines[i] == engine) continue;
    sum += atomic_load_explicit(&common->engines[i]->demand_bytes, memory_order_relaxed);
  }
  return sum;
}

#define SWEPT_PER_ENTRY 8u
#define FREED_AT_ONCE 256u /* entries looked at */

static bool some_to_free(const struct engine *engine) {
  return engine->sweeping || !list_empty(&engine->shelf.sparse);
}

static void free_some(struct engine *engine, int64_t now_ms) {
  unsigned budget = FREED_AT_ONCE;
  engine_tidy(engine, now_ms, &budget);
  engine_sweep(engine, now_ms, &budget);
}

/* What a sweep after FLUSHALL would free, or what holes in chunks take, must not count against who
 * asks now. A function by itself: without a limit, nobody pays for its registers. */
static __attribute__((noinline)) bool over_limit(struct engine *engine, size_t more_bytes,
                                                 bool more_claims, int64_t now_ms) {
  const struct engine_options *options = &engine->options;
  /* To the others it takes nothing while it sweeps: so it must not go on growing meanwhile. */
  if (engine->sweeping && options->common != NULL) {
    unsigned budget = SWEPT_PER_ENTRY;
    engine_sweep(engine, now_ms, &budget);
  }
  for (;;) {
    int64_t own = demand_of(engine) + (int64_t)more_bytes +
                  (more_claims ? (int64_t)engine->claim_reserve : 0);
    if (own + demand_of_others(engine, own) <= (int64_t)options->memory_limit) return false;
    if (!some_to_free(engine)) return true;
    free_some(engine, now_ms);
  }
}

bool engine_over_limit(struct engine *engine, size_t more_bytes, bool more_claims, int64_t now_ms) {
  return engine->options.memory_limit != 0 && over_limit(engine, more_bytes, more_claims, now_ms);
}

size_t engine_room(const struct engine *engine, size_t freed_bytes) {
  if (engine->options.memory_limit == 0) return SIZE_MAX;
  int64_t own = demand_of(engine) - (int64_t)freed_bytes;
  int64_t room = (int64_t)engine->options.memory_limit - own - demand_of_others(engine, own);
  return room > 0 ? (size_t)room : 0;
}

/* Before a response is refused an open chunk for lack of room, what a sweep or holes would free is
 * looked for. */
static void relieve(struct engine *engine, int64_t now_ms) {
  if (some_to_free(engine) && engine_room(engine, 0) < SHELF_ROOM_BYTES) free_some(engine, now_ms);
}

/* ---- answers ---- */

static void answer_busy(const struct record *record, int64_t at_ms, struct engine_answer *answer) {
  int64_t deadline_ms = record->timer.deadline_ms;
  if (at_ms < record->since_ms) at_ms = record->since_ms;
  answer->status = ENGINE_BUSY;
  /* With a coarse clock it is held a moment longer: while it is, something is left. */
  answer->left_ms = deadline_ms > at_ms ? deadline_ms - at_ms : 1;
  answer->age_ms = at_ms - record->since_ms;
  answer->owner = record_owner(record);
}

static bool grants(enum rules_verdict verdict) {
  return verdict == RULES_GRANT_FIRST || verdict == RULES_GRANT_NEXT ||
         verdict == RULES_GRANT_AGAIN;
}

static inline void answer_claimed(const struct record *record, struct engine_answer *answer) {
  *answer = (struct engine_answer){
      .status = ENGINE_CLAIMED,
      .token = record->token,
      .lease_ms = record->lease_ms,
      .attempt = record->attempt,
      .stage = record->claim != NULL ? record->claim->stage : NULL,
  };
}

/* What a record says to somebody, under a verdict that leaves it as it is (grants included: they
 * were carried out before). */
void answer_record(const struct record *record, enum rules_verdict verdict, int64_t now_ms,
                   struct engine_answer *answer) {
  if (grants(verdict)) {
    answer_claimed(record, answer);
    return;
  }
  *answer = (struct engine_answer){.status = ENGINE_NOTHING};
  switch (verdict) {
    case RULES_SAY_BUSY: answer_busy(record, now_ms, answer); break;
    case RULES_SAY_UNKNOWN:
      answer->status = ENGINE_UNKNOWN;
      answer->age_ms = now_ms - record->since_ms;
      answer->attempt = record->attempt;
      answer->owner = record_owner(record);
      break;
    case RULES_MISMATCH: answer->status = ENGINE_MISMATCH; break;
    case RULES_STALE: answer->status = ENGINE_STALE; break;
    default: break;
  }
}

static void answer_response(const struct response *response, int64_t now_ms,
                            struct engine_answer *answer) {
  *answer = (struct engine_answer){
      .status = ENGINE_DONE,
      .age_ms = now_ms - response->since_ms,
      .left_ms = response->deadline_ms - now_ms,
      .body = response->body_blob,
      .meta = response->meta_blob,
      .body_bytes = response->body,
      .meta_bytes = response->meta,
  };
}

static struct rules_record facts_of_response(const struct response *response) {
  return (struct rules_record){
      .token = response->token,
      .since_ms = response->since_ms,
      .deadline_ms = response->deadline_ms,
      .phase = RULES_DONE,
  };
}

static void say(struct engine_answer *answer, enum engine_status status) {
  *answer = (struct engine_answer){.status = status};
}

static bool wrong_type(struct entry entry, struct engine_answer *answer) {
  if (entry.record == NULL || !record_is_value(entry.record)) return false;
  say(answer, ENGINE_WRONGTYPE);
  return true;
}

/* ---- CLAIM ---- */

/* Another thread may take the number that was seen, so of a common count each look takes one. */
uint64_t engine_peek_token(struct engine *engine) {
  struct engine_common *common = engine->options.common;
  uint64_t token = common == NULL
                       ? engine->next_token
                       : atomic_fetch_add_explicit(&common->next_token, 1, memory_order_relaxed);
  assert(token < RULES_TOKEN_LIMIT);
  return token;
}

void engine_take_token(struct engine *engine) {
  if (engine->options.common == NULL) engine->next_token++;
}

static void bind_anew(struct engine *engine, struct record *record,
                      struct engine_binding *binding) {
  struct claim *claim = record->claim;
  if (claim == NULL || claim->binding == binding) return;
  claim_unbind(engine, claim);
  claim_bind(claim, binding);
}

/* Carries out a grant to the caller; false when memory is short, then nothing has changed. */
static bool grant(struct engine *engine, struct record *record, const struct engine_claim *claim,
                  const struct rules_record *facts, enum rules_verdict verdict) {
  bool has_place = (record->flags & RECORD_OWNER) != 0 || !span_present(claim->owner);
  bool needs_claim = claim->binding != NULL || !has_place;
  if (needs_claim && record_claim(engine, record) == NULL) return false;
  if (verdict == RULES_GRANT_AGAIN) {
    engine->stats.granted_again++;
  } else {
    struct engine_blob *owner = blob_create(&engine->memory, claim->owner);
    if (owner == NULL && span_present(claim->owner)) return false;
    engine_take_token(engine);
    engine->stats.granted++;
    blob_release(&engine->memory, record_owner(record));
    record_set_owner(record, owner);
  }
  claim_confirm(record->claim);
  bind_anew(engine, record, claim->binding);
  record_set_facts(engine, record, facts);
  return true;
}

static void queue_claim(struct engine *engine, struct record *record,
                        const struct engine_claim *claim, int64_t now_ms,
                        struct engine_answer *answer) {
  const struct engine_waiter as = {
      .claims = true,
      .hold = claim->hold,
      .lease_ms = (uint32_t)claim->lease_ms,
      .binding = claim->binding,
      .context = claim->context,
      .loop_id = (uint8_t)claim->loop_id,
  };
  struct engine_waiter *waiter = NULL;
  say(answer, waiter_enqueue(engine, record, &as, claim->owner, claim->wait_ms, now_ms, &waiter));
  answer->waiter = waiter;
}

static struct rules_claim rules_request(const struct engine_claim *claim) {
  return (struct rules_claim){
      .hold = claim->hold,
      .bind = claim->binding != NULL,
      .takeover = claim->takeover,
      .lease_ms = (uint32_t)claim->lease_ms,
  };
}

/* The record of a first grant; NULL: no memory. */
static struct record *grant_first(struct engine *engine, const struct engine_name *name,
                                  const struct engine_claim *claim,
                                  const struct rules_record *facts) {
  struct engine_blob *owner = NULL;
  if (span_present(claim->owner)) {
    owner = blob_create(&engine->memory, claim->owner);
    if (owner == NULL) return NULL;
  }
  struct record *record = record_create(engine, name, claim->fingerprint, owner, facts);
  if (record == NULL) {
    blob_release(&engine->memory, owner);
    return NULL;
  }
  if (claim->binding == NULL) return record;
  if (record_claim(engine, record) == NULL) {
    record_destroy(engine, record);
    return NULL;
  }
  claim_bind(record->claim, claim->binding);
  return record;
}

/* There is nothing: it is granted, unless memory is short. */
static void claim_absent(struct engine *engine, const struct engine_name *name,
                         const struct engine_claim *claim, int64_t now_ms,
                         struct engine_answer *answer) {
  size_t more = sizeof(struct record) + claim->key.len + claim->fingerprint.len + claim->owner.len;
  if (engine_over_limit(engine, more, true, now_ms)) {
    say(answer, ENGINE_OOM);
    return;
  }
  struct rules_record facts = {.phase = RULES_ABSENT};
  struct rules_claim request = rules_request(claim);
  request.token = engine_peek_token(engine);
  rules_claim(&facts, &request, now_ms);
  struct record *record = grant_first(engine, name, claim, &facts);
  if (record == NULL) {
    say(answer, ENGINE_NO_MEMORY);
    return;
  }
  engine_take_token(engine);
  engine->stats.granted++;
  answer_claimed(record, answer);
}

static void claim_record(struct engine *engine, struct record *record,
                         const struct engine_claim *claim, int64_t now_ms,
                         struct engine_answer *answer) {
  struct rules_record facts = record_facts(record);
  struct rules_claim request = rules_request(claim);
  request.fingerprint_matches = span_equal(record_fingerprint(record), claim->fingerprint);
  request.owner_matches =
      span_present(claim->owner) && span_equal(engine_bytes(record_owner(record)), claim->owner);
  if (record->phase != RULES_HELD) request.token = engine_peek_token(engine);
  enum rules_verdict verdict = rules_claim(&facts, &request, now_ms);
  if (verdict == RULES_SAY_BUSY && claim->wait_ms > 0) {
    queue_claim(engine, record, claim, now_ms, answer);
    return;
  }
  if (grants(verdict) && !grant(engine, record, claim, &facts, verdict)) {
    say(answer, ENGINE_NO_MEMORY);
    return;
  }
  answer_record(record, verdict, now_ms, answer);
}

/* There is a response: it is replayed, unless the fingerprint is another. */
static void claim_stored(const struct response *response, const struct engine_claim *claim,
                         int64_t now_ms, struct engine_answer *answer) {
  struct rules_record facts = facts_of_response(response);
  struct rules_claim request = rules_request(claim);
  request.fingerprint_matches = span_equal(response->fingerprint, claim->fingerprint);
  if (rules_claim(&facts, &request, now_ms) == RULES_MISMATCH) {
    say(answer, ENGINE_MISMATCH);
  } else {
    answer_response(response, now_ms, answer);
  }
}

void engine_claim(struct engine *engine, const struct engine_claim *claim, int64_t now_ms,
                  struct engine_answer *answer) {
  assert(claim->lease_ms > 0 && claim->lease_ms <= UINT32_MAX);
  struct engine_name own;
  const struct engine_name *name = name_of(engine, claim->name, claim->key, &own);
  struct response response;
  struct entry entry = entry_find(engine, name, now_ms, &response);
  if (entry.stored != NULL) {
    claim_stored(&response, claim, now_ms, answer);
  } else if (entry.record == NULL) {
    claim_absent(engine, name, claim, now_ms, answer);
  } else if (!wrong_type(entry, answer)) {
    claim_record(engine, entry.record, claim, now_ms, answer);
  }
  engine->answers[answer->status]++;
}

/* ---- STORE ---- */

static void answer_kept(struct engine *engine, uint64_t waiting, struct engine_answer *answer) {
  engine->stats.stored++;
  *answer = (struct engine_answer){.status = ENGINE_STORED, .count = waiting};
}

/* All who wait get what was stored. */
static void share_stored(struct engine *engine, struct record *record, const struct stored *stored,
                         int64_t now_ms) {
  struct response response;
  struct engine_answer shared;
  stored_read(stored, &response);
  answer_response(&response, now_ms, &shared);
  waiters_share(engine, record, &shared);
}

/* The response replaces the record; all who waited get it. false: memory is short. */
static bool keep_response(struct engine *engine, struct record *record, uint64_t hash,
                          struct response *response, int64_t now_ms) {
  struct stored *stored =
      stored_write(engine, response, engine_room(engine, engine->claim_reserve), now_ms);
  if (stored == NULL) return false;
  if (record->claim != NULL) share_stored(engine, record, stored, now_ms);
  effect_emit(engine, ENGINE_EFFECT_DONE, response->key);
  record_become(engine, record, hash, stored);
  return true;
}

/* TTL 0: those who waited get it, and it is gone. false: memory is short. */
static bool share_response(struct engine *engine, struct record *record, struct response *response,
                           int64_t now_ms) {
  bool awaited = record->claim != NULL && record->claim->waiting > 0;
  if (awaited) {
    if (!response_make_blobs(engine, response)) return false;
    response->body = engine_bytes(response->body_blob); /* those waiting outlive the caller's */
    response->meta = engine_bytes(response->meta_blob);
    struct engine_answer shared;
    answer_response(response, now_ms, &shared);
    waiters_share(engine, record, &shared);
    response_drop_blobs(engine, response);
  }
  effect_emit(engine, ENGINE_EFFECT_DONE, response->key);
  effect_emit(engine, ENGINE_EFFECT_FREE, response->key);
  record_destroy(engine, record);
  return true;
}

static void store_record(struct engine *engine, struct record *record, uint64_t hash,
                         const struct engine_store *store, int64_t now_ms,
                         struct engine_answer *answer) {
  struct rules_record facts = record_facts(record);
  enum rules_verdict verdict = rules_store(&facts, store->token, false, store->ttl_ms, now_ms);
  if (verdict != RULES_STORED && verdict != RULES_SHARED) {
    say(answer, ENGINE_STALE);
    return;
  }
  struct response response = {
      .key = record_key(record),
      .fingerprint = record_fingerprint(record),
      .body = store->body,
      .meta = store->meta,
      .token = facts.token,
      .since_ms = facts.since_ms,
      .deadline_ms = facts.deadline_ms,
  };
  uint64_t waiting = record->claim != NULL ? record->claim->waiting : 0;
  if (store->piece != NULL && (verdict == RULES_STORED || waiting > 0)) {
    _Static_assert(ENGINE_PIECE_LEAST >= SHELF_APART_BYTES, "the shelf takes it as a blob");
    assert(store->body.len >= ENGINE_PIECE_LEAST);
    response.body_blob = blob_adopt(&engine->memory, store->piece, store->body.len);
  }
  bool kept = verdict == RULES_SHARED ? share_response(engine, record, &response, now_ms)
                                      : keep_response(engine, record, hash, &response, now_ms);
  if (kept) {
    answer_kept(engine, waiting, answer);
  } else {
    say(answer, ENGINE_NO_MEMORY);
  }
}

/* There is a response already: the same once more, or not. */
static void store_stored(const struct response *response, const struct engine_store *store,
                         int64_t now_ms, struct engine_answer *answer) {
  struct rules_record facts = facts_of_response(response);
  bool same = span_equal(response->body, store->body) && span_equal(response->meta, store->meta);
  switch (rules_store(&facts, store->token, same, store->ttl_ms, now_ms)) {
    case RULES_SAME_STORED: say(answer, ENGINE_STORED); break;
    case RULES_CONFLICT: say(answer, ENGINE_CONFLICT); break;
    default: say(answer, ENGINE_STALE); break;
  }
}

void engine_store(struct engine *engine, const struct engine_store *store, int64_t now_ms,
                  struct engine_answer *answer) {
  struct engine_name own;
  relieve(engine, now_ms);
  const struct engine_name *name = name_of(engine, store->name, store->key, &own);
  struct response response;
  struct entry entry = entry_find(engine, name, now_ms, &response);
  if (entry.stored != NULL) {
    store_stored(&response, store, now_ms, answer);
  } else if (entry.record == NULL) {
    say(answer, ENGINE_STALE);
  } else if (!wrong_type(entry, answer)) {
    store_record(engine, entry.record, name->hash, store, now_ms, answer);
  }
  engine->answers[answer->status]++;
}

/* ---- RENEW, RELEASE ---- */

static bool set_stage(struct engine *engine, struct record *record, struct span bytes) {
  struct claim *claim = record_claim(engine, record);
  if (claim == NULL) return false;
  struct engine_blob *stage = blob_create(&engine->memory, bytes);
  if (stage == NULL) return false;
  blob_release(&engine->memory, claim->stage);
  claim->stage = stage;
  return true;
}

static void renew_record(struct engine *engine, struct record *record,
                         const struct engine_renew *renew, int64_t now_ms,
                         struct engine_answer *answer) {
  struct rules_record facts = record_facts(record);
  enum rules_verdict verdict = rules_renew(&facts, renew->token, (uint32_t)renew->lease_ms, now_ms);
  if (verdict != RULES_RENEWED) {
    say(answer, ENGINE_STALE);
    return;
  }
  if (span_present(renew->stage) && !set_stage(engine, record, renew->stage)) {
    say(answer, ENGINE_NO_MEMORY);
    return;
  }
  struct claim *claim = record->claim;
  claim_confirm(claim);
  /* A connection that closed while the claim was not HELD ended nothing then, and must not now. */
  if (claim != NULL && claim->binding != NULL && claim->binding->closed)
    claim_unbind(engine, claim);
  record_set_facts(engine, record, &facts);
  engine->stats.renewed++;
  *answer = (struct engine_answer){.status = ENGINE_RENEWED, .lease_ms = facts.lease_ms};
}

void engine_renew(struct engine *engine, const struct engine_renew *renew, int64_t now_ms,
                  struct engine_answer *answer) {
  assert(renew->lease_ms >= 0 && renew->lease_ms <= UINT32_MAX);
  struct engine_name own;
  const struct engine_name *name = name_of(engine, renew->name, renew->key, &own);
  struct response response;
  struct entry entry = entry_find(engine, name, now_ms, &response);
  if (entry.record == NULL) { /* absent or DONE */
    say(answer, ENGINE_STALE);
  } else if (!wrong_type(entry, answer)) {
    renew_record(engine, entry.record, renew, now_ms, answer);
  }
  engine->answers[answer->status]++;
}

void engine_release(struct engine *engine, const struct engine_release *release, int64_t now_ms,
                    struct engine_answer *answer) {
  struct engine_name own;
  const struct engine_name *name = name_of(engine, release->name, release->key, &own);
  struct response response;
  struct entry entry = entry_find(engine, name, now_ms, &response);
  if (wrong_type(entry, answer)) return;
  struct rules_record facts = {.phase = RULES_ABSENT}; /* absent or DONE: not yours either way */
  if (entry.record != NULL) facts = record_facts(entry.record);
  if (rules_release(&facts, release->token) != RULES_RELEASE) {
    say(answer, ENGINE_NOT_YOURS);
    return;
  }
  record_end_grant(engine, entry.record, RULES_END_RELEASED, now_ms, now_ms);
  engine->stats.released++;
  say(answer, ENGINE_RELEASED);
}

/* ---- FETCH, WAIT ---- */

static bool differs(struct span fingerprint, struct span given) {
  return span_present(given) && !span_equal(fingerprint, given);
}

static void read_record(struct engine *engine, struct record *record,
                        const struct engine_read *read, int64_t now_ms,
                        struct engine_answer *answer) {
  const struct rules_record facts = record_facts(record);
  enum rules_verdict verdict =
      rules_read(&facts, differs(record_fingerprint(record), read->fingerprint));
  if (verdict != RULES_SAY_BUSY || read->wait_ms == 0) {
    answer_record(record, verdict, now_ms, answer);
    return;
  }
  const struct engine_waiter as = {.context = read->context, .loop_id = (uint8_t)read->loop_id};
  struct engine_waiter *waiter = NULL;
  say(answer, waiter_enqueue(engine, record, &as, SPAN_ABSENT, read->wait_ms, now_ms, &waiter));
  answer->waiter = waiter;
}

static void read_response(const struct response *response, const struct engine_read *read,
                          int64_t now_ms, struct engine_answer *answer) {
  const struct rules_record facts = facts_of_response(response);
  if (rules_read(&facts, differs(response->fingerprint, read->fingerprint)) == RULES_MISMATCH) {
    say(answer, ENGINE_MISMATCH);
  } else {
    answer_response(response, now_ms, answer);
  }
}

void engine_read(struct engine *engine, const struct engine_read *read, int64_t now_ms,
                 struct engine_answer *answer) {
  struct engine_name own;
  const struct engine_name *name = name_of(engine, read->name, read->key, &own);
  struct response response;
  struct entry entry = entry_find(engine, name, now_ms, &response);
  if (entry.stored != NULL) {
    read_response(&response, read, now_ms, answer);
  } else if (entry.record == NULL) {
    say(answer, ENGINE_NOTHING);
  } else if (!wrong_type(entry, answer)) {
    read_record(engine, entry.record, read, now_ms, answer);
  }
  engine->answers[answer->status]++;
}

/* ---- BIND ---- */

struct engine_binding *engine_binding_create(struct engine *engine) {
  struct engine_binding *binding = memory_take(&engine->memory, sizeof *binding);
  if (binding == NULL) return NULL;
  *binding = (struct engine_binding){.references = 0};
  list_init(&binding->claims);
  list_init(&binding->link);
  return binding;
}

#define BOUND_LOOKED_AT 256u

bool engine_binding_holds(const struct engine_binding *binding) {
  if (binding == NULL) return false;
  unsigned left = BOUND_LOOKED_AT;
  for (struct list *node = binding->claims.next; node != &binding->claims; node = node->next) {
    const struct claim *claim = LIST_ENTRY(node, struct claim, bound);
    if (claim->record->phase == RULES_HELD || --left == 0) return true;
  }
  return false;
}

void engine_binding_close(struct engine *engine, struct engine_binding *binding, int64_t now_ms) {
  if (binding == NULL) return;
  binding->references++;
  binding->closed = true;
  binding->closed_ms = now_ms;
  if (!list_empty(&binding->claims)) list_append(&engine->closing, &binding->link);
  binding_release(engine, binding);
}
