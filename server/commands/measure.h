/*
 * measure.h - how long commands take: counters of their rows, SLOWLOG.
 *
 * The clock costs a tenth of a short command. Short ones of one kind in a row, of one session, are
 * measured together (a timed run): the clock is read when another kind comes, after every
 * MEASURE_TOGETHER of them, and at the end of the batch. What may take long is measured alone.
 *
 * What a timed run counts is in the counters only after it ends (measure_end).
 */
#ifndef IDEM_SERVER_COMMANDS_MEASURE_H
#define IDEM_SERVER_COMMANDS_MEASURE_H

#include "server/commands/reply.h"

#define MEASURE_TOGETHER 32u

/* Runs the handler (call_run) and counts it. The request has the latest reading of
 * the clock before and after. */
void measure_call(struct call *call);
/* The same, measured alone: for what EXEC runs. */
void measure_alone(struct call *call);

/* Counts a call that has run as failed, if its reply, which began at `before`, is an error. */
static inline void measure_failure(const struct call *call, size_t before) {
  if (reply_is_error(call->reply, before)) worker_stats(call->worker, call->command)->failed++;
}

/* Ends the timed run. After the commands of one connection in one turn, and before its session may
 * end. */
void measure_end(struct worker *worker);

#endif
