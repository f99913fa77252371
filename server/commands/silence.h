/*
 * silence.h - CLIENT REPLY: whether a session gets the replies to its commands.
 *
 *     replies ON                   -> reply goes to the session's output
 *     replies OFF, SKIP, SKIP_NEXT -> reply goes to worker.aside -> dropped, or sent after all
 *
 * A push is not a reply, and must not be written to the reply of a call but to the session
 * (session_writer): messages, lines of MONITOR and the confirmations of subscriptions are sent
 * whatever the state is. It must not know which commands there are.
 *
 * Invariants: worker.aside is empty between two commands; session->silent only while the session is
 * blocked. Each function is called by the worker's own thread; no shard is locked.
 */
#ifndef IDEM_SERVER_COMMANDS_SILENCE_H
#define IDEM_SERVER_COMMANDS_SILENCE_H

#include "server/commands/call.h"

/* Before a command: turns the writer of its reply aside if the reply may be silenced. Returns
 * whether it did. */
static inline bool silence_begin(struct worker *worker, const struct session *session,
                                 struct resp_writer *reply) {
  bool aside = session->replies != SESSION_REPLIES_ON;
  if (aside) reply->out = &worker->aside;
  return aside;
}

/* After a command, with what silence_begin returned: drops what was written aside or sends it. If
 * the command has blocked its session, the reply that comes later is treated alike. */
void silence_settle(struct call *call);
static inline void silence_end(struct call *call, bool aside) {
  if (aside || call->session->replies != SESSION_REPLIES_ON) silence_settle(call);
}

/* The same for the error of a command that could not be read, and that counts as that command; and
 * silence_drop afterwards if it was turned aside. */
bool silence_begin_unread(struct worker *worker, struct session *session,
                          struct resp_writer *reply);

/* The same for the reply of the command that blocked the session. */
static inline bool silence_begin_late(struct worker *worker, struct session *session,
                                      struct resp_writer *reply) {
  bool silent = session->silent;
  session->silent = false;
  if (silent) reply->out = &worker->aside;
  return silent;
}
/* Drops what was written aside. Its errors are counted as if they had been sent, as in Redis. */
void silence_drop(struct worker *worker);

/* CLIENT REPLY ON|OFF|SKIP. */
void silence_command(struct call *call);

#endif
