/*
 * permission.h - whether a user may run a command: the command itself, and each key and channel
 * that it names.
 *
 * What a command shows besides is not asked here. It must not know sessions that may do everything
 * (session->restricted), for which nothing is asked at all.
 */
#ifndef IDEM_SERVER_COMMANDS_PERMISSION_H
#define IDEM_SERVER_COMMANDS_PERMISSION_H

#include "server/commands/call.h"

enum permission {
  PERMISSION_GRANTED,
  PERMISSION_NO_COMMAND,
  PERMISSION_NO_KEY,
  PERMISSION_NO_CHANNEL,
  PERMISSION_NOT_ALL_KEYS /* it is about all keys, or about the server */
};

/* A command as it would run: its row, as of a subcommand, and its arguments. */
struct permission_question {
  const struct user *user;
  const struct lookup *commands;
  const struct command *command;
  const struct span *argv;
  size_t argc;
};

/* *index: of the argument that is not allowed; 0 when none is to blame. */
enum permission permission_of(const struct permission_question *question, size_t *index);

/* The same for a call by its session's user. False: an error is replied, and the refusal noted. */
bool permission_check(struct call *call);
/* The same for a command of EXEC's queue, which was allowed when it was queued. */
bool permission_check_queued(struct call *call);

#endif
