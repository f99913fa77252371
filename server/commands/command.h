/*
 * command.h - what a command is: a row of the table, and what follows from it.
 *
 * Adding a command is one row in command_table.c and one handler. From the row follow arity,
 * authentication, size limits, locks, COMMAND, COMMAND DOCS, HELP, counters and what MULTI does
 * with it. It must not know how a command runs (call.h, execute.h), nor which commands there are.
 */
#ifndef IDEM_SERVER_COMMANDS_COMMAND_H
#define IDEM_SERVER_COMMANDS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/span.h"

struct call;
struct histogram;
struct options;

#define COMMAND_READS 1u
#define COMMAND_WRITES 2u
#define COMMAND_WAITS 4u /* may make its connection wait */
#define COMMAND_ADMIN 8u
#define COMMAND_BEFORE_AUTH 16u
#define COMMAND_FAST 32u
#define COMMAND_PUBSUB 64u      /* allowed while a RESP2 connection is subscribed */
#define COMMAND_NOT_QUEUED 128u /* MULTI does not queue it */
#define COMMAND_NOT_IN_MULTI 256u
#define COMMAND_LOADS_MEMORY 512u /* may be refused at the memory limit */
#define COMMAND_IDEM 1024u        /* also answers to IDEM.<name> */
/* Has subcommands, NAME|SUB; runs alone only if it has a handler. */
#define COMMAND_CONTAINER 2048u
#define COMMAND_ALL_KEYS 4096u /* uses all shards, not those of its keys alone */
#define COMMAND_STOPS 8192u    /* runs while the other loops are paused */
#define COMMAND_SPREADS 16384u /* its cost grows with the number of receivers */
/* EXEC: needs what the queued commands need. One that is refused ends its transaction, and its
 * error says so. */
#define COMMAND_RUNS_QUEUE 32768u
#define COMMAND_ADOPTS_BODY 65536u /* argv[COMMAND_BODY] is kept; the engine may adopt it */
#define COMMAND_INSPECTS 131072u   /* shows tokens: who may run it may settle claims */
/* Leaves less behind: allowed with the last of the journal's room. */
#define COMMAND_FREES 262144u
/* About all keys, or the server: for users that may access every key. */
#define COMMAND_NEEDS_ALL_KEYS 524288u
/* All arguments, or with a fixed number of them the first, are channels, or patterns of channels.
 */
#define COMMAND_CHANNELS 1048576u
#define COMMAND_CHANNEL_PATTERNS 2097152u
/* Has keys, but locks their shards itself, in slices (task.h). */
#define COMMAND_SLICES 4194304u

#define COMMAND_BODY 3u

enum command_group {
  GROUP_IDEM,
  GROUP_GENERIC,
  GROUP_STRING,
  GROUP_PUBSUB,
  GROUP_TRANSACTIONS,
  GROUP_CONNECTION,
  GROUP_SERVER
};

typedef void command_handler(struct call *call);
/* The most bytes of argv[index], given the arguments before it. */
typedef size_t command_limit(const struct options *options, const struct span *argv, size_t index);

struct command {
  const char *name;     /* upper case; a subcommand is "CONTAINER|SUB" */
  command_handler *run; /* NULL for a container */
  int arity; /* with the name; negative: at least so many. A subcommand counts both words */
  unsigned flags;
  int16_t first_key, last_key, step; /* 0 0 0: none; last_key -1: to the end */
  command_limit *limit; /* NULL: key_limit at the key positions, body_limit elsewhere */
  enum command_group group;
  const char *syntax; /* arguments after the name(s), as in "key [LEASE milliseconds] [BIND]" */
  const char *summary;
};
/* The number of a row is computed for every command: without a multiplication. */
_Static_assert(sizeof(struct command) == 64, "a power of 2");

/* What is counted for each row. */
struct command_stats {
  uint64_t calls, rejected, nanoseconds, failed; /* as in histogram.h: the sum apart */
  struct histogram *latency; /* of calls, in nanoseconds; owned; NULL: nothing yet */
};

/* What a command needs to have locked, or paused, while it runs. From the least to the most: a
 * value includes what those before it need, and is compared by order (call.c, queue.c). */
enum command_reach {
  COMMAND_REACHES_NOTHING,
  COMMAND_REACHES_A_KEY,
  COMMAND_REACHES_ALL,   /* shards */
  COMMAND_REACHES_OTHERS /* the other loops, and all shards */
};
/* From the row's keys and flags. Not for COMMAND_RUNS_QUEUE, which needs what the queued commands
 * need. */
static inline enum command_reach command_reach(const struct command *command, size_t argc) {
  if ((command->flags & COMMAND_STOPS) != 0) return COMMAND_REACHES_OTHERS;
  if ((command->flags & COMMAND_ALL_KEYS) != 0) return COMMAND_REACHES_ALL;
  if (command->first_key == 0 || (command->flags & COMMAND_SLICES) != 0)
    return COMMAND_REACHES_NOTHING;
  bool several = command->last_key < 0 && argc > (size_t)command->first_key + 1;
  return several ? COMMAND_REACHES_ALL : COMMAND_REACHES_A_KEY;
}

/* Whether argc, the name included, is a number of arguments that the row allows. */
static inline bool command_takes(const struct command *command, size_t argc) {
  int arity = command->arity;
  return arity >= 0 ? argc == (size_t)arity : argc >= (size_t)-arity;
}

/* Whether argv[index] is a key of the row; argc SIZE_MAX: it is not known yet. */
bool command_is_key(const struct command *command, size_t index, size_t argc);

/* Whether it takes some microseconds at most, whatever the data: it has a key, or is fast without
 * one. NULL (no such command) is refused as quickly. */
#define COMMAND_SHORT_ARGS 8u
static inline bool command_is_short(const struct command *command, size_t argc) {
  if (command == NULL) return true;
  bool bounded = (command->flags & COMMAND_FAST) != 0 || command->first_key == 1;
  return bounded && (command->flags & COMMAND_SPREADS) == 0 && argc <= COMMAND_SHORT_ARGS;
}

const char *command_group_name(enum command_group group);

/* The name as replies show it, in lower case. */
#define COMMAND_NAME_BYTES 64
void command_name(const struct command *command, char name[COMMAND_NAME_BYTES]);

#endif
