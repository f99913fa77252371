/* engine.c - the six commands: find the record, let the rules judge, carry out the verdict. */
#include "server/engine/engine.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>

#include "server/engine/record.h"

/* ---- life ---- */

struct engine *engine_create(const struct engine_options *options, int64_t now_ms) {
  struct engine *engine = calloc(1, sizeof *engine);
  if (engine == NULL) return NULL;
  if (!table_init(&engine->table)) {
    free(engine);
    return NULL;
  }
  engine->options = *options;
  engine->next_token = options->first_token;
  engine->waits_judged_ms = INT64_MIN;
  engine->memory_bytes = malloc_usable_size(engine);
  wheel_init(&engine->leases, now_ms);
  wheel_init(&engine->waits, now_ms);
  wheel_init(&engine->ends, now_ms);
  list_init(&engine->ready);
  list_init(&engine->waited);
  list_init(&engine->closing);
  list_init(&engine->effects);
  return engine;
}

void engine_destroy(struct engine *engine) {
  if (engine == NULL) return;
  assert(engine->stats.waiters == 0 && list_empty(&engine->ready));
  engine_want_effects(engine, false);
  for (uint64_t cursor = 0, next;;) {
    struct table_node *node = table_scan(&engine->table, cursor, &next);
    if (node != NULL) {
      record_destroy(engine, LIST_ENTRY(node, struct record, node));
      continue;
    }
    if (next == 0) break;
    cursor = next;
  }
  table_deinit(&engine->table);
  free(engine);
}

void engine_reconfigure(struct engine *engine, const struct engine_options *options) {
  engine->options.retention_ms = options->retention_ms;
  engine->options.memory_limit = options->memory_limit;
  engine->options.store_reserve = options->store_reserve;
  engine->options.waiters_per_key = options->waiters_per_key;
  engine->options.waiters_total = options->waiters_total;
}

/* A sweep after FLUSHALL may be under way: what it would free must not count against who asks now.
 */
bool engine_over_limit(struct engine *engine, size_t more_bytes, bool more_claims, int64_t now_ms) {
  const struct engine_options *options = &engine->options;
  if (options->memory_limit == 0) return false;
  for (;;) {
    size_t used = engine->memory_bytes + engine->table.memory_bytes + more_bytes;
    uint64_t claims = engine->open_claims + (more_claims ? 1 : 0);
    if (used + claims * options->store_reserve <= options->memory_limit) return false;
    if (!engine->sweeping) return true;
    unsigned budget = 256;
    engine_sweep(engine, now_ms, &budget);
  }
}

/* ---- answers ---- */

static void answer_busy(const struct record *record, int64_t at_ms, struct engine_answer *answer) {
  const struct rules_record *facts = &record->facts;
  if (at_ms < facts->since_ms) at_ms = facts->since_ms;
  answer->status = ENGINE_BUSY;
  answer->left_ms = facts->deadline_ms > at_ms ? facts->deadline_ms - at_ms : 0;
  answer->age_ms = at_ms - facts->since_ms;
  answer->owner = record->claim->owner;
}

/* What a record says to somebody, under a verdict that leaves it as it is (grants included: they
 * were carried out before). */
void answer_record(const struct record *record, enum rules_verdict verdict, int64_t now_ms,
                   struct engine_answer *answer) {
  const struct rules_record *facts = &record->facts;
  *answer = (struct engine_answer){.status = ENGINE_NOTHING};
  switch (verdict) {
    case RULES_GRANT_FIRST:
    case RULES_GRANT_NEXT:
    case RULES_GRANT_AGAIN:
      answer->status = ENGINE_CLAIMED;
      answer->token = facts->token;
      answer->lease_ms = facts->lease_ms;
      answer->attempt = facts->attempt;
      answer->stage = record->claim->stage;
      break;
    case RULES_SAY_BUSY: answer_busy(record, now_ms, answer); break;
    case RULES_SAY_UNKNOWN:
      answer->status = ENGINE_UNKNOWN;
      answer->age_ms = now_ms - facts->since_ms;
      answer->attempt = facts->attempt;
      answer->owner = record->claim->owner;
      break;
    case RULES_SAY_DONE:
    case RULES_SHARED:
      answer->status = ENGINE_DONE;
      answer->age_ms = now_ms - facts->since_ms;
      answer->left_ms = facts->deadline_ms - now_ms;
      answer->body = record->body;
      answer->meta = record->meta;
      break;
    case RULES_MISMATCH: answer->status = ENGINE_MISMATCH; break;
    case RULES_CONFLICT: answer->status = ENGINE_CONFLICT; break;
    case RULES_STALE: answer->status = ENGINE_STALE; break;
    case RULES_SAME_STORED: answer->status = ENGINE_STORED; break;
    default: break;
  }
}

