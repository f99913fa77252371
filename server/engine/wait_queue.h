/*
 * wait_queue.h - the waiters of a record: joining its queues, leaving them, answers.
 *
 *     claim    claimers --> waiter <-> waiter     CLAIM ... WAIT: wants to run it
 *              readers  --> waiter                WAIT: wants the response
 *     engine   ready[loop] --> waiter             has its answer, complete
 *
 * Knows when a wait ends, not what happens to the record: grant.h hands it over. Invariants: only a
 * HELD record has waiters, or a LAPSED one that is held back (state.h); a waiter's timer is armed
 * while it is WAITING, and then only.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_WAIT_QUEUE_H
#define IDEM_SERVER_ENGINE_WAIT_QUEUE_H

#include "server/engine/record.h"
#include "server/engine/waiter_state.h"

/* What a caller waits for. Borrowed for the call. */
struct wait_queue_request {
  struct waiter as; /* the caller sets claims, hold, user, lease_ms, born, born_ms, binding, context
                       and loop_id; the rest is zero */
  struct span owner; /* is copied; may be absent */
  int64_t wait_ms;   /* above 0 */
};
/* The record is HELD. QUEUED, with the waiter in *answer; BUSYKEY, WAITER_QUOTA, NO_MEMORY: nothing
 * changed. A CLAIM whose owner waits for the record already takes that one's place in the queue,
 * whatever the limits are, and the other one becomes ready with BUSY. */
void wait_queue_join(struct engine *engine, struct record *record,
                     const struct wait_queue_request *request, int64_t now_ms,
                     struct engine_answer *answer);
/* Takes it out of its queue and its record; only while it is WAITING. It is the caller's then, to
 * make ready or to free, and its phase is the caller's to change. */
void wait_queue_leave(struct engine *engine, struct waiter *waiter);

/* Puts a waiter that has its answer and is in no queue into the ready list of its loop. */
void wait_queue_make_ready(struct engine *engine, struct waiter *waiter);
/* All waiters of the record get this answer; each takes a reference to its blobs. */
void wait_queue_share(struct engine *engine, struct record *record,
                      const struct engine_answer *answer);
/* The same, with the answer from the record. */
void wait_queue_answer_all(struct engine *engine, struct record *record, enum rules_verdict verdict,
                           int64_t now_ms);

/* Those that only read. */
void wait_queue_answer_readers(struct engine *engine, struct record *record,
                               enum rules_verdict verdict, int64_t now_ms);

/* Its answer alone is CLAIM_QUOTA. Only while it is WAITING. */
void wait_queue_refuse(struct engine *engine, struct waiter *waiter);
/* Its answer alone is FORGOTTEN. Only while it is WAITING. */
void wait_queue_forget(struct engine *engine, struct waiter *waiter, int64_t horizon_ms);
/* The wait ended at at_ms: it becomes ready with BUSY, as of then. Only while it is WAITING. */
void wait_queue_time_out(struct engine *engine, struct waiter *waiter, int64_t at_ms);
/* Ends the waits of all CLAIMs for the record so. */
void wait_queue_end_claims(struct engine *engine, struct record *record, int64_t at_ms);
/* wait_queue_time_out for all waits that had ended at past_ms (rules_is_over). Walks the queues
 * only if a wait may have ended that tick.h has not seen: at most once per deadline. */
void wait_queue_time_out_all(struct engine *engine, struct claim *claim, int64_t past_ms);

#endif
