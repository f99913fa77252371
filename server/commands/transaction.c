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
  struct instance *instance;
  struct queued *first, **last;
  size_t count;
  size_t bytes, body_bytes; /* both count in instance.input_bytes */
  bool spoiled, writes;
  enum command_reach reach; /* the farthest of any queued command, at least all shards */
};

static void transaction_destroy(struct transaction *transaction) {
  atomic_fetch_sub(&transaction->instance->input_bytes,
                   transaction->bytes + transaction->body_bytes);
  for (struct queued *next, *queued = transaction->first; queued != NULL; queued = next) {
    next = queued->next;
    free(queued);
  }
  free(transaction);
}

void transaction_discard(struct session *session) {
  struct transaction *transaction = session_transaction(session);
  if (transaction == NULL) return;
  session->details->transaction = NULL;
  transaction_destroy(transaction);
}

void transaction_spoil(struct session *session) {
  struct transaction *transaction = session_transaction(session);
  if (transaction != NULL) transaction->spoiled = true;
}

bool transaction_writes(const struct session *session) {
  const struct transaction *transaction = session_transaction(session);
  return transaction != NULL && transaction->writes;
}

int transaction_length(const struct session *session) {
  _Static_assert(TRANSACTION_MAX_BYTES / sizeof(struct queued) <= INT_MAX, "the length is an int");
  const struct transaction *transaction = session_transaction(session);
  return transaction != NULL ? (int)transaction->count : -1;
}

size_t transaction_bytes(const struct session *session) {
  const struct transaction *transaction = session_transaction(session);
  return transaction != NULL ? transaction->bytes + transaction->body_bytes : 0;
}

enum command_reach transaction_reach(const struct session *session) {
  const struct transaction *transaction = session_transaction(session);
  return transaction != NULL && !transaction->spoiled ? transaction->reach
                                                      : COMMAND_REACHES_NOTHING;
}

/* ---- queueing ---- */

struct size {
  size_t bytes, body_bytes;
};

static bool is_body(const struct call *call, size_t index) {
  struct worker *worker = call->worker;
  return call->argv[index].len > TRANSACTION_BODY_BYTES &&
         command_argument_limit(worker, call->argv, index) ==
             (size_t)worker->options->limits.body_bytes;
}

static struct size size_of_copy(const struct call *call) {
  struct size size = {.bytes = sizeof(struct queued) + call->argc * sizeof(struct span)};
  for (size_t i = 0; i < call->argc; i++)
    *(is_body(call, i) ? &size.body_bytes : &size.bytes) += call->argv[i].len;
  return size;
}

/* Whether the transaction may have so much more; with an error if not. */
static bool is_room(const struct call *call, const struct transaction *transaction,
                    struct size size) {
  const struct options *options = call->worker->options;
  size_t body_limit = (size_t)options->limits.body_bytes;
  uint64_t total = atomic_load(&call->worker->instance->input_bytes);
  if (transaction->bytes + size.bytes > TRANSACTION_MAX_BYTES ||
      transaction->body_bytes + size.body_bytes > body_limit) {
    resp_write_errorf(call->reply, "ERR a transaction may take %u bytes, and %zu for bodies",
                      TRANSACTION_MAX_BYTES, body_limit);
    return false;
  }
  if (total + size.bytes + size.body_bytes <= (uint64_t)options->client_input_total) return true;
  resp_write_error(call->reply,
                   "ERR all transactions and half-received commands together reach "
                   "client-input-total");
  return false;
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
  struct transaction *transaction = session_transaction(call->session);
  /* It will not run: what comes behind the error is judged and acknowledged, as Redis does, but not
   * kept. */
  if (transaction->spoiled) {
    resp_write_simple(call->reply, "QUEUED");
    return;
  }
  struct size size = size_of_copy(call);
  transaction->spoiled = !is_room(call, transaction, size);
  if (transaction->spoiled) return;
  struct queued *queued = copy_call(call, size.bytes + size.body_bytes);
  if (queued == NULL) {
    transaction->spoiled = true;
    resp_write_error(call->reply, "ERR out of memory");
    return;
  }
  enum command_reach reach = command_reach(call->command, call->argc);
  if (reach > transaction->reach) transaction->reach = reach;
  if ((call->command->flags & COMMAND_WRITES) != 0) transaction->writes = true;
  *transaction->last = queued;
  transaction->last = &queued->next;
  transaction->count++;
  transaction->bytes += size.bytes;
  transaction->body_bytes += size.body_bytes;
  atomic_fetch_add(&transaction->instance->input_bytes, size.bytes + size.body_bytes);
  resp_write_simple(call->reply, "QUEUED");
}

/* ---- commands ---- */

void transaction_multi(struct call *call) {
  if (session_transaction(call->session) != NULL) {
    resp_write_error(call->reply, "ERR MULTI calls can not be nested");
    return;
  }
  struct session_details *details = session_details(call->session);
  struct transaction *transaction = details != NULL ? calloc(1, sizeof *transaction) : NULL;
  if (transaction == NULL) {
    reply_oom(call);
    return;
  }
  transaction->instance = call->worker->instance;
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
  if (atomic_load(&call.worker->instance->monitor_count) > 0) monitor_feed(&call);
}

void transaction_exec(struct call *call) {
  struct transaction *transaction = session_transaction(call->session);
  if (transaction == NULL) {
    resp_write_error(call->reply, "ERR EXEC without MULTI");
    return;
  }
  call->session->details->transaction = NULL;
  if (transaction->spoiled) {
    resp_write_error(call->reply, "EXECABORT Transaction discarded because of previous errors.");
  } else {
    resp_write_array(call->reply, transaction->count);
    for (struct queued *queued = transaction->first; queued != NULL; queued = queued->next)
      run_queued(call, queued);
  }
  transaction_destroy(transaction);
}

void transaction_discard_command(struct call *call) {
  if (session_transaction(call->session) == NULL) {
    resp_write_error(call->reply, "ERR DISCARD without MULTI");
    return;
  }
  transaction_discard(call->session);
  reply_ok(call);
}

void transaction_watch(struct call *call) {
  if (session_transaction(call->session) != NULL) {
    resp_write_error(call->reply, "ERR WATCH inside MULTI is not allowed");
  } else {
    resp_write_error(
        call->reply,
        "ERR WATCH is not supported: one command decides here, so there is nothing to watch");
  }
}

void transaction_unwatch(struct call *call) { reply_ok(call); }