static void say(struct engine_answer *answer, enum engine_status status) {
  *answer = (struct engine_answer){.status = status};
}

static bool wrong_type(const struct record *record, struct engine_answer *answer) {
  if (record == NULL || record->kind == ENGINE_RECORD) return false;
  say(answer, ENGINE_WRONGTYPE);
  return true;
}

static void count_answer(struct engine *engine, const struct engine_answer *answer) {
  switch (answer->status) {
    case ENGINE_DONE: engine->stats.replayed++; break;
    case ENGINE_BUSY: engine->stats.busy++; break;
    case ENGINE_UNKNOWN: engine->stats.unknown++; break;
    case ENGINE_MISMATCH: engine->stats.mismatched++; break;
    case ENGINE_STALE: engine->stats.stale++; break;
    case ENGINE_CONFLICT: engine->stats.conflicts++; break;
    case ENGINE_OOM: engine->stats.refused_memory++; break;
    default: break;
  }
}

/* ---- CLAIM ---- */

static uint64_t take_token(struct engine *engine) {
  assert(engine->next_token < RULES_TOKEN_LIMIT);
  return engine->next_token++;
}

static void bind_anew(struct engine *engine, struct claim *claim, struct engine_binding *binding) {
  if (claim->binding == binding) return;
  claim_unbind(engine, claim);
  claim_bind(claim, binding);
}

/* Carries out a grant to the caller. owner is the blob to keep; NULL when it had none. */
static void grant(struct engine *engine, struct record *record, const struct engine_claim *claim,
                  const struct rules_record *facts, enum rules_verdict verdict,
                  struct engine_blob *owner) {
  struct claim *held = record->claim;
  claim_confirm(held);
  if (verdict == RULES_GRANT_AGAIN) {
    engine->stats.granted_again++;
  } else {
    take_token(engine);
    engine->stats.granted++;
    engine_unpin(engine, held->owner);
    held->owner = owner;
  }
  bind_anew(engine, held, claim->binding);
  record_set_facts(engine, record, facts);
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
  };
  struct engine_waiter *waiter = NULL;
  say(answer, waiter_enqueue(engine, record, &as, claim->owner, claim->wait_ms, now_ms, &waiter));
  answer->waiter = waiter;
}

/* A record for a key that has none; NULL with the answer said when that must not or cannot be. */
static struct record *record_for_claim(struct engine *engine, const struct engine_claim *claim,
                                       int64_t now_ms, struct engine_answer *answer) {
  size_t more = sizeof(struct record) + sizeof(struct claim) + claim->key.len +
                claim->fingerprint.len + claim->owner.len;
  if (engine_over_limit(engine, more, true, now_ms)) {
    say(answer, ENGINE_OOM);
    return NULL;
  }
  struct record *record = record_create(engine, ENGINE_RECORD, claim->key, claim->fingerprint);
  if (record == NULL) say(answer, ENGINE_NO_MEMORY);
  return record;
}

