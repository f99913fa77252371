/* execute.c - see execute.h. */
#include "server/commands/execute.h"

#include "proto/rare.h"
#include "server/commands/check.h"
#include "server/commands/measure.h"
#include "server/commands/monitor.h"
#include "server/commands/queue.h"
#include "server/commands/reply.h"
#include "server/commands/silence.h"
#include "server/commands/strangers.h"

/* ---- refusing, queueing ---- */

RARE static void note_refusal(const struct call *call) {
  bool runs_queue = call->command != NULL && (call->command->flags & COMMAND_RUNS_QUEUE) != 0;
  if (call->command != NULL) worker_stats(call->worker, call->command)->rejected++;
  if (runs_queue) {
    queue_discard(call->session);
  } else {
    queue_spoil(call->session);
  }
}

RARE static void enqueue(struct call *call) {
  const struct queue_command command = {
      .command = call->command, .argv = call->argv, .argc = call->argc};
  switch (queue_add(call->worker, call->session, &command)) {
    case QUEUE_TAKEN: resp_write_simple(call->reply, "QUEUED"); return;
    case QUEUE_FULL:
      resp_write_errorf(call->reply, "ERR a transaction may take %u bytes, and %zu for bodies",
                        QUEUE_MAX_BYTES, (size_t)call->worker->options->limits.body_bytes);
      return;
    case QUEUE_ALL_FULL:
      resp_write_error(call->reply,
                       "ERR all transactions and half-received commands together reach "
                       "client-input-total");
      return;
    case QUEUE_NO_MEMORY:
    default: reply_no_memory(call); return;
  }
}

/* ---- running ---- */

static inline void run(struct call *call, size_t before) {
  if (!check_call(call)) {
    note_refusal(call);
  } else if (session_queue(call->session) != NULL &&
             (call->command->flags & COMMAND_NOT_QUEUED) == 0) {
    enqueue(call);
  } else {
    measure_call(call);
    measure_failure(call, before);
    monitor_note(call);
  }
}

void execute_request(struct worker *worker, struct session *session, struct request *request) {
  struct resp_writer reply = session_writer(session, worker);
  bool aside = silence_begin(worker, session, &reply);
  struct call call = {
      .worker = worker,
      .session = session,
      .command = request->command,
      .argv = request->argv,
      .argc = request->argc,
      .name = request->name,
      .request = request,
      .reply = &reply,
      .now_ms = worker->now_ms,
  };
  size_t before = reply.out->len;
  session->active_ms = worker->monotonic_ms;
  run(&call, before);
  if (session->stranger && reply_is_error(&reply, before)) strangers_note_error(worker, session);
  silence_end(&call, aside);
}

void execute_toobig(struct worker *worker, struct session *session, const char *name,
                    size_t limit) {
  struct resp_writer reply = session_writer(session, worker);
  bool aside = silence_begin_unread(worker, session, &reply);
  check_reply_toobig(&reply, name, limit);
  if (aside) silence_drop(worker);
  if (session->stranger) strangers_note_error(worker, session);
  queue_spoil(session);
}

void execute_malformed(struct worker *worker, struct session *session, const char *error) {
  struct resp_writer reply = session_writer(session, worker);
  worker->counters.protocol_errors++;
  bool aside = silence_begin_unread(worker, session, &reply);
  resp_write_errorf(&reply, "ERR Protocol error: %s", error);
  if (aside) silence_drop(worker);
}
