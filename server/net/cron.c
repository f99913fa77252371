/* cron.c - see cron.h. */
#include "server/net/cron.h"

#include "server/commands/strangers.h"
#include "server/commands/trimming.h"
#include "server/net/serve.h"
#include "server/net/timeouts.h"

/* The wall clock may be set at any time; unix times in replies follow it within a cron tick. One
 * loop reads it, so that all loops show the same. A sample of two clocks that are not of one moment
 * is none. */
struct sample {
  int64_t monotonic_ms, unix_ms;
  bool whole;
};

/* Their difference is rounded up: a horizon in unix time must not be early, not by one millisecond.
 */
static struct sample take_sample(void) {
  uint64_t before_ns = clock_monotonic_ns();
  int64_t unix_ns = clock_wall_ns();
  uint64_t took_ns = clock_monotonic_ns() - before_ns;
  int64_t monotonic_ms = (int64_t)(before_ns / 1000000);
  int64_t apart_ms = (unix_ns - (int64_t)before_ns + 999999) / 1000000;
  return (struct sample){monotonic_ms, monotonic_ms + apart_ms, took_ns < CRON_SAMPLE_NS};
}

static void see_wall_clock(struct worker *worker) {
  if (worker->number != 0) return;
  struct sample sample = take_sample();
  if (!sample.whole) return;
  int64_t step_ms = wall_clock_sample(&worker->instance->wall, sample.monotonic_ms, sample.unix_ms);
  if (step_ms < -worker->options->born_skew_ms)
    log_line(worker->log, LOG_LEVEL_WARNING,
             "the clock of this machine was set back by %lld ms: unix times in replies follow it",
             (long long)-step_ms);
}

static void see_wall_clock_first(struct worker *worker) {
  if (worker->number != 0) return;
  struct sample sample = take_sample();
  for (unsigned i = 0; i < CRON_SAMPLES && !sample.whole; i++) sample = take_sample();
  wall_clock_init(&worker->instance->wall, sample.monotonic_ms, sample.unix_ms);
}

void cron_init(struct cron *cron, struct conn_group *group) {
  see_wall_clock_first(&group->worker);
  *cron = (struct cron){.last_ms = group->worker.monotonic_ms};
}

void cron_unpause(struct conn_group *group) {
  struct list *sessions = &group->worker.sessions;
  for (struct list *node = sessions->next; node != sessions; node = node->next)
    conn_unpause(conn_of(LIST_ENTRY(node, struct session, link)));
}

static void end_pause(struct cron *cron, struct conn_group *group) {
  struct worker *worker = &group->worker;
  int64_t until_ms = worker->instance->pause_until_ms;
  if (until_ms == worker->pause_ended_ms || until_ms > worker->monotonic_ms) return;
  worker->pause_ended_ms = until_ms;
  cron->fair_ms = worker->monotonic_ms + CRON_AFTER_STALL_MS; /* delayed commands run first */
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
  log_counts(worker->log, worker->monotonic_ms);
  end_pause(cron, group);
  if (worker->journal != NULL) trimming_cron(worker);
  if (is_fair(cron, worker->monotonic_ms)) check_connections(group);
}
