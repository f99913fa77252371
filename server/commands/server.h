/* server.h - INFO, CONFIG and the other commands about the server as a whole. */
#ifndef IDEM_SERVER_COMMANDS_SERVER_H
#define IDEM_SERVER_COMMANDS_SERVER_H

#include "server/commands/command.h"

void server_info(struct call *call);       /* info.c */
void server_config_get(struct call *call); /* config.c */

#endif
