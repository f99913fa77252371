/* record.c - see record.h. */
#include "server/engine/record.h"

#include <assert.h>

/* ---- its bytes ---- */

static enum key_form form_of(const struct record *record) {
  return (enum key_form)((record->flags & RECORD_FORM) >> RECORD_FORM_SHIFT);
}

static unsigned char *write_bytes(unsigned char *to, struct span bytes) {
  if (bytes.len != 0) memcpy(to, bytes.data, bytes.len);
  return to + bytes.len;
}

static unsigned char *write_key(unsigned char *to, struct key key) {
  if (key.form == KEY_RAW) return write_bytes(leb_write(to, key.bytes.len), key.bytes);
  memcpy(to, key.bytes.data, KEY_UUID_BYTES);
  return to + KEY_UUID_BYTES;
}

static size_t size_for(bool owner, struct key key, struct fingerprint fingerprint) {
  size_t size = offsetof(struct record, bytes) + key.bytes.len + fingerprint_size(fingerprint);
  if (owner) size += sizeof(struct blob *);
  if (key.form == KEY_RAW) size += leb_size(key.bytes.len);
  return size > sizeof(struct record) ? size : sizeof(struct record);
}

static size_t record_size(const struct record *record) {
  return size_for((record->flags & RECORD_OWNER) != 0, record_key(record),
                  record_fingerprint(record));
}

/* ---- life ---- */

static void write_parts(struct record *record, const struct record_parts *parts) {
  unsigned char *to = record->bytes;
  if (parts->owner != NULL) {
    record->flags |= RECORD_OWNER;
    memcpy(to, &parts->owner, sizeof parts->owner);
    to += sizeof parts->owner;
  }
  to = write_key(to, parts->key);
  record->fingerprint = fingerprint_code(parts->fingerprint);
  fingerprint_write(to, parts->fingerprint);
}

static struct record *create(struct memory *memory, const struct record_parts *parts) {
  struct record *record =
      memory_take(memory, size_for(parts->owner != NULL, parts->key, parts->fingerprint));
  if (record == NULL) return NULL;
  wheel_node_init(&record->timer);
  record->timer.deadline_ms = RULES_NEVER;
  record->value = NULL;
  record->user = 0;
  record->flags = (uint16_t)((unsigned)parts->key.form << RECORD_FORM_SHIFT);
  write_parts(record, parts);
  return record;
}

static void destroy(struct memory *memory, struct record *record) {
  memory_give(memory, record, record_size(record));
}

struct record *record_create(struct memory *memory, const struct record_parts *parts,
                             const struct rules_record *facts) {
  struct record *record = create(memory, parts);
  if (record == NULL) return NULL;
  if (facts->phase != STATE_VALUE && !record_facts_are_brief(facts)) {
    record->phase = facts->phase;
    if (record_need_claim(memory, record) == NULL) {
      destroy(memory, record);
      return NULL;
    }
  }
  record_write_facts(record, facts);
  return record;
}

void record_free(struct memory *memory, struct record *record) {
  if (record_is_value(record)) {
    blob_release(memory, record->value);
  } else if ((record->flags & (RECORD_CLAIM | RECORD_OWNER)) != 0) {
    struct blob *owner = record_owner(record);
    record_set_owner(record, NULL);
    blob_release(memory, owner);
    claim_destroy(memory, record_claim(record));
  }
  destroy(memory, record);
}

/* ---- its parts ---- */

struct key record_key(const struct record *record) {
  const unsigned char *from = record->bytes;
  if ((record->flags & RECORD_OWNER) != 0) from += sizeof(struct blob *);
  uint64_t len = KEY_UUID_BYTES;
  if (form_of(record) == KEY_RAW) from = leb_read(from, &len);
  return (struct key){form_of(record), {(const char *)from, (size_t)len}};
}

struct fingerprint record_fingerprint(const struct record *record) {
  struct span key = record_key(record).bytes;
  struct fingerprint fingerprint;
  fingerprint_read(record->fingerprint, (const unsigned char *)key.data + key.len, &fingerprint);
  return fingerprint;
}

