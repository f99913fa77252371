/* loop.c - one loop: its life, the turn, sleeping and waking, housekeeping, its drain. See server.h
 * and loop.h. */
#include "server/net/loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/commands/access.h"
#include "server/commands/inbox.h"
#include "server/commands/incoming.h"
#include "server/commands/limits.h"
#include "server/commands/setup.h"
#include "server/commands/shards.h"
#include "server/commands/strangers.h"
#include "server/commands/task.h"
#include "server/engine/waiter.h"

/* ---- the clock ---- */

/* The wall clock may jump; what is told of it follows within a cron tick, and small differences
 * between the two clocks are not followed at all, so that a time that was given comes back as it
 * was given. */
#define WALL_STEP_MS 50

/* One loop looks, so that all tell the same. */
static void see_wall_clock(struct loop *loop) {
  if (loop->worker.number != 0) return;
  int64_t offset_ms = clock_wall_ms() - (int64_t)(clock_monotonic_ns() / 1000000);
  int64_t moved_ms = offset_ms - worker_wall_offset_ms(&loop->worker);
  if (moved_ms > WALL_STEP_MS || moved_ms < -WALL_STEP_MS)
    atomic_store(&loop->worker.instance->wall_offset_ms, offset_ms);
}

/* ---- the turn ---- */

static struct keyspace *keyspace_of(const struct loop *loop) {
  return loop->server->instance.keyspace;
}

static struct waiter *next_ready(struct loop *loop, struct shard *shard) {
  int64_t now_ms = loop->worker.now_ms;
  struct engine *engine = access_lock(&loop->worker, shard, &now_ms);
  struct waiter *waiter = waiter_next_ready(engine, loop->worker.number);
  access_unlock(&loop->worker, shard);
  return waiter;
}

/* False when a part of the turn has had its time. */
static bool time_left(struct loop *loop, uint64_t end_ns) { return loop_see_time(loop) < end_ns; }

/* Returns false when there was no time for all of them. */
static bool answer_shard(struct loop *loop, struct shard *shard, uint64_t end_ns) {
  for (struct waiter *waiter; (waiter = next_ready(loop, shard)) != NULL;) {
    conn_answer(loop, waiter);
    if (!time_left(loop, end_ns)) return false;
  }
  return true;
}

static void answer_ready(struct loop *loop) {
  uint64_t shards = keyspace_take_ready(keyspace_of(loop), loop->worker.number);
  if (shards == 0) return;
  uint64_t end_ns = loop_see_time(loop) + LOOP_WAITERS_NS;
  for (; shards != 0; shards &= shards - 1) {
    struct shard *shard = keyspace_shard(keyspace_of(loop), (unsigned)__builtin_ctzll(shards));
    if (!answer_shard(loop, shard, end_ns)) break; /* perhaps there are more in this one too */
  }
  keyspace_still_ready(keyspace_of(loop), loop->worker.number, shards);
}

/* Those that are made runnable meanwhile are for the next turn. */
static void resume_runnable(struct loop *loop) {
  if (list_empty(&loop->runnable)) return;
  struct list now;
  list_init(&now);
  list_splice(&now, &loop->runnable);
  loop->turn_ns = loop_see_time(loop); /* each has a share of this part of the turn */
  uint64_t end_ns = loop->turn_ns + LOOP_RESUMED_NS;
  while (!list_empty(&now) && time_left(loop, end_ns))
    conn_resume(LIST_ENTRY(list_pop(&now), struct conn, runnable));
  list_splice(&loop->runnable, &now);
}

static void send_unsent(struct loop *loop) {
  struct list *unsent = &loop->worker.unsent;
  if (list_empty(unsent)) return;
  uint64_t end_ns = loop_see_time(loop) + LOOP_SENDING_NS;
  while (!list_empty(unsent) && time_left(loop, end_ns))
    conn_flush(conn_of(LIST_ENTRY(list_pop(unsent), struct session, unsent)));
}

static void run_tasks(struct loop *loop) {
  if (!task_ready(&loop->worker)) return;
  uint64_t end_ns = loop_see_time(loop) + LOOP_TASKS_NS;
  while (task_ready(&loop->worker) && time_left(loop, end_ns)) {
    struct session *session = task_run(&loop->worker);
    if (session != NULL) conn_answered(conn_of(session));
  }
}

