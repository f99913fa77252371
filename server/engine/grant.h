/*
 * grant.h - the end of a grant without a STORE, and its consequences for the waiters.
 *
 * A waiter's answer is complete when it enters the ready list: the grant has happened by then, so
 * that no other caller can come between the end of one grant and the next. What a grant replaced is
 * kept in the waiter until the caller has settled it.
 */
#ifndef IDEM_SERVER_ENGINE_GRANT_H
#define IDEM_SERVER_ENGINE_GRANT_H

#include "server/engine/wait_queue.h"

/* Ends the current grant at at_ms (a lease: its deadline), noticed at now_ms: the oldest claimer is
 * granted, or the record is LAPSED, UNKNOWN or gone. Returns the record; NULL: it is gone. */
struct record *grant_end(struct engine *engine, struct record *record, enum rules_end end,
                         int64_t at_ms, int64_t now_ms);
/* Puts back what the hand-over to a GRANTED waiter replaced, and lets the former grant end once
 * more, now. */
void grant_undo(struct engine *engine, struct waiter *waiter, int64_t now_ms);

#endif
