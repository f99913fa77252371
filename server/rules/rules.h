/*
 * rules.h - the contract as code: (record, request, now) -> verdict + next state.
 *
 * Pure functions over a few numbers. No memory, no time of their own, no sockets, no bytes: whoever
 * calls compares fingerprints, owners and bodies and passes the outcome, owns the queue of waiters,
 * and carries out the verdict. The same rules serve the server's engine and any other host.
 *
 *                 CLAIM                       STORE
 *      ABSENT ------------->  HELD  ------------------------>  DONE
 *        ^  ^                ^ |  ^                             |
 *        |  |   RELEASE,     | |  | RENEW, CLAIM                | TTL over
 *        |  +- BIND closed --+ |  | (UNKNOWN: with TAKEOVER)    v
 *        |                     |  |                           ABSENT
 *        |          lease over v  |
 *        +---- retention ---- LAPSED / UNKNOWN (of a claim with HOLD)
 *
 * Invariants: attempt >= 1 and token > 0 in every phase but ABSENT and DONE-by-nobody (there is
 * none); deadline_ms is the end of the lease (HELD), of the retention (LAPSED, UNKNOWN) or of the
 * TTL (DONE), and a thing is over when now >= it. All times are milliseconds on one clock that
 * never runs backwards.
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
/* The first second at which no server starts any more. The tokens up to the limit, which the clock
 * reaches 18 days later, last for as long as anything runs: 6.5 * 10^12. */
#define RULES_TOKEN_END_S 3849984000 /* 2092-01-01T00:00:00Z */
/* Random tokens of a clock before the epoch end here: what a right clock gave in July 2024, when
 * there was no idem yet. */
#define RULES_TOKEN_EARLY_BITS 46

enum rules_clock { RULES_CLOCK_RIGHT, RULES_CLOCK_EARLY, RULES_CLOCK_LATE };

/*
 * The first token of a server that starts at this unix time. EARLY: the clock is before the epoch,
 * and says nothing about which tokens were given before; they begin at a random one, below all that
 * a right clock ever gave, so that none is given twice, though they may be lower than those of the
 * last start. LATE: there are none left, and *token stays as it is.
 */
enum rules_clock rules_first_token(int64_t unix_s, uint32_t nanoseconds, uint64_t random,
                                   uint64_t *token);

enum rules_phase { RULES_ABSENT, RULES_HELD, RULES_LAPSED, RULES_UNKNOWN, RULES_DONE };

struct rules_record {
  uint64_t token;      /* of the grant; on DONE of the grant that stored */
  int64_t since_ms;    /* granted at; on DONE stored at */
  int64_t deadline_ms; /* see above */
  uint32_t lease_ms;   /* the length last granted */
  uint32_t attempt;    /* 1 for the first grant; saturates */
  uint8_t phase;       /* enum rules_phase */
  bool hold;           /* the grant asked for HOLD */
  bool bind;           /* the grant ends with its connection */
};

enum rules_verdict {
  RULES_GRANT_FIRST, /* HELD by the caller, new token, attempt 1, no stage */
  RULES_GRANT_NEXT,  /* HELD by the caller, new token, attempt + 1, the former stage */
  RULES_GRANT_AGAIN, /* HELD by the caller as before, lease, HOLD and BIND replaced */
  RULES_SAY_BUSY,
  RULES_SAY_UNKNOWN,
  RULES_SAY_DONE,
  RULES_SAY_NOTHING, /* nobody runs it and nothing is stored */
  RULES_MISMATCH,
  RULES_STORED,      /* DONE */
  RULES_SHARED,      /* STORE with TTL 0: answer the waiters, then ABSENT */
  RULES_SAME_STORED, /* the very same bytes are stored already */
  RULES_CONFLICT,
  RULES_RENEWED,
  RULES_RELEASE, /* yours to release: end the grant with RULES_END_RELEASED */
  RULES_STALE,   /* STORE, RENEW: not the owner any more. RELEASE: not yours */
};

/* What becomes due on a record as time passes. */
enum rules_due { RULES_NOT_DUE, RULES_LEASE_OVER, RULES_GONE };
enum rules_due rules_due(const struct rules_record *r, int64_t now_ms);

struct rules_claim {
  bool fingerprint_matches; /* given and equal, or absent on both sides */
  bool owner_matches;       /* present on both sides and equal */
  bool hold, bind, takeover;
  uint32_t lease_ms;
  uint64_t token; /* the next unused one; taken when the verdict is RULES_GRANT_FIRST or _NEXT */
};
/* CLAIM. On a grant the record is changed; any other verdict leaves it alone. Nothing may be due on
 * it. */
enum rules_verdict rules_claim(struct rules_record *r, const struct rules_claim *claim,
                               int64_t now_ms);

/* FETCH and WAIT. fingerprint_differs: one was given and it is not the record's. */
enum rules_verdict rules_read(const struct rules_record *r, bool fingerprint_differs);

/* STORE. same_bytes: on DONE, body and meta are those that are stored. ttl_ms 0 leads to ABSENT. */
enum rules_verdict rules_store(struct rules_record *r, uint64_t token, bool same_bytes,
                               int64_t ttl_ms, int64_t now_ms);

/* RENEW. lease_ms 0: the length last granted. */
enum rules_verdict rules_renew(struct rules_record *r, uint64_t token, uint32_t lease_ms,
                               int64_t now_ms);

/* RELEASE. Changes nothing: the caller ends the grant. */
enum rules_verdict rules_release(const struct rules_record *r, uint64_t token);

/*
 * The end of a grant that did not store. at_ms is when it ended (a lease: its deadline). What
 * follows depends on whether a CLAIM waits: RULES_HAND_OVER asks for rules_hand_over with the
 * oldest one that was alive at at_ms; the record is unchanged until then.
 */
enum rules_end {
  RULES_END_LEASE_OVER,
  RULES_END_BIND_CLOSED,
  RULES_END_RELEASED,
  RULES_END_DELETED
};
enum rules_after { RULES_HAND_OVER, RULES_TO_LAPSED, RULES_TO_UNKNOWN, RULES_TO_ABSENT };
enum rules_after rules_end_grant(struct rules_record *r, enum rules_end end, bool claim_waits,
                                 int64_t retention_ms, int64_t at_ms);

/* Grants to a waiter: RULES_GRANT_NEXT after a lease or connection that ended, RULES_GRANT_FIRST
 * after RELEASE or DEL. */
enum rules_verdict rules_hand_over(struct rules_record *r, enum rules_end end,
                                   const struct rules_claim *claim, int64_t now_ms);

#endif
