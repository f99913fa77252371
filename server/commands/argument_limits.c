/* argument_limits.c - see argument_limits.h. */
#include "server/commands/argument_limits.h"

/* No command has a longer name. Names up to this are accepted, so that the error can quote them. */
#define NAME_LIMIT 1024u

size_t argument_limits_of(const struct worker *worker, const struct command *command,
                          const struct span *argv, size_t index) {
  const struct options *options = worker->options;
  if (index == 0) return NAME_LIMIT;
  if (command == NULL) return (size_t)options->limits.body_bytes;
  if (command->limit != NULL) return command->limit(options, argv, index);
  return (size_t)(command_is_key(command, index, SIZE_MAX) ? options->limits.key_bytes
                                                           : options->limits.body_bytes);
}

size_t argument_limits_argument(void *context, const struct span *argv, size_t index) {
  const struct worker *worker = context;
  if (index == 0) return NAME_LIMIT;
  return argument_limits_of(worker, lookup_find(worker->commands, argv[0]), argv, index);
}

const char *argument_limits_name(const struct command *command, const struct span *argv,
                                 size_t index) {
  if (command == NULL || index == 0) return "argument";
  if (command_is_key(command, index, SIZE_MAX)) return "key";
  if ((command->flags & COMMAND_IDEM) == 0) return "argument";
  return (command->flags & COMMAND_ADOPTS_BODY) != 0 ? request_store_argument_name(argv, index)
                                                     : request_argument_name(argv, index);
}

const char *argument_limits_name_argument(void *context, const struct span *argv, size_t index) {
  const struct worker *worker = context;
  if (index == 0) return "argument";
  return argument_limits_name(lookup_find(worker->commands, argv[0]), argv, index);
}

/* Not inlined: only called for long arguments. */
__attribute__((noinline)) size_t argument_limits_first_over(const struct worker *worker,
                                                            const struct command *command,
                                                            const struct span *argv, size_t argc) {
  size_t i = 0;
  while (i < argc && (argv[i].len <= worker->unasked_bytes ||
                      argv[i].len <= argument_limits_of(worker, command, argv, i)))
    i++;
  return i;
}

bool argument_limits_is_adoptable(const struct worker *worker, const struct span *argv,
                                  size_t index) {
  if (index != COMMAND_BODY) return false;
  const struct command *command = lookup_find(worker->commands, argv[0]);
  return command != NULL && (command->flags & COMMAND_ADOPTS_BODY) != 0;
}

/* An escaped key is twice as long. A longer pattern only costs time. */
size_t argument_limits_pattern(const struct options *options, const struct span *argv,
                               size_t index) {
  (void)argv;
  (void)index;
  return 2 * (size_t)options->limits.key_bytes;
}
