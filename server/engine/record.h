/*
 * record.h - what the files of the engine share, and nobody else sees: the layout of entries,
 * waiters and bindings, and how one entry changes. See engine.h for what it all means.
 *
 *     table --> record --> claim (HELD, LAPSED, UNKNOWN) --> owner, stage
 *                 |          claimers: waiter <-> waiter    readers: waiter <-> waiter    binding
 *                 |
 *                 +------> body, meta (DONE), body (a plain value)
 *
 * Invariants:
 *  - a record's timer is armed in `leases` while it is HELD, else in `ends` (values without an end:
 * nowhere);
 *  - only a HELD record has waiters;
 *  - a waiter is in exactly one of: a record's queue, the ready list, the host's hands;
 *  - memory_bytes counts every allocation below the engine, as the allocator rounded it.
 */
#ifndef IDEM_SERVER_ENGINE_RECORD_H
#define IDEM_SERVER_ENGINE_RECORD_H

#include "server/engine/engine.h"
#include "server/engine/list.h"
#include "server/engine/table.h"
#include "server/engine/wheel.h"

struct engine_blob {
  uint32_t references;
  uint32_t len;
  char bytes[];
};

struct engine_binding {
  uint32_t references; /* claims and pending undos that point here */
  bool closed;
  int64_t closed_ms;
  struct list claims; /* struct claim.bound */
  struct list link;   /* in engine.closing, once closed with claims left */
};

/* The part of a record that only an open claim needs. */
struct claim {
  struct record *record;
  struct engine_blob *owner, *stage;
  struct list claimers, readers; /* struct engine_waiter.link, oldest first */
  uint32_t waiting;
  int64_t first_wait_ms; /* no waiter's time is over before this */
  struct list waited;    /* in engine.waited while waiting > 0 */
  struct engine_binding *binding;
  struct list bound; /* in binding.claims */
  struct engine_waiter
      *granted; /* to whom it was handed over, while that may still be taken back */
};

struct record {
  struct table_node node;
  struct wheel_node timer;
  struct rules_record facts; /* of a plain value: all zero; its end is timer.deadline_ms */
  struct claim *claim;
  struct engine_blob *body, *meta;
  uint32_t epoch; /* of engine.epoch: an older one was flushed and awaits its end */
  uint32_t key_len, fingerprint_len;
  uint8_t kind; /* enum engine_kind */
  bool has_fingerprint;
  char bytes[]; /* key, fingerprint */
};

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
  struct table table;
  struct wheel leases, waits, ends;
  int64_t waits_judged_ms; /* every waiter whose time was over by then has its answer */
  struct list ready;       /* struct engine_waiter.link */
  struct list waited;      /* struct claim.waited */
  struct list closing;     /* struct engine_binding.link */
  uint64_t next_token;
  uint32_t epoch;
  int64_t flushed_ms; /* when the epoch began: who was in time then is granted, whenever that is
                         noticed */
  bool sweeping;      /* flushed records are left; sweep_cursor as of table_scan */
  uint64_t sweep_cursor;
  bool effects_wanted;
  struct list effects;
  struct effect *effect_given;
  uint64_t open_claims; /* HELD, LAPSED, UNKNOWN: each has a reserve */
  size_t memory_bytes;
  struct engine_stats stats;
};

/* Deadlines up to this are over, however the clock was rounded. */
static inline int64_t engine_past_ms(const struct engine *engine, int64_t now_ms) {
  return now_ms - engine->options.clock_grain_ms;
}

/* Memory: counted; NULL when the allocator fails. */
void *engine_alloc(struct engine *engine, size_t size);
void engine_free(struct engine *engine, void *memory);
struct engine_blob *blob_create(struct engine *engine,
                                struct span bytes); /* absent in, NULL out: test span_present */

/* Finding. judge brings a record up to now; NULL: it is absent (and freed). */
struct record *record_find(struct engine *engine, struct span key, int64_t now_ms);
struct record *record_judge(struct engine *engine, struct record *record, int64_t now_ms);
/* Whether record_judge would find it absent, as far as can be told without changing anything. */
bool record_over(const struct engine *engine, const struct record *record, int64_t now_ms);
uint64_t record_hash(const struct engine *engine, struct span key);
struct span record_key(const struct record *record);
struct span record_fingerprint(const struct record *record); /* may be absent */

/* Making, changing and ending. create leaves facts ABSENT (for records) and the timer unarmed, but
 * inserts. */
struct record *record_create(struct engine *engine, enum engine_kind kind, struct span key,
                             struct span fingerprint);
void record_destroy(struct engine *engine, struct record *record);
void record_set_facts(struct engine *engine, struct record *record,
                      const struct rules_record *facts);
void record_set_end(struct engine *engine, struct record *record, int64_t deadline_ms);
void claim_destroy(struct engine *engine, struct claim *claim);
void claim_bind(struct claim *claim, struct engine_binding *binding);
void claim_unbind(struct engine *engine, struct claim *claim);
/* The grant under way can not be taken back any more: it was acted on, or has ended. */
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
void waiters_answer_all(struct engine *engine, struct claim *claim, enum rules_verdict verdict,
                        int64_t now_ms);
void waiters_time_out(struct engine *engine, struct claim *claim, int64_t until_ms);
void waiter_time_out(struct engine *engine, struct engine_waiter *waiter, int64_t at_ms);

void effect_emit(struct engine *engine, enum engine_effect_kind kind, const struct record *record);
/* Before a record lapses or goes: readers get null from then on. One that had lapsed said so
 * already. */
void effect_emit_free(struct engine *engine, const struct record *record);
bool engine_over_limit(struct engine *engine, size_t more_bytes, bool more_claims, int64_t now_ms);
bool engine_sweep(struct engine *engine, int64_t now_ms, unsigned *budget);

#endif
