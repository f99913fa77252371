/* transaction.c - see transaction.h. Texts are Redis 7.0's, but for WATCH and -OOM. */
#include "server/commands/transaction.h"

#include "server/commands/measure.h"
#include "server/commands/monitor.h"
#include "server/commands/permission.h"
#include "server/commands/queue.h"
#include "server/commands/reply.h"

void transaction_multi(struct call *call) {
  if (session_queue(call->session) != NULL) {
    resp_write_error(call->reply, "ERR MULTI calls can not be nested");
  } else if (queue_begin(call->worker, call->session)) {
    reply_ok(call);
  } else {
    reply_oom(call);
  }
}

static void run_queued(struct call *exec, const struct queue_item *item) {
  struct call call = *exec;
  call.command = item->command;
  call.argv = item->argv;
  call.argc = item->argc;
  call.name = NULL;
  call.in_exec = true;
  if (call.session->restricted && !permission_check_queued(&call)) return;
  size_t before = call.reply->out->len;
  measure_alone(&call);
  measure_failure(&call, before);
  monitor_note(&call);
}

void transaction_exec(struct call *call) {
  struct queue *queue = queue_take(call->session);
  if (queue == NULL) {
    resp_write_error(call->reply, "ERR EXEC without MULTI");
    return;
  }
  if (queue->spoiled) {
    resp_write_error(call->reply, "EXECABORT Transaction discarded because of previous errors.");
  } else {
    resp_write_array(call->reply, queue->count);
    for (const struct queue_item *item = queue->first; item != NULL; item = item->next)
      run_queued(call, item);
  }
  queue_destroy(queue);
}

void transaction_discard_command(struct call *call) {
  if (session_queue(call->session) == NULL) {
    resp_write_error(call->reply, "ERR DISCARD without MULTI");
    return;
  }
  queue_discard(call->session);
  reply_ok(call);
}

void transaction_watch(struct call *call) {
  if (session_queue(call->session) != NULL) {
    resp_write_error(call->reply, "ERR WATCH inside MULTI is not allowed");
  } else {
    resp_write_error(
        call->reply,
        "ERR WATCH is not supported: one command decides here, so there is nothing to watch");
  }
}

void transaction_unwatch(struct call *call) { reply_ok(call); }
