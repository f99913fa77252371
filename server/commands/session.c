/* session.c - see session.h. */
#include "server/commands/session.h"

#include <stdlib.h>
#include <string.h>

#include "server/commands/access.h"
#include "server/commands/outputs.h"
#include "server/commands/waits.h"
#include "server/engine/binding.h"
#include "server/engine/waiter.h"

void session_trim(struct session *session) {
  static const struct session_details none = {0};
  if (session->details == NULL || memcmp(session->details, &none, sizeof none) != 0) return;
  free(session->details);
  session->details = NULL;
}

void session_close(struct session *session, struct worker *worker) {
  session->close_now = true;
  list_remove(&session->unsent); /* its connection may have put it where its turn comes later */
  list_append(&worker->unsent, &session->unsent);
}

void session_cancel_wait(struct session *session, struct worker *worker) {
  if (session->waiting) {
    worker->waiting_count--;
    waits_note_gone(worker, session->active_ms);
  }
  session->waiting = false;
  if (session->waiter == NULL) return;
  struct shard *shard = keyspace_shard(worker->instance->keyspace, session->shard);
  int64_t now_ms = worker->now_ms;
  struct engine *engine = access_lock(worker, shard, &now_ms);
  waiter_cancel(engine, session->waiter, now_ms);
  access_unlock(worker, shard);
  session->waiter = NULL;
}

bool session_holds_bound(const struct session *session, struct worker *worker) {
  struct binding **bindings = session->details != NULL ? session->details->bindings : NULL;
  bool holds = false;
  unsigned shards = bindings != NULL ? keyspace_shards(worker->instance->keyspace) : 0;
  for (unsigned i = 0; i < shards && !holds; i++) {
    if (bindings[i] == NULL) continue;
    struct shard *shard = keyspace_shard(worker->instance->keyspace, i);
    int64_t now_ms = worker->now_ms;
    access_lock(worker, shard, &now_ms);
    holds |= binding_holds(bindings[i]);
    access_unlock(worker, shard);
  }
  return holds;
}

void session_unbind(struct session *session, struct worker *worker) {
  struct binding **bindings = session->details != NULL ? session->details->bindings : NULL;
  if (bindings == NULL) return;
  /* The server closes it, and its claims go on after the start. */
  bool leaves = worker->journal != NULL && atomic_load(&worker->instance->leaving);
  for (unsigned i = 0; i < keyspace_shards(worker->instance->keyspace); i++) {
    if (bindings[i] == NULL) continue;
    struct shard *shard = keyspace_shard(worker->instance->keyspace, i);
    int64_t now_ms = worker->now_ms;
    struct engine *engine = access_lock(worker, shard, &now_ms);
    if (leaves) binding_forget(engine, bindings[i]);
    binding_close(engine, bindings[i], now_ms);
    access_unlock(worker, shard);
  }
  free(bindings);
  session->details->bindings = NULL;
}

struct session_details *session_details(struct session *session) {
  if (session->details == NULL) session->details = calloc(1, sizeof *session->details);
  return session->details;
}

/* For a session without memory for an output: always failed, never sent. */
static struct resp_output *no_output(struct worker *worker) {
  worker->lost_output.failed = true;
  return &worker->lost_output;
}

struct resp_writer session_begin_output(struct session *session, struct worker *worker) {
  if (session->out == NULL) session->out = outputs_take(worker);
  if (list_empty(&session->unsent)) list_append(&worker->unsent, &session->unsent);
  if (session->out == NULL) session->close_now = true;
  return (struct resp_writer){session->out != NULL ? session->out : no_output(worker),
                              session->version};
}
