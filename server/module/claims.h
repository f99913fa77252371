/*
 * claims.h - CLAIMS: the open claims of this process' keys, in the order of their tokens.
 *
 * They are in no list: all keys of the database are looked at, in slices, while other commands run,
 * as SCAN does; the client waits meanwhile. In a transaction or a script it is one slice.
 */
#ifndef IDEM_SERVER_MODULE_CLAIMS_H
#define IDEM_SERVER_MODULE_CLAIMS_H

#include "server/module/api.h"

int claims_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);

#endif
