/*
 * waiter.h - a caller that waits, from ENGINE_QUEUED until it is settled, taken back or cancelled.
 *
 *     WAITING --> GRANTED ----> ANSWERED     the grant was acted on: it cannot be taken back
 *        |           |             |
 *        |           +-- settle, take_back, cancel --> freed
 *        +------------> ANSWERED --+                   (cancel also while it is WAITING)
 *
 * One that is ready has its complete answer: a grant happens at the moment of the hand-over, so
 * that no other caller can come between.
 */
#ifndef IDEM_SERVER_ENGINE_WAITER_H
#define IDEM_SERVER_ENGINE_WAITER_H

#include <stdint.h>

#include "server/engine/engine_answer.h"

struct engine;
struct waiter;

/*
 * The loop's next waiter that has its answer, oldest first; NULL when there is none. The caller
 * writes the answer to its connection and then settles it, or, when the connection died before the
 * answer could be written, takes it back: a grant is undone as if it had not been (attempt not
 * counted, its token not used again) and the next waiter is granted. Both free the waiter. Between
 * waiter_next_ready and waiter_settle the engine may be used freely.
 */
struct waiter *waiter_next_ready(struct engine *engine, unsigned loop_id);
/* A bit for each loop that has such waiters. */
uint64_t waiter_ready_loops(const struct engine *engine);
const struct engine_answer *waiter_answer(const struct waiter *waiter);
/* The context that the caller gave with its request. */
void *waiter_context(const struct waiter *waiter);

void waiter_settle(struct engine *engine, struct waiter *waiter);
void waiter_take_back(struct engine *engine, struct waiter *waiter, int64_t now_ms);
/* Call when the connection is gone, whether the waiter still waits or has its answer already: it is
 * never granted, or the grant is taken back. Frees it. */
void waiter_cancel(struct engine *engine, struct waiter *waiter, int64_t now_ms);
/* Ends its wait now: it becomes ready with BUSY (drain, CLIENT UNBLOCK). Does nothing when it is
 * ready already. */
void waiter_expire(struct engine *engine, struct waiter *waiter, int64_t now_ms);

#endif
