/*
 * holding.h - an engine's part of the users' quotas: who holds a record's claim, and who waits.
 *
 *     take, before anything changes --> entry.c: the record is HELD by the user, and counts as it
 *                                  \--> give back: it could not be done
 *
 * A claim counts for the user to whom it was granted, as long as it is HELD and not flushed. What
 * was taken in advance is counted once: the next claim that becomes HELD by the same user is that
 * one. It must not know why a claim is granted or ends.
 *
 * Only the thread that holds the engine calls. Invariant: between two calls on the engine nothing
 * is taken in advance.
 */
#ifndef IDEM_SERVER_ENGINE_HOLDING_H
#define IDEM_SERVER_ENGINE_HOLDING_H

#include "proto/rare.h"
#include "server/engine/quotas.h"
#include "server/engine/record.h"

/* The user for whom the record counts; 0: nobody. */
static inline uint16_t holding_user(const struct engine *engine, const struct record *record) {
  if (record->user == 0) return 0; /* as nearly always */
  return record->phase == RULES_HELD && !record_is_flushed(engine, record) ? record->user : 0;
}

/* Whether the quota lets the user hold the claim of the record (NULL: a new one), which it takes. A
 * claim that it holds already is none more. */
RARE bool holding_take_slowly(struct engine *engine, const struct record *record, uint16_t user);
static inline bool holding_take(struct engine *engine, const struct record *record, uint16_t user) {
  return user == 0 || holding_take_slowly(engine, record, user);
}
/* What was taken in advance was not needed. */
RARE void holding_give_back(struct engine *engine);

/* For entry.c: what counted for one user counts for the other, each of which may be 0. */
RARE void holding_move_slowly(struct engine *engine, uint16_t from, uint16_t to);
static inline void holding_move(struct engine *engine, uint16_t from, uint16_t to) {
  if (from != to) holding_move_slowly(engine, from, to);
}

/* Counts the HELD claims that there are, and from then on what changes; waiters as well. Call once,
 * before the first command. Borrowed. */
void holding_begin(struct engine *engine, struct quotas *quotas);

#endif
