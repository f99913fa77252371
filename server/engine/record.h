/*
 * record.h - the layout of an entry that is not DONE: an open claim or a plain value.
 *
 *     claim   [links|token|since attempt, or claim|deadline user|lease flags phase fp|bytes]
 *     value   [value since|serial|deadline|- -|- flags phase -|bytes]
 *
 *     bytes   owner? key fingerprint?             claim.h: only when a caller waits, it is bound,
 * ...
 *
 * What follows from something else is not kept: whether a record was flushed is told by its token
 * (record_is_flushed), and how long a part is mostly by its form. Since and attempt stand in the
 * record as long as no claim needs their place, and then in the claim. A claim of a UUID with a
 * fingerprint of 16 digits takes 72 bytes of a slab (slab.h), which has the timer.
 *
 * Here are one record's bytes and what follows from them alone; entry.h adds records to the index,
 * changes and removes them.
 */
#ifndef IDEM_SERVER_ENGINE_RECORD_H
#define IDEM_SERVER_ENGINE_RECORD_H

#include "server/engine/blob.h"
#include "server/engine/claim.h"
#include "server/engine/fingerprint.h"
#include "server/engine/key.h"
#include "server/engine/state.h"

#define RECORD_HOLD 0x01u
#define RECORD_BIND 0x02u
#define RECORD_CLAIM 0x04u   /* has a claim */
#define RECORD_OWNER 0x08u   /* has a place for one, in front of the key */
#define RECORD_FORM_SHIFT 4u /* two bits: enum key_form */
#define RECORD_FORM 0x30u
#define RECORD_NOBODY 0x40u
#define RECORD_ANCHOR 0x80u   /* an anchor of open_claims.h points at it */
#define RECORD_ALONE 0x100u   /* it is too large for a slab */
#define RECORD_REVIVED 0x200u /* its token is older than the last flush, and it is not flushed */

/* Of a record without a claim: 8,900 years, and as many attempts as nobody makes. */
#define RECORD_TIME_BITS 48
#define RECORD_TIME_MOST ((INT64_C(1) << RECORD_TIME_BITS) - 2)
#define RECORD_ATTEMPT_BITS 16

struct record {
  union {
    struct list open; /* of a claim: in engine.open_claims.by_token */
    struct {          /* of a plain value */
      struct blob *value;
      int64_t value_since_ms;
    };
  };
  uint64_t token; /* of a plain value: engine.value_serial when it was set */
  union {
    struct claim *claim; /* with RECORD_CLAIM; see record_need_claim */
    struct {             /* without */
      uint64_t since_ms : RECORD_TIME_BITS, attempt : RECORD_ATTEMPT_BITS;
    } brief;
    int64_t value_deadline_ms; /* of a plain value, whose end may be any */
  };
  uint64_t deadline_ms : RECORD_TIME_BITS; /* of a claim; all bits: it has none */
  uint64_t user : 16; /* to whom it was granted (holding.h); 0: nobody whose claims are counted */
  uint32_t lease_ms;
  uint16_t flags;
  uint8_t phase;         /* enum rules_phase but DONE, or STATE_VALUE */
  uint8_t fingerprint;   /* its code */
  unsigned char bytes[]; /* owner: an address; key: its length unless it is a UUID (leb.h), then the
                          bytes; fingerprint: what its code says */
};

/* What a record is made of. owner NULL: it has none, nor a place for one. */
struct record_parts {
  struct key key;
  struct fingerprint fingerprint; /* may be absent */
  struct blob *owner;
};

static inline bool record_is_value(const struct record *record) {
  return record->phase == STATE_VALUE;
}

/* NULL: it has none. */
static inline struct claim *record_claim(const struct record *record) {
  return (record->flags & RECORD_CLAIM) != 0 ? record->claim : NULL;
}

/* The one way in which flags go: nowhere else is said how wide they are. */
static inline void record_clear(struct record *record, unsigned flags) {
  record->flags &= (uint16_t)~flags;
}

