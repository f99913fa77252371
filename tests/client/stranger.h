/*
 * stranger.h - a server inside the test that answers what it is told to: late, twice, wrongly, in
 * another protocol, or not at all.
 *
 * It understands the framing of commands and nothing else. Runs on a thread of its own, on
 * loopback, on a port of the kernel's choice.
 */
#ifndef IDEM_TESTS_CLIENT_STRANGER_H
#define IDEM_TESTS_CLIENT_STRANGER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define STRANGER_ARGUMENTS 24

struct stranger;

/* A command that has come. */
struct command {
  int connection;                        /* counts from 0 in the order of acceptance */
  int number;                            /* counts from 0, all connections together */
  int count;                             /* of arguments, with the name */
  const char *words[STRANGER_ARGUMENTS]; /* terminated */
};

static inline bool command_is(const struct command *command, const char *name) {
  return strcmp(command->words[0], name) == 0;
}

/* On the stranger's thread: what is said to a command, a string with any protocol in it. NULL:
 * nothing; STRANGER_HANGS_UP: the connection ends without a word. */
#define STRANGER_HANGS_UP ""
typedef const char *stranger_fn(const struct command *command, void *context);

struct stranger *stranger_open(stranger_fn *answer, void *context);
int stranger_port(const struct stranger *stranger);
/* Says something unasked on a connection, from the test's thread. */
void stranger_say(struct stranger *stranger, int connection, const char *text);
/* Commands and connections so far. */
int stranger_commands(struct stranger *stranger);
int stranger_connections(struct stranger *stranger);
void stranger_close(struct stranger *stranger);

#endif
