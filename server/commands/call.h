/*
 * call.h - one command: as it was read (request), and as it runs (call).
 *
 *     request -> call (execute.h) -> check.h -> locks, handler, unlocks (call_run) -> reply
 *
 * Both borrow the arguments until execute_request returns: SLOWLOG and MONITOR read them after the
 * handler. It must not know how commands are measured, logged or shown to watchers (measure.h,
 * execute.h). Each function is called by the worker's own thread.
 */
#ifndef IDEM_SERVER_COMMANDS_CALL_H
#define IDEM_SERVER_COMMANDS_CALL_H

#include "server/commands/access.h"
#include "server/commands/received_body.h"
#include "server/commands/session.h"

/* A command as it was read, and what is known about it by then. With all but argv, argc and command
 * zero, nothing else is known. */
struct request {
  const struct span *argv;
  size_t argc;
  const struct command *command; /* the row of argv[0]; NULL: there is none */
  const struct name *name;       /* of argv[1], its only key; NULL: not computed */
  struct received_body *body;    /* in which one of argv lies; nearly always NULL */
  bool sizes_fit;                /* checked by this row, which is not a container's */
  size_t bytes;                  /* of all arguments, approximate; unknown until sizes_fit */
  uint64_t stamp_ns; /* when the clock was read last, before and after it; 0: not in this batch */
};

struct call {
  struct worker *worker;
  struct session *session;
  const struct command *command;
  struct shard *shard;     /* of its key, locked; NULL: none, or several */
  struct engine *engine;   /* the shard's */
  const struct span *argv; /* argv[0] is the name */
  size_t argc;
  const struct name *name; /* of argv[1]; NULL: not computed */
  struct request *request; /* in EXEC, EXEC's; NULL: it is a later slice of a task */
  struct resp_writer *reply;
  int64_t now_ms;
  bool in_exec; /* everything is locked already; must not wait */
};

/* The engine of a key, of several that are all locked. */
static inline struct engine *call_engine(const struct call *call, struct span key) {
  return shard_engine(keyspace_find(call->worker->instance->keyspace, key));
}

/* Locks what a call needs, and sets its shard, engine and time; and unlocks. Inside EXEC, where all
 * is locked, they only look up the key's shard. */
void call_lock(struct call *call, enum command_reach reach);
void call_unlock(struct call *call, enum command_reach reach);

/* Runs the handler with what it needs locked. When the name of its only key is known, as for nearly
 * every command, its row need not be looked at; call_run_any looks at it. */
void call_run_any(struct call *call);
static inline void call_run(struct call *call) {
  if (call->name == NULL) {
    call_run_any(call);
    return;
  }
  struct worker *worker = call->worker;
  struct shard *shard = keyspace_find_name(worker->instance->keyspace, call->name);
  call->shard = shard;
  call->engine = access_lock(worker, shard, &call->now_ms);
  call->command->run(call);
  access_unlock(worker, shard);
}

#endif
