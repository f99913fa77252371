/* turn.c - see turn.h. */
#include "server/net/turn.h"

#include "server/commands/access.h"
#include "server/commands/deliver.h"
#include "server/commands/inbox.h"
#include "server/commands/incoming.h"
#include "server/commands/shards.h"
#include "server/commands/strangers.h"
#include "server/commands/task.h"
#include "server/commands/trimming.h"
#include "server/net/serve.h"
#include "server/engine/waiter.h"

static struct keyspace *keyspace_of(const struct conn_group *group) {
  return group->worker.instance->keyspace;
}

/* False when a part of the turn has used its time. */
static bool time_left(struct conn_group *group, uint64_t end_ns) {
  return conn_group_see_time(group) < end_ns;
}

/* ---- waiters ---- */

static struct waiter *next_ready(struct conn_group *group, struct shard *shard) {
  struct worker *worker = &group->worker;
  int64_t now_ms = worker->now_ms;
  struct engine *engine = access_lock(worker, shard, &now_ms);
  struct waiter *waiter = waiter_next_ready(engine, worker->number);
  access_unlock(worker, shard);
  return waiter;
}

/* A grant leaves only if its client is still there: asked when it is sent (conn.c). */
static void answer(struct conn_group *group, struct waiter *waiter) {
  struct conn *conn = conn_of(waiter_context(waiter));
  conn->grant_gathered = waiter_answer(waiter)->status == ENGINE_CLAIMED;
  deliver_waiter(&group->worker, waiter);
  conn_gather(conn);
}

/* Returns false when there was no time for all of them. */
static bool answer_shard(struct conn_group *group, struct shard *shard, uint64_t end_ns) {
  for (struct waiter *waiter; (waiter = next_ready(group, shard)) != NULL;) {
    answer(group, waiter);
    if (!time_left(group, end_ns)) return false;
  }
  return true;
}

static void answer_ready(struct conn_group *group) {
  struct keyspace *keyspace = keyspace_of(group);
  uint64_t shards = keyspace_take_ready(keyspace, group->worker.number);
  if (shards == 0) return;
  uint64_t end_ns = conn_group_see_time(group) + TURN_WAITERS_NS;
  for (; shards != 0; shards &= shards - 1) {
    struct shard *shard = keyspace_shard(keyspace, (unsigned)__builtin_ctzll(shards));
    if (!answer_shard(group, shard, end_ns)) break; /* perhaps there are more in this one too */
  }
  keyspace_still_ready(keyspace, group->worker.number, shards);
}

/* ---- the other parts ---- */

/* A failed AUTH is answered late, but at once when the server drains. */
static void answer_failed_auth(struct conn_group *group, bool draining) {
  struct session *session;
  while ((session = strangers_answer(&group->worker, draining)) != NULL)
    conn_mark(conn_of(session));
}

/* Those that become runnable meanwhile are for the next turn. */
static void resume_runnable(struct conn_group *group) {
  if (list_empty(&group->runnable)) return;
  struct list now;
  list_init(&now);
  list_splice(&now, &group->runnable);
  group->part_ns = conn_group_see_time(group); /* each has a share of this part of the turn */
  uint64_t end_ns = group->part_ns + TURN_RESUMED_NS;
  while (!list_empty(&now) && time_left(group, end_ns))
    serve_resume(conn_of(LIST_ENTRY(list_pop(&now), struct session, unsent)));
  list_splice(&group->runnable, &now);
}

static void run_tasks(struct conn_group *group) {
  struct worker *worker = &group->worker;
  if (!task_ready(worker)) return;
  uint64_t end_ns = conn_group_see_time(group) + TURN_TASKS_NS;
  while (task_ready(worker) && time_left(group, end_ns)) {
    struct session *session = task_run(worker);
    if (session != NULL) conn_gather(conn_of(session));
  }
}

/* Whether what waits for a commit waits for more: commands that the last look at the sockets
 * brought have appended some. */
static bool awaits_more(struct conn_group *group, unsigned appends) {
  bool brought = group->worker.awaits_sync && appends > group->looked_appends;
  return brought && time_left(group, group->unsent_ns + TURN_AWAITS_NS);
}

void turn_end(struct conn_group *group, bool draining) {
  struct worker *worker = &group->worker;
  serve_run_queued(group);
  unsigned appends = worker->appends; /* the rest of the turn appends, too */
  conn_group_see_time(group);
  answer_failed_auth(group, draining);
  strangers_close_evicted(worker);
  shards_tick(worker, TURN_TICK_STEPS);
  answer_ready(group);
  resume_runnable(group);
  run_tasks(group);
  if (worker->trims) trimming_step(worker);
  incoming_deliver(worker);
  if (!draining && awaits_more(group, appends)) {
    group->looked_appends = worker->appends;
  } else {
    conn_group_send(group);
  }
}

bool turn_left_work(struct conn_group *group, int64_t due_ms) {
  const struct worker *worker = &group->worker;
  return due_ms <= worker->now_ms || !list_empty(&group->runnable) ||
         !list_empty(&worker->unsent) || group->looked_appends > 0 || task_ready(worker) ||
         worker->trims || !inbox_empty(worker) || atomic_load(&worker->has_evicted) ||
         keyspace_has_ready(keyspace_of(group), worker->number);
}
