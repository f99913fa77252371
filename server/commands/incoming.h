/*
 * incoming.h - delivers the entries of a worker's inbox to its sessions: messages to subscribers
 * (publish.h), lines to watchers (monitor.h).
 */
#ifndef IDEM_SERVER_COMMANDS_INCOMING_H
#define IDEM_SERVER_COMMANDS_INCOMING_H

#include "server/commands/worker.h"

/*
 * Delivers all entries. If some were lost, closes the sessions that may have missed one; it also
 * closes a subscriber that does not read. Call it at the end of a turn, and before commands that
 * have arrived run: earlier messages must neither come after the replies of later commands, nor
 * reach sessions that subscribe only now. Not in the middle of a command.
 */
void incoming_deliver(struct worker *worker);

#endif
