/*
 * record.h - the layout of an entry that is not DONE: an open claim or a plain value.
 *
 *     record   [links deadline|links|token|since|lease attempt|claim|epoch user phase flags|bytes]
 *                                                              |                          owner?
 * key v                          fingerprint? claim.h: only when a caller waits, it is bound, ...
 *
 * A claim of a UUID that no caller waits for is one allocation of 96 bytes.
 *
 * Here are one record's bytes and what follows from them alone; entry.h adds records to the index,
 * changes and removes them.
 */
#ifndef IDEM_SERVER_ENGINE_RECORD_H
#define IDEM_SERVER_ENGINE_RECORD_H

#include "server/base/wheel.h"
#include "server/engine/blob.h"
#include "server/engine/claim.h"
#include "server/engine/key.h"
#include "server/engine/state.h"

#define RECORD_HOLD 0x01u
#define RECORD_BIND 0x02u
#define RECORD_FINGERPRINT 0x04u
#define RECORD_OWNER 0x08u   /* has a place for one, in front of the key */
#define RECORD_FORM_SHIFT 4u /* two bits: enum key_form */
#define RECORD_FORM 0x30u
#define RECORD_NOBODY 0x40u
#define RECORD_ANCHOR 0x80u /* an anchor of open_claims.h points at it */

struct record {
  struct wheel_node timer;
  struct list open; /* in engine.open_claims.by_token, unless it is a plain value */
  uint64_t token;
  int64_t since_ms;
  uint32_t lease_ms, attempt;
  union {
    struct claim *claim; /* NULL until needed; see record_need_claim */
    struct blob *value;  /* of a plain value */
  };
  uint32_t epoch; /* of engine.epoch: a record of an older one was flushed and will be removed */
  uint16_t user;  /* to whom it was granted (holding.h); 0: nobody whose claims are counted */
  uint8_t phase;  /* enum rules_phase but DONE, or STATE_VALUE */
  uint8_t flags;
  char bytes[]; /* owner: an address; key: its length unless it is a UUID, then the bytes;
                   fingerprint: the same */
};

/* What a record is made of. owner NULL: it has none, nor a place for one. */
struct record_parts {
  struct key key;
  struct span fingerprint; /* may be absent */
  struct blob *owner;
};

_Static_assert(offsetof(struct record, bytes) + KEY_UUID_BYTES <= 96,
               "a claim of a UUID got larger");

static inline bool record_is_value(const struct record *record) {
  return record->phase == STATE_VALUE;
}

/* A record of these parts, without a deadline and in no wheel. The record owns the owner from then
 * on. NULL: no memory. */
struct record *record_create(struct memory *memory, const struct record_parts *parts,
                             const struct rules_record *facts);
/* Frees its owner, value and claim too; the claim must not be bound. */
void record_free(struct memory *memory, struct record *record);

struct key record_key(const struct record *record);
struct span record_fingerprint(const struct record *record); /* may be absent */
struct blob *record_owner(const struct record *record);
/* The former one is the caller's to release. A record without a place has a claim. */
void record_set_owner(struct record *record, struct blob *owner);
size_t record_memory(const struct record *record);
/* The claim, made when there is none; NULL: no memory. */
struct claim *record_need_claim(struct memory *memory, struct record *record);

/* As the rules see it. */
struct rules_record record_facts(const struct record *record);
/* Sets all of them except the deadline, which is the timer's. */
void record_write_facts(struct record *record, const struct rules_record *facts);

#endif
