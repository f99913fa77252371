/*
 * users.h - the table of users, by name; the default user is always there.
 *
 * It knows commands only as the rows that it is given: a name, categories, and whether IDEM. may
 * stand before the name. How a user is written is acl_rules.h.
 *
 * Threads. Changed only while all other loops are paused; read by any of them.
 */
#ifndef IDEM_SERVER_OPS_USERS_H
#define IDEM_SERVER_OPS_USERS_H

#include "server/ops/user.h"

#define USERS_MAX 10000u

struct users_command {
  const char *name;    /* upper case; a subcommand is "CONTAINER|SUB" */
  uint64_t categories; /* bits, by the index of a category (acl_categories.h) */
  bool prefixed;       /* also answers to IDEM.<name> */
};

struct users {
  struct user **all; /* owned, by name, in the order of their bytes */
  size_t count, capacity;
  struct user *initial; /* of a session that has not named one: `default`; one of `all` */
  const struct users_command *commands; /* owned */
  size_t command_count;
};

/* With the default user, who may do everything without a password. Takes over `commands`, allocated
 * by malloc, of at most USER_COMMANDS_MAX rows; frees them when it fails. NULL: memory is short. */
struct users *users_create(struct users_command *commands, size_t count);
void users_destroy(struct users *users); /* takes NULL */

/* NULL: there is none of that name. */
struct user *users_find(const struct users *users, struct span name);

/* Whether a client must authenticate before it may do anything: the default user is off, or has a
 * password. */
bool users_need_password(const struct users *users);

#endif
