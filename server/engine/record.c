/* record.c - see record.h. */
#include "server/engine/record.h"

#include <assert.h>

/* ---- its bytes ---- */

static enum key_form form_of(const struct record *record) {
  return (enum key_form)((record->flags & RECORD_FORM) >> RECORD_FORM_SHIFT);
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

static char *write_key(char *to, struct key key) {
  if (key.form == KEY_RAW) return write_bytes(write_length(to, key.bytes.len), key.bytes);
  memcpy(to, key.bytes.data, KEY_UUID_BYTES);
  return to + KEY_UUID_BYTES;
}

static size_t size_for(bool owner, struct key key, struct span fingerprint) {
  size_t size = offsetof(struct record, bytes) + key.bytes.len;
  if (owner) size += sizeof(struct blob *);
  if (key.form == KEY_RAW) size += sizeof(uint32_t);
  if (span_present(fingerprint)) size += sizeof(uint32_t) + fingerprint.len;
  return size > sizeof(struct record) ? size : sizeof(struct record);
}

static size_t record_size(const struct record *record) {
  return size_for((record->flags & RECORD_OWNER) != 0, record_key(record),
                  record_fingerprint(record));
}

/* ---- life ---- */

static void write_parts(struct record *record, const struct record_parts *parts) {
  char *to = record->bytes;
  if (parts->owner != NULL) {
    record->flags |= RECORD_OWNER;
    memcpy(to, &parts->owner, sizeof parts->owner);
    to += sizeof parts->owner;
  }
  to = write_key(to, parts->key);
  if (!span_present(parts->fingerprint)) return;
  record->flags |= RECORD_FINGERPRINT;
  write_bytes(write_length(to, parts->fingerprint.len), parts->fingerprint);
}

struct record *record_create(struct memory *memory, const struct record_parts *parts,
                             const struct rules_record *facts) {
  assert(parts->key.bytes.len <= UINT32_MAX && parts->fingerprint.len <= UINT32_MAX);
  size_t size = size_for(parts->owner != NULL, parts->key, parts->fingerprint);
  struct record *record = memory_take(memory, size);
  if (record == NULL) return NULL;
  wheel_node_init(&record->timer);
  record->timer.deadline_ms = RULES_NEVER;
  record->flags = (uint8_t)((unsigned)parts->key.form << RECORD_FORM_SHIFT);
  record_write_facts(record, facts);
  record->user = 0;
  record->claim = NULL;
  write_parts(record, parts);
  return record;
}

void record_free(struct memory *memory, struct record *record) {
  if (record_is_value(record)) {
    blob_release(memory, record->value);
  } else if (record->claim != NULL || (record->flags & RECORD_OWNER) != 0) {
    struct blob *owner = record_owner(record);
    record_set_owner(record, NULL);
    blob_release(memory, owner);
    claim_destroy(memory, record->claim);
  }
  memory_give(memory, record, record_size(record));
}

/* ---- its parts ---- */

struct key record_key(const struct record *record) {
  const char *from = record->bytes;
  if ((record->flags & RECORD_OWNER) != 0) from += sizeof(struct blob *);
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

struct blob *record_owner(const struct record *record) {
  struct blob *owner = record->claim != NULL ? record->claim->owner : NULL;
  if ((record->flags & RECORD_OWNER) != 0) memcpy(&owner, record->bytes, sizeof owner);
  return owner;
}

void record_set_owner(struct record *record, struct blob *owner) {
  if ((record->flags & RECORD_OWNER) != 0) {
    memcpy(record->bytes, &owner, sizeof owner);
  } else if (record->claim != NULL) {
    record->claim->owner = owner;
  } else {
    assert(owner == NULL);
  }
}

struct claim *record_need_claim(struct memory *memory, struct record *record) {
  if (record->claim == NULL) record->claim = claim_create(memory, record);
  return record->claim;
}

size_t record_memory(const struct record *record) {
  size_t bytes = memory_rounded(record_size(record));
  if (record_is_value(record)) return bytes + memory_rounded(blob_size(record->value));
  const struct blob *owner = record_owner(record);
  if (owner != NULL) bytes += memory_rounded(blob_size(owner));
  if (record->claim == NULL) return bytes;
  bytes += memory_rounded(sizeof *record->claim);
  if (record->claim->stage != NULL) bytes += memory_rounded(blob_size(record->claim->stage));
  return bytes;
}

/* ---- as the rules see it ---- */

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
      .nobody = (record->flags & RECORD_NOBODY) != 0,
  };
}

void record_write_facts(struct record *record, const struct rules_record *facts) {
  record->token = facts->token;
  record->since_ms = facts->since_ms;
  record->lease_ms = facts->lease_ms;
  record->attempt = facts->attempt;
  record->phase = facts->phase;
  unsigned kept = record->flags & ~(RECORD_HOLD | RECORD_BIND | RECORD_NOBODY);
  unsigned set =
      facts->hold * RECORD_HOLD | facts->bind * RECORD_BIND | facts->nobody * RECORD_NOBODY;
  record->flags = (uint8_t)(kept | set);
}
