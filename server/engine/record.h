/*
 * record.h - what the files of the engine share, and nobody else sees: the layout of entries,
 * waiters and bindings, and how one entry changes. See engine.h for what it all means.
 *
 *     index --> record: HELD, LAPSED, UNKNOWN --> claim (only when somebody waits, is bound, ...)
 *       |               [links deadline|token|since|lease attempt|claim|epoch phase flags|bytes]
 *       |                                                                 owner? key fingerprint?
 *       |  --> record: a plain value --> blob
 *       |
 *       +----> stored: DONE (shelf.h)
 *
 * A claim of a UUID that nobody waits for is one allocation of 80 bytes. STORE writes the response
 * to the shelf, points the index at it and frees the record: an entry is a record until it is DONE,
 * and never becomes one again.
 *
 * Invariants:
 *  - a record's timer is armed in `leases` while it is HELD, else in `ends` (values without an end:
 *    nowhere), and its deadline is the record's only one;
 *  - only a HELD record has waiters;
 *  - a waiter is in exactly one of: a record's queue, the ready list, the host's hands;
 *  - memory.bytes counts every allocation below the engine.
 */
#ifndef IDEM_SERVER_ENGINE_RECORD_H
#define IDEM_SERVER_ENGINE_RECORD_H

#include "server/engine/engine.h"
#include "server/engine/index.h"
#include "server/engine/key.h"
#include "server/base/list.h"
#include "server/engine/shelf.h"
#include "server/base/wheel.h"

struct engine_binding {
  uint32_t references; /* claims and pending undos that point here */
  bool closed;
  int64_t closed_ms;
  struct list claims; /* struct claim.bound */
  struct list link;   /* in engine.closing, once closed with claims left */
};

/* The part of a record that most open claims never need. */
struct claim {
  struct record *record;
  struct engine_blob *owner; /* when the record has no place for one */
  struct engine_blob *stage;
  struct list claimers, readers; /* struct engine_waiter.link, oldest first */
  uint32_t waiting;
  int64_t first_wait_ms; /* no waiter's time is over before this */
  struct list waited;    /* in engine.waited while waiting > 0 */
  struct engine_binding *binding;
  struct list bound; /* in binding.claims */
  struct engine_waiter
      *granted; /* to whom it was handed over, while that may still be taken back */
};

#define RECORD_VALUE (RULES_DONE + 1) /* beside enum rules_phase */
#define ENGINE_STATUSES (ENGINE_NO_MEMORY + 1)

#define RECORD_HOLD 0x01u
#define RECORD_BIND 0x02u
#define RECORD_FINGERPRINT 0x04u
#define RECORD_OWNER 0x08u /* has a place for one, in front of the key */
#define RECORD_FORM_SHIFT 4u

struct record {
  struct wheel_node timer;
  uint64_t token;
  int64_t since_ms;
  uint32_t lease_ms, attempt;
  union {
    struct claim *claim;       /* NULL until needed; see record_claim */
    struct engine_blob *value; /* of a plain value */
  };
  uint32_t epoch; /* of engine.epoch: an older one was flushed and awaits its end */
  uint8_t phase;  /* enum rules_phase but DONE, or RECORD_VALUE */
  uint8_t flags;
  char bytes[]; /* owner: an address; key: its length unless it is a UUID, then the bytes;
                   fingerprint: the same */
};

/* The entry of a key: at most one of them. */
struct entry {
  struct record *record;
  struct stored *stored;
};
enum { ENTRY_RECORD, ENTRY_STORED }; /* kinds of index words */

/* What a hand-over replaced, until the host has settled the grant. */
struct undo {
  enum rules_end end;
  struct rules_record facts;
  struct engine_blob *owner, *stage;
  struct engine_binding *binding;
};

struct engine_waiter {
  struct list link;
  struct wheel_node timer;
  struct record *record; /* waiting: in whose queue; granted: what may be taken back; else NULL */
  uint8_t loop_id;       /* in whose ready list it will be */
  bool claims;           /* CLAIM ... WAIT; otherwise WAIT */
  bool hold;
  bool answered; /* in engine.ready, or in the host's hands */
  uint32_t lease_ms;
  struct engine_blob *owner;
  struct engine_binding *binding;
  void *context;
  struct engine_answer answer;
  struct undo undo;
};

