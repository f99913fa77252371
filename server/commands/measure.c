/* measure.c - see measure.h. */
#include "server/commands/measure.h"

#include <stdio.h>
#include <string.h>

#include "proto/rare.h"
#include "server/base/clock.h"
#include "server/commands/latency.h"
#include "server/commands/slowlog.h"
#include "server/commands/waits.h"

#define OUT_OF_LINE __attribute__((noinline))

#define SHORT_BYTES 4096u      /* of all arguments */
#define CLOCK_GRAIN_NS 1000000 /* of worker.now_ms */
/* With a lower threshold of the slowlog, each command is measured alone. */
#define EACH_COUNTS_US 1000

static bool may_take_long(const struct call *call) {
  /* -1, which turns the slowlog off, is the largest unsigned number. */
  bool each_counts = (uint64_t)call->worker->options->slowlog_slower_us < EACH_COUNTS_US;
  bool fast = (call->command->flags & (COMMAND_FAST | COMMAND_SPREADS)) == COMMAND_FAST;
  return !fast || each_counts || call->argc > COMMAND_SHORT_ARGS ||
         call->request->bytes > SHORT_BYTES;
}

static void count(struct worker *worker, const struct command *command, unsigned calls,
                  uint64_t spent_ns) {
  struct command_stats *stats = worker_stats(worker, command);
  stats->nanoseconds += spent_ns;
  stats->calls += calls;
  worker->counters.commands += calls;
}

void measure_reset(struct worker *worker) {
  latency_reset(worker);
  waits_reset(worker);
  memset(worker->stats, 0, worker->commands->count * sizeof *worker->stats);
  *worker->errors = (struct resp_errors){0};
  worker->counters = (struct worker_counters){0};
}

/* One command of the timed run was slow; which one is not known. */
RARE static void note_slow(const struct worker_timed_run *run, struct worker *worker,
                           uint64_t spent_ns) {
  char text[COMMAND_NAME_BYTES];
  int len = snprintf(text, sizeof text, "... (one of %u measured together)", run->calls);
  const struct span argv[] = {span_of(run->command->name), {text, (size_t)len}};
  const struct call call = {
      .worker = worker,
      .session = run->session,
      .command = run->command,
      .argv = argv,
      .argc = 2,
      .now_ms = worker->now_ms,
  };
  slowlog_note(&call, spent_ns);
}

/* Returns the time. */
OUT_OF_LINE static uint64_t end_run(struct worker *worker) {
  struct worker_timed_run *run = &worker->timed_run;
  uint64_t now_ns = clock_monotonic_ns();
  uint64_t spent_ns = now_ns - run->start_ns;
  count(worker, run->command, run->calls, spent_ns);
  latency_note(worker, run->command, run->calls, spent_ns);
  if (slowlog_wants(worker, spent_ns)) note_slow(run, worker, spent_ns);
  run->calls = 0;
  return now_ns;
}

uint64_t measure_end(struct worker *worker) {
  return worker->timed_run.calls > 0 ? end_run(worker) : 0;
}

RARE void measure_alone(struct call *call) {
  struct worker *worker = call->worker;
  if (worker->timed_run.calls > 0) call->request->stamp_ns = end_run(worker);
  if (call->request->stamp_ns == 0) call->request->stamp_ns = clock_monotonic_ns();
  uint64_t start_ns = call->request->stamp_ns; /* an EXEC's commands change stamp_ns */
  call_run(call);
  call->request->stamp_ns = clock_monotonic_ns();
  uint64_t spent_ns = call->request->stamp_ns - start_ns;
  count(worker, call->command, 1, spent_ns);
  if (!call->session->working) latency_note(worker, call->command, 1, spent_ns);
  if (slowlog_wants(worker, spent_ns)) slowlog_note(call, spent_ns);
  /* Later commands of this turn must use the new time. */
  bool time_has_passed = spent_ns >= CLOCK_GRAIN_NS && !call->in_exec;
  if (time_has_passed && worker->instance->see_time != NULL) worker->instance->see_time(worker);
}

static inline void measure_together(struct call *call) {
  struct worker *worker = call->worker;
  struct worker_timed_run *run = &worker->timed_run;
  bool other = run->command != call->command || run->calls == MEASURE_TOGETHER ||
               run->session != call->session;
  if (other && run->calls > 0) call->request->stamp_ns = end_run(worker);
  if (run->calls++ == 0) {
    if (call->request->stamp_ns == 0) call->request->stamp_ns = clock_monotonic_ns();
    run->start_ns = call->request->stamp_ns;
    run->command = call->command;
    run->session = call->session;
  }
  call_run(call);
}

void measure_call(struct call *call) {
  if (may_take_long(call)) {
    measure_alone(call);
  } else {
    measure_together(call);
  }
}
