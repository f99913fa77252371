/*
 * grant.h - the end of a grant without a STORE, and its consequences for the waiters.
 *
 * As engine/grant.h. It must not know when that is due (due.h). The visit has to be for writing,
 * and its record is written here.
 */
#ifndef IDEM_SERVER_MODULE_GRANT_H
#define IDEM_SERVER_MODULE_GRANT_H

#include "server/module/reply.h"
#include "server/module/visit.h"

/* All waiters of the key get the reply. Returns how many. */
int64_t grant_tell_all(struct visit *visit, const struct reply *reply);
/* All get what the record says now. */
void grant_tell_record(struct visit *visit);
/* The record is of a request with another fingerprint: MISMATCH for all but those who read without
 * one. */
void grant_tell_mismatch(struct visit *visit);
/* Those whose wait was over at past_ms get BUSY as of then. */
void grant_time_out(struct visit *visit, int64_t past_ms);

/*
 * Ends the current grant at at_ms: the oldest CLAIM whose wait had not ended by then is granted, or
 * the record is LAPSED, UNKNOWN or gone. Of a key that was deleted, the visit has found nothing.
 */
void grant_end(struct visit *visit, enum rules_end end, int64_t at_ms);
/* The same for a grant that is taken back: the record is what it was before the hand-over, and
 * ends once more, now. It is written in any case. */
void grant_end_again(struct visit *visit, enum rules_end end);

#endif
