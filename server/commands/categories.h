/* categories.h - which categories of ACL rules (ops/acl_categories.h) a command has: they follow
 * from its row. */
#ifndef IDEM_SERVER_COMMANDS_CATEGORIES_H
#define IDEM_SERVER_COMMANDS_CATEGORIES_H

#include "server/commands/command.h"
#include "server/ops/acl_categories.h"

uint64_t categories_of(const struct command *command);

#endif
