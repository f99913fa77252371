/*
 * rules.h - the contract as code: (record, request, now) -> verdict + next state.
 *
 * Pure functions over a few numbers: no memory, no clock, no sockets, no bytes. The caller compares
 * fingerprints, owners and bodies and passes the outcome; it owns the queue of waiters, and it
 * carries out the verdict. The same rules serve the server's engine and any other program. Any
 * thread may call any function.
 *
 *                 CLAIM                       STORE
 *      ABSENT ------------->  HELD  ------------------------>  DONE
 *        ^  ^                ^ |  ^                             |
 *        |  +----------------+ |  | RENEW, CLAIM                | TTL ends
 *        |   RELEASE of the    |  | (UNKNOWN: with TAKEOVER)    v
 *        |   first attempt     |  |                           ABSENT
 *        |                     v  |
 *        +---- retention ---- LAPSED / UNKNOWN (of a claim with HOLD)
 *              or CLEAR         lease over, connection closed, UNSURE,
 *                               RELEASE of a later attempt
 *
 * What may have happened is never forgotten by the way: a grant that may have acted stays counted
 * in `attempt`, and HOLD stays, until the record is absent.
 *
 * Invariants: attempt >= 1 and token > 0 in every phase but ABSENT. deadline_ms is the end of the
 * lease (HELD), of the retention (LAPSED, UNKNOWN) or of the TTL (DONE); it has come when now >=
 * deadline_ms; RULES_NEVER is no end. nobody only when LAPSED or UNKNOWN. All times are
 * milliseconds on one clock that never runs backwards.
 *
 * Preconditions: times and durations are not negative, and now_ms plus any duration (lease, TTL,
 * retention) does not overflow; the caller limits what a client may ask for. What is due on a
 * record has been applied before an event is.
 */
#ifndef IDEM_SERVER_RULES_RULES_H
#define IDEM_SERVER_RULES_RULES_H

#include <stdbool.h>
#include <stdint.h>

/* Tokens start at (unix time - RULES_TOKEN_EPOCH) << RULES_TOKEN_SHIFT and stay below 2^53: a
 * JavaScript client loses larger integers. */
#define RULES_TOKEN_EPOCH_S 1704067200 /* 2024-01-01T00:00:00Z */
#define RULES_TOKEN_SHIFT 22
#define RULES_TOKEN_LIMIT (UINT64_C(1) << 53)
/* From this second on no server starts. The clock reaches the limit 18 days later: a server that
 * started before has 6.5 * 10^12 tokens left, more than it can ever grant. */
#define RULES_TOKEN_END_S 3849984000 /* 2092-01-01T00:00:00Z */
/* Random tokens, which are used when the clock is before the epoch, stay below 2^46: a right clock
 * gave that in July 2024, before idem existed. */
#define RULES_TOKEN_EARLY_BITS 46

enum rules_clock { RULES_CLOCK_RIGHT, RULES_CLOCK_EARLY, RULES_CLOCK_LATE };

/*
 * The first token of a server that starts at this unix time.
 *
 * RIGHT: it is above those of earlier starts, unless the clock went back. EARLY: the clock is
 * before the epoch, so it does not tell which tokens were given before; the first one is random,
 * made from `random` (64 bits), and below all that a right clock ever gave. No token is given twice
 * then, but they may be lower than those of the last start. LATE: there are none left; *token stays
 * as it is.
 */
enum rules_clock rules_first_token(int64_t unix_s, uint32_t nanoseconds, uint64_t random,
                                   uint64_t *token);

enum rules_phase { RULES_ABSENT, RULES_HELD, RULES_LAPSED, RULES_UNKNOWN, RULES_DONE };

struct rules_record {
  uint64_t token;      /* of the grant; DONE: of the grant that stored */
  int64_t since_ms;    /* when it was granted, or struck out; DONE: when it was stored */
  int64_t deadline_ms; /* see the invariants */
  uint32_t lease_ms;   /* the length last granted */
  uint32_t attempt;    /* 1 + the earlier grants that may have acted; stays at UINT32_MAX */
  uint8_t phase;       /* enum rules_phase */
  bool hold;           /* a grant asked for HOLD */
  bool bind;           /* the grant ends with its connection */
  bool nobody;         /* the token was granted to nobody: see rules_end_grant */
};

