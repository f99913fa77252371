/* task.c - see task.h. */
#include "server/commands/task.h"

#include <stdlib.h>

#include "server/base/clock.h"
#include "server/commands/latency.h"
#include "server/commands/output_limit.h"
#include "server/commands/reply.h"
#include "server/commands/silence.h"
#include "server/commands/slowlog.h"

bool task_over(const struct task *task) {
  return task->slice_end_ns != UINT64_MAX && clock_monotonic_ns() >= task->slice_end_ns;
}

/* True: nothing is left to do. */
static bool run_slice(struct call *call, struct task *task) {
  uint64_t start_ns = clock_monotonic_ns();
  task->slice_end_ns = call->in_exec ? UINT64_MAX : start_ns + TASK_SLICE_NS;
  bool done = task->step(call, task);
  task->spent_ns += clock_monotonic_ns() - start_ns;
  return done;
}

void task_begin(struct call *call, struct task *task) {
  struct session *session = call->session;
  list_init(&task->link);
  task->command = call->command;
  task->session = session;
  if (run_slice(call, task)) {
    task->reply(call, task);
    task->destroy(call->worker, task);
    return;
  }
  struct session_details *details = session_details(session);
  if (details == NULL) {
    reply_no_memory(call);
    task->destroy(call->worker, task);
    return;
  }
  task->begun_ns = task->spent_ns; /* which is measured with the command */
  details->task = task;
  session->working = true;
  list_append(&call->worker->tasks, &task->link);
}

void task_abandon(struct task *task) {
  task->session->details->task = NULL;
  task->session->working = false;
  task->session = NULL;
}

/* Notes the task like a slow command of its own; its arguments are gone. */
static void note_time(const struct call *call, const struct task *task) {
  struct worker *worker = call->worker;
  worker_stats(worker, task->command)->nanoseconds += task->spent_ns - task->begun_ns;
  latency_note(worker, task->command, 1, task->spent_ns);
  if (!slowlog_wants(worker, task->spent_ns)) return;
  const struct span argv[] = {span_of(task->command->name), SPAN_LITERAL("... (in slices)")};
  struct call whole = *call;
  whole.argv = argv;
  whole.argc = sizeof argv / sizeof argv[0];
  slowlog_note(&whole, task->spent_ns);
}

static void finish(struct call *call, struct task *task) {
  struct session *session = task->session;
  struct resp_writer reply = session_writer(session, call->worker);
  call->reply = &reply;
  bool aside = silence_begin_late(call->worker, session, &reply);
  task->reply(call, task);
  if (aside) silence_drop(call->worker);
  session->active_ms = call->worker->monotonic_ms;
  note_time(call, task);
  task_abandon(task);
}

/* Tasks take turns; but when much has been gathered, only one gathers more, and the others wait. */
static void put_back(struct worker *worker, struct task *task) {
  if (output_limit_crowds(worker, atomic_load(&worker->instance->gathered_bytes))) {
    list_prepend(&worker->tasks, &task->link);
  } else {
    list_append(&worker->tasks, &task->link);
  }
}

/* While readers have much to take, tasks with large replies wait until they take it, or are closed
 * for taking nothing. */
static bool may_run(const struct worker *worker, const struct task *task) {
  return task->session == NULL || !task->large || !output_limit_crowded(worker);
}

static struct task *next_task(const struct worker *worker) {
  for (struct list *node = worker->tasks.next; node != &worker->tasks; node = node->next) {
    struct task *task = LIST_ENTRY(node, struct task, link);
    if (may_run(worker, task)) return task;
  }
  return NULL;
}

bool task_ready(const struct worker *worker) { return next_task(worker) != NULL; }

struct session *task_run(struct worker *worker) {
  struct task *task = next_task(worker);
  if (task == NULL) return NULL;
  list_remove(&task->link);
  struct session *session = task->session;
  struct call call = {
      .worker = worker, .session = session, .command = task->command, .now_ms = worker->now_ms};
  bool done = session == NULL;
  enum command_reach reach = command_reach(task->command, 1);
  call_lock(&call, reach);
  done = done || run_slice(&call, task);
  if (!done) {
    put_back(worker, task);
  } else {
    if (session != NULL) finish(&call, task);
    task->destroy(worker, task);
  }
  call_unlock(&call, reach);
  return done ? session : NULL;
}

void task_destroy_all(struct worker *worker) {
  for (struct list *node; (node = list_pop(&worker->tasks)) != NULL;) {
    struct task *task = LIST_ENTRY(node, struct task, link);
    task->destroy(worker, task);
  }
}
