/*
 * users.h - a table of users, by name; the default user is always there.
 *
 * It knows commands only as the rows that it is given: a name, categories, and under which other
 * names it answers. How a user is written is acl_rules.h. A second table is made to stage what a
 * file says, before it replaces the first.
 *
 * Threads. Changed only while all other loops are paused; read by any of them.
 */
#ifndef IDEM_SERVER_OPS_USERS_H
#define IDEM_SERVER_OPS_USERS_H

#include "server/ops/user.h"

#define USERS_MAX 10000u
#define USERS_NUMBERS 65536u

struct users_command {
  const char *name;    /* upper case; a subcommand is "CONTAINER|SUB" */
  uint64_t categories; /* bits (acl_categories.h) */
  bool prefixed;       /* also answers to IDEM.<name> */
  uint16_t same_as;    /* the row that a rule about this one is about: its own, but for synonyms */
};

struct users {
  struct user **all; /* owned, by name, in the order of their bytes */
  size_t count, capacity;
  struct user *initial; /* of a session that has not named one: `default`; one of `all` */
  struct users_command *commands;
  size_t command_count;
  bool all_channels;                    /* are what a new user has */
  bool borrows_commands;                /* of the table beside which it stands */
  uint64_t numbers[USERS_NUMBERS / 64]; /* that users have */
};

/* With the default user, who may do everything without a password. Takes over `commands`, allocated
 * by malloc, at most USER_COMMANDS_MAX rows; frees them when it fails. NULL: memory is short. */
struct users *users_create(struct users_command *commands, size_t count);
/* Another one for the same commands, which it borrows, and the same channels of new users. */
struct users *users_create_beside(const struct users *users);
void users_destroy(struct users *users); /* takes NULL */

/* A user as Redis makes one, off, who may do nothing, but use every channel if the table says so;
 * not in the table yet, and the caller's. NULL: memory is short. */
struct user *users_new(const struct users *users, struct span name);

/* NULL: there is none of that name. */
struct user *users_find(const struct users *users, struct span name);

/* Takes over the user, whose name is new to the table, and gives it a number. False: there are
 * USERS_MAX, or memory is short; the caller still has it. */
bool users_add(struct users *users, struct user *user);
/* Takes out a user, which is not the default one, and marks it deleted. The caller destroys it when
 * no session has it any more. */
void users_remove(struct users *users, struct user *user);
/* Makes the users of `staged` the table's: those of the same name change in place, new ones move,
 * and those that `staged` has not are marked deleted and move there. So `staged` is destroyed when
 * no session has these any more. False, and nothing changed: memory is short. */
bool users_replace(struct users *users, struct users *staged);

/* Whether a client must authenticate before it may do anything: the default user is off, or has a
 * password. */
bool users_need_password(const struct users *users);

#endif
