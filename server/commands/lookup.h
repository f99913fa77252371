/*
 * lookup.h - from the name on the wire to the row of the table.
 *
 * Made once from the rows, which it borrows; read by all threads from then on. Names are matched
 * without regard to case. It must not know what a command does.
 */
#ifndef IDEM_SERVER_COMMANDS_LOOKUP_H
#define IDEM_SERVER_COMMANDS_LOOKUP_H

#include "server/commands/command.h"

#define LOOKUP_SLOTS 512u /* a power of two, at least twice the rows */

/* A name as two numbers (span_letters), so that it is found and compared in a few steps, for every
 * command. */
struct lookup_name {
  uint64_t head, tail;
  size_t len;
};

struct lookup_slot {
  struct lookup_name name;
  const struct command *command; /* NULL: empty */
};

/* Open addressing, over names and over subcommands. */
struct lookup {
  const struct command *rows; /* whose number is their place here */
  size_t count;
  struct lookup_slot names[LOOKUP_SLOTS];
  const struct command *subcommands[LOOKUP_SLOTS];
};

/* Of at most LOOKUP_SLOTS / 2 rows. NULL when memory is short. */
struct lookup *lookup_create(const struct command *rows, size_t count);
void lookup_destroy(struct lookup *lookup); /* takes NULL */

/* The row of a command, with or without the prefix IDEM.; NULL: there is none. */
const struct command *lookup_find(const struct lookup *lookup, struct span name);
/* The row of a subcommand of the container `name`. */
const struct command *lookup_find_sub(const struct lookup *lookup, struct span name,
                                      struct span sub);

#endif
