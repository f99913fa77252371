/*
 * record.h - the layout of an entry that is not DONE: an open claim or a plain value.
 *
 *     claim   [timer deadline|links|token|since attempt, or claim|lease|user flags phase fp|bytes]
 *     value   [timer deadline|value since|serial|-|-|- flags phase -|bytes]
 *
 *     bytes   owner? key fingerprint?             claim.h: only when a caller waits, it is bound,
 * ...
 *
 * What follows from something else is not kept: whether a record was flushed is told by its token
 * (record_is_flushed), and how long a part is mostly by its form. Since and attempt stand in the
 * record as long as no claim needs their place, and then in the claim.
 *
 * Here are one record's bytes and what follows from them alone; entry.h adds records to the index,
 * changes and removes them.
 */
#ifndef IDEM_SERVER_ENGINE_RECORD_H
#define IDEM_SERVER_ENGINE_RECORD_H

#include "server/base/wheel.h"
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
#define RECORD_REVIVED 0x100u /* its token is older than the last flush, and it is not flushed */

/* Of a record without a claim: 8,900 years, and as many attempts as nobody makes. */
#define RECORD_SINCE_BITS 48
#define RECORD_ATTEMPT_BITS 16

struct record {
  struct wheel_node timer;
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
      uint64_t since_ms : RECORD_SINCE_BITS, attempt : RECORD_ATTEMPT_BITS;
    } brief;
  };
  uint32_t lease_ms;
  uint16_t user; /* to whom it was granted (holding.h); 0: nobody whose claims are counted */
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

/* Whether FLUSHALL has removed it, and it is only not freed yet. Tokens rise, as do the serials of
 * values. */
static inline bool record_is_flushed_by(const struct record *record, uint64_t flushed) {
  return record->token < flushed && (record->flags & RECORD_REVIVED) == 0;
}
static inline bool record_is_flushed(const struct engine *engine, const struct record *record) {
  bool value = record_is_value(record);
  return record_is_flushed_by(record, value ? engine->flushed_serial : engine->flushed_token);
}

static inline int64_t record_deadline_ms(const struct record *record) {
  return record->timer.deadline_ms;
}

/* A record of these parts, without a deadline and in no wheel. The record owns the owner from then
 * on. NULL: no memory. */
struct record *record_create(struct memory *memory, const struct record_parts *parts,
                             const struct rules_record *facts);
/* Frees its owner, value and claim too; the claim must not be bound. */
void record_free(struct memory *memory, struct record *record);

struct key record_key(const struct record *record);
struct fingerprint record_fingerprint(const struct record *record); /* may be absent */
struct blob *record_owner(const struct record *record);
/* The former one is the caller's to release. A record without a place has a claim. */
void record_set_owner(struct record *record, struct blob *owner);
size_t record_memory(const struct record *record);
/* The claim, made when there is none; NULL: no memory. */
struct claim *record_need_claim(struct memory *memory, struct record *record);

int64_t record_since_ms(const struct record *record);
uint32_t record_attempt(const struct record *record);
/* As the rules see it. */
struct rules_record record_facts(const struct record *record);
/* Whether since and attempt have room in a record without a claim. */
bool record_facts_are_brief(const struct rules_record *facts);
/* Sets all of them except the deadline, which is the timer's. They are brief, or it has a claim. */
void record_write_facts(struct record *record, const struct rules_record *facts);

#endif