static void claim_record(struct engine *engine, struct record *record,
                         const struct engine_claim *claim, int64_t now_ms,
                         struct engine_answer *answer) {
  struct rules_record facts = record->facts;
  struct span owner = record->claim != NULL ? engine_bytes(record->claim->owner) : SPAN_ABSENT;
  const struct rules_claim request = {
      .fingerprint_matches = span_equal(record_fingerprint(record), claim->fingerprint),
      .owner_matches = span_present(claim->owner) && span_equal(owner, claim->owner),
      .hold = claim->hold,
      .bind = claim->binding != NULL,
      .takeover = claim->takeover,
      .lease_ms = (uint32_t)claim->lease_ms,
      .token = engine->next_token,
  };
  enum rules_verdict verdict = rules_claim(&facts, &request, now_ms);
  if (verdict == RULES_SAY_BUSY && claim->wait_ms > 0) {
    queue_claim(engine, record, claim, now_ms, answer);
    return;
  }
  bool granted =
      verdict == RULES_GRANT_FIRST || verdict == RULES_GRANT_NEXT || verdict == RULES_GRANT_AGAIN;
  if (granted) {
    bool again = verdict == RULES_GRANT_AGAIN;
    struct engine_blob *blob = again ? NULL : blob_create(engine, claim->owner);
    if (!again && blob == NULL && span_present(claim->owner)) {
      if (record->facts.phase == RULES_ABSENT) record_destroy(engine, record);
      say(answer, ENGINE_NO_MEMORY);
      return;
    }
    grant(engine, record, claim, &facts, verdict, blob);
  }
  answer_record(record, verdict, now_ms, answer);
}

void engine_claim(struct engine *engine, const struct engine_claim *claim, int64_t now_ms,
                  struct engine_answer *answer) {
  assert(claim->lease_ms > 0 && claim->lease_ms <= UINT32_MAX);
  struct record *record = record_find(engine, claim->key, now_ms);
  if (!wrong_type(record, answer)) {
    if (record == NULL) record = record_for_claim(engine, claim, now_ms, answer);
    if (record != NULL) claim_record(engine, record, claim, now_ms, answer);
  }
  count_answer(engine, answer);
}

/* ---- STORE ---- */

static bool same_response(const struct record *record, const struct engine_store *store) {
  return record->facts.phase == RULES_DONE && span_equal(engine_bytes(record->body), store->body) &&
         span_equal(engine_bytes(record->meta), store->meta);
}

/* The response replaces the claim; all who waited get it. */
static void keep_response(struct engine *engine, struct record *record,
                          const struct rules_record *facts, enum rules_verdict verdict,
                          int64_t now_ms, struct engine_answer *answer) {
  uint64_t waiting = record->claim->waiting;
  struct claim *claim = record->claim;
  record->facts.since_ms = facts->since_ms;
  record->facts.deadline_ms = facts->deadline_ms;
  waiters_answer_all(engine, claim, RULES_SAY_DONE, now_ms);
  engine->stats.stored++;
  effect_emit(engine, ENGINE_EFFECT_DONE, record);
  if (verdict == RULES_SHARED) {
    effect_emit(engine, ENGINE_EFFECT_FREE, record);
    record_destroy(engine, record);
  } else {
    record_set_facts(engine, record, facts);
  }
  *answer = (struct engine_answer){.status = ENGINE_STORED, .count = waiting};
}

static void store_record(struct engine *engine, struct record *record,
                         const struct engine_store *store, int64_t now_ms,
                         struct engine_answer *answer) {
  struct rules_record facts = record->facts;
  enum rules_verdict verdict =
      rules_store(&facts, store->token, same_response(record, store), store->ttl_ms, now_ms);
  if (verdict != RULES_STORED && verdict != RULES_SHARED) {
    answer_record(record, verdict, now_ms, answer);
    return;
  }
  struct engine_blob *body = blob_create(engine, store->body);
  struct engine_blob *meta = blob_create(engine, store->meta);
  if (body == NULL || (meta == NULL && span_present(store->meta))) {
    engine_unpin(engine, body);
    engine_unpin(engine, meta);
    say(answer, ENGINE_NO_MEMORY);
    return;
  }
  record->body = body;
  record->meta = meta;
  keep_response(engine, record, &facts, verdict, now_ms, answer);
}

void engine_store(struct engine *engine, const struct engine_store *store, int64_t now_ms,
                  struct engine_answer *answer) {
  struct record *record = record_find(engine, store->key, now_ms);
  if (!wrong_type(record, answer)) {
    if (record == NULL) {
      say(answer, ENGINE_STALE);
    } else {
      store_record(engine, record, store, now_ms, answer);
    }
  }
  count_answer(engine, answer);
}

/* ---- RENEW, RELEASE ---- */

