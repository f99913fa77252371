/*
 * engine.h - the expiring dictionary: records and plain values under keys, their deadlines, and the
 * callers that wait.
 *
 * An engine is single-threaded and knows no clock, file, socket or event loop. Time is an argument:
 * milliseconds, never negative, on a clock that never runs backwards. It never calls upward; what
 * it has to say lies in three places: the return value, the list of waiters that became ready
 * (engine_next_ready), and the outbox of effects (engine_next_effect).
 *
 * Every call first judges what is due on its key, in the order of the deadlines, so no answer shows
 * a state that should be over. engine_tick does the same for keys that nobody asks for, within a
 * budget.
 *
 * Nothing is evicted, ever. At the memory limit a claim that would add a record is refused; a STORE
 * is not.
 *
 * Limits on the lengths of keys, owners, bodies and so on are the caller's to judge (it has the
 * arguments first); the engine takes any span up to 4 GiB.
 */
#ifndef IDEM_SERVER_ENGINE_ENGINE_H
#define IDEM_SERVER_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/span.h"
#include "server/engine/key.h"
#include "server/rules/rules.h"

struct engine;
struct regions;
struct engine_waiter;  /* a caller that waits; owned by the host from ENGINE_QUEUED until settled,
                          taken back or cancelled */
struct engine_binding; /* what claims with BIND are bound to: one connection */
struct engine_blob;    /* bytes that several replies may share; counted */

#define ENGINE_HASH_SECRET_BYTES 192 /* XXH_SECRET_DEFAULT_SIZE of xxHash */

/* Hosts (loops) whose waiters one engine may keep apart: as many as a word has bits. */
#define ENGINE_MAX_LOOPS 64u

/*
 * What the engines of one keyspace (keyspace.h) agree upon while different threads use them: the
 * numbers of grants, who waits in all, and memory against the one limit. An engine that stands
 * alone needs none.
 */
struct engine_common {
  _Atomic uint64_t next_token;
  _Atomic uint64_t waiters;
  _Atomic int64_t demand_bytes; /* of all engines, as far as they have said: see engine_publish */
  struct engine *const *engines;
  unsigned count;
};

struct engine_options {
  struct engine_common *common; /* borrowed; NULL: the engine stands alone */
  struct regions *regions;      /* borrowed, see regions.h; NULL: the allocator alone */
  uint64_t first_token;         /* see RULES_TOKEN_EPOCH_S; with a common one, that counts */
  int64_t retention_ms;         /* of LAPSED and UNKNOWN */
  int64_t clock_grain_ms; /* the clock given is rounded down to so many: a deadline is over only
                             when that is sure. 0: exact */
  size_t memory_limit;    /* bytes, 0 none */
  size_t store_reserve;   /* bytes kept free for the response of each open claim, when there is a
                             limit */
  uint32_t waiters_per_key;
  uint32_t waiters_total;
  unsigned char hash_secret[ENGINE_HASH_SECRET_BYTES]; /* random, so that nobody can choose keys
                                                          that collide */
};

/* NULL when memory is short. destroy takes NULL; every waiter and binding has to be gone before it.
 */
struct engine *engine_create(const struct engine_options *options, int64_t now_ms);
void engine_destroy(struct engine *engine);
/* Everything but common, regions, first_token, clock_grain_ms and hash_secret may change while
 * running. */
void engine_reconfigure(struct engine *engine, const struct engine_options *options);
/* What an open claim counts for against the memory limit: a response of so many bytes with all that
 * it takes beside them at worst. */
size_t engine_reserve_bytes(size_t store_reserve);

/* ---- answers ---- */

