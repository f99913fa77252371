/* server.h - TIME, SHUTDOWN, DEBUG and the other small commands about the server as a whole. */
#ifndef IDEM_SERVER_COMMANDS_SERVER_H
#define IDEM_SERVER_COMMANDS_SERVER_H

#include "server/commands/call.h"

void server_time(struct call *call);
void server_shutdown(struct call *call); /* drains, as SIGTERM does; NOW leaves */
void server_debug_sleep(struct call *call);
void server_latency_none(struct call *call);
void server_latency_reset(struct call *call);
/* CLUSTER, READONLY and the like, as a Redis without a cluster answers. */
void server_no_cluster(struct call *call);
/* FUNCTION FLUSH, SCRIPT FLUSH: OK, there is nothing to flush. */
void server_no_scripts(struct call *call);
void server_no_modules(struct call *call);
void server_role(struct call *call);
void server_lolwut(struct call *call);

#endif
