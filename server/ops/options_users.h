/*
 * options_users.h - the lines `user NAME words...` of the configuration file, kept as words until
 * the table of commands is there, by which they are read (acl_file.h).
 *
 * They may hold passwords, so they are wiped when they are read, and a file with such a line has to
 * be private.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_USERS_H
#define IDEM_SERVER_OPS_OPTIONS_USERS_H

#include "server/ops/refusal.h"

#define OPTIONS_USERS_LINE_MAX (64u * 1024) /* bytes of such a line */

/* One allocation: the spans, and after them the bytes that they point at. */
struct options_user {
  struct options_user *next;
  size_t number; /* of its line */
  size_t bytes;
  size_t argc;
  struct span argv[]; /* "user", the name, ... */
};

/* Whether it is such a line. */
bool options_users_is_line(struct span line);
/* NULL with the reason. The caller has to destroy it. */
struct options_user *options_users_parse(struct span line, size_t number,
                                         char reason[REFUSAL_BYTES]);
/* Whether it gives a password, or the SHA-256 of one. */
bool options_users_has_password(const struct options_user *user);
/* Wipes and frees. Takes NULL. */
void options_users_destroy(struct options_user *user);

/* Takes the line over, after those of the chain. */
void options_users_add(struct options_user **chain, struct options_user *user);
/* Destroys them all. */
void options_users_clear(struct options_user **chain);

#endif