enum engine_status {
  ENGINE_CLAIMED, /* token, lease_ms, attempt, stage */
  ENGINE_DONE,    /* body, meta, age_ms, left_ms */
  ENGINE_BUSY,    /* left_ms, age_ms, owner */
  ENGINE_UNKNOWN, /* age_ms, attempt, owner */
  ENGINE_NOTHING, /* nobody runs it and nothing is stored */
  ENGINE_QUEUED,  /* waiter */
  ENGINE_STORED,  /* count: waiters answered by it */
  ENGINE_RENEWED, /* lease_ms */
  ENGINE_RELEASED,
  ENGINE_NOT_YOURS,
  ENGINE_MISMATCH,
  ENGINE_STALE,
  ENGINE_CONFLICT,
  ENGINE_OOM,       /* the memory limit */
  ENGINE_BUSYKEY,   /* a waiter limit */
  ENGINE_WRONGTYPE, /* a plain value lives there, or the other way round */
  ENGINE_NO_MEMORY, /* the allocator failed; nothing changed */
};

/*
 * Blobs in an answer are borrowed: valid until the next call on the engine (an answer in a waiter:
 * until the waiter is settled). engine_pin keeps one longer. NULL means absent.
 */
struct engine_answer {
  enum engine_status status;
  uint32_t attempt;
  union { /* who waits keeps an answer: as small as it can be */
    struct {
      uint64_t token;
      int64_t lease_ms;
    };
    struct span body_bytes; /* of body, of a DONE */
  };
  struct span meta_bytes; /* the same of meta; absent of others */
  int64_t age_ms, left_ms;
  uint64_t count;
  struct engine_blob *body, *meta, *stage, *owner;
  struct engine_waiter *waiter;
};

struct span engine_bytes(const struct engine_blob *blob); /* NULL reads as absent */
struct engine_blob *engine_pin(struct engine_blob *blob);
void engine_unpin(struct engine *engine, struct engine_blob *blob); /* takes NULL */

/* ---- the six commands ---- */

/* A key as it is looked up. A host that has it already (see engine_prefetch) hands it in with the
 * key; NULL there: the engine works it out. */
struct engine_name {
  struct key key; /* may point into packed or into the text: not to be copied, nor kept longer */
  char packed[KEY_UUID_BYTES];
  uint64_t hash;
};
void engine_name_of(const struct engine *engine, struct span key, struct engine_name *name);

struct engine_claim {
  const struct engine_name *name;
  struct span key, fingerprint, owner; /* fingerprint and owner may be absent */
  int64_t lease_ms;                    /* 1 .. UINT32_MAX */
  int64_t wait_ms;                     /* 0: do not wait */
  bool hold, takeover;
  struct engine_binding *binding; /* BIND: the connection's; NULL without */
  void *context;                  /* of the waiter, when it comes to that */
  unsigned loop_id;               /* who is to answer the waiter, below ENGINE_MAX_LOOPS */
};
/* CLAIMED, DONE, BUSY, UNKNOWN, QUEUED, MISMATCH, OOM, BUSYKEY, WRONGTYPE, NO_MEMORY */
void engine_claim(struct engine *engine, const struct engine_claim *claim, int64_t now_ms,
                  struct engine_answer *answer);

/*
 * A large body in a piece of its own, which a STORE takes over instead of copying it: from malloc,
 * of exactly ENGINE_PIECE_HEAD bytes for the engine and those of the body. `taken` is set when it
 * has been taken over; the host then unpins that, and does not free the piece.
 */
#define ENGINE_PIECE_HEAD 8u
#define ENGINE_PIECE_LEAST 8192u /* of the body: a smaller one lies with others */
struct engine_piece {
  char *bytes;
  struct engine_blob *taken;
};

struct engine_store {
  const struct engine_name *name;
  struct span key, body, meta; /* meta may be absent */
  uint64_t token;
  int64_t ttl_ms;             /* 0: shared with the waiters, then absent */
  struct engine_piece *piece; /* where body lies; NULL: it is copied */
};
/* STORED, STALE, CONFLICT, WRONGTYPE, NO_MEMORY */
void engine_store(struct engine *engine, const struct engine_store *store, int64_t now_ms,
                  struct engine_answer *answer);

struct engine_renew {
  const struct engine_name *name;
  struct span key, stage; /* stage may be absent */
  uint64_t token;
  int64_t lease_ms; /* 0: the length last granted */
};
/* RENEWED, STALE, WRONGTYPE, NO_MEMORY */
void engine_renew(struct engine *engine, const struct engine_renew *renew, int64_t now_ms,
                  struct engine_answer *answer);

