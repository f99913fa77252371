/*
 * acl_file.h - the file that `aclfile` names: a line `user NAME words...` for each user, blank
 * lines, lines that begin with '#'. Words are as in acl_rules.h, with blanks between them and no
 * quotes.
 *
 * Keeps: a refusal names FILE:LINE and the word, but no password; the file is taken only if no
 * other user can read it.
 */
#ifndef IDEM_SERVER_OPS_ACL_FILE_H
#define IDEM_SERVER_OPS_ACL_FILE_H

#include "server/ops/refusal.h"
#include "server/ops/users.h"

#define ACL_FILE_MAX (4u * 1024 * 1024) /* bytes */

/* Adds the users of the file to `staged`, which has its default user alone; changes that one if the
 * file has it (then *has_default). False with the reason; `staged` is then of no use. */
bool acl_file_load(const char *path, struct users *staged, bool *has_default,
                   char error[REFUSAL_BYTES]);
/* Replaces the file by one with all users of the table, with mode 600. False with the reason. */
bool acl_file_save(const char *path, const struct users *users, char error[REFUSAL_BYTES]);

/* The same for one line, already words: "user", the name, and how the user is. *user is the user
 * then, one of `staged`. False with the reason: it is there already, or a word is bad. */
bool acl_file_take_user(struct users *staged, const struct span *words, size_t count,
                        struct user **user, char reason[REFUSAL_BYTES]);

#endif
