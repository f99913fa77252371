/* config.h - CONFIG: shows the options table to clients, and changes it for them. */
#ifndef IDEM_SERVER_COMMANDS_CONFIG_H
#define IDEM_SERVER_COMMANDS_CONFIG_H

#include "server/commands/call.h"

void config_get(struct call *call);
void config_set(struct call *call); /* all of the pairs, or none */
void config_resetstat(struct call *call);
void config_rewrite(struct call *call);

#endif
