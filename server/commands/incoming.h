/*
 * incoming.h - gives the entries of a worker's inbox to those of its sessions for which they are:
 * messages to subscribers (publish.h), lines to watchers (monitor.h).
 */
#ifndef IDEM_SERVER_COMMANDS_INCOMING_H
#define IDEM_SERVER_COMMANDS_INCOMING_H

#include "server/commands/worker.h"

/*
 * All that the inbox has. When something was lost, sessions that may have missed it are closed, as
 * is a subscriber that does not read. At the end of a turn, and before commands that have arrived
 * run: what was said before them must neither overtake what they say, nor reach sessions that begin
 * to listen only now. Not in the middle of a command.
 */
void incoming_deliver(struct worker *worker);

#endif
