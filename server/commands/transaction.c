/*
 * transaction.c - see transaction.h.
 *
 * A queued command is one allocation: its spans, and behind them the bytes that they point at. EXEC
 * takes the transaction away from the client before it runs anything, so whatever a handler does to
 * the client finds none.
 */
#include "server/commands/transaction.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include "server/commands/monitor.h"

struct queued {
  struct queued *next;
  const struct command *command;
  size_t argc;
  struct span argv[];
};

struct transaction {
  struct queued *first, **last;
  size_t count, bytes;
  bool spoiled;
  enum command_reach reach; /* the farthest of any queued command, at least all shards */
};

static void transaction_destroy(struct transaction *transaction) {
  for (struct queued *next, *queued = transaction->first; queued != NULL; queued = next) {
    next = queued->next;
    free(queued);
  }
  free(transaction);
}

void transaction_discard(struct client *client) {
  struct transaction *transaction = client_transaction(client);
  if (transaction == NULL) return;
  client->details->transaction = NULL;
  transaction_destroy(transaction);
}

void transaction_spoil(struct client *client) {
  struct transaction *transaction = client_transaction(client);
  if (transaction != NULL) transaction->spoiled = true;
}

int transaction_length(const struct client *client) {
  _Static_assert(TRANSACTION_MAX_COMMANDS <= INT_MAX, "the length is an int");
  const struct transaction *transaction = client_transaction(client);
  return transaction != NULL ? (int)transaction->count : -1;
}

enum command_reach transaction_reach(const struct client *client) {
  const struct transaction *transaction = client_transaction(client);
  return transaction != NULL && !transaction->spoiled ? transaction->reach
                                                      : COMMAND_REACHES_NOTHING;
}

/* ---- queueing ---- */

/* What the copy takes; more than TRANSACTION_MAX_BYTES when it is that or more. */
static size_t size_of_copy(const struct call *call) {
  size_t size = sizeof(struct queued);
  for (size_t i = 0; i < call->argc && size <= TRANSACTION_MAX_BYTES; i++)
    size += sizeof(struct span) + call->argv[i].len;
  return size;
}

static struct queued *copy_call(const struct call *call, size_t size) {
  struct queued *queued = malloc(size);
  if (queued == NULL) return NULL;
  *queued = (struct queued){.command = call->command, .argc = call->argc};
  char *at = (char *)&queued->argv[call->argc];
  for (size_t i = 0; i < call->argc; i++) {
    memcpy(at, call->argv[i].data, call->argv[i].len);
    queued->argv[i] = (struct span){at, call->argv[i].len};
    at += call->argv[i].len;
  }
  assert(at == (char *)queued + size);
  return queued;
}

void transaction_queue(struct call *call) {
  struct transaction *transaction = client_transaction(call->client);
  /* It will not run: what comes behind the error is judged and acknowledged, as Redis does, but not
   * kept. */
  if (transaction->spoiled) {
    resp_simple(call->reply, "QUEUED");
    return;
  }
  size_t size = size_of_copy(call);
  if (transaction->count == TRANSACTION_MAX_COMMANDS ||
      size > TRANSACTION_MAX_BYTES - transaction->bytes) {
    transaction->spoiled = true;
    resp_errorf(call->reply, "ERR a transaction may have %u commands and %u bytes of arguments",
                TRANSACTION_MAX_COMMANDS, TRANSACTION_MAX_BYTES);
    return;
  }
  struct queued *queued = copy_call(call, size);
  if (queued == NULL) {
    transaction->spoiled = true;
    reply_oom(call);
    return;
  }
  enum command_reach reach = command_reach(call->command, call->argc);
  if (reach > transaction->reach) transaction->reach = reach;
  *transaction->last = queued;
  transaction->last = &queued->next;
  transaction->count++;
  transaction->bytes += size;
  resp_simple(call->reply, "QUEUED");
}

/* ---- commands ---- */

void transaction_multi(struct call *call) {
  if (client_transaction(call->client) != NULL) {
    resp_error(call->reply, "ERR MULTI calls can not be nested");
    return;
  }
  struct client_details *details = client_details(call->client);
  struct transaction *transaction = details != NULL ? calloc(1, sizeof *transaction) : NULL;
  if (transaction == NULL) {
    reply_oom(call);
    return;
  }
  transaction->last = &transaction->first;
  transaction->reach = COMMAND_REACHES_ALL;
  details->transaction = transaction;
  reply_ok(call);
}

static void run_queued(struct call *exec, const struct queued *queued) {
  struct call call = *exec;
  call.command = queued->command;
  call.argv = queued->argv;
  call.argc = queued->argc;
  call.name = NULL;
  call.in_exec = true;
  command_call(&call);
  if (atomic_load(&call.host->shared->monitor_count) > 0) monitor_feed(&call);
}

void transaction_exec(struct call *call) {
  struct transaction *transaction = client_transaction(call->client);
  if (transaction == NULL) {
    resp_error(call->reply, "ERR EXEC without MULTI");
    return;
  }
  call->client->details->transaction = NULL;
  if (transaction->spoiled) {
    resp_error(call->reply, "EXECABORT Transaction discarded because of previous errors.");
  } else {
    resp_array(call->reply, transaction->count);
    for (struct queued *queued = transaction->first; queued != NULL; queued = queued->next)
      run_queued(call, queued);
  }
  transaction_destroy(transaction);
}

void transaction_discard_command(struct call *call) {
  if (client_transaction(call->client) == NULL) {
    resp_error(call->reply, "ERR DISCARD without MULTI");
    return;
  }
  transaction_discard(call->client);
  reply_ok(call);
}

void transaction_watch(struct call *call) {
  if (client_transaction(call->client) != NULL) {
    resp_error(call->reply, "ERR WATCH inside MULTI is not allowed");
  } else {
    resp_error(
        call->reply,
        "ERR WATCH is not supported: one command decides here, so there is nothing to watch");
  }
}

void transaction_unwatch(struct call *call) { reply_ok(call); }
