/*
 * transaction.h - MULTI, EXEC, DISCARD: commands are kept until EXEC (queue.h), then run without
 * another one between them.
 *
 * A command that waits does not wait in EXEC. WATCH is refused: one round trip decides a claim, so
 * there is nothing to watch.
 */
#ifndef IDEM_SERVER_COMMANDS_TRANSACTION_H
#define IDEM_SERVER_COMMANDS_TRANSACTION_H

#include "server/commands/call.h"

void transaction_multi(struct call *call);
void transaction_exec(struct call *call);
void transaction_discard_command(struct call *call);
void transaction_watch(struct call *call);
void transaction_unwatch(struct call *call);

#endif