struct engine_release {
  const struct engine_name *name;
  struct span key;
  uint64_t token;
};
/* RELEASED, NOT_YOURS, WRONGTYPE */
void engine_release(struct engine *engine, const struct engine_release *release, int64_t now_ms,
                    struct engine_answer *answer);

struct engine_read {
  const struct engine_name *name;
  struct span key, fingerprint; /* fingerprint may be absent: then nothing is compared */
  int64_t wait_ms;              /* 0: FETCH; above: WAIT */
  void *context;
  unsigned loop_id;
};
/* DONE, BUSY, UNKNOWN, NOTHING, QUEUED, MISMATCH, BUSYKEY, WRONGTYPE, NO_MEMORY */
void engine_read(struct engine *engine, const struct engine_read *read, int64_t now_ms,
                 struct engine_answer *answer);

/*
 * Fetching ahead: most of what a call costs is waiting for memory, and several such waits go on at
 * once when they are asked for before the calls. Hosts that have many commands at hand say
 * engine_prefetch for all of them, then engine_prefetch_entry, then call. Nothing is changed or
 * judged; between them the engine may be used freely.
 */
void engine_prefetch(const struct engine *engine, const struct engine_name *name);
void engine_prefetch_entry(const struct engine *engine, const struct engine_name *name);

/* ---- waiters ---- */

/*
 * The home's next waiter that has its answer, oldest first; NULL when there is none. The host
 * writes the answer to its peer and then settles it, or, when the peer's connection died before the
 * answer could be written, takes it back: a grant is undone as if it had not been (attempt not
 * counted, its token not used again) and the next waiter is granted. Both free the waiter. Between
 * next_ready and settle the host may use the engine freely.
 */
struct engine_waiter *engine_next_ready(struct engine *engine, unsigned loop_id);
/* A bit for each home that has such waiters. */
uint64_t engine_ready_loops(const struct engine *engine);
const struct engine_answer *engine_waiter_answer(const struct engine_waiter *waiter);
void *engine_waiter_context(const struct engine_waiter *waiter);
void engine_waiter_settle(struct engine *engine, struct engine_waiter *waiter);
void engine_waiter_take_back(struct engine *engine, struct engine_waiter *waiter, int64_t now_ms);
/* The peer is gone, whether the waiter still waits or has its answer already: it is never granted,
 * or the grant is taken back. Frees it. */
void engine_waiter_cancel(struct engine *engine, struct engine_waiter *waiter, int64_t now_ms);
/* Its time is over now: it becomes ready with BUSY (drain, CLIENT UNBLOCK). Nothing happens when it
 * is ready already. */
void engine_waiter_expire(struct engine *engine, struct engine_waiter *waiter, int64_t now_ms);

/* ---- BIND ---- */

/* NULL when memory is short. */
struct engine_binding *engine_binding_create(struct engine *engine);
/* Whether any claim that is bound to it is HELD; one of very many is taken for it. Takes NULL. */
bool engine_binding_holds(const struct engine_binding *binding);
/* The connection is closed: its held claims end. O(1): each is judged when somebody asks, or by
 * engine_tick. Takes NULL; the binding is the engine's to free from here on. */
void engine_binding_close(struct engine *engine, struct engine_binding *binding, int64_t now_ms);

/* ---- keys of either kind ---- */

enum engine_kind { ENGINE_ABSENT, ENGINE_RECORD, ENGINE_VALUE };

struct engine_entry {
  enum engine_kind kind;
  enum rules_phase phase; /* of a record */
  struct engine_blob
      *body; /* the value, or the body of a DONE record; NULL otherwise. Borrowed as in an answer */
  int64_t left_ms; /* until it is ABSENT by itself; -1: never, or not known yet (HELD) */
};
void engine_look(struct engine *engine, struct span key, int64_t now_ms,
                 struct engine_entry *entry);

/* What a key's record and what it refers to take, with allocator rounding; 0 when there is none. */
size_t engine_memory_of(struct engine *engine, struct span key, int64_t now_ms);

/* Whether there was one. A HELD record's waiters are served as by RELEASE. */
bool engine_delete(struct engine *engine, struct span key, int64_t now_ms);

