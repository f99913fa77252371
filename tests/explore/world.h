/*
 * world.h - everything that can happen to one key: callers, a queue, an operator, time, a restart.
 *
 * A small server around the rules: it keeps the record, the queue of waiters and the horizon, and
 * carries out verdicts as the engine does. Beside them it keeps, for itself, what the callers know:
 * how many grants may have acted, who asked for HOLD, whose token counts. The promises of the
 * contract are comparisons between the two; the rules never see the second.
 *
 * Three actors: `a` and `b` are two processes that try the same request, each with an OWNER of its
 * own; `c` has another request, and may begin a new one. Each sends BORN. A grant may have acted
 * from its first moment until its owner says RELEASE, which an actor says only when it is true. A
 * former owner, a reader and a caller without BORN are tried in every state (world_check) instead
 * of being actors: what they ask changes nothing, or it is a broken promise.
 *
 * Durations are not chosen: a lease, a wait, a retention may end at any moment, whatever the order.
 * Of times only their order counts, so a world is a number of 64 bits (world_pack), and equal
 * worlds have equal numbers.
 */
#ifndef IDEM_TESTS_EXPLORE_WORLD_H
#define IDEM_TESTS_EXPLORE_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/rules/rules.h"

#define WORLD_ACTORS 3
#define WORLD_QUEUE 2
#define WORLD_REQUESTS 2
#define WORLD_NONE WORLD_ACTORS /* no actor */
#define WORLD_MOST_EVENTS 48    /* of one world */
#define WORLD_TEXT 200
#define WORLD_MOST_DEPTH 28 /* of a history: a number in a packed world has 4 bits */

/* The contract, each function by itself, so that a mutant can replace one. */
struct world_rules {
  enum rules_verdict (*claim)(struct rules_record *, const struct rules_claim *, int64_t);
  enum rules_verdict (*read)(const struct rules_record *, bool);
  enum rules_verdict (*store)(struct rules_record *, const struct rules_store *, int64_t);
  enum rules_verdict (*renew)(struct rules_record *, uint64_t, uint32_t, int64_t);
  enum rules_verdict (*release)(const struct rules_record *, uint64_t, enum rules_word,
                                enum rules_end *);
  enum rules_after (*end_grant)(struct rules_record *, const struct rules_ending *);
  enum rules_verdict (*hand_over)(struct rules_record *, enum rules_end, const struct rules_claim *,
                                  int64_t);
  enum rules_due (*due)(const struct rules_record *, int64_t, struct rules_moment);
};
extern const struct world_rules WORLD_REAL;

enum world_promise {
  WORLD_KEPT,
  WORLD_ONE_OWNER, /* one grant can store, and a token is given once */
  WORLD_EVIDENCE,  /* attempt = 1 + the earlier grants that may have acted; readers are told */
  WORLD_FORGOTTEN, /* a request whose record went is not told attempt 1 */
  WORLD_HOLD,      /* HOLD is left by TAKEOVER with the token shown, CLEAR or DEL alone */
  WORLD_LATE,      /* STORE and RENEW with the current token are accepted, however late */
  WORLD_LEASE,     /* no grant ends before its lease, unless its owner or an operator says so */
  WORLD_NO_WEDGE,  /* when all are dead but one, who waits is answered, and who comes is too */
  WORLD_PROMISES
};
extern const char *const WORLD_PROMISE_NAMES[WORLD_PROMISES];

struct world_waiter {
  uint8_t actor;
  bool hold, bind;
};

struct world {
  /* what a server has */
  struct rules_record r;
  int64_t now, horizon;
  uint64_t next_token;
  struct world_waiter queue[WORLD_QUEUE];
  size_t waiting;
  /* what the callers know */
  int64_t born[WORLD_REQUESTS];
  uint8_t owner;                 /* the actor that has the current token; else WORLD_NONE */
  uint64_t current;              /* the last token granted or shown; 0: no record */
  bool former;                   /* a token was used up */
  bool nobodys;                  /* the current token was granted to nobody */
  bool bound;                    /* the current grant is to end with its owner's connection */
  bool hold_asked;               /* by a grant that may have acted, or by the current one */
  uint8_t acted[WORLD_REQUESTS]; /* grants of this record that may have acted */
  uint8_t acted_other;           /* the same, of requests that nobody tries any more */
  bool answered[WORLD_REQUESTS]; /* it waited, and got the response */
  bool lost[WORLD_REQUESTS];     /* either, of a record that went, and not on purpose */
  /* the first promise that was broken, and how */
  enum world_promise broken;
  const char *why;
  /* not part of the world: set by world_apply */
  const struct world_rules *rules;
  char *text;           /* NULL, or of WORLD_TEXT bytes: the event in words */
  const char *names[3]; /* of the actors in text */
};

struct world_event {
  uint8_t kind, actor, flags;
};

void world_begin(struct world *w, const struct world_rules *rules);

/* What may happen next. Returns how many. */
size_t world_events(const struct world *w, struct world_event events[WORLD_MOST_EVENTS]);

/* It happens; w->broken says whether a promise was kept. With w->text it is told in words. */
void world_apply(struct world *w, struct world_event event);

/* What is true in every world, asked of copies: sets w->broken. */
void world_check(struct world *w);

/* a and b are alike, so of two worlds that differ in their names one is packed; *swapped tells. */
uint64_t world_pack(const struct world *w, bool *swapped);
void world_unpack(uint64_t packed, struct world *w, const struct world_rules *rules);

#endif
