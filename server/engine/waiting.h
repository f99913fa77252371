/*
 * waiting.h - the waiters of a record: joining its queues, leaving them, answers.
 *
 *     claim    claimers --> waiter <-> waiter     CLAIM ... WAIT: wants to run it
 *              readers  --> waiter                WAIT: wants the response
 *     engine   ready[loop] --> waiter             has its answer, complete
 *
 * Knows when a wait ends, not what happens to the record: grant.h hands it over.
 */
#ifndef IDEM_SERVER_ENGINE_WAITING_H
#define IDEM_SERVER_ENGINE_WAITING_H

#include "server/engine/record.h"
#include "server/engine/waiter_state.h"

/* What a caller waits for. */
struct waiting_request {
  struct waiter as; /* claims, hold, lease_ms, binding, context and loop_id are set */
  struct span owner;
  int64_t wait_ms;
};
/* QUEUED, with the waiter in *answer; BUSYKEY, NO_MEMORY. */
void waiting_join(struct engine *engine, struct record *record,
                  const struct waiting_request *request, int64_t now_ms,
                  struct engine_answer *answer);
/* Takes it out of its queue and its record. */
void waiting_leave(struct engine *engine, struct waiter *waiter);

/* Puts a waiter that has its answer and is in no queue into the ready list of its loop. */
void waiting_make_ready(struct engine *engine, struct waiter *waiter);
/* All waiters of the record get this answer; each takes a reference to its blobs. */
void waiting_share(struct engine *engine, struct record *record,
                   const struct engine_answer *answer);
/* The same, with the answer from the record. */
void waiting_answer_all(struct engine *engine, struct record *record, enum rules_verdict verdict,
                        int64_t now_ms);

/* The wait ended at this time: BUSY. */
void waiting_time_out(struct engine *engine, struct waiter *waiter, int64_t at_ms);
/* The same for all waits that had ended at past_ms (rules_is_over). Walks the queues only if a wait
 * may have ended that tick.h has not seen: at most once per deadline. */
void waiting_time_out_all(struct engine *engine, struct claim *claim, int64_t past_ms);

#endif
