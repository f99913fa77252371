/* record.c - memory and life of one entry; what is due on it. See record.h for the layout. */
#include "server/engine/record.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(ENGINE_HASH_SECRET_BYTES >= XXH3_SECRET_SIZE_MIN,
               "a shorter secret is refused by XXH3");

void *engine_alloc(struct engine *engine, size_t size) {
  void *memory = malloc(size);
  if (memory == NULL) return NULL;
  engine->memory_bytes += malloc_usable_size(memory);
  size_t all = engine->memory_bytes + engine->table.memory_bytes;
  if (all > engine->stats.memory_peak_bytes) engine->stats.memory_peak_bytes = all;
  return memory;
}

void engine_free(struct engine *engine, void *memory) {
  if (memory == NULL) return;
  engine->memory_bytes -= malloc_usable_size(memory);
  free(memory);
}

/* ---- blobs ---- */

struct engine_blob *blob_create(struct engine *engine, struct span bytes) {
  if (!span_present(bytes)) return NULL;
  assert(bytes.len <= UINT32_MAX);
  struct engine_blob *blob = engine_alloc(engine, sizeof *blob + bytes.len);
  if (blob == NULL) return NULL;
  blob->references = 1;
  blob->len = (uint32_t)bytes.len;
  if (bytes.len != 0) memcpy(blob->bytes, bytes.data, bytes.len);
  return blob;
}

struct span engine_bytes(const struct engine_blob *blob) {
  return blob != NULL ? (struct span){blob->bytes, blob->len} : SPAN_ABSENT;
}

struct engine_blob *engine_pin(struct engine_blob *blob) {
  if (blob != NULL) blob->references++;
  return blob;
}

void engine_unpin(struct engine *engine, struct engine_blob *blob) {
  if (blob == NULL) return;
  assert(blob->references > 0);
  if (--blob->references == 0) engine_free(engine, blob);
}

/* ---- records ---- */

uint64_t record_hash(const struct engine *engine, struct span key) {
  return XXH3_64bits_withSecret(key.data, key.len, engine->options.hash_secret,
                                ENGINE_HASH_SECRET_BYTES);
}

struct span record_key(const struct record *record) {
  return (struct span){record->bytes, record->key_len};
}

struct span record_fingerprint(const struct record *record) {
  if (!record->has_fingerprint) return SPAN_ABSENT;
  return (struct span){record->bytes + record->key_len, record->fingerprint_len};
}

static bool flushed(const struct engine *engine, const struct record *record) {
  return record->epoch != engine->epoch;
}

static bool open_claim(const struct record *record) { return record->claim != NULL; }

/* Figures about what lives now; flushed records were taken out of them all at once. */
static void count(struct engine *engine, const struct record *record, bool in) {
  if (flushed(engine, record)) return;
  uint64_t one = in ? 1 : UINT64_MAX; /* modular: adds or subtracts 1 */
  struct engine_stats *stats = &engine->stats;
  if (record->kind == ENGINE_VALUE) {
    stats->values += one;
    if (record->timer.deadline_ms != ENGINE_NO_DEADLINE) stats->expiring += one;
    return;
  }
  stats->records += one;
  stats->phases[record->facts.phase] += one;
  if (record->facts.phase != RULES_HELD) stats->expiring += one;
  if (open_claim(record)) engine->open_claims += one;
}

struct record *record_create(struct engine *engine, enum engine_kind kind, struct span key,
                             struct span fingerprint) {
  assert(key.len <= UINT32_MAX && fingerprint.len <= UINT32_MAX);
  struct record *record = engine_alloc(engine, sizeof *record + key.len + fingerprint.len);
  if (record == NULL) return NULL;
  *record = (struct record){
      .kind = (uint8_t)kind,
      .epoch = engine->epoch,
      .key_len = (uint32_t)key.len,
      .has_fingerprint = span_present(fingerprint),
      .fingerprint_len = (uint32_t)fingerprint.len,
  };
  wheel_node_init(&record->timer);
  record->timer.deadline_ms = ENGINE_NO_DEADLINE;
  if (key.len != 0) memcpy(record->bytes, key.data, key.len);
  if (fingerprint.len != 0) memcpy(record->bytes + key.len, fingerprint.data, fingerprint.len);
  if (kind == ENGINE_RECORD) {
    struct claim *claim = engine_alloc(engine, sizeof *claim);
    if (claim == NULL) {
      engine_free(engine, record);
      return NULL;
    }
    *claim = (struct claim){.record = record, .first_wait_ms = INT64_MAX};
    list_init(&claim->claimers);
    list_init(&claim->readers);
    list_init(&claim->waited);
    list_init(&claim->bound);
    record->claim = claim;
  }
  record->node.hash = record_hash(engine, key);
  table_insert(&engine->table, &record->node);
  count(engine, record, true);
  return record;
}

static struct table_node **link_of(struct engine *engine, const struct record *record) {
  struct table_node **link = table_bucket(&engine->table, record->node.hash);
  while (*link != &record->node) link = &(*link)->next;
  return link;
}

static struct wheel *wheel_of(struct engine *engine, const struct record *record) {
  return record->kind == ENGINE_RECORD && record->facts.phase == RULES_HELD ? &engine->leases
                                                                            : &engine->ends;
}

void record_destroy(struct engine *engine, struct record *record) {
  count(engine, record, false);
  wheel_cancel(wheel_of(engine, record), &record->timer);
  table_remove(&engine->table, link_of(engine, record));
  claim_destroy(engine, record->claim);
  engine_unpin(engine, record->body);
  engine_unpin(engine, record->meta);
  engine_free(engine, record);
}

