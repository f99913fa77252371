/* connection.h - HELLO, AUTH, PING, RESET, CLIENT ...: the commands about the connection that sends
 * them, as in Redis. */
#ifndef IDEM_SERVER_COMMANDS_CONNECTION_H
#define IDEM_SERVER_COMMANDS_CONNECTION_H

#include "server/commands/call.h"

void connection_hello(struct call *call);
void connection_auth(struct call *call);
void connection_ping(struct call *call);
void connection_echo(struct call *call);
void connection_select(struct call *call);
void connection_quit(struct call *call);
void connection_reset(struct call *call);
void connection_client_id(struct call *call);
void connection_client_setname(struct call *call);
void connection_client_getname(struct call *call);
void connection_client_setinfo(struct call *call);

#endif
