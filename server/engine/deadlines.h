/*
 * deadlines.h - when records end: the deadline of each, and one timer for those of a slab.
 *
 *     timer of a slab --> comes, at the first deadline or before --> its records are looked at
 *                              those that are due, one by one    <--+
 *                              armed again at the first of the rest
 *
 * It finds what may be due, as the wheel does; due.h decides. It must not know what an end means.
 * Invariant: the timer of a slab is armed not after the deadline of each of its records, but while
 * a pass looks at them.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_DEADLINES_H
#define IDEM_SERVER_ENGINE_DEADLINES_H

#include "server/engine/record.h"

/* RULES_NEVER: it has none. */
void deadlines_set(struct slabs *slabs, struct record *record, int64_t deadline_ms);

/* Over all that is due. Begin with zeros. */
struct deadlines_pass {
  struct slab *slab;
  uint64_t due; /* its records that are due and were not returned yet; a bit for each */
  int64_t first_ms, rest_ms; /* the first deadline of all of them; of those that are not due */
  bool paid;                 /* the step that found the slab is that of its first record too */
};
/* A record whose deadline is not after past_ms; NULL: there is none, or the budget is used up: then
 * the pass has ended. The caller applies what is due on it before the next call, and changes no
 * other record meanwhile. Each record costs one of *budget, as does each slab without one. */
struct record *deadlines_next(struct slabs *slabs, struct deadlines_pass *pass, int64_t past_ms,
                              unsigned *budget);

#endif
