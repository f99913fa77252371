/*
 * check.h - the checks that come before a handler looks at the arguments: whether there is such a
 * command, with so many arguments, whether this session may run it now, and whether the sizes are
 * within the limits. The handler, or MULTI's queue, gets only what passed.
 */
#ifndef IDEM_SERVER_COMMANDS_CHECK_H
#define IDEM_SERVER_COMMANDS_CHECK_H

#include "server/commands/call.h"

/* Sets call->command to the row of a subcommand, and the request's bytes when they were not known.
 * False: it is refused, and the error is replied. */
bool check_call(struct call *call);

/* Whether CLIENT PAUSE delays it: present it and all later commands again after the pause. Never
 * while the server drains. */
bool check_postponed(const struct worker *worker, const struct session *session,
                     const struct request *request);

/* Replies that argv[index] is over its limit. */
void check_reply_toobig(struct resp_writer *reply, const char *name, size_t limit);

#endif