/* A failed AUTH is answered late, but at once when the server is leaving. */
static void answer_failed_auth(struct loop *loop) {
  struct session *session;
  while ((session = strangers_answer(&loop->worker, loop->draining != 0)) != NULL)
    conn_answered(conn_of(session));
}

static void adopt_handed(struct loop *loop) {
  struct handed *handed = &loop->handed;
  if (!atomic_exchange(&handed->waiting, false)) return;
  int fds[LOOP_HANDED_MAX];
  bool is_unix[LOOP_HANDED_MAX];
  pthread_mutex_lock(&handed->lock);
  unsigned count = handed->count;
  memcpy(fds, handed->fds, count * sizeof fds[0]);
  memcpy(is_unix, handed->is_unix, count * sizeof is_unix[0]);
  handed->count = 0;
  pthread_mutex_unlock(&handed->lock);
  for (unsigned i = 0; i < count; i++) accept_begin(loop, fds[i], is_unix[i]);
}

static void follow_drain(struct loop *loop);
static void drain_step(struct loop *loop);

static void end_turn(struct loop *loop) {
  struct worker *worker = &loop->worker;
  loop_see_time(loop);
  adopt_handed(loop);
  answer_failed_auth(loop);
  strangers_close_evicted(worker);
  shards_tick(worker, LOOP_TICK_STEPS);
  answer_ready(loop);
  resume_runnable(loop);
  run_tasks(loop);
  incoming_deliver(worker);
  send_unsent(loop);
  follow_drain(loop);
  if (loop->draining != 0) drain_step(loop);
}

/* ---- sleeping and waking ---- */

/* Turns in which everybody is still read when a drain begins: what had been sent before is
 * answered.
 */
#define DRAIN_READING_TURNS 3u
/* A turn reads at least 64 KiB of a connection, and its socket holds 6 MiB (tcp_rmem's default). */
#define DRAIN_READING_TURNS_MAX 128u

static void on_busy(uv_idle_t *idle) { (void)idle; }

static void on_due(uv_timer_t *timer) {
  struct loop *loop = timer->data;
  loop_begin(loop);
  loop->due_ms = INT64_MIN; /* fired: not set any more */
  end_turn(loop);
}

static void set_due_timer(struct loop *loop, int64_t due_ms) {
  assert(due_ms > loop->worker.now_ms);
  if (due_ms == loop->due_ms) return;
  loop->due_ms = due_ms;
  if (due_ms == INT64_MAX) {
    uv_timer_stop(&loop->due);
    return;
  }
  uv_update_time(&loop->uv); /* or it would count from when the turn began */
  uv_timer_start(&loop->due, on_due, (uint64_t)(due_ms - loop->worker.now_ms), 0);
}

static bool drain_goes_on(const struct loop *loop) {
  return loop->draining != atomic_load(&loop->server->draining) ||
         (loop->draining != 0 && loop->drain_turns < DRAIN_READING_TURNS);
}

/* The first loop sees to it. */
static bool shutdown_is_due(const struct loop *loop) {
  return loop->worker.number == 0 && loop->draining == 0 &&
         atomic_load(&loop->worker.instance->shutdown_wanted);
}

/* Budgets ran out, a connection that ended late in the turn made something due, or other loops have
 * something for us. */
static bool work_is_left(struct loop *loop, int64_t due_ms) {
  const struct worker *worker = &loop->worker;
  return due_ms <= worker->now_ms || !list_empty(&loop->runnable) || !list_empty(&worker->unsent) ||
         task_ready(worker) || !inbox_empty(worker) || atomic_load(&worker->has_evicted) ||
         keyspace_has_ready(keyspace_of(loop), worker->number) ||
         atomic_load(&loop->handed.waiting) || drain_goes_on(loop) || shutdown_is_due(loop);
}

static void leave_turn(struct loop *loop) {
  if (!loop->in_turn) return;
  loop->in_turn = false;
  pthread_mutex_unlock(&loop->turn);
}

/*
 * Before every poll. From `asleep` on others wake us for what they leave; so we look after that,
 * and what they leave before we have looked is seen.
 */
static void on_prepare(uv_prepare_t *prepare) {
  struct loop *loop = prepare->data;
  loop_begin(loop);
  loop->turn_ns = 0;
  atomic_store(&loop->asleep, true);
  int64_t due_ms = keyspace_next_due(keyspace_of(loop), loop->worker.number);
  if (work_is_left(loop, due_ms)) {
    atomic_store(&loop->asleep, false);
    uv_idle_start(&loop->busy, on_busy);
  } else {
    uv_idle_stop(&loop->busy);
    set_due_timer(loop, due_ms);
  }
  if (loop->server->loop_count > 1) leave_turn(loop);
}

