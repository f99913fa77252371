/*
 * mget.h - MGET: what GET would answer for each key, null for one that has no string.
 *
 * Keys are read MGET_AT_ONCE at a time, each group at one moment; between groups other connections
 * have their turn (task.h), so that of more keys the answer is no snapshot, except in EXEC. Values
 * that together, with the first one left out, exceed client-output-limit are refused: nobody could
 * stop a client that asks for one large value 65,536 times.
 */
#ifndef IDEM_SERVER_COMMANDS_MGET_H
#define IDEM_SERVER_COMMANDS_MGET_H

#include "server/commands/call.h"

/* At most 1 MiB is copied then (REPLY_PINNED_BYTES), as in a turn. */
#define MGET_AT_ONCE 64u

void mget_command(struct call *call);

#endif
