/*
 * module.h - what the host looks for in the file: loading, and unloading, which is refused.
 */
#ifndef IDEM_SERVER_MODULE_MODULE_H
#define IDEM_SERVER_MODULE_MODULE_H

#include "server/module/api.h"

#define MODULE_EXPORTED __attribute__((visibility("default")))

/* The host gives them their names. */
MODULE_EXPORTED int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);
/* Clients that wait, and records that this process alone knows how to read, would be left behind.
 */
MODULE_EXPORTED int RedisModule_OnUnload(RedisModuleCtx *ctx);

#endif