/* A loop that wants the others to stand still comes first, or a busy loop would never let it. */
void loop_enter_turn(struct loop *loop) {
  struct server *server = loop->server;
  atomic_store(&loop->asleep, false);
  if (atomic_load(&server->stopping)) {
    pthread_mutex_lock(&server->stopper);
    pthread_mutex_unlock(&server->stopper);
  }
  pthread_mutex_lock(&loop->turn);
  loop->in_turn = true;
}

static void on_check(uv_check_t *check) {
  struct loop *loop = check->data;
  loop_begin(loop);
  atomic_store_explicit(&loop->asleep, false, memory_order_relaxed);
  end_turn(loop);
}

/* The turn that follows sees what there is. */
static void on_wake(uv_async_t *wake) { loop_begin(wake->data); }

bool loop_hand(struct loop *loop, int fd, bool is_unix) {
  struct handed *handed = &loop->handed;
  pthread_mutex_lock(&handed->lock);
  bool room = handed->count < LOOP_HANDED_MAX;
  if (room) {
    handed->fds[handed->count] = fd;
    handed->is_unix[handed->count++] = is_unix;
  }
  pthread_mutex_unlock(&handed->lock);
  if (!room) return false;
  atomic_store(&handed->waiting, true);
  server_wake(loop->server, UINT64_C(1) << loop->worker.number);
  return true;
}

/* ---- connections ---- */

void loop_count_connection(struct loop *loop) {
  atomic_fetch_add(&loop->server->connections, 1);
  atomic_fetch_add(&loop->connections, 1);
}

void loop_forget_connection(struct loop *loop) {
  atomic_fetch_sub(&loop->connections, 1);
  atomic_fetch_sub(&loop->server->connections, 1);
}

/* As libuv rounds up the number of descriptors that it has room for. */
static int descriptors_for(int fd) {
  int count = 64;
  while (count - 2 <= fd) count *= 2;
  return count - 2;
}

static void on_reached(uv_handle_t *handle) {
  struct loop *loop = handle->data;
  loop_begin(loop);
  loop->reaching = false;
}

/*
 * libuv keeps an array over all descriptors, doubles it when one comes for which it has no room,
 * and ends the process when it cannot. So it is made to do that here, by watching the descriptor
 * for a moment, once it is known that there is memory for it. 0, or a libuv error.
 */
static int reach(struct loop *loop, int fd) {
  int descriptors = descriptors_for(fd);
  if (loop->reaching) return UV_EBUSY;
  if (!allocator_has(((size_t)descriptors + 2) * sizeof(void *))) return UV_ENOMEM;
  int error = uv_poll_init(&loop->uv, &loop->reach, fd);
  if (error != 0) return error;
  error = uv_poll_start(&loop->reach, UV_READABLE, NULL);
  if (error == 0) loop->descriptors = descriptors;
  loop->reach.data = loop;
  loop->reaching = true;
  uv_close((uv_handle_t *)&loop->reach, on_reached);
  return error;
}

/* Beyond what there was room for at start only when maxclients was raised, or many descriptors were
 * inherited. */
bool loop_has_room(struct loop *loop, int fd) {
  return fd < loop->descriptors || reach(loop, fd) == 0;
}

/* libuv is told that it is watched already, and changes that, for which the kernel needs nothing.
 */
bool loop_watch(struct loop *loop, int fd) {
  struct epoll_event none = {.data.fd = fd};
  return epoll_ctl(uv_backend_fd(&loop->uv), EPOLL_CTL_ADD, fd, &none) == 0 || errno == EEXIST;
}

/* ---- housekeeping ---- */

static void resume_postponed(struct loop *loop) {
  struct list *sessions = &loop->worker.sessions;
  for (struct list *node = sessions->next; node != sessions; node = node->next) {
    struct conn *conn = conn_of(LIST_ENTRY(node, struct session, link));
    if (list_empty(&conn->runnable)) list_append(&loop->runnable, &conn->runnable);
  }
}

static void end_pause(struct loop *loop) {
  struct worker *worker = &loop->worker;
  int64_t until_ms = worker->instance->pause_until_ms;
  if (until_ms == worker->pause_ended_ms || until_ms > worker->now_ms) return;
  worker->pause_ended_ms = until_ms;
  loop->fair_ms = worker->now_ms + LOOP_AFTER_STALL_MS; /* what was held back runs first */
  resume_postponed(loop);
}