struct effect {
  struct list link;
  enum engine_effect_kind kind;
  uint32_t key_len;
  char key[];
};

struct engine {
  struct engine_options options;
  struct memory memory;
  struct index index;
  struct shelf shelf;
  struct wheel leases, waits, ends;
  int64_t waits_judged_ms;             /* every waiter whose time was over by then has its answer */
  struct list ready[ENGINE_MAX_LOOPS]; /* struct engine_waiter.link */
  uint64_t ready_loops;                /* a bit for each that is not empty */
  struct list waited;                  /* struct claim.waited */
  struct list closing;                 /* struct engine_binding.link */
  uint64_t next_token;
  uint32_t epoch;     /* of records; shelf.epoch of what is stored */
  int64_t flushed_ms; /* when the epoch began: who was in time then is granted, whenever that is
                         noticed */
  bool sweeping;      /* flushed entries are left; sweep_cursor as of index_scan */
  uint64_t sweep_cursor;
  bool effects_wanted;
  struct list effects;
  struct list effects_lost; /* stands in effects for those that could not be kept */
  struct effect *effect_given;
  size_t claim_reserve;         /* of an open claim, from options.store_reserve */
  _Atomic int64_t demand_bytes; /* what the limit is compared with, as last published */
  int64_t counted_bytes;        /* of it, in common.demand_bytes */
  char random_key[KEY_UUID_TEXT];
  uint64_t counts[RECORD_VALUE + 1]; /* entries by phase; flushed ones were taken out of them all
                                        at once */
  uint64_t values_ending;
  uint64_t answers[ENGINE_STATUSES]; /* given at once */
  struct engine_stats stats;         /* what the three above do not tell */
};

/* Each has a reserve of the memory limit. */
static inline uint64_t engine_open_claims(const struct engine *engine) {
  const uint64_t *counts = engine->counts;
  return counts[RULES_HELD] + counts[RULES_LAPSED] + counts[RULES_UNKNOWN];
}

/* Deadlines up to this are over, however the clock was rounded. */
static inline int64_t engine_past_ms(const struct engine *engine, int64_t now_ms) {
  return now_ms - engine->options.clock_grain_ms;
}

/* What the host has worked out already, or else what is worked out now. */
static inline const struct engine_name *name_of(const struct engine *engine,
                                                const struct engine_name *known, struct span key,
                                                struct engine_name *name) {
  if (known != NULL) return known;
  engine_name_of(engine, key, name);
  return name;
}
uint64_t engine_key_hash(const struct engine *engine, struct key key);
uint64_t engine_hash(const struct engine *engine, struct span key); /* as it is kept */
/* Finding. judge brings an entry up to now; NULL: it is absent (and freed). What is stored has been
 * read when it is found. */
struct entry entry_find(struct engine *engine, const struct engine_name *name, int64_t now_ms,
                        struct response *response);
struct entry entry_of_word(uint64_t word);
void entry_judge(struct engine *engine, struct entry entry, int64_t now_ms);
/* Whether entry_judge would find it absent, as far as can be told without changing anything. */
bool entry_over(const struct engine *engine, struct entry entry, int64_t now_ms);
bool entry_flushed(const struct engine *engine, struct entry entry);
struct key entry_key(struct entry entry);
void entry_destroy(struct engine *engine, struct entry entry);
struct record *record_judge(struct engine *engine, struct record *record, int64_t now_ms);

/* A record's parts. */
static inline bool record_is_value(const struct record *record) {
  return record->phase == RECORD_VALUE;
}
struct key record_key(const struct record *record);
struct span record_fingerprint(const struct record *record); /* may be absent */
struct engine_blob *record_owner(const struct record *record);
/* The former one is the caller's to release. A record without a place has a claim. */
void record_set_owner(struct record *record, struct engine_blob *owner);
size_t record_memory(const struct record *record);
struct rules_record record_facts(const struct record *record);

/* Making, changing and ending. The owner is the record's from then on; NULL: it has none, nor a
 * place for one. A value begins without bytes and without an end. NULL: no memory. */
struct record *record_create(struct engine *engine, const struct engine_name *name,
                             struct span fingerprint, struct engine_blob *owner,
                             const struct rules_record *facts);
struct record *record_create_value(struct engine *engine, const struct engine_name *name);
void record_destroy(struct engine *engine, struct record *record);
void record_set_facts(struct engine *engine, struct record *record,
                      const struct rules_record *facts);
