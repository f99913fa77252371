/*
 * argument_limits.h - how long an argument may be: the one place that combines the rows and the
 * options.
 *
 * The reader calls it while an argument arrives, so that one that is too long is never buffered;
 * check.c calls it again for what the reader could not know. Any thread may call it, except while
 * CONFIG SET runs.
 */
#ifndef IDEM_SERVER_COMMANDS_ARGUMENT_LIMITS_H
#define IDEM_SERVER_COMMANDS_ARGUMENT_LIMITS_H

#include "server/commands/worker.h"

/* The longest argument, in bytes, that argv[index] of the row may be; NULL: there is no row, and a
 * long argument may still be quoted in the error. */
size_t argument_limits_of(const struct worker *worker, const struct command *command,
                          const struct span *argv, size_t index);
/* The same for a reader that has the arguments before it: resp_read_argument_limit, whose context
 * is the worker. */
size_t argument_limits_argument(void *context, const struct span *argv, size_t index);

/* What argv[index] of the row is called in an error. */
const char *argument_limits_name(const struct command *command, const struct span *argv,
                                 size_t index);
/* The same for a reader: resp_read_argument_name. */
const char *argument_limits_name_argument(void *context, const struct span *argv, size_t index);

/* The index of the first argument that is over its limit; argc: all are within theirs. */
size_t argument_limits_first_over(const struct worker *worker, const struct command *command,
                                  const struct span *argv, size_t argc);

/* Whether argv[index], given the arguments before it, is a body that the engine may adopt. */
bool argument_limits_is_adoptable(const struct worker *worker, const struct span *argv,
                                  size_t index);

/* command_limit of the rows that take a glob. */
size_t argument_limits_pattern(const struct options *options, const struct span *argv,
                               size_t index);

#endif