static bool is_fair(struct loop *loop) {
  int64_t now_ms = loop->worker.now_ms;
  if (now_ms - loop->cron_ms >= LOOP_CRON_MS + LOOP_STALL_MS)
    loop->fair_ms = now_ms + LOOP_AFTER_STALL_MS;
  loop->cron_ms = now_ms;
  return now_ms >= loop->fair_ms;
}

static void review_connections(struct loop *loop) {
  struct worker *worker = &loop->worker;
  uint64_t count =
      worker->session_count < LOOP_CRON_CONNECTIONS ? worker->session_count : LOOP_CRON_CONNECTIONS;
  strangers_review(worker);
  struct conn *late;
  for (unsigned i = 0; i < LOOP_CRON_LATE && (late = input_late(loop)) != NULL; i++)
    conn_late(late);
  for (; count > 0 && !list_empty(&worker->sessions); count--) {
    struct list *node = loop->review;
    if (node == NULL || node == &worker->sessions) node = worker->sessions.next;
    loop->review = node->next;
    conn_review(conn_of(LIST_ENTRY(node, struct session, link)));
  }
}

static void on_cron(uv_timer_t *timer) {
  struct loop *loop = timer->data;
  loop_begin(loop);
  loop_see_time(loop);
  see_wall_clock(loop);
  log_counts(loop->log, loop->worker.now_ms);
  if (loop->worker.number == 0) accept_resume(loop->server);
  end_pause(loop);
  if (is_fair(loop)) review_connections(loop);
  end_turn(loop);
}

/* ---- the drain ---- */

void loop_close_clients(struct loop *loop) {
  while (!list_empty(&loop->worker.sessions)) {
    conn_close(conn_of(LIST_ENTRY(loop->worker.sessions.next, struct session, link)));
  }
}

static void on_drain_deadline(uv_timer_t *timer) {
  struct loop *loop = timer->data;
  loop_begin(loop);
  log_line(loop->log, LOG_LEVEL_WARNING,
           "%llu connections are closed before they took all their replies",
           (unsigned long long)loop->worker.session_count);
  loop_close_clients(loop);
}

static void end_waits(struct loop *loop) {
  struct worker *worker = &loop->worker;
  for (struct list *node = worker->sessions.next; node != &worker->sessions; node = node->next) {
    struct session *session = LIST_ENTRY(node, struct session, link);
    if (!session->waiting) continue;
    struct shard *shard = keyspace_shard(keyspace_of(loop), session->shard);
    int64_t now_ms = worker->now_ms;
    waiter_expire(access_lock(worker, shard, &now_ms), session->waiter, now_ms);
    access_unlock(worker, shard);
  }
}

static void follow_drain(struct loop *loop) {
  struct worker *worker = &loop->worker;
  struct server *server = loop->server;
  if (shutdown_is_due(loop) && atomic_load(&server->draining) == 0)
    server_drain(server, "SHUTDOWN");
  int wanted = atomic_load(&server->draining);
  if (wanted == loop->draining) return;
  bool begins = loop->draining == 0;
  loop->draining = wanted;
  if (begins) {
    resume_postponed(loop);
    end_waits(loop);
    uv_timer_start(&loop->drain_deadline, on_drain_deadline,
                   (uint64_t)worker->options->drain_timeout_ms, 0);
  }
  if (wanted > 1) loop_close_clients(loop);
}

/* What was sent before the drain lies in the socket: as much as that holds is read, a connection
 * that goes on sending is cut off. */
static bool may_read_on(const struct loop *loop, const struct conn *conn) {
  return loop->drain_turns < DRAIN_READING_TURNS_MAX && conn_has_input(conn);
}

static void end_when_sent(struct loop *loop) {
  struct list *sessions = &loop->worker.sessions;
  for (struct list *node = sessions->next, *next; node != sessions; node = next) {
    next = node->next;
    struct session *session = LIST_ENTRY(node, struct session, link);
    struct conn *conn = conn_of(session);
    if (session_blocked(session) || !list_empty(&conn->runnable)) continue;
    if (!session->close_when_sent && may_read_on(loop, conn)) continue;
    session->close_when_sent = true;
    conn_resume(conn);
  }
}

