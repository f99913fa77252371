/*
 * acl_commands.h - which commands a user may run: the rules +command, -command|sub and +@category,
 * as bits of the user and as the text that shows them.
 *
 * The text keeps the rules in their order, without those that a later one makes void. So it has
 * each name at most once, and is as long as all names at most.
 */
#ifndef IDEM_SERVER_OPS_ACL_COMMANDS_H
#define IDEM_SERVER_OPS_ACL_COMMANDS_H

#include "server/ops/refusal.h"
#include "server/ops/users.h"

/* name: "get", "client|list" or "@read". A rule about a container is about its subcommands too, and
 * one about a command that has synonyms, IDEM.CLAIM for one, about these. False with the reason:
 * there is none of that name, or memory is short. */
bool acl_commands_set(const struct users *users, struct user *user, struct span name, bool allow,
                      char error[REFUSAL_BYTES]);

#endif
