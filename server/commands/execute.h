/*
 * execute.h - runs one command. The network calls it for each that it has read:
 *
 *     request -> check_call -> queue_add (MULTI)                      -> reply: QUEUED
 *                          \-> measure_call -> call_run -> handler    -> reply, or session blocked
 *                          \-> monitor_note
 *
 * The reply goes to the session's output, or the session is blocked and the reply comes later
 * (session_blocked). Each function is called by the worker's own thread; no shard is locked.
 */
#ifndef IDEM_SERVER_COMMANDS_EXECUTE_H
#define IDEM_SERVER_COMMANDS_EXECUTE_H

#include "server/commands/call.h"

/* Runs it. Leaves the latest reading of the clock in request->stamp_ns. */
void execute_request(struct worker *worker, struct session *session, struct request *request);
/* The reader skipped a command whose argv[index] is over its limit: replies the error. */
void execute_toobig(struct worker *worker, struct session *session, size_t index, size_t limit);
/* The reader found the framing broken: replies the error; the caller closes the connection. */
void execute_malformed(struct worker *worker, struct session *session, const char *error);

#endif
