/* call.c - see call.h. */
#include "server/commands/call.h"

#include "server/commands/queue.h"

void call_lock(struct call *call, enum command_reach reach) {
  struct worker *worker = call->worker;
  switch (reach) {
    case COMMAND_REACHES_A_KEY:
      call->shard = keyspace_find(worker->instance->keyspace, call->argv[call->command->first_key]);
      call->engine = access_lock(worker, call->shard, &call->now_ms);
      break;
    case COMMAND_REACHES_OTHERS:
      if (!call->in_exec) access_pause_others(worker);
      /* fall through */
    case COMMAND_REACHES_ALL:
      if (!call->in_exec) access_lock_all(worker, &call->now_ms);
      break;
    case COMMAND_REACHES_NOTHING:
    default: break;
  }
}

void call_unlock(struct call *call, enum command_reach reach) {
  if (reach == COMMAND_REACHES_A_KEY) access_unlock(call->worker, call->shard);
  if (reach >= COMMAND_REACHES_ALL && !call->in_exec) access_unlock_all(call->worker);
  if (reach == COMMAND_REACHES_OTHERS && !call->in_exec) access_resume_others(call->worker);
}

static enum command_reach reach_of(const struct call *call) {
  if ((call->command->flags & COMMAND_RUNS_QUEUE) != 0) return queue_reach(call->session);
  return command_reach(call->command, call->argc);
}

__attribute__((noinline)) void call_run_any(struct call *call) {
  enum command_reach reach = reach_of(call);
  if (reach != COMMAND_REACHES_NOTHING) call_lock(call, reach);
  call->command->run(call);
  if (reach != COMMAND_REACHES_NOTHING) call_unlock(call, reach);
}
