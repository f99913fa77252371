/* silence.c - see silence.h. */
#include "server/commands/silence.h"

#include "proto/rare.h"
#include "server/commands/outputs.h"
#include "server/commands/reply.h"

/* Whether the command that has just run is silenced. SKIP silences one command, so the state moves
 * on. */
RARE static bool take(struct session *session) {
  bool silent = session->replies == SESSION_REPLIES_OFF || session->replies == SESSION_REPLIES_SKIP;
  if (session->replies == SESSION_REPLIES_SKIP) session->replies = SESSION_REPLIES_ON;
  if (session->replies == SESSION_REPLIES_SKIP_NEXT) session->replies = SESSION_REPLIES_SKIP;
  return silent;
}

RARE void silence_settle(struct call *call) {
  struct session *session = call->session;
  struct resp_output *out = call->reply->out;
  bool silent = take(session);
  if (out != &call->worker->aside) return; /* CLIENT REPLY itself */
  session->silent = silent && session_blocked(session);
  size_t moved = silent ? 0 : resp_output_move(session_writer(session, call->worker).out, out);
  outputs_unpin(call->worker, out, moved);
  resp_output_deinit(out);
}

bool silence_begin_unread(struct worker *worker, struct session *session,
                          struct resp_writer *reply) {
  bool silent = session->replies != SESSION_REPLIES_ON && take(session);
  if (silent) reply->out = &worker->aside;
  return silent;
}

void silence_drop(struct worker *worker) {
  outputs_unpin(worker, &worker->aside, 0);
  resp_output_deinit(&worker->aside);
}

void silence_command(struct call *call) {
  struct span mode = call->argv[2];
  if (span_is(mode, "ON")) {
    call->session->replies = SESSION_REPLIES_ON;
    reply_ok(call);
  } else if (span_is(mode, "OFF")) {
    call->session->replies = SESSION_REPLIES_OFF;
  } else if (span_is(mode, "SKIP")) {
    if (call->session->replies != SESSION_REPLIES_OFF)
      call->session->replies = SESSION_REPLIES_SKIP_NEXT;
  } else {
    reply_syntax_error(call);
  }
}
