/* introspection.h - COMMAND and the HELP of containers: shows the table to clients in the formats
 * of Redis 7. */
#ifndef IDEM_SERVER_COMMANDS_INTROSPECTION_H
#define IDEM_SERVER_COMMANDS_INTROSPECTION_H

#include "server/commands/call.h"

void introspection_command(struct call *call); /* COMMAND alone: all of COMMAND INFO */
void introspection_count(struct call *call);
void introspection_info(struct call *call);
void introspection_list(struct call *call);
void introspection_docs(struct call *call);
void introspection_getkeys(struct call *call);
void introspection_container_help(struct call *call);

#endif