static void drain_step(struct loop *loop) {
  if (loop->worker.session_count > 0 && loop->drain_turns++ < DRAIN_READING_TURNS) return;
  if (loop->worker.session_count > 0) end_when_sent(loop);
  if (loop->worker.session_count > 0 || atomic_load(&loop->handed.waiting)) return;
  /* The first loop hears the signals: it is the last to end. */
  if (loop->worker.number == 0 && atomic_load(&loop->server->connections) > 0) return;
  server_wake(loop->server, 1);
  uv_stop(&loop->uv);
}

/* ---- life ---- */

void loop_setup_reader(struct loop *loop, struct resp_reader *reader) {
  resp_read_init(reader);
  reader->argument_limit = limits_argument;
  reader->context = &loop->worker;
  reader->unasked_bytes = loop->worker.unasked_bytes;
  reader->command_limit = (size_t)loop->worker.options->limits.body_bytes + LOOP_COMMAND_BYTES;
}

/* Room for every connection that there may be. */
static int make_room(struct loop *loop) {
  int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0) return -errno;
  int highest = fcntl(event, F_DUPFD_CLOEXEC, loop->server->descriptors - 1);
  int error = highest >= 0 ? reach(loop, highest) : -errno;
  if (highest >= 0) close(highest);
  close(event);
  return error;
}

/* Handles cannot fail to be made, but for the async, the stream and the room; all are closed in
 * loop_deinit by walking the loop. */
static int open_handles(struct loop *loop) {
  uv_loop_t *uv = &loop->uv;
  uv_prepare_init(uv, &loop->prepare);
  uv_check_init(uv, &loop->check);
  uv_idle_init(uv, &loop->busy);
  uv_timer_init(uv, &loop->due);
  uv_timer_init(uv, &loop->cron);
  uv_timer_init(uv, &loop->drain_deadline);
  loop->prepare.data = loop->check.data = loop->wake.data = loop;
  loop->due.data = loop->cron.data = loop->drain_deadline.data = loop;
  int error = make_room(loop);
  if (error == 0) error = uv_async_init(uv, &loop->wake, on_wake);
  if (error == 0) error = uv_tcp_init(uv, &loop->first_stream);
  if (error == 0) error = uv_prepare_start(&loop->prepare, on_prepare);
  if (error == 0) error = uv_check_start(&loop->check, on_check);
  if (error == 0) error = uv_timer_start(&loop->cron, on_cron, LOOP_CRON_MS, LOOP_CRON_MS);
  return error;
}

int loop_init(struct loop *loop, struct server *server) {
  loop->server = server;
  loop->log = server->log;
  loop->due_ms = INT64_MAX;
  list_init(&loop->runnable);
  list_init(&loop->awaited);
  int error = uv_loop_init(&loop->uv);
  if (error != 0) return error;
  pthread_mutex_init(&loop->handed.lock, NULL);
  pthread_mutex_init(&loop->turn, NULL);
  loop_begin(loop);
  error = open_handles(loop);
  if (error == 0 &&
      !setup_worker_init(&loop->worker, &server->instance, (int64_t)uv_now(&loop->uv)))
    error = UV_ENOMEM;
  if (error != 0) {
    loop_deinit(loop);
    return error;
  }
  loop_setup_reader(loop, &loop->reader);
  see_wall_clock(loop);
  loop->cron_ms = loop->worker.now_ms;
  leave_turn(loop); /* whoever runs the loop enters the first one */
  return 0;
}

/* A function by itself even where the whole program is optimised: what it calls is what
 * bench/instructions.py counts. */
__attribute__((noinline)) void loop_run(struct loop *loop) {
  uv_run(&loop->uv, UV_RUN_DEFAULT);
  leave_turn(loop);
}

static void close_handle(uv_handle_t *handle, void *context) {
  (void)context;
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

void loop_deinit(struct loop *loop) {
  uv_walk(&loop->uv, close_handle, NULL);
  uv_run(&loop->uv, UV_RUN_DEFAULT);
  int busy = uv_loop_close(&loop->uv);
  assert(busy == 0);
  (void)busy;
  leave_turn(loop);
  for (unsigned i = 0; i < loop->handed.count; i++) close(loop->handed.fds[i]);
  pthread_mutex_destroy(&loop->turn);
  pthread_mutex_destroy(&loop->handed.lock);
  if (loop->worker.instance == NULL) return;
  resp_read_deinit(&loop->reader);
  setup_worker_deinit(&loop->worker);
}