enum rules_verdict {
  RULES_GRANT_FIRST, /* HELD by the caller, new token, attempt 1, no stage */
  RULES_GRANT_NEXT,  /* HELD by the caller, new token, the next attempt, the former stage */
  RULES_GRANT_AGAIN, /* HELD by the caller as before, lease and BIND replaced, HOLD added */
  RULES_NO_GRANT,    /* it would be granted, but nothing is granted any more */
  RULES_SAY_FORGOTTEN,
  RULES_SAY_BUSY,
  RULES_SAY_LAPSED,
  RULES_SAY_UNKNOWN,
  RULES_SAY_DONE,
  RULES_SAY_NOTHING, /* ABSENT */
  RULES_MISMATCH,
  RULES_STORED,      /* DONE */
  RULES_SHARED,      /* STORE with TTL 0: the waiters get the response, then rules_release */
  RULES_SAME_STORED, /* the same bytes are stored already */
  RULES_CONFLICT,
  RULES_RENEWED,
  RULES_RELEASE,       /* end the grant: rules_end_grant */
  RULES_LEFT_AS_IT_IS, /* the caller owns it, and it had ended before */
  RULES_NOT_YOURS,     /* nothing to release */
  /* the token is not the current owner's, and the record is ... */
  RULES_STALE_ABSENT,
  RULES_STALE_STORED,    /* DONE */
  RULES_STALE_OVERTAKEN, /* in any other phase */
};

/*
 * What becomes due on a record as time passes. rules_due alone decides what becomes of a record.
 * Whether any other deadline has come (a wait's, a response's in a pass over many) is asked with
 * rules_is_over, against a time from rules_past_ms: so there is one comparison and one treatment of
 * the clock. A wheel only finds what may be due; it is given that time too.
 *
 * The clock is read once for many commands, and rounded down: now may be up to grain_ms too low. A
 * deadline is an earlier reading plus a duration, so it may be too early by as much, and counts as
 * expired only when that is certain, grain_ms later; 0 means an exact clock. A deadline that a
 * command brings with it was computed from the command's own reading, and needs no grain.
 *
 * Inline, because each command asks at least once.
 */
#define RULES_NEVER INT64_MAX /* a deadline that does not come */

/* Deadlines up to this have expired at now_ms. */
static inline int64_t rules_past_ms(int64_t now_ms, int64_t grain_ms) { return now_ms - grain_ms; }

static inline bool rules_is_over(int64_t deadline_ms, int64_t past_ms) {
  return deadline_ms <= past_ms;
}

/* The first now_ms at which it has expired. */
static inline int64_t rules_over_at_ms(int64_t deadline_ms, int64_t grain_ms) {
  return deadline_ms == RULES_NEVER ? RULES_NEVER : deadline_ms + grain_ms;
}

enum rules_due {
  RULES_NOT_DUE,     /* it stays as it is; always so of ABSENT */
  RULES_LEASE_OVER,  /* HELD: the grant ended at deadline_ms */
  RULES_BIND_CLOSED, /* HELD: the grant ended when its connection was closed */
  RULES_GONE,        /* LAPSED, UNKNOWN: the retention has ended; DONE: the TTL has. It is ABSENT */
};

struct rules_moment {
  int64_t now_ms, grain_ms;
};

/* closed_ms: when the connection of a grant with BIND was closed, not after now; RULES_NEVER: it is
 * open, or there is none. Of lease and connection, the one that certainly ended first counts, so
 * that the result does not depend on when this is called. */
static inline enum rules_due rules_due(const struct rules_record *r, int64_t closed_ms,
                                       struct rules_moment at) {
  bool over = rules_is_over(r->deadline_ms, rules_past_ms(at.now_ms, at.grain_ms));
  bool closed = r->phase == RULES_HELD && closed_ms != RULES_NEVER;
  if (closed && !rules_is_over(r->deadline_ms, rules_past_ms(closed_ms, at.grain_ms)))
    return RULES_BIND_CLOSED;
  if (!over || r->phase == RULES_ABSENT) return RULES_NOT_DUE;
  return r->phase == RULES_HELD ? RULES_LEASE_OVER : RULES_GONE;
}

