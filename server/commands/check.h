/*
 * check.h - everything that can be said of a command before its handler looks at the arguments: is
 * there such a command, with so many arguments, may this session run it now, are the sizes within
 * the limits. The handler, or MULTI's queue, gets only what passed.
 */
#ifndef IDEM_SERVER_COMMANDS_CHECK_H
#define IDEM_SERVER_COMMANDS_CHECK_H

#include "server/commands/call.h"

/* Sets call->command to the row of a subcommand, and the request's bytes when they were not known.
 * False: it is refused, and the reply says why. */
bool check_call(struct call *call);

/* CLIENT PAUSE holds it back: it is to be presented again, as is what comes after it, when the
 * pause ends. */
bool check_postponed(const struct worker *worker, const struct session *session,
                     const struct request *request);

/* Replies that argv[index] is over its limit. */
void check_reply_toobig(struct resp_writer *reply, size_t index, size_t limit);

#endif