static void renew_record(struct engine *engine, struct record *record,
                         const struct engine_renew *renew, int64_t now_ms,
                         struct engine_answer *answer) {
  struct rules_record facts = record->facts;
  enum rules_verdict verdict = rules_renew(&facts, renew->token, (uint32_t)renew->lease_ms, now_ms);
  if (verdict != RULES_RENEWED) {
    say(answer, ENGINE_STALE);
    return;
  }
  struct claim *claim = record->claim;
  if (span_present(renew->stage)) {
    struct engine_blob *stage = blob_create(engine, renew->stage);
    if (stage == NULL) {
      say(answer, ENGINE_NO_MEMORY);
      return;
    }
    engine_unpin(engine, claim->stage);
    claim->stage = stage;
  }
  claim_confirm(claim);
  /* A connection that closed while the claim was not HELD ended nothing then, and must not now. */
  if (claim->binding != NULL && claim->binding->closed) claim_unbind(engine, claim);
  record_set_facts(engine, record, &facts);
  engine->stats.renewed++;
  *answer = (struct engine_answer){.status = ENGINE_RENEWED, .lease_ms = facts.lease_ms};
}

void engine_renew(struct engine *engine, const struct engine_renew *renew, int64_t now_ms,
                  struct engine_answer *answer) {
  assert(renew->lease_ms >= 0 && renew->lease_ms <= UINT32_MAX);
  struct record *record = record_find(engine, renew->key, now_ms);
  if (!wrong_type(record, answer)) {
    if (record == NULL) {
      say(answer, ENGINE_STALE);
    } else {
      renew_record(engine, record, renew, now_ms, answer);
    }
  }
  count_answer(engine, answer);
}

/* Ends an open claim for good; one that nobody holds has nobody who waits. */
static void give_up(struct engine *engine, struct record *record, enum rules_end end,
                    int64_t now_ms) {
  record_end_grant(engine, record, end, now_ms, now_ms);
}

void engine_release(struct engine *engine, struct span key, uint64_t token, int64_t now_ms,
                    struct engine_answer *answer) {
  struct record *record = record_find(engine, key, now_ms);
  if (wrong_type(record, answer)) return;
  if (record == NULL || rules_release(&record->facts, token) != RULES_RELEASE) {
    say(answer, ENGINE_NOT_YOURS);
    return;
  }
  give_up(engine, record, RULES_END_RELEASED, now_ms);
  engine->stats.released++;
  say(answer, ENGINE_RELEASED);
}

/* ---- FETCH, WAIT ---- */

static void read_record(struct engine *engine, struct record *record,
                        const struct engine_read *read, int64_t now_ms,
                        struct engine_answer *answer) {
  bool differs =
      span_present(read->fingerprint) && !span_equal(record_fingerprint(record), read->fingerprint);
  enum rules_verdict verdict = rules_read(&record->facts, differs);
  if (verdict != RULES_SAY_BUSY || read->wait_ms == 0) {
    answer_record(record, verdict, now_ms, answer);
    return;
  }
  const struct engine_waiter as = {.context = read->context};
  struct engine_waiter *waiter = NULL;
  say(answer, waiter_enqueue(engine, record, &as, SPAN_ABSENT, read->wait_ms, now_ms, &waiter));
  answer->waiter = waiter;
}

void engine_read(struct engine *engine, const struct engine_read *read, int64_t now_ms,
                 struct engine_answer *answer) {
  struct record *record = record_find(engine, read->key, now_ms);
  if (!wrong_type(record, answer)) {
    if (record == NULL) {
      say(answer, ENGINE_NOTHING);
    } else {
      read_record(engine, record, read, now_ms, answer);
    }
  }
  count_answer(engine, answer);
}

/* ---- BIND ---- */

struct engine_binding *engine_binding_create(struct engine *engine) {
  struct engine_binding *binding = engine_alloc(engine, sizeof *binding);
  if (binding == NULL) return NULL;
  *binding = (struct engine_binding){.references = 0};
  list_init(&binding->claims);
  list_init(&binding->link);
  return binding;
}

void engine_binding_close(struct engine *engine, struct engine_binding *binding, int64_t now_ms) {
  if (binding == NULL) return;
  binding->references++;
  binding->closed = true;
  binding->closed_ms = now_ms;
  if (!list_empty(&binding->claims)) list_append(&engine->closing, &binding->link);
  binding_release(engine, binding);
}
