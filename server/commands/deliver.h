/*
 * deliver.h - the engine's answers, on their way to those who asked.
 *
 * Which fields an answer has stands in rules/answer.h; here they become RESP, at once or when a
 * waiter is ready. It must not know what was asked. Each function belongs to the thread of the
 * worker whose session it is.
 *
 * A waiter that was granted a claim stays in session->waiter until the network knows that the reply
 * was written (deliver_written) or was not (setup_session_deinit takes the grant back).
 */
#ifndef IDEM_SERVER_COMMANDS_DELIVER_H
#define IDEM_SERVER_COMMANDS_DELIVER_H

#include "server/commands/worker.h"
#include "server/engine/engine_answer.h"

/* Writes an answer; not ENGINE_QUEUED, which is none yet. The shard, whose bodies the answer may
 * show, is locked. A large body is sent from where it lies. */
void deliver_answer(struct resp_writer *reply, struct shard *shard,
                    const struct engine_answer *answer);

/* A waiter of this worker is ready: its session gets the answer and waits no more. The waiter is
 * settled unless it was granted a claim. No shard may be locked. */
void deliver_waiter(struct worker *worker, struct waiter *waiter);

/* All that the session was to be told has been written: a grant among it counts. No shard may be
 * locked. */
void deliver_written(struct session *session, struct worker *worker);

#endif
