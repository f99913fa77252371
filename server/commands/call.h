/*
 * call.h - one command: as it was read (request), and as it runs (call).
 *
 *     request -> check.h -> call -> locks, handler, unlocks (call_run) -> reply
 *
 * Both borrow the arguments, until the handler returns. It must not know what is measured, logged
 * or told to others about it (measure.h, execute.h).
 */
#ifndef IDEM_SERVER_COMMANDS_CALL_H
#define IDEM_SERVER_COMMANDS_CALL_H

#include "server/commands/access.h"
#include "server/commands/received_body.h"
#include "server/commands/session.h"

/* A command as it was read, and what was found out about it meanwhile. Zero but for argv, argc and
 * command it is one of which nothing more is known. */
struct request {
  const struct span *argv;
  size_t argc;
  const struct command *command; /* the row of argv[0]; NULL: there is none */
  const struct name *name;       /* of argv[1], its only key; NULL: not worked out */
  struct received_body *body;    /* that one of argv lies in; NULL nearly always */
  bool sizes_fit;                /* by this row, which is no container's */
  size_t bytes;                  /* about, of all arguments; if not sizes_fit, not known yet */
  uint64_t stamp_ns; /* before and after it: when the clock was read last; 0: not in this batch */
};

struct call {
  struct worker *worker;
  struct session *session;
  const struct command *command;
  struct shard *shard;     /* of its key, locked; NULL: none, or several */
  struct engine *engine;   /* the shard's */
  const struct span *argv; /* argv[0] is the name */
  size_t argc;
  const struct name *name; /* of argv[1]; NULL: not worked out */
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
 * is locked, nothing but the key's shard is looked up. */
void call_lock(struct call *call, enum command_reach reach);
void call_unlock(struct call *call, enum command_reach reach);

/* Runs the handler with what it needs locked: any; or, as nearly every command has, one key whose
 * name is known. */
void call_run_unnamed(struct call *call);
static inline void call_run(struct call *call) {
  if (call->name == NULL) {
    call_run_unnamed(call);
    return;
  }
  struct worker *worker = call->worker;
  struct shard *shard = keyspace_find_name(worker->instance->keyspace, call->name);
  call->shard = shard;
  call->engine = access_lock(worker, shard, &call->now_ms);
  call->command->run(call);
  access_unlock(worker, shard);
}

/* A number argument; replies `-ERR value is not an integer or out of range` and returns false
 * otherwise. */
bool call_parse_integer(struct call *call, struct span text, long long *value);

#endif
