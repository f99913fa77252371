/*
 * measure.h - how long commands take: counters of their rows, SLOWLOG.
 *
 * Reading the clock costs a tenth of a short command. Consecutive short commands of one kind and
 * one session are measured together (a timed run): the clock is read when another kind follows,
 * after every MEASURE_TOGETHER of them, and at the end of the batch. A command that may take long
 * is measured alone.
 *
 * It must not know what a command does, nor who watches (monitor.h).
 *
 * Invariants: a timed run is one session's and one row's (worker.timed_run); the counters, and
 * SLOWLOG, include it only after it ends (measure_end). Each function is called by the worker's own
 * thread; no shard is locked, except for the commands of an EXEC.
 */
#ifndef IDEM_SERVER_COMMANDS_MEASURE_H
#define IDEM_SERVER_COMMANDS_MEASURE_H

#include "server/commands/reply.h"

#define MEASURE_TOGETHER 32u

/* Runs the handler (call_run) and counts it. The request has the latest reading of the clock,
 * before and afterwards. */
void measure_call(struct call *call);
/* The same, measured alone: for the commands of an EXEC. */
void measure_alone(struct call *call);

/* Counts a call that has run as failed, if its reply, which began at `before`, is an error. */
static inline void measure_failure(const struct call *call, size_t before) {
  if (reply_is_error(call->reply, before)) worker_stats(call->worker, call->command)->failed++;
}

/* CONFIG RESETSTAT: sets what this worker has counted to 0. The other loops are paused. */
void measure_reset(struct worker *worker);

/* Ends the timed run. Call it after the commands of one connection in one turn, and before its
 * session may end. Returns the time; 0: there was no run. */
uint64_t measure_end(struct worker *worker);

#endif
