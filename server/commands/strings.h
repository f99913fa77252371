/*
 * strings.h - plain values: SET, GET and their relatives, as in Redis 7.0, and the conditional
 * deletes of its successors.
 *
 * On a record, GET and STRLEN read the body of a DONE one and nothing otherwise, SET NX and SETNX
 * find that the key is taken, and every other write is refused with WRONGTYPE. So a lock that is a
 * string never passes for a claim.
 */
#ifndef IDEM_SERVER_COMMANDS_STRINGS_H
#define IDEM_SERVER_COMMANDS_STRINGS_H

#include "server/commands/call.h"

void strings_set(struct call *call);
void strings_setnx(struct call *call);
void strings_setex(struct call *call);
void strings_psetex(struct call *call);
void strings_get(struct call *call);
void strings_getset(struct call *call);
void strings_getex(struct call *call);
void strings_getdel(struct call *call);
void strings_strlen(struct call *call);
void strings_delifeq(struct call *call); /* Valkey 9.0 */
void strings_delex(struct call *call);   /* Redis 8.4, IFEQ only */

#endif
