/* info.h - INFO: figures in the sections and under the names that monitoring of Redis reads, and
 * idem's own. */
#ifndef IDEM_SERVER_COMMANDS_INFO_H
#define IDEM_SERVER_COMMANDS_INFO_H

#include "server/commands/call.h"

void info_command(struct call *call);

#endif
