/* command_table.h - every command, one row each. command.h says what follows from a row. */
#ifndef IDEM_SERVER_COMMANDS_COMMAND_TABLE_H
#define IDEM_SERVER_COMMANDS_COMMAND_TABLE_H

#include "server/commands/command.h"

extern const struct command command_table_commands[];
extern const size_t command_table_command_count;

#endif