void record_set_end(struct engine *engine, struct record *record, int64_t deadline_ms);
/* Puts the stored response in the record's place, which is freed, or in another stored one's. */
void record_become(struct engine *engine, struct record *record, uint64_t hash,
                   struct stored *stored);
void stored_become(struct engine *engine, struct stored *former, struct stored *stored);
/* Blobs of body and meta, where there are none yet; false: memory is short, and they are gone. */
bool response_make_blobs(struct engine *engine, struct response *response);
void response_drop_blobs(struct engine *engine, struct response *response);
/* Puts a response on the shelf, what is large of it, or has no room there, as blobs; takes over
 * those that it has. room_bytes as in shelf_append. NULL: no memory; the blobs are gone. */
struct stored *stored_write(struct engine *engine, struct response *response, size_t room_bytes,
                            int64_t now_ms);
/* A copy on the shelf, with another end when it is not ENGINE_NO_DEADLINE; NULL: no memory. */
struct stored *stored_copy(struct engine *engine, const struct stored *stored, int64_t deadline_ms,
                           size_t room_bytes, int64_t now_ms);
void stored_destroy(struct engine *engine, struct stored *stored, uint64_t hash);
/* Because its time is over, or it was flushed and its time would be. */
void stored_ended(struct engine *engine, struct stored *stored, uint64_t hash);
/* The same, of what the shelf has dropped; the index still has it. */
void stored_ended_all(struct engine *engine, const struct due *due);

/* The claim of a record, made when there is none; NULL: no memory. */
struct claim *record_claim(struct engine *engine, struct record *record);
void claim_bind(struct claim *claim, struct engine_binding *binding);
void claim_unbind(struct engine *engine, struct claim *claim);
/* The grant under way can not be taken back any more: it was acted on, or has ended. NULL: there
 * was none that could. */
void claim_confirm(struct claim *claim);
void binding_release(struct engine *engine, struct engine_binding *binding);

/* The end of a grant that did not store, with all that follows for those who wait. NULL: it led to
 * ABSENT. */
struct record *record_end_grant(struct engine *engine, struct record *record, enum rules_end end,
                                int64_t at_ms, int64_t now_ms);

/* Answers for the caller that asks now. */
void answer_record(const struct record *record, enum rules_verdict verdict, int64_t now_ms,
                   struct engine_answer *answer);

/* Waiters. */
enum engine_status waiter_enqueue(struct engine *engine, struct record *record,
                                  const struct engine_waiter *as, struct span owner,
                                  int64_t wait_ms, int64_t now_ms, struct engine_waiter **made);
void waiters_answer_all(struct engine *engine, struct record *record, enum rules_verdict verdict,
                        int64_t now_ms);
/* Everybody gets this answer; each a reference to its blobs. */
void waiters_share(struct engine *engine, struct record *record,
                   const struct engine_answer *answer);
void waiters_time_out(struct engine *engine, struct claim *claim, int64_t until_ms);
void waiter_time_out(struct engine *engine, struct engine_waiter *waiter, int64_t at_ms);

void effect_note(struct engine *engine, enum engine_effect_kind kind, struct key key);
void effect_note_free(struct engine *engine, struct entry entry);
static inline void effect_emit(struct engine *engine, enum engine_effect_kind kind,
                               struct key key) {
  if (engine->effects_wanted) effect_note(engine, kind, key);
}
/* Before a record lapses or goes: readers get null from then on. One that had lapsed said so
 * already. */
static inline void effect_emit_free(struct engine *engine, struct entry entry) {
  if (engine->effects_wanted) effect_note_free(engine, entry);
}
/* A number for a grant; burnt, if it comes to none. */
uint64_t engine_peek_token(struct engine *engine);
void engine_take_token(struct engine *engine);
/* What may be taken below the limit when so much has been freed; SIZE_MAX: there is none. */
size_t engine_room(const struct engine *engine, size_t freed_bytes);
bool engine_over_limit(struct engine *engine, size_t more_bytes, bool more_claims, int64_t now_ms);
bool engine_sweep(struct engine *engine, int64_t now_ms, unsigned *budget);
/* Writes sparse chunks anew. */
void engine_tidy(struct engine *engine, int64_t now_ms, unsigned *budget);

#endif
