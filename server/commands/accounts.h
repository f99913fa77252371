/*
 * accounts.h - the users of an instance, and what they mean for its sessions: who is let in, and
 * who is closed when users change.
 *
 * A session is closed when what it showed no longer lets it in: its user is off or gone, or its
 * password was taken away; also when it is subscribed to, or waits for, what its user has lost.
 * Adding a password closes no session, so a password is changed in three steps: add the new one,
 * tell it to all clients, take the old one away.
 *
 * Changes are made while all other loops are paused. It must not know the commands that ask for
 * them (acl.h, config.h).
 */
#ifndef IDEM_SERVER_COMMANDS_ACCOUNTS_H
#define IDEM_SERVER_COMMANDS_ACCOUNTS_H

#include "server/commands/call.h"
#include "server/ops/users.h"

/* ---- the table ---- */

/* The table of commands, for rules about them. */
struct accounts_rows {
  const struct command *rows;
  size_t count;
};
/* The default user alone, with the passwords of the options. NULL: memory is short. */
struct users *accounts_create(struct accounts_rows rows, const struct options *options);
/* At the start: all users that the options name, by lines of the configuration file, which are
 * wiped, or by aclfile. NULL with the reason, which names file and line. */
struct users *accounts_read(struct accounts_rows rows, struct options *options, struct log *log,
                            char error[REFUSAL_BYTES]);

/* ---- sessions ---- */

/* A session that begins, or was reset: the default user's, if that needs no password. */
void accounts_begin_session(struct session *session, const struct worker *worker);
/* Makes the session the user's, if name and password are right. False, and nothing changed: they
 * are not. The time does not tell whether there is such a user. */
bool accounts_authenticate(struct session *session, struct worker *worker, struct span name,
                           struct span password);

/* ---- changes ---- */

/* A change that a session asks for, which is to have its reply before it is closed; NULL: none. */
struct accounts_change {
  struct worker *worker;
  struct session *caller;
};

/* Adds the user, or gives the one of the same name what `user` may and knows. `user` belongs to the
 * table then, or is destroyed. False with the reason, and nothing changed: there is no room; a
 * default user without a password may not be reached by other machines. */
bool accounts_put(const struct accounts_change *change, struct user *user,
                  char error[REFUSAL_BYTES]);
/* Deletes those of these names, none of which is the default user's. Returns how many there
 * were. */
size_t accounts_delete(const struct accounts_change *change, const struct span *names,
                       size_t count);
/* Reads aclfile; takes all of it or nothing. False with the reason. */
bool accounts_load_file(const struct accounts_change *change, char error[REFUSAL_BYTES]);
/* Options.requirepass has changed: it is the default user's password from now on. The caller stays.
 * False: memory is short. */
bool accounts_set_password(const struct accounts_change *change);
/* Reads requirepass-file again (SIGHUP). False with the reason: the former passwords stay. They also
 * stay, which is logged, when the default user was given others than it said so far. */
bool accounts_reload_password(struct worker *worker, char error[REFUSAL_BYTES]);

#endif
