/*
 * transaction.h - MULTI, EXEC, DISCARD: commands kept until EXEC, then run without another between
 * them.
 *
 * What is queued takes at most TRANSACTION_MAX_BYTES for each connection, and body-limit for bodies
 * beside that; both count in client-input-total. More spoils the transaction with an error. A
 * command that waits does not wait in EXEC. WATCH is refused: with one round trip that decides,
 * there is nothing to watch.
 */
#ifndef IDEM_SERVER_COMMANDS_TRANSACTION_H
#define IDEM_SERVER_COMMANDS_TRANSACTION_H

#include "server/commands/command.h"

#define TRANSACTION_MAX_BYTES (1024u * 1024) /* of commands and their arguments, beside bodies */
/* An argument that may be as long as a body, and is longer than this, is taken for one. */
#define TRANSACTION_BODY_BYTES 1024u

/* Queues the call (judged already) and replies QUEUED. */
void transaction_queue(struct call *call);
/* A command was refused while queueing: EXEC will be -EXECABORT. Nothing when there is no
 * transaction. */
void transaction_spoil(struct session *session);
/* Forgets the transaction, if there is one. */
void transaction_discard(struct session *session);
/* What EXEC needs to hold: all shards, or the other loops too. */
enum command_reach transaction_reach(const struct session *session);
/* Whether a command that writes is queued. */
bool transaction_writes(const struct session *session);
/* Commands queued, -1 without MULTI (for CLIENT INFO). */
int transaction_length(const struct session *session);
size_t transaction_bytes(const struct session *session); /* that they take */

void transaction_multi(struct call *call);
void transaction_exec(struct call *call);
void transaction_discard_command(struct call *call);
void transaction_watch(struct call *call);
void transaction_unwatch(struct call *call);

#endif
