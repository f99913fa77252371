/*
 * helper.h - what is done beside the loops, by a thread of the journal's: room ahead, removing
 * files, the sync once a second. A commit never waits for more of it than for one step of making
 * room, and only if there is none.
 */
#ifndef IDEM_SERVER_JOURNAL_HELPER_H
#define IDEM_SERVER_JOURNAL_HELPER_H

#include "server/journal/state.h"

#define HELPER_SYNC_NS INT64_C(1000000000)
#define HELPER_RETRY_NS INT64_C(500000000) /* after room could not be made */

/* False: no thread could be made. */
bool helper_start(struct journal *journal);
/* Before state_destroy; does nothing if it was not started. */
void helper_stop(struct journal *journal);
/* One step. True: there is more to do. `sync`: what was not awaited is synced now, whenever it was
 * last. */
bool helper_step(struct journal *journal, bool sync);

#endif
