/* drain.c - see drain.h. */
#include "server/net/drain.h"
#include "server/commands/shards.h"
#include "server/engine/waiter.h"

/* Turns in which every connection is still read when the server leaves: what had been sent before
 * is answered. */
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

bool drain_has_begun(const struct drain *drain) {
  return atomic_load(&drain->stage) != DRAIN_SERVES;
}

/* ---- the stages, on the first loop ---- */

static struct worker *first_worker(const struct drain *drain) {
  return &drain->loops->loops[0]->group.worker;
}

static struct stats stats_of(const struct drain *drain) {
  struct stats stats;
  shards_stats(first_worker(drain), &stats);
  return stats;
}

static unsigned long long held(const struct drain *drain) {
  return stats_of(drain).phases[RULES_HELD];
}

static void move_to(struct drain *drain, enum drain_stage stage) {
  if (stage >= DRAIN_LEAVES) {
    atomic_store(&drain->instance->leaving, true);
    listener_close(drain->listener);
  }
  atomic_store(&drain->stage, (int)stage);
  loop_set_wake_all(drain->loops);
}

/* With a journal nobody needs to finish first: claims go on after the start. */
static bool waits_for_owners(const struct drain *drain) { return drain->instance->journal == NULL; }

static void log_begin(const struct drain *drain, const char *why, double timeout_s) {
  log_line(
      drain->instance->log, LOG_LEVEL_NOTICE,
      waits_for_owners(drain)
          ? "%s: no new claims; %llu are held; leaving when they have ended, at the latest in %g s"
          : "%s: no new claims; %llu are held, and are kept; leaving when all replies are sent, at "
            "the latest in %g s",
      why, held(drain), timeout_s);
}

/* It has to wait a little longer than drain-timeout. */
static void tell_supervisor(const struct drain *drain, int64_t timeout_ms) {
  if (drain->notify == NULL) return;
  notify_send(drain->notify,
              "STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld\nSTATUS=draining: %llu claims are held",
              (long long)(timeout_ms + DRAIN_EXTEND_MS) * 1000, held(drain));
}

static void finish_claims(struct drain *drain, const char *why) {
  struct worker *worker = first_worker(drain);
  conn_group_see_time(&drain->loops->loops[0]->group);
  double timeout_s = (double)worker->options->drain_timeout_ms / 1000;
  drain->deadline_ms = worker->monotonic_ms + worker->options->drain_timeout_ms;
  atomic_store(&drain->instance->draining, true);
  served_clock_resume(&drain->instance->clock);
  shards_stop_grants(worker);
  log_begin(drain, why, timeout_s);
  tell_supervisor(drain, worker->options->drain_timeout_ms);
  move_to(drain, DRAIN_FINISHES);
}

/* Owners have finished, or have had their time. */
static void leave_if_due(struct drain *drain) {
  if (atomic_load(&drain->stage) != DRAIN_FINISHES) return;
  unsigned long long left = waits_for_owners(drain) ? held(drain) : 0;
  bool over = first_worker(drain)->monotonic_ms >= drain->deadline_ms;
  if (left > 0 && !over) return;
  if (left > 0)
    log_line(drain->instance->log, LOG_LEVEL_WARNING,
             "drain-timeout has passed: leaving while %llu claims are held", left);
  move_to(drain, DRAIN_LEAVES);
}

void drain_begin(struct drain *drain, const char *why) {
  if (drain_has_begun(drain)) {
    log_line(drain->instance->log, LOG_LEVEL_NOTICE, "%s: leaving at once", why);
    move_to(drain, DRAIN_GONE);
    return;
  }
  finish_claims(drain, why);
  leave_if_due(drain);
}

void drain_leave(struct drain *drain, const char *why) {
  if (!drain_has_begun(drain)) finish_claims(drain, why);
  if (atomic_load(&drain->stage) == DRAIN_FINISHES) move_to(drain, DRAIN_LEAVES);
}

void drain_cron(struct drain *drain, struct loop *loop) {
  if (loop->group.worker.number == 0) leave_if_due(drain);
}

/* What SHUTDOWN asks for and has not been done. */
static enum instance_shutdown shutdown_due(const struct drain *drain, const struct loop *loop) {
  int wanted = loop->group.worker.number == 0 ? atomic_load(&drain->instance->shutdown_wanted) : 0;
  int stage = atomic_load(&drain->stage);
  bool due = (wanted == INSTANCE_DRAINS && stage == DRAIN_SERVES) ||
             (wanted == INSTANCE_LEAVES && stage < DRAIN_LEAVES);
  return due ? (enum instance_shutdown)wanted : INSTANCE_STAYS;
}

static void follow_shutdown(struct drain *drain, const struct loop *loop) {
  switch (shutdown_due(drain, loop)) {
    case INSTANCE_DRAINS: drain_begin(drain, "SHUTDOWN"); break;
    case INSTANCE_LEAVES: drain_leave(drain, "SHUTDOWN NOW"); break;
    case INSTANCE_STAYS:
    default: break;
  }
}

void drain_log_end(const struct drain *drain) {
  struct stats stats = stats_of(drain);
  log_line(drain->instance->log, LOG_LEVEL_NOTICE,
           waits_for_owners(drain)
               ? "with it go %llu LAPSED and %llu UNKNOWN records, and %llu that were HELD"
               : "%llu LAPSED and %llu UNKNOWN records are kept, and %llu that were HELD",
           (unsigned long long)stats.phases[RULES_LAPSED],
           (unsigned long long)stats.phases[RULES_UNKNOWN],
           (unsigned long long)stats.phases[RULES_HELD]);
  log_line(drain->instance->log, LOG_LEVEL_NOTICE, "stopped");
}

/* ---- the stages, in each loop ---- */

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
    struct engine *engine = access_lock(worker, shard, &now_ms);
    waiter_expire(engine, session->waiter, now_ms);
    access_unlock(worker, shard);
  }
}

static void leave(struct drain_loop *d) {
  struct worker *worker = &d->loop->group.worker;
  d->loop->draining = true;
  end_waits(worker);
  int64_t left_ms = d->drain->deadline_ms - worker->monotonic_ms;
  if (left_ms < DRAIN_LAST_MS) left_ms = DRAIN_LAST_MS;
  uv_update_time(&d->loop->uv);
  uv_timer_start(&d->deadline, on_deadline, (uint64_t)left_ms, 0);
}

static void follow(struct drain_loop *d) {
  follow_shutdown(d->drain, d->loop);
  enum drain_stage wanted = (enum drain_stage)atomic_load(&d->drain->stage);
  enum drain_stage before = d->stage;
  if (wanted == before) return;
  d->stage = wanted;
  if (before == DRAIN_SERVES) cron_unpause(&d->loop->group);
  if (before < DRAIN_LEAVES && wanted >= DRAIN_LEAVES) leave(d);
  if (wanted == DRAIN_GONE) loop_close_connections(d->loop);
}

/* ---- its turns ---- */

/* What was sent before it leaves is in the socket: as much as that holds is read; a connection that
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
  if (d->stage >= DRAIN_LEAVES) step(d);
}

bool drain_left_work(const struct drain *drain, const struct loop *loop) {
  const struct drain_loop *d = &drain->of_loop[loop->group.worker.number];
  return (int)d->stage != atomic_load(&drain->stage) ||
         (d->stage >= DRAIN_LEAVES && d->turns < READING_TURNS) ||
         shutdown_due(drain, loop) != INSTANCE_STAYS;
}