/* Whether FLUSHALL has removed it, and it is only not freed yet. Tokens rise, as do the serials of
 * values. */
static inline bool record_is_flushed_by(const struct record *record, uint64_t flushed) {
  return record->token < flushed && (record->flags & RECORD_REVIVED) == 0;
}
static inline bool record_is_flushed(const struct engine *engine, const struct record *record) {
  bool value = record_is_value(record);
  return record_is_flushed_by(record, value ? engine->flushed_serial : engine->flushed_token);
}

/* RULES_NEVER: it has none. */
static inline int64_t record_deadline_ms(const struct record *record) {
  if (record_is_value(record)) return record->value_deadline_ms;
  int64_t deadline_ms = record->deadline_ms;
  return deadline_ms > RECORD_TIME_MOST ? RULES_NEVER : deadline_ms;
}
/* For deadlines.h, which sees that it comes. */
static inline void record_write_deadline(struct record *record, int64_t deadline_ms) {
  if (record_is_value(record)) {
    record->value_deadline_ms = deadline_ms;
  } else if (deadline_ms == RULES_NEVER) {
    record->deadline_ms = RECORD_TIME_MOST + 1;
  } else {
    record->deadline_ms = (uint64_t)deadline_ms & (RECORD_TIME_MOST + 1);
  }
}

static inline struct slab *record_slab(const struct record *record) {
  return slab_of(record, (record->flags & RECORD_ALONE) != 0);
}

/* A record of these parts. A value has no end; the deadline of a claim is undefined, and is set
 * next. The record owns the owner from then on. NULL: no memory. */
struct record *record_create(struct slabs *slabs, const struct record_parts *parts,
                             const struct rules_record *facts);
/* Frees its owner, value and claim too; the claim must not be bound. */
void record_free(struct slabs *slabs, struct record *record);
/* What one of these parts needs below the memory limit, without what they point at: its size, or
 * the slab that comes with it. */
size_t record_growth(const struct slabs *slabs, const struct record_parts *parts, bool owner);

struct key record_key(const struct record *record);
/* Whether it is this one. A UUID, as nearly all keys are, is compared here. */
bool record_raw_key_is(const struct record *record, struct span bytes);
static inline bool record_key_is(const struct record *record, struct key key) {
  if ((record->flags & RECORD_FORM) != (unsigned)key.form << RECORD_FORM_SHIFT) return false;
  if (key.form == KEY_RAW) return record_raw_key_is(record, key.bytes);
  const unsigned char *from = record->bytes;
  if ((record->flags & RECORD_OWNER) != 0) from += sizeof(struct blob *);
  return memcmp(from, key.bytes.data, KEY_UUID_BYTES) == 0;
}
struct fingerprint record_fingerprint(const struct record *record); /* may be absent */
struct blob *record_owner(const struct record *record);
/* The former one is the caller's to release. A record without a place has a claim. */
void record_set_owner(struct record *record, struct blob *owner);
size_t record_memory(const struct record *record);
/* The claim, made when there is none; NULL: no memory. */
struct claim *record_need_claim(struct memory *memory, struct record *record);

static inline int64_t record_since_ms(const struct record *record) {
  if ((record->flags & RECORD_CLAIM) != 0) return record->claim->since_ms;
  return record_is_value(record) ? record->value_since_ms : (int64_t)record->brief.since_ms;
}
static inline uint32_t record_attempt(const struct record *record) { /* of a claim */
  return (record->flags & RECORD_CLAIM) != 0 ? record->claim->attempt : record->brief.attempt;
}
/* As the rules see it. */
struct rules_record record_facts(const struct record *record);
/* Whether since and attempt have room in a record without a claim. */
static inline bool record_facts_are_brief(const struct rules_record *facts) {
  return ((uint64_t)facts->since_ms >> RECORD_TIME_BITS | facts->attempt >> RECORD_ATTEMPT_BITS) ==
         0;
}
/* Sets all of them except the deadline, which is the timer's. They are brief, or it has a claim. */
void record_write_facts(struct record *record, const struct rules_record *facts);

#endif
