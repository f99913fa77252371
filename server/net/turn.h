/*
 * turn.h - the end of a turn: what became due, the waiters of it, and the one place at which output
 * leaves.
 *
 *     commands that are queued (serve.h) -> late AUTH errors, evicted strangers -> deadlines
 *     (budget) -> ready waiters (budget) -> connections with commands left (budget) -> slices of
 *     tasks (budget) -> a slice for the journal -> messages -> another look at the sockets, or:
 *     what changed is made durable -> output (budget)
 *
 * Nothing in it lasts longer than its budget, however many are due; what is left is for the next
 * turn.
 */
#ifndef IDEM_SERVER_NET_TURN_H
#define IDEM_SERVER_NET_TURN_H

#include "server/net/conn.h"

/* What each part may take, which bounds how long a short command waits. For output see
 * conn_group_send, for what a connection runs when its bytes arrive turn_share.h. */
#define TURN_TICK_STEPS 1000u /* of the engine: about a millisecond */
#define TURN_WAITERS_NS 2000000u
#define TURN_RESUMED_NS 3000000u
#define TURN_TASKS_NS 1000000u
/* A sync takes as long for one request as for hundreds. So when commands that arrived have appended
 * something, another look at the sockets comes before the commit, as long as each look brings more
 * and the first bytes were read no longer ago than this; so a reply waits one more turn at most.
 * With 50 clients a sync then covers all they ask for; without it, 38 of 50 commands, and 560 of
 * 800 with pipelines of 16. */
#define TURN_AWAITS_NS 1000000u

/* draining: delayed errors are answered at once. */
void turn_end(struct conn_group *group, bool draining);
/* Whether a budget ran out, a connection that ended late in the turn made something due (due_ms:
 * when the next deadline is), or other loops have something for this one. */
bool turn_left_work(struct conn_group *group, int64_t due_ms);

#endif