struct blob *record_owner(const struct record *record) {
  const struct claim *claim = record_claim(record);
  struct blob *owner = claim != NULL ? claim->owner : NULL;
  if ((record->flags & RECORD_OWNER) != 0) memcpy(&owner, record->bytes, sizeof owner);
  return owner;
}

void record_set_owner(struct record *record, struct blob *owner) {
  struct claim *claim = record_claim(record);
  if ((record->flags & RECORD_OWNER) != 0) {
    memcpy(record->bytes, &owner, sizeof owner);
  } else if (claim != NULL) {
    claim->owner = owner;
  } else {
    assert(owner == NULL);
  }
}

struct claim *record_need_claim(struct memory *memory, struct record *record) {
  struct claim *claim = record_claim(record);
  if (claim != NULL) return claim;
  claim = claim_create(memory, record);
  if (claim == NULL) return NULL;
  claim->since_ms = record_since_ms(record);
  claim->attempt = record_attempt(record);
  record->claim = claim;
  record->flags |= RECORD_CLAIM;
  return claim;
}

size_t record_memory(const struct record *record) {
  size_t bytes = memory_rounded(record_size(record));
  if (record_is_value(record)) return bytes + memory_rounded(blob_size(record->value));
  const struct blob *owner = record_owner(record);
  const struct claim *claim = record_claim(record);
  if (owner != NULL) bytes += memory_rounded(blob_size(owner));
  if (claim == NULL) return bytes;
  bytes += memory_rounded(sizeof *claim);
  if (claim->stage != NULL) bytes += memory_rounded(blob_size(claim->stage));
  return bytes;
}

/* ---- as the rules see it ---- */

int64_t record_since_ms(const struct record *record) {
  if (record_is_value(record)) return record->value_since_ms;
  const struct claim *claim = record_claim(record);
  return claim != NULL ? claim->since_ms : (int64_t)record->brief.since_ms;
}

uint32_t record_attempt(const struct record *record) {
  const struct claim *claim = record_claim(record);
  return claim != NULL ? claim->attempt : record->brief.attempt;
}

struct rules_record record_facts(const struct record *record) {
  return (struct rules_record){
      .token = record->token,
      .since_ms = record_since_ms(record),
      .deadline_ms = record_deadline_ms(record),
      .lease_ms = record->lease_ms,
      .attempt = record_attempt(record),
      .phase = record->phase,
      .hold = (record->flags & RECORD_HOLD) != 0,
      .bind = (record->flags & RECORD_BIND) != 0,
      .nobody = (record->flags & RECORD_NOBODY) != 0,
  };
}

#define SINCE_MOST ((INT64_C(1) << RECORD_SINCE_BITS) - 1)
#define ATTEMPT_MOST ((1u << RECORD_ATTEMPT_BITS) - 1)

bool record_facts_are_brief(const struct rules_record *facts) {
  return facts->since_ms >= 0 && facts->since_ms <= SINCE_MOST && facts->attempt <= ATTEMPT_MOST;
}

static void write_since(struct record *record, const struct rules_record *facts) {
  struct claim *claim = record_claim(record);
  if (claim != NULL) {
    claim->since_ms = facts->since_ms;
    claim->attempt = facts->attempt;
    return;
  }
  assert(record_facts_are_brief(facts));
  record->brief.since_ms = (uint64_t)facts->since_ms & SINCE_MOST;
  record->brief.attempt = facts->attempt & ATTEMPT_MOST;
}

void record_write_facts(struct record *record, const struct rules_record *facts) {
  record->token = facts->token;
  record->lease_ms = facts->lease_ms;
  record->phase = facts->phase;
  if (facts->phase != STATE_VALUE) write_since(record, facts);
  unsigned kept = record->flags & ~(RECORD_HOLD | RECORD_BIND | RECORD_NOBODY);
  unsigned set =
      facts->hold * RECORD_HOLD | facts->bind * RECORD_BIND | facts->nobody * RECORD_NOBODY;
  record->flags = (uint16_t)(kept | set);
}
