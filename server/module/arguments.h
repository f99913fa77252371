/*
 * arguments.h - the arguments of a command, as the request parser wants them (rules/request.h).
 */
#ifndef IDEM_SERVER_MODULE_ARGUMENTS_H
#define IDEM_SERVER_MODULE_ARGUMENTS_H

#include "server/module/api.h"
#include "server/rules/request.h"

/* More than any command takes: the parser refuses the rest, and need not see all of it. */
#define ARGUMENTS_MOST 32

struct arguments {
  struct span argv[ARGUMENTS_MOST];
  struct request_input input; /* over argv */
};

/* As request_limit. */
typedef size_t arguments_limit(const struct request_limits *limits, const struct span *argv,
                               size_t index);
/* False: there are less than `least`, or one is over its limit, which is replied. */
bool arguments_take(struct arguments *arguments, RedisModuleCtx *ctx, RedisModuleString **argv,
                    int argc, int least, const struct request_limits *limits,
                    arguments_limit *limit);
/* The reply for a request that could not be parsed. */
void arguments_refuse(RedisModuleCtx *ctx, const struct request_error *error);

#endif
