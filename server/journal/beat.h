/*
 * beat.h - batches without records: a seal when the log rests, so that a rotten last batch is not
 * taken for a torn one, and a heartbeat, so that a start knows how late it was.
 */
#ifndef IDEM_SERVER_JOURNAL_BEAT_H
#define IDEM_SERVER_JOURNAL_BEAT_H

#include "server/journal/state.h"

#define BEAT_SEAL_NS INT64_C(50000000)         /* after the last append */
#define BEAT_LEASE_NS INT64_C(1000000000)      /* after the last batch, while a lease runs; */
#define BEAT_HEARTBEAT_NS INT64_C(60000000000) /* or none */

/* As journal_beat. */
bool beat_now(struct journal *journal, void *caller, const struct journal_moment *moment,
              bool lease_runs, int64_t now_ns);

#endif
