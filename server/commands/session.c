/* session.c - see session.h. */
#include "server/commands/session.h"

#include <stdlib.h>

#include "server/commands/clients.h"
#include "server/commands/monitor.h"
#include "server/commands/pubsub.h"
#include "server/commands/strangers.h"
#include "server/commands/task.h"
#include "server/commands/transaction.h"

static void note_peak(_Atomic uint64_t *peak, uint64_t count) {
  uint64_t seen = atomic_load(peak);
  while (count > seen && !atomic_compare_exchange_weak(peak, &seen, count)) continue;
}

void session_init(struct session *session, struct worker *worker) {
  *session = (struct session){
      .id = atomic_fetch_add(&worker->instance->next_session_id, 1),
      .version = 2,
      .last_row = SESSION_NO_ROW,
      .connected_ms = worker->now_ms,
      .active_ms = worker->now_ms,
      .authenticated = worker->options->requirepass[0] == '\0',
  };
  list_append(&worker->sessions, &session->link);
  list_init(&session->unsent);
  worker->session_count++;
  worker->counters.connections++;
  note_peak(&worker->instance->peak_sessions,
            atomic_fetch_add(&worker->instance->session_count, 1) + 1);
}

void session_trim(struct session *session) {
  static const struct session_details none = {0};
  if (session->details == NULL || memcmp(session->details, &none, sizeof none) != 0) return;
  free(session->details);
  session->details = NULL;
}

void session_close(struct session *session, struct worker *worker) {
  session->close_now = true;
  if (list_empty(&session->unsent)) list_append(&worker->unsent, &session->unsent);
}

static void details_destroy(struct session_details *details) {
  if (details == NULL) return;
  free(details->name);
  free(details->library_name);
  free(details->library_version);
  free(details);
}

void session_cancel_wait(struct session *session, struct worker *worker) {
  if (session->waiting) worker->waiting_count--;
  session->waiting = false;
  if (session->waiter == NULL) return;
  struct shard *shard = keyspace_shard(worker->instance->keyspace, session->shard);
  int64_t now_ms = worker->now_ms;
  engine_waiter_cancel(worker_lock(worker, shard, &now_ms), session->waiter, now_ms);
  worker_unlock(worker, shard);
  session->waiter = NULL;
}

bool session_holds_bound(const struct session *session, struct worker *worker) {
  struct engine_binding **bindings = session->details != NULL ? session->details->bindings : NULL;
  bool holds = false;
  unsigned shards = bindings != NULL ? keyspace_shards(worker->instance->keyspace) : 0;
  for (unsigned i = 0; i < shards && !holds; i++) {
    if (bindings[i] == NULL) continue;
    struct shard *shard = keyspace_shard(worker->instance->keyspace, i);
    int64_t now_ms = worker->now_ms;
    worker_lock(worker, shard, &now_ms);
    holds |= engine_binding_holds(bindings[i]);
    worker_unlock(worker, shard);
  }
  return holds;
}

void session_unbind(struct session *session, struct worker *worker) {
  struct engine_binding **bindings = session->details != NULL ? session->details->bindings : NULL;
  if (bindings == NULL) return;
  for (unsigned i = 0; i < keyspace_shards(worker->instance->keyspace); i++) {
    if (bindings[i] == NULL) continue;
    struct shard *shard = keyspace_shard(worker->instance->keyspace, i);
    int64_t now_ms = worker->now_ms;
    engine_binding_close(worker_lock(worker, shard, &now_ms), bindings[i], now_ms);
    worker_unlock(worker, shard);
  }
  free(bindings);
  session->details->bindings = NULL;
}

void session_deinit(struct session *session, struct worker *worker) {
  session_cancel_wait(session, worker);
  session_unbind(session, worker);
  if (session_task(session) != NULL) task_abandon(session_task(session));
  strangers_forget_delay(session);
  strangers_remove(worker, session);
  transaction_discard(session);
  pubsub_leave(worker, session);
  monitor_leave(worker, session);
  details_destroy(session->details);
  session->details = NULL;
  if (session->out != NULL) {
    worker_output_unpin(worker, session->out, 0);
    worker_output_give(worker, session->out);
    session->out = NULL;
  }
  list_remove(&session->unsent);
  clients_forget(worker, session);
  worker->session_count--;
  atomic_fetch_sub(&worker->instance->session_count, 1);
}

struct session_details *session_details(struct session *session) {
  if (session->details == NULL) session->details = calloc(1, sizeof *session->details);
  return session->details;
}

/* Half of what all readers together may have to take; the other half is for their shares. */
static uint64_t half_of_total(const struct worker *worker) {
  uint64_t total = (uint64_t)worker->options->client_output_total;
  uint64_t quarter = (uint64_t)worker->options->maxmemory / 4;
  return (quarter > 0 && quarter < total ? quarter : total) / 2;
}

bool session_outputs_crowd(const struct worker *worker, uint64_t bytes) {
  return bytes > half_of_total(worker);
}

bool session_output_crowded(const struct worker *worker) {
  return session_outputs_crowd(
      worker, atomic_load_explicit(&worker->instance->sending_bytes, memory_order_relaxed));
}

static size_t output_share(const struct worker *worker) {
  uint64_t count = atomic_load_explicit(&worker->instance->session_count, memory_order_relaxed);
  uint64_t share = half_of_total(worker) / (count > 0 ? count : 1);
  if (share > SESSION_OUTPUT_SHARE) return SESSION_OUTPUT_SHARE;
  return share < SESSION_OUTPUT_LEAST ? SESSION_OUTPUT_LEAST : (size_t)share;
}

static size_t output_limit(const struct session *session, const struct worker *worker) {
  size_t limit = (size_t)worker->options->client_output_limit;
  if (session->stranger) return SESSION_OUTPUT_LEAST;
  if (!session_output_crowded(worker)) return limit;
  size_t share = output_share(worker);
  return share < limit ? share : limit;
}

bool session_output_over(const struct session *session, const struct worker *worker, size_t more) {
  size_t limit = output_limit(session, worker);
  size_t bytes = session_output_bytes(session);
  return bytes > limit || more > limit - bytes;
}

/* What is written to a client for which no output could be had: always failed, never sent. */
static struct resp_output *no_output(struct worker *worker) {
  worker->lost_output.failed = true;
  return &worker->lost_output;
}

struct resp_writer session_writer(struct session *session, struct worker *worker) {
  if (session->out == NULL) session->out = worker_output_take(worker);
  if (list_empty(&session->unsent)) list_append(&worker->unsent, &session->unsent);
  if (session->out == NULL) session->close_now = true;
  return (struct resp_writer){session->out != NULL ? session->out : no_output(worker),
                              session->version};
}
