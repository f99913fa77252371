/* execute.c - see execute.h. */
#include "server/commands/execute.h"

#include "server/commands/check.h"
#include "server/commands/measure.h"
#include "server/commands/monitor.h"
#include "server/commands/outputs.h"
#include "server/commands/queue.h"
#include "server/commands/reply.h"
#include "server/commands/strangers.h"

/* Keeps what few commands need out of the code that all run. */
#define RARE __attribute__((cold))

/* ---- refusing, queueing ---- */

/* An EXEC that is refused ends its transaction. */
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

/* ---- CLIENT REPLY ---- */

/* Whether it silences the command that has just run. SKIP silences one command, so the state moves
 * on. */
RARE static bool take_silence(struct session *session) {
  bool silent = session->replies == SESSION_REPLIES_OFF || session->replies == SESSION_REPLIES_SKIP;
  if (session->replies == SESSION_REPLIES_SKIP) session->replies = SESSION_REPLIES_ON;
  if (session->replies == SESSION_REPLIES_SKIP_NEXT) session->replies = SESSION_REPLIES_SKIP;
  return silent;
}

/*
 * While CLIENT REPLY is OFF or SKIP, replies go to a separate output. Messages that reach the
 * session from others, or from itself (PUBLISH to its own channel, MONITOR), are not replies and
 * are sent.
 */
RARE static void settle_aside(struct call *call) {
  struct session *session = call->session;
  struct resp_output *aside = call->reply->out;
  const struct command *command = call->command;
  /* Subscribing and unsubscribing are answered by pushes, which REPLY does not silence. */
  bool pushed = command != NULL && command->group == GROUP_PUBSUB &&
                (command->flags & COMMAND_PUBSUB) != 0 && !reply_is_error(call->reply, 0);
  bool silent = take_silence(session);
  session->silent = silent && session_blocked(session);
  size_t moved =
      !silent || pushed ? resp_output_move(session_writer(session, call->worker).out, aside) : 0;
  outputs_unpin(call->worker, aside, moved);
  resp_output_deinit(aside);
}

/* Whether errors from before a command could run are sent to the session. */
static bool hears_reply(struct session *session) {
  return session->replies == SESSION_REPLIES_ON || !take_silence(session);
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
  bool aside = session->replies != SESSION_REPLIES_ON;
  if (aside) reply.out = &worker->aside;
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
  session->active_ms = worker->now_ms;
  run(&call, before);
  if (session->stranger && reply_is_error(&reply, before)) strangers_note_error(worker, session);
  if (aside) {
    settle_aside(&call);
  } else if (session->replies != SESSION_REPLIES_ON) {
    take_silence(session); /* CLIENT REPLY itself */
  }
}

void execute_toobig(struct worker *worker, struct session *session, size_t index, size_t limit) {
  struct resp_writer reply = session_writer(session, worker);
  if (hears_reply(session)) check_reply_toobig(&reply, index, limit);
  if (session->stranger) strangers_note_error(worker, session);
  queue_spoil(session);
}

void execute_malformed(struct worker *worker, struct session *session, const char *error) {
  struct resp_writer reply = session_writer(session, worker);
  worker->counters.protocol_errors++;
  if (hears_reply(session)) resp_write_errorf(&reply, "ERR Protocol error: %s", error);
}
