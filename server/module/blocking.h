/*
 * blocking.h - a client begins to wait, and what the host says of it while it does.
 *
 * The host blocks it on the key, so that it is redirected when its slot leaves, told when the
 * cluster is down, and can be unblocked by an operator. It never becomes ready by the host's word:
 * who has an answer gives it (waiters_answer).
 */
#ifndef IDEM_SERVER_MODULE_BLOCKING_H
#define IDEM_SERVER_MODULE_BLOCKING_H

#include "server/module/visit.h"

/* Whether a client may wait now: not in a transaction, nor in a script. */
bool blocking_is_allowed(RedisModuleCtx *ctx);
/*
 * The client of the visit waits for its record, which is HELD; of `as` the caller sets what it
 * claims, and its owner; for wait_ms. One that claims with the OWNER of another one that waits
 * takes its place. False: too many wait; nothing changed.
 */
bool blocking_begin(struct visit *visit, const struct waiter *as, int64_t wait_ms);

#endif
