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

static inline unsigned char *write_key(unsigned char *to, struct key key) {
  if (key.form == KEY_RAW) return write_bytes(leb_write(to, key.bytes.len), key.bytes);
  memcpy(to, key.bytes.data, KEY_UUID_BYTES);
  return to + KEY_UUID_BYTES;
}

static inline size_t size_for(bool owner, struct key key, struct fingerprint fingerprint) {
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

static inline void write_parts(struct record *record, const struct record_parts *parts) {
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

size_t record_growth(const struct slabs *slabs, const struct record_parts *parts, bool owner) {
  size_t size = size_for(owner, parts->key, parts->fingerprint);
  size_t growth = slab_growth(slabs, size);
  return growth > size ? growth : size;
}

static inline struct record *create(struct slabs *slabs, const struct record_parts *parts) {
  size_t size = size_for(parts->owner != NULL, parts->key, parts->fingerprint);
  struct record *record = slab_take(slabs, size);
  if (record == NULL) return NULL;
  record->value = NULL;
  record->user = 0;
  record->flags = (uint16_t)((unsigned)parts->key.form << RECORD_FORM_SHIFT);
  if (slab_is_alone(size)) record->flags |= RECORD_ALONE;
  write_parts(record, parts);
  return record;
}

static void destroy(struct slabs *slabs, struct record *record) {
  if ((record->flags & RECORD_ALONE) != 0) {
    slab_give_alone(slabs, record, record_size(record));
  } else {
    slab_give(slabs, record);
  }
}

struct record *record_create(struct slabs *slabs, const struct record_parts *parts,
                             const struct rules_record *facts) {
  struct record *record = create(slabs, parts);
  if (record == NULL) return NULL;
  record->phase = facts->phase;
  if (record_is_value(record)) {
    record->value_since_ms = 0;
    record->value_deadline_ms = RULES_NEVER;
  } else if (!record_facts_are_brief(facts) && record_need_claim(slabs->memory, record) == NULL) {
    destroy(slabs, record);
    return NULL;
  }
  record_write_facts(record, facts);
  return record;
}

void record_free(struct slabs *slabs, struct record *record) {
  struct memory *memory = slabs->memory;
  if (record_is_value(record)) {
    blob_release(memory, record->value);
  } else if ((record->flags & (RECORD_CLAIM | RECORD_OWNER)) != 0) {
    struct blob *owner = record_owner(record);
    record_set_owner(record, NULL);
    blob_release(memory, owner);
    claim_destroy(memory, record_claim(record));
  }
  destroy(slabs, record);
}

/* ---- its parts ---- */

struct key record_key(const struct record *record) {
  const unsigned char *from = record->bytes;
  if ((record->flags & RECORD_OWNER) != 0) from += sizeof(struct blob *);
  uint64_t len = KEY_UUID_BYTES;
  if (form_of(record) == KEY_RAW) from = leb_read(from, &len);
  return (struct key){form_of(record), {(const char *)from, (size_t)len}};
}

bool record_raw_key_is(const struct record *record, struct span bytes) {
  return span_equal(record_key(record).bytes, bytes);
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
  size_t bytes = slab_rounded(record_size(record));
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

#define ATTEMPT_MOST ((1u << RECORD_ATTEMPT_BITS) - 1)

static void write_since(struct record *record, const struct rules_record *facts) {
  struct claim *claim = record_claim(record);
  if (claim != NULL) {
    claim->since_ms = facts->since_ms;
    claim->attempt = facts->attempt;
    return;
  }
  assert(record_facts_are_brief(facts));
  record->brief.since_ms = (uint64_t)facts->since_ms & (RECORD_TIME_MOST + 1);
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
