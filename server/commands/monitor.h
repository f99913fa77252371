/* monitor.h - MONITOR: every command that runs, told to those who watch. What a watcher that does
 * not read may pile up is bounded as for pub/sub. Passwords are never told. */
#ifndef IDEM_SERVER_COMMANDS_MONITOR_H
#define IDEM_SERVER_COMMANDS_MONITOR_H

#include "server/commands/command.h"

#define MONITOR_MAX_LINE (64u * 1024) /* bytes; a longer line is cut */

/* Tells of a call that has run (its arguments are read, its reply is not). */
void monitor_feed(const struct call *call);
/* The client watches no more: RESET, or it goes. Harmless when it did not. */
void monitor_leave(struct worker *worker, struct session *session);
void monitor_command(struct call *call);
/* A line that was made for another loop's call. */
void monitor_deliver(struct worker *worker, struct span line);
/* They may have missed something. */
void monitor_close_watchers(struct worker *worker);

#endif
