/*
 * deliver.h - sends the engine's answers to the sessions that asked.
 *
 * Which fields an answer has stands in rules/answer.h; here they become RESP, at once or when a
 * waiter is ready. It must not know the request. Each function belongs to the thread of the worker
 * whose session it is.
 *
 * A waiter that was granted a claim stays in session->waiter until the network knows that the reply
 * was written (deliver_written) or was not (setup_session_deinit takes the grant back).
 */
#ifndef IDEM_SERVER_COMMANDS_DELIVER_H
#define IDEM_SERVER_COMMANDS_DELIVER_H

#include "server/commands/worker.h"
#include "server/engine/engine_answer.h"

/* Writes an answer; not ENGINE_QUEUED, which is not one. The shard, whose bodies the answer may
 * refer to, is locked. A large body is sent from where it lies, without a copy. */
void deliver_answer(struct resp_writer *reply, struct shard *shard,
                    const struct engine_answer *answer);

/* A waiter of this worker is ready: its session gets the answer and waits no more. The waiter is
 * settled unless it was granted a claim. No shard may be locked. */
void deliver_waiter(struct worker *worker, struct waiter *waiter);

/* Call when all replies of the session have been written: a grant among them then counts. No shard
 * may be locked. */
void deliver_written(struct session *session, struct worker *worker);

#endif
