/*
 * commands.h - the six commands: request -> rules -> record and reply. The host calls them.
 */
#ifndef IDEM_SERVER_MODULE_COMMANDS_H
#define IDEM_SERVER_MODULE_COMMANDS_H

#include "server/module/api.h"

int commands_claim(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);
int commands_store(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);
int commands_renew(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);
int commands_release(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);
int commands_fetch(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);
/* AWAIT too. */
int commands_wait(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);

#endif
