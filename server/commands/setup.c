/* setup.c - see setup.h. */
#include "server/commands/setup.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/random.h"
#include "server/commands/accounts.h"
#include "server/commands/acl_log.h"
#include "server/commands/allowance.h"
#include "server/commands/inbox.h"
#include "server/commands/journaling.h"
#include "server/commands/latency.h"
#include "server/commands/monitor.h"
#include "server/commands/outputs.h"
#include "server/commands/queue.h"
#include "server/commands/session_walk.h"
#include "server/commands/slowlog.h"
#include "server/commands/strangers.h"
#include "server/commands/command_table.h"
#include "server/commands/task.h"
#include "server/commands/topics.h"
#include "server/commands/waits.h"
#include "server/engine/engine.h"
#include "server/rules/request.h"

/* ---- the instance ---- */

static bool make_run_id(char id[41]) {
  unsigned char random[20];
  if (!random_get(random, sizeof random)) return false;
  for (size_t i = 0; i < sizeof random; i++) snprintf(id + 2 * i, 3, "%02x", random[i]);
  return true;
}

bool setup_instance_init(struct instance *instance, struct keyspace *keyspace,
                         struct options *options, struct log *log, int64_t monotonic_ms) {
  *instance = (struct instance){
      .keyspace = keyspace,
      .options = options,
      .log = log,
      .started_ms = monotonic_ms,
      .horizon_start_ms = engine_horizon_start_ms(shard_engine(keyspace_shard(keyspace, 0))),
      .commands = lookup_create(command_table_commands, command_table_command_count),
      .slowlog = slowlog_create(),
      .acl_log = acl_log_create(),
      .users = accounts_create(
          (struct accounts_rows){command_table_commands, command_table_command_count}, options),
  };
  atomic_init(&instance->next_session_id, 1);
  served_clock_init(&instance->clock);
  pthread_mutex_init(&instance->strangers_lock, NULL);
  list_init(&instance->strangers);
  if (instance->commands != NULL && instance->slowlog != NULL && instance->users != NULL &&
      keyspace_count_users(keyspace) && make_run_id(instance->run_id) &&
      random_get(&instance->address_seed, sizeof instance->address_seed))
    return true;
  setup_instance_deinit(instance);
  return false;
}

void setup_instance_users(struct instance *instance, struct users *users) {
  users_destroy(instance->users);
  instance->users = users;
  allowance_apply(instance);
}

void setup_instance_deinit(struct instance *instance) {
  lookup_destroy(instance->commands);
  slowlog_destroy(instance->slowlog);
  acl_log_destroy(instance->acl_log);
  users_destroy(instance->users);
  pthread_mutex_destroy(&instance->strangers_lock);
}

/* ---- workers ---- */

bool setup_worker_init(struct worker *worker, struct instance *instance, int64_t monotonic_ms) {
  assert(instance->worker_count < KEYSPACE_MAX_LOOPS);
  *worker = (struct worker){
      .instance = instance,
      .number = instance->worker_count,
      .options = instance->options,
      .log = instance->log,
      .commands = instance->commands,
      .slowlog = instance->slowlog,
      .now_ms = served_clock_at(served_clock_look(&instance->clock), monotonic_ms),
      .monotonic_ms = monotonic_ms,
      .plain = keyspace_shards(instance->keyspace) == 1 && instance->journal == NULL,
      .unasked_bytes = request_least_limit(&instance->options->limits),
      .stats = calloc(instance->commands->count, sizeof *worker->stats),
      .topics = topics_create(),
      .inbox = inbox_create(),
  };
  struct list *const lists[] = {&worker->sessions, &worker->unsent,  &worker->tasks,
                                &worker->cursors,  &worker->delayed, &worker->evicted,
                                &worker->kept_back};
  for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) list_init(lists[i]);
  bool made = journaling_init(worker) && outputs_init(worker) && worker->stats != NULL &&
              worker->topics != NULL && worker->inbox != NULL;
  if (made) {
    instance->workers[instance->worker_count++] = worker;
    return true;
  }
  setup_worker_deinit(worker);
  *worker = (struct worker){0};
  return false;
}

void setup_worker_deinit(struct worker *worker) {
  task_destroy_all(worker);
  if (worker->stats != NULL) latency_reset(worker);
  free(worker->stats);
  waits_reset(worker);
  topics_destroy(worker->topics);
  inbox_destroy(worker->inbox);
  outputs_deinit(worker);
  free(worker->effect_channel);
  journaling_deinit(worker);
}

/* ---- sessions ---- */

static void note_peak(_Atomic uint64_t *peak, uint64_t count) {
  uint64_t seen = atomic_load(peak);
  while (count > seen && !atomic_compare_exchange_weak(peak, &seen, count)) continue;
}

void setup_session_init(struct session *session, struct worker *worker) {
  *session = (struct session){
      .id = atomic_fetch_add(&worker->instance->next_session_id, 1),
      .version = 2,
      .last_row = SESSION_NO_ROW,
      .connected_ms = worker->monotonic_ms,
      .active_ms = worker->monotonic_ms,
  };
  accounts_begin_session(session, worker);
  list_append(&worker->sessions, &session->link);
  list_init(&session->unsent);
  worker->session_count++;
  worker->counters.connections++;
  note_peak(&worker->instance->peak_sessions,
            atomic_fetch_add(&worker->instance->session_count, 1) + 1);
}

static void details_destroy(struct session_details *details) {
  if (details == NULL) return;
  free(details->name);
  free(details->library_name);
  free(details->library_version);
  free(details->proxied);
  free(details);
}

void setup_session_deinit(struct session *session, struct worker *worker) {
  session_cancel_wait(session, worker);
  session_unbind(session, worker);
  if (session_task(session) != NULL) task_abandon(session_task(session));
  strangers_forget_delay(session);
  strangers_remove(worker, session);
  queue_discard(session);
  topics_leave(worker, session);
  monitor_leave(worker, session);
  details_destroy(session->details);
  session->details = NULL;
  if (session->out != NULL) {
    outputs_unpin(worker, session->out, 0);
    outputs_give(worker, session->out);
    session->out = NULL;
  }
  list_remove(&session->unsent);
  session_walk_remove(worker, session);
  worker->session_count--;
  atomic_fetch_sub(&worker->instance->session_count, 1);
}