void record_set_facts(struct engine *engine, struct record *record,
                      const struct rules_record *facts) {
  count(engine, record, false);
  wheel_cancel(wheel_of(engine, record), &record->timer);
  record->facts = *facts;
  if (facts->phase == RULES_DONE) {
    claim_destroy(engine, record->claim);
    record->claim = NULL;
  }
  if (facts->phase != RULES_ABSENT)
    wheel_set(wheel_of(engine, record), &record->timer, facts->deadline_ms);
  count(engine, record, true);
}

void record_set_end(struct engine *engine, struct record *record, int64_t deadline_ms) {
  count(engine, record, false);
  if (record->kind == ENGINE_RECORD) record->facts.deadline_ms = deadline_ms;
  if (deadline_ms == ENGINE_NO_DEADLINE) {
    wheel_cancel(&engine->ends, &record->timer);
    record->timer.deadline_ms = ENGINE_NO_DEADLINE;
  } else {
    wheel_set(&engine->ends, &record->timer, deadline_ms);
  }
  count(engine, record, true);
}

/* ---- claims and bindings ---- */

void binding_release(struct engine *engine, struct engine_binding *binding) {
  if (binding == NULL || --binding->references > 0 || !binding->closed) return;
  list_remove(&binding->link);
  engine_free(engine, binding);
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
  if (claim->granted == NULL) return;
  claim->granted->record = NULL;
  claim->granted = NULL;
}

void claim_destroy(struct engine *engine, struct claim *claim) {
  if (claim == NULL) return;
  assert(claim->waiting == 0);
  claim_confirm(claim);
  claim_unbind(engine, claim);
  list_remove(&claim->waited);
  engine_unpin(engine, claim->owner);
  engine_unpin(engine, claim->stage);
  engine_free(engine, claim);
}

/* ---- what is due ---- */

static struct record *judge_flushed(struct engine *engine, struct record *record, int64_t now_ms) {
  record->epoch = engine->epoch;
  count(engine, record, true);
  if (record->kind == ENGINE_RECORD && record->facts.phase == RULES_HELD) {
    return record_end_grant(engine, record, RULES_END_DELETED, engine->flushed_ms, now_ms);
  }
  effect_emit_free(engine, record);
  record_destroy(engine, record);
  return NULL;
}

/* The end of its grant, if that has come: the lease or the connection, whichever ended first. */
static struct record *judge_held(struct engine *engine, struct record *record, int64_t now_ms) {
  const struct engine_binding *binding = record->claim->binding;
  int64_t past_ms = engine_past_ms(engine, now_ms);
  bool lease_over = rules_due(&record->facts, past_ms) == RULES_LEASE_OVER;
  bool closed = binding != NULL && binding->closed;
  /* Whichever was sure first, so that it does not matter when this is asked. */
  if (closed &&
      (!lease_over || engine_past_ms(engine, binding->closed_ms) < record->facts.deadline_ms)) {
    return record_end_grant(engine, record, RULES_END_BIND_CLOSED, binding->closed_ms, now_ms);
  }
  if (lease_over)
    return record_end_grant(engine, record, RULES_END_LEASE_OVER, record->facts.deadline_ms,
                            now_ms);
  if (record->claim->waiting > 0) waiters_time_out(engine, record->claim, past_ms);
  return record;
}

static void expire(struct engine *engine, struct record *record) {
  engine->stats.expired++;
  effect_emit_free(engine, record);
  record_destroy(engine, record);
}

struct record *record_judge(struct engine *engine, struct record *record, int64_t now_ms) {
  if (flushed(engine, record)) record = judge_flushed(engine, record, now_ms);
  if (record == NULL) return NULL;
  if (record->kind == ENGINE_RECORD && record->facts.phase == RULES_HELD)
    record = judge_held(engine, record, now_ms);
  if (record == NULL || !record_over(engine, record, now_ms)) return record;
  expire(engine, record);
  return NULL;
}

bool record_over(const struct engine *engine, const struct record *record, int64_t now_ms) {
  if (flushed(engine, record)) return true;
  int64_t past_ms = engine_past_ms(engine, now_ms);
  if (record->kind == ENGINE_VALUE) return record->timer.deadline_ms <= past_ms;
  return rules_due(&record->facts, past_ms) == RULES_GONE;
}

struct record *record_find(struct engine *engine, struct span key, int64_t now_ms) {
  uint64_t hash = record_hash(engine, key);
  for (struct table_node *node = *table_bucket(&engine->table, hash); node != NULL;
       node = node->next) {
    if (node->hash != hash) continue;
    struct record *record = LIST_ENTRY(node, struct record, node);
    if (span_equal(record_key(record), key)) return record_judge(engine, record, now_ms);
  }
  return NULL;
}

/* ---- effects ---- */

void effect_emit(struct engine *engine, enum engine_effect_kind kind, const struct record *record) {
  if (!engine->effects_wanted) return;
  struct effect *effect = engine_alloc(engine, sizeof *effect + record->key_len);
  if (effect == NULL) return; /* watching is best effort: the record itself has changed already */
  effect->kind = kind;
  effect->key_len = record->key_len;
  memcpy(effect->key, record->bytes, record->key_len);
  list_append(&engine->effects, &effect->link);
}

void effect_emit_free(struct engine *engine, const struct record *record) {
  if (record->kind != ENGINE_RECORD || record->facts.phase == RULES_LAPSED) return;
  effect_emit(engine, ENGINE_EFFECT_FREE, record);
}
