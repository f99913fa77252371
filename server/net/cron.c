/* cron.c - see cron.h. */
#include "server/net/cron.h"

#include "server/commands/strangers.h"
#include "server/net/serve.h"
#include "server/net/timeouts.h"

/* The wall clock may jump; unix times in replies follow it within a cron tick. Small differences
 * between the two clocks are not followed at all, so that EXPIRETIME returns what EXPIREAT has
 * set. */
#define WALL_STEP_MS 50

/* One loop reads it, so that all loops show the same time. */
static void see_wall_clock(struct worker *worker) {
  if (worker->number != 0) return;
  int64_t offset_ms = clock_wall_ms() - (int64_t)(clock_monotonic_ns() / 1000000);
  int64_t moved_ms = offset_ms - worker_wall_offset_ms(worker);
  if (moved_ms > WALL_STEP_MS || moved_ms < -WALL_STEP_MS)
    atomic_store(&worker->instance->wall_offset_ms, offset_ms);
}

void cron_init(struct cron *cron, struct conn_group *group) {
  see_wall_clock(&group->worker);
  *cron = (struct cron){.last_ms = group->worker.now_ms};
}

void cron_unpause(struct conn_group *group) {
  struct list *sessions = &group->worker.sessions;
  for (struct list *node = sessions->next; node != sessions; node = node->next)
    conn_unpause(conn_of(LIST_ENTRY(node, struct session, link)));
}

static void end_pause(struct cron *cron, struct conn_group *group) {
  struct worker *worker = &group->worker;
  int64_t until_ms = worker->instance->pause_until_ms;
  if (until_ms == worker->pause_ended_ms || until_ms > worker->now_ms) return;
  worker->pause_ended_ms = until_ms;
  cron->fair_ms = worker->now_ms + CRON_AFTER_STALL_MS; /* delayed commands run first */
  cron_unpause(group);
}

static bool is_fair(struct cron *cron, int64_t now_ms) {
  if (now_ms - cron->last_ms >= CRON_MS + CRON_STALL_MS)
    cron->fair_ms = now_ms + CRON_AFTER_STALL_MS;
  cron->last_ms = now_ms;
  return now_ms >= cron->fair_ms;
}

static void end_late(struct conn_group *group) {
  struct input *late;
  for (unsigned i = 0; i < CRON_LATE && (late = input_late(&group->budget)) != NULL; i++)
    serve_late(late->owner);
}

static void check_connections(struct conn_group *group) {
  struct worker *worker = &group->worker;
  uint64_t count =
      worker->session_count < CRON_CONNECTIONS ? worker->session_count : CRON_CONNECTIONS;
  strangers_review(worker);
  end_late(group);
  for (; count > 0 && !list_empty(&worker->sessions); count--) {
    struct list *node = group->next_check;
    if (node == NULL || node == &worker->sessions) node = worker->sessions.next;
    group->next_check = node->next;
    timeouts_check(conn_of(LIST_ENTRY(node, struct session, link)));
  }
}

void cron_run(struct cron *cron, struct conn_group *group) {
  struct worker *worker = &group->worker;
  conn_group_see_time(group);
  see_wall_clock(worker);
  log_counts(worker->log, worker->now_ms);
  end_pause(cron, group);
  if (is_fair(cron, worker->now_ms)) check_connections(group);
}
