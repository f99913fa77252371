/*
 * take_back.h - grants by hand-over whose reply did not reach its client.
 *
 * A reply is known to be written once the client's output is empty. If the connection ends before,
 * what the hand-over replaced is put back and ends once more: the next waiter is granted. A client
 * that reads nothing has its grant until it ends like any other.
 */
#ifndef IDEM_SERVER_MODULE_TAKE_BACK_H
#define IDEM_SERVER_MODULE_TAKE_BACK_H

#include "server/module/host.h"

/* Takes back those whose connection has ended; forgets those whose reply is written. */
void take_back_settle(struct host *of, RedisModuleCtx *ctx);

/* The client's connection is being closed: its grants count if their replies were written. */
void take_back_close(struct host *of, RedisModuleCtx *ctx, uint64_t client_id);

#endif
