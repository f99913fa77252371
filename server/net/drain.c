/* drain.c - see drain.h. */
#include "server/net/drain.h"
#include "server/engine/waiter.h"

/* Turns in which every connection is still read when a drain begins: what had been sent before is
 * answered. */
#define READING_TURNS 3u
/* A turn reads at least 64 KiB of a connection, and its socket holds 6 MiB (tcp_rmem's default). */
#define READING_TURNS_MAX 128u

static struct drain_loop *of_loop(struct drain *drain, const struct loop *loop) {
  return &drain->of_loop[loop->group.worker.number];
}

void drain_init(struct drain *drain, struct instance *instance, struct loop_set *loops,
                struct listener *listener) {
  *drain = (struct drain){.instance = instance, .loops = loops, .listener = listener};
  for (unsigned i = 0; i < loops->count; i++) {
    struct drain_loop *d = &drain->of_loop[i];
    *d = (struct drain_loop){.drain = drain, .loop = loops->loops[i]};
    uv_timer_init(&d->loop->uv, &d->deadline);
    d->deadline.data = d;
  }
}

bool drain_has_begun(const struct drain *drain) { return atomic_load(&drain->stage) != DRAIN_NOT; }

void drain_begin(struct drain *drain, const char *why) {
  if (drain_has_begun(drain)) {
    atomic_store(&drain->stage, DRAIN_AT_ONCE);
  } else {
    log_line(drain->instance->log, LOG_LEVEL_NOTICE, "%s: draining %llu connections", why,
             (unsigned long long)atomic_load(&drain->instance->session_count));
    atomic_store(&drain->instance->draining, true);
    listener_close(drain->listener);
    atomic_store(&drain->stage, DRAIN_BEGUN);
  }
  loop_set_wake_all(drain->loops);
}

/* ---- the beginning, in each loop ---- */

static void on_deadline(uv_timer_t *timer) {
  struct drain_loop *d = timer->data;
  struct worker *worker = &d->loop->group.worker;
  gate_enter(&d->loop->gate);
  log_line(worker->log, LOG_LEVEL_WARNING,
           "%llu connections are closed before they took all their replies",
           (unsigned long long)worker->session_count);
  loop_close_connections(d->loop);
}

static void end_waits(struct worker *worker) {
  for (struct list *node = worker->sessions.next; node != &worker->sessions; node = node->next) {
    struct session *session = LIST_ENTRY(node, struct session, link);
    if (!session->waiting) continue;
    struct shard *shard = keyspace_shard(worker->instance->keyspace, session->shard);
    int64_t now_ms = worker->now_ms;
    waiter_expire(access_lock(worker, shard, &now_ms), session->waiter, now_ms);
    access_unlock(worker, shard);
  }
}

static void begin(struct drain_loop *d) {
  struct conn_group *group = &d->loop->group;
  d->loop->draining = true;
  cron_unpause(group);
  end_waits(&group->worker);
  uv_timer_start(&d->deadline, on_deadline, (uint64_t)group->worker.options->drain_timeout_ms, 0);
}

/* The first loop handles it. */
static bool shutdown_is_due(const struct drain *drain, const struct loop *loop) {
  return loop->group.worker.number == 0 && !loop->draining &&
         atomic_load(&drain->instance->shutdown_wanted);
}

static void follow(struct drain_loop *d) {
  struct drain *drain = d->drain;
  if (shutdown_is_due(drain, d->loop) && !drain_has_begun(drain)) drain_begin(drain, "SHUTDOWN");
  enum drain_stage wanted = (enum drain_stage)atomic_load(&drain->stage);
  if (wanted == d->stage) return;
  if (d->stage == DRAIN_NOT) begin(d);
  d->stage = wanted;
  if (wanted == DRAIN_AT_ONCE) loop_close_connections(d->loop);
}

/* ---- its turns ---- */

/* What was sent before the drain is in the socket: as much as that holds is read; a connection that
 * keeps sending is cut off. */
static bool may_read_on(const struct drain_loop *d, const struct conn *conn) {
  return d->turns < READING_TURNS_MAX && conn->incoming == CONN_READS &&
         stream_ask(&conn->stream, STREAM_ARRIVED) > 0;
}

/* Leaves alone the connections that wait for a reply, have output that was not offered to their
 * client, or commands to run. */
static void end_when_sent(struct drain_loop *d) {
  struct list *sessions = &d->loop->group.worker.sessions;
  for (struct list *node = sessions->next, *next; node != sessions; node = next) {
    next = node->next;
    struct session *session = LIST_ENTRY(node, struct session, link);
    struct conn *conn = conn_of(session);
    if (session_blocked(session) || !list_empty(&session->unsent)) continue;
    if (conn->phase != CONN_OPEN || may_read_on(d, conn)) continue;
    conn_end(conn);
    conn_mark(conn);
  }
}

static void step(struct drain_loop *d) {
  struct loop *loop = d->loop;
  const struct worker *worker = &loop->group.worker;
  if (worker->session_count > 0 && d->turns++ < READING_TURNS) return;
  if (worker->session_count > 0) end_when_sent(d);
  if (worker->session_count > 0 || atomic_load(&loop->handed.waiting)) return;
  if (worker->number == 0 && atomic_load(&d->drain->loops->connections) > 0) return;
  loop_set_wake(d->drain->loops, 1);
  loop_stop(loop);
}

void drain_end_turn(struct drain *drain, struct loop *loop) {
  struct drain_loop *d = of_loop(drain, loop);
  follow(d);
  if (d->stage != DRAIN_NOT) step(d);
}

bool drain_left_work(const struct drain *drain, const struct loop *loop) {
  const struct drain_loop *d = &drain->of_loop[loop->group.worker.number];
  return (int)d->stage != atomic_load(&drain->stage) ||
         (d->stage != DRAIN_NOT && d->turns < READING_TURNS) || shutdown_is_due(drain, loop);
}
