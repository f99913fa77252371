/*
 * execute.h - runs one command. The network calls it for each that it has read, in their order:
 *
 *     check_postponed -> it has to wait: CLIENT PAUSE
 *     execute_request -> check_call -> refused                               -> reply: an error
 *                                  \-> queue_add (MULTI)                     -> reply: QUEUED
 *                                  \-> measure_call: handler; monitor_note   -> reply, or blocked
 *
 * The reply goes to the session's output, or the session is blocked and the reply comes later
 * (session_blocked). It must not know how bytes become requests, nor when the output is sent.
 *
 * Invariants: the session is not blocked when one is called; a command has one reply, now or later,
 * which CLIENT REPLY may drop (silence.h), or pushes in its place (pub/sub). Each function is
 * called by the worker's own thread; no shard is locked.
 */
#ifndef IDEM_SERVER_COMMANDS_EXECUTE_H
#define IDEM_SERVER_COMMANDS_EXECUTE_H

#include "server/commands/call.h"

/* Runs it. Ask check_postponed first, which this does not. Leaves the latest reading of the clock
 * in request->stamp_ns. Its arguments may go when it returns. */
void execute_request(struct worker *worker, struct session *session, struct request *request);
/* The reader skipped a command whose argument of this name is over its limit: replies the error. */
void execute_toobig(struct worker *worker, struct session *session, const char *name, size_t limit);
/* What was read is no command, or its rest did not arrive in time: replies the error; the caller
 * closes the connection. */
void execute_malformed(struct worker *worker, struct session *session, const char *error);

#endif
