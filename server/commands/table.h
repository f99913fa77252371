/* table.h - every command, one row each. command.h says what follows from a row. */
#ifndef IDEM_SERVER_COMMANDS_TABLE_H
#define IDEM_SERVER_COMMANDS_TABLE_H

#include "server/commands/command.h"

extern const struct command table_commands[];
extern const size_t table_command_count;

#endif