#define ENGINE_NO_DEADLINE INT64_MAX
/* Plain values. Replaces a value, refuses a record (WRONGTYPE). STORED, WRONGTYPE, OOM, NO_MEMORY.
 * deadline_ms is on the engine's clock; one that is over already leaves the key absent. */
enum engine_status engine_set_value(struct engine *engine, struct span key, struct span value,
                                    int64_t deadline_ms, int64_t now_ms);
/* Moves the end of a value or of a DONE record; false when there is none or it may not be moved
 * (HELD, LAPSED, UNKNOWN). For a DONE record ENGINE_NO_DEADLINE is refused: responses end. */
bool engine_set_deadline(struct engine *engine, struct span key, int64_t deadline_ms,
                         int64_t now_ms);

/* Everything is absent at once; waiters of HELD records are served as by RELEASE. The memory comes
 * back by engine_tick. */
void engine_flush(struct engine *engine, int64_t now_ms);

/*
 * Visits at least one bucket of the table and returns the cursor to go on with, 0 at the end. Start
 * with 0. Every key that is there during the whole scan is visited at least once, however the table
 * grows or shrinks meanwhile. The cursor is below 2^47. The visitor must not call the engine.
 */
typedef void engine_visitor(void *context, struct span key, const struct engine_entry *entry);
uint64_t engine_scan(struct engine *engine, uint64_t cursor, int64_t now_ms, engine_visitor *visit,
                     void *context);

/* Some key, absent span when there is none; borrowed. `random` picks. */
struct span engine_random_key(struct engine *engine, uint64_t random, int64_t now_ms);

/* ---- time, effects, figures ---- */

/* Judges what is due, at most `budget` steps (a step touches one record or waiter, or moves one
 * bucket). Returns true when more is due already. */
bool engine_tick(struct engine *engine, int64_t now_ms, unsigned budget);
/* When engine_tick has something to do next: a lower bound, INT64_MAX for never, now or earlier for
 * "at once". */
int64_t engine_next_due(const struct engine *engine);
/* A lower bound of that which costs next to nothing. engine_tick makes it exact again. */
int64_t engine_next_due_hint(const struct engine *engine);

/* What changed, for those who watch: a record became DONE, UNKNOWN or free (nobody runs it and
 * nothing is stored: LAPSED, or ABSENT but not by way of LAPSED). Kept only while someone wants it.
 */
enum engine_effect_kind {
  ENGINE_EFFECT_DONE,
  ENGINE_EFFECT_UNKNOWN,
  ENGINE_EFFECT_FREE,
  ENGINE_EFFECTS_LOST /* no memory to keep one or more; which, is not known */
};
struct engine_effect {
  enum engine_effect_kind kind;
  struct span key; /* borrowed until the next call on the engine; absent: none */
};
void engine_want_effects(struct engine *engine, bool wanted);
bool engine_has_effects(const struct engine *engine);
bool engine_next_effect(struct engine *engine, struct engine_effect *effect);

struct engine_stats {
  uint64_t records, values;        /* by kind; records in any phase */
  uint64_t expiring;               /* keys that end by themselves */
  uint64_t phases[RULES_DONE + 1]; /* records by enum rules_phase */
  uint64_t waiters;
  uint64_t memory_bytes, memory_peak_bytes; /* allocated for keys, bodies, waiters and the table;
                                               with allocator rounding */
  /* since the start */
  uint64_t granted, granted_again, handed_over, taken_back, replayed, busy, unknown, mismatched;
  uint64_t stored, stale, conflicts, renewed, released, lapsed, expired, waits_timed_out,
      refused_memory;
};
void engine_stats(const struct engine *engine, struct engine_stats *stats);
/* Adds up; the peaks too, though they may have been at different times. */
void engine_stats_add(struct engine_stats *sum, const struct engine_stats *stats);
/* Tells the other engines of the common what this one takes of the memory limit: to be called
 * before another thread may use it. Without a limit, or alone, it does nothing. */
void engine_publish(struct engine *engine);
/* Sets the counters since the start to 0. */
void engine_reset_stats(struct engine *engine);

#endif