struct rules_claim {
  bool fingerprint_matches; /* given and equal, or absent on both sides */
  bool owner_matches;       /* present on both sides and equal */
  bool hold, bind;
  bool forgotten;    /* its request was born when a record of it may have been forgotten since */
  bool no_grants;    /* the server leaves */
  uint32_t lease_ms; /* above 0 */
  uint64_t takeover; /* the token that was shown with UNKNOWN; 0: none */
  uint64_t token;    /* the next unused one; used up by RULES_GRANT_FIRST and _NEXT */
};
/* CLAIM. A grant changes the record; any other verdict leaves it alone. What is due on the record
 * must have been applied before. */
enum rules_verdict rules_claim(struct rules_record *r, const struct rules_claim *claim,
                               int64_t now_ms);

/* FETCH and WAIT; changes nothing. fingerprint_differs: one was given, and it is not the record's.
 */
enum rules_verdict rules_read(const struct rules_record *r, bool fingerprint_differs);

struct rules_store {
  uint64_t token;
  bool same_bytes; /* body and meta are those that are stored; asked for on DONE only */
  int64_t ttl_ms;  /* 0: shared, not kept */
};
/* STORE. RULES_SHARED leaves the record alone: once the waiters are answered, the caller goes on as
 * for a RELEASE with the same token and word, for which no CLAIM waits. */
enum rules_verdict rules_store(struct rules_record *r, const struct rules_store *store,
                               int64_t now_ms);

/* RENEW. lease_ms 0: the length last granted. */
enum rules_verdict rules_renew(struct rules_record *r, uint64_t token, uint32_t lease_ms,
                               int64_t now_ms);

/* What the owner says of its attempt when it gives up. */
enum rules_word {
  RULES_DID_NOTHING,
  RULES_UNSURE, /* it may have acted */
  RULES_CLEAR,  /* no attempt of this record did anything: somebody has looked */
};
/* How a grant ends without a STORE. */
enum rules_end {
  RULES_END_LEASE_OVER,
  RULES_END_BIND_CLOSED,
  RULES_END_UNSURE,
  RULES_END_RELEASED,
  RULES_END_CLEARED, /* RELEASE CLEAR, DEL, FLUSHALL */
};
/* RELEASE. Changes nothing. RULES_RELEASE: the caller ends the grant, as *end says. Else
 * RULES_LEFT_AS_IT_IS or RULES_NOT_YOURS. */
enum rules_verdict rules_release(const struct rules_record *r, uint64_t token, enum rules_word word,
                                 enum rules_end *end);

enum rules_after { RULES_HAND_OVER, RULES_TO_LAPSED, RULES_TO_UNKNOWN, RULES_TO_ABSENT };

struct rules_ending {
  enum rules_end end;
  bool claim_waits;             /* a CLAIM whose wait had not ended at at_ms */
  int64_t at_ms;                /* when it ended; for a lease, its deadline */
  int64_t retention_ms;         /* of LAPSED */
  int64_t unknown_retention_ms; /* 0: for ever */
  uint64_t token;               /* the next unused one; used up if the record has it afterwards */
};
/*
 * The grant ends, also one that has lapsed already. RULES_HAND_OVER: the caller calls
 * rules_hand_over with the oldest CLAIM that waits; the record is unchanged until then.
 *
 * A later attempt that did nothing is struck out: the attempts before it stay counted. Its token is
 * used up, and the record gets one that is granted to nobody: who looks into the matter can take
 * the record over, store or clear with it.
 */
enum rules_after rules_end_grant(struct rules_record *r, const struct rules_ending *ending);

/* Waits that ended before the grant did are answered first: those with a deadline up to this. Of
 * equal deadlines, the lease's is first. */
static inline int64_t rules_waits_past_ms(enum rules_end end, struct rules_moment at) {
  if (end == RULES_END_LEASE_OVER) return at.now_ms - 1;
  return rules_past_ms(at.now_ms, at.grain_ms);
}

/* Grants to a waiter, the first attempt or the next one, depending on how the former grant ended.
 * RULES_SAY_FORGOTTEN: the waiter's request is too old to be told that it is the first; the record
 * is unchanged, and the next waiter is to be tried. Of the claim only hold, bind, forgotten,
 * lease_ms and token count. */
enum rules_verdict rules_hand_over(struct rules_record *r, enum rules_end end,
                                   const struct rules_claim *claim, int64_t now_ms);

#endif
