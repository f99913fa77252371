/*
 * inspect.h - shows records without changing them: one by its key, and the open claims in the order
 * of their tokens.
 *
 * What is due on a record is applied before it is shown, as for every call; so a walk may end
 * grants and make waiters ready. It must not know replies, nor several engines: the caller merges
 * them. Invariants: what is shown is as struct inspection says (rules/inspection.h), and its spans
 * are borrowed until the next call on the engine.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_INSPECT_H
#define IDEM_SERVER_ENGINE_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "server/rules/inspection.h"

struct engine;

enum inspect_found { INSPECT_ABSENT, INSPECT_RECORD, INSPECT_VALUE };
/* *shown is written for a record only; its key is the caller's. */
enum inspect_found inspect_key(struct engine *engine, struct span key, int64_t now_ms,
                               struct inspection *shown);

/*
 * A walk over the open claims: `after` and `end` are tokens, and those between are looked at. Each
 * call looks at `budget` records at most, moves `after` to where the next call goes on, and sets
 * `ended` when there is none left. `visit` is given those that match, in the order of their tokens;
 * it must not call the engine, and returns whether it takes more now.
 *
 * Every claim between that keeps its token from the first call to the last is visited once, if it
 * matches. With `end` from inspect_end, taken before the first call, a walk over several engines is
 * bounded, and misses no claim that was there by then.
 */
typedef bool inspect_visitor(void *context, const struct inspection *shown);
struct inspect_walk {
  uint64_t after, end;
  enum rules_phase phase; /* RULES_ABSENT: any */
  struct span prefix;     /* of the key's text; absent: any */
  int64_t older_ms;       /* the least age */
  bool ended;
  inspect_visitor *visit;
  void *context;
};
void inspect_walk_on(struct engine *engine, struct inspect_walk *walk, unsigned budget,
                     int64_t now_ms);
/* A walk over the records of one phase that begins after this token misses none of them. O(1);
 * lower than need be when very many others are older (open_claims_oldest). */
uint64_t inspect_before_oldest(struct engine *engine, enum rules_phase phase);
/* No token is as high that was given by now, by any engine of the keyspace. */
uint64_t inspect_end(const struct engine *engine);

#endif
