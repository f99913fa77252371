/*
 * grant.h - the end of a grant without a STORE, and its consequences for the waiters.
 *
 * It does not know why a grant ends, nor when that is due (due.h), nor does it count ends: an undo
 * ends the same grant once more. The caller counts what happened: a lease that ended, a RELEASE.
 *
 * A waiter's answer is complete when it enters the ready list: the grant has happened by then, so
 * that no other caller can come between the end of one grant and the next. What a grant replaced is
 * kept in the waiter until the caller has settled it. Invariant: only a HELD record has waiters, so
 * they are answered before the record leaves HELD.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_GRANT_H
#define IDEM_SERVER_ENGINE_GRANT_H

#include "server/engine/wait_queue.h"

/* Ends the current grant at at_ms, which is noticed at now_ms: the oldest claimer whose wait had
 * not ended by then is granted, or the record is LAPSED, UNKNOWN or gone. Of a lease that has
 * expired, at_ms is the deadline. Returns the record; NULL: it is gone, and freed. */
struct record *grant_end(struct engine *engine, struct record *record, enum rules_end end,
                         int64_t at_ms, int64_t now_ms);
/* Whether an end that clears it is a matter for grant_end: it is HELD, or was held back. */
bool grant_has_waiters_or_runs(const struct record *record);
/* A LAPSED record that has waiters: the oldest that claims is granted, if anybody can be. */
void grant_held_back(struct engine *engine, struct record *record, int64_t now_ms);
/*
 * Puts back what the hand-over to a GRANTED waiter replaced, and lets the former grant end once
 * more, now: the retention starts anew, and the next claimer is granted.
 *
 * What is due on the record must have been applied before, since that may end the waiter's grant or
 * the waits of others. Afterwards the waiter is ANSWERED and has no record; the record may be
 * freed. The waiter is still the caller's to free.
 */
void grant_undo(struct engine *engine, struct waiter *waiter, int64_t now_ms);

#endif
