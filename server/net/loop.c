/* loop.c - see loop.h. */
#include "server/net/loop.h"

#include <assert.h>
#include <stdlib.h>

#include "server/net/admit.h"
#include "server/net/turn.h"

_Static_assert(GATE_LOOPS >= KEYSPACE_MAX_LOOPS, "there is a gate for each");

/* ---- the turn ---- */

void loop_adopt(struct loop *loop, struct handed_socket socket) {
  const struct admit_place place = {&loop->group, &loop->uv, &loop->descriptors, loop->tls};
  admit_socket(&place, socket);
}

static void adopt_handed(struct loop *loop) {
  struct handed_socket sockets[HANDED_MAX];
  unsigned count = handed_take(&loop->handed, sockets);
  for (unsigned i = 0; i < count; i++) loop_adopt(loop, sockets[i]);
}

static void end_turn(struct loop *loop) {
  if (atomic_load_explicit(&loop->handed.waiting, memory_order_relaxed)) adopt_handed(loop);
  turn_end(&loop->group, loop->draining);
  loop->duties->end_turn(loop);
}

static void on_check(uv_check_t *check) {
  struct loop *loop = check->data;
  gate_enter(&loop->gate);
  atomic_store_explicit(&loop->gate.asleep, false, memory_order_relaxed);
  end_turn(loop);
}

static void on_cron(uv_timer_t *timer) {
  struct loop *loop = timer->data;
  gate_enter(&loop->gate);
  cron_run(&loop->cron, &loop->group);
  loop->duties->cron(loop);
  end_turn(loop);
}

/* ---- sleeping and waking ---- */

static void on_busy(uv_idle_t *idle) { (void)idle; }

static void on_due(uv_timer_t *timer) {
  struct loop *loop = timer->data;
  gate_enter(&loop->gate);
  loop->due_ms = INT64_MIN; /* it has fired */
  end_turn(loop);
}

/* due_ms is on the engines' clock, the timer on the system's: it may fire early, when something was
 * cut meanwhile, and is then set anew. While the engines' clock stands nothing becomes due, and
 * cron is the next to look. */
static void set_due_timer(struct loop *loop, int64_t due_ms) {
  struct worker *worker = &loop->group.worker;
  int64_t now_ms = worker->now_ms;
  assert(due_ms > now_ms);
  if (served_clock_stands(&worker->instance->clock, now_ms)) due_ms = INT64_MAX;
  if (due_ms == loop->due_ms) return;
  loop->due_ms = due_ms;
  if (due_ms == INT64_MAX) {
    uv_timer_stop(&loop->due);
    return;
  }
  uv_update_time(&loop->uv); /* else it would count from the start of the turn */
  uv_timer_start(&loop->due, on_due, (uint64_t)(due_ms - now_ms), 0);
}

static bool work_is_left(struct loop *loop, int64_t due_ms) {
  return turn_left_work(&loop->group, due_ms) || atomic_load(&loop->handed.waiting) ||
         loop->duties->left_work(loop);
}

/* A turn that read no clock after a stall counts as before it, which is on the safe side. */
static void end_clocked_turn(struct loop *loop) {
  struct worker *worker = &loop->group.worker;
  served_clock_end_turn(&worker->instance->clock, loop->clock_number, worker->monotonic_ms);
}

/*
 * Before every poll. Once `asleep` is set, other threads wake this loop for what they leave. So it
 * looks for work after setting it, and what was left before is seen.
 */
static void on_prepare(uv_prepare_t *prepare) {
  struct loop *loop = prepare->data;
  struct worker *worker = &loop->group.worker;
  gate_enter(&loop->gate);
  loop->group.part_ns = 0;
  end_clocked_turn(loop);
  atomic_store(&loop->gate.asleep, true);
  int64_t due_ms = keyspace_next_due(worker->instance->keyspace, worker->number);
  if (work_is_left(loop, due_ms)) {
    atomic_store(&loop->gate.asleep, false);
    uv_idle_start(&loop->busy, on_busy);
  } else {
    uv_idle_stop(&loop->busy);
    set_due_timer(loop, due_ms);
  }
  gate_leave_for_poll(&loop->gate);
}

/* The turn that follows sees what there is. */
static void on_wake(uv_async_t *wake) {
  struct loop *loop = wake->data;
  gate_enter(&loop->gate);
}

static void wake(struct loop *loop) {
  if (atomic_exchange(&loop->gate.asleep, false)) uv_async_send(&loop->wake);
}

bool loop_hand(struct loop *loop, struct handed_socket socket) {
  if (!handed_put(&loop->handed, socket)) return false;
  wake(loop);
  return true;
}

/* ---- life ---- */

/* Making a handle cannot fail, except for the async, the stream and the room; deinit closes all of
 * them by walking the loop. */
static int open_handles(struct loop *loop, int descriptors) {
  uv_loop_t *uv = &loop->uv;
  uv_prepare_init(uv, &loop->prepare);
  uv_check_init(uv, &loop->check);
  uv_idle_init(uv, &loop->busy);
  uv_timer_init(uv, &loop->due);
  uv_timer_init(uv, &loop->cron_timer);
  loop->prepare.data = loop->check.data = loop->wake.data = loop;
  loop->due.data = loop->cron_timer.data = loop;
  int error = descriptors_reserve(&loop->descriptors, uv, descriptors);
  if (error == 0) error = uv_async_init(uv, &loop->wake, on_wake);
  if (error == 0) error = uv_tcp_init(uv, &loop->first_stream);
  if (error == 0) error = uv_prepare_start(&loop->prepare, on_prepare);
  if (error == 0) error = uv_check_start(&loop->check, on_check);
  if (error == 0) error = uv_timer_start(&loop->cron_timer, on_cron, CRON_MS, CRON_MS);
  return error;
}

static void close_handle(uv_handle_t *handle, void *context) {
  (void)context;
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

/* What libuv made is closed by walking the loop. */
static void deinit(struct loop *loop) {
  uv_walk(&loop->uv, close_handle, NULL);
  uv_run(&loop->uv, UV_RUN_DEFAULT);
  int busy = uv_loop_close(&loop->uv);
  assert(busy == 0);
  (void)busy;
  tls_turn_destroy(loop->tls);
  gate_deinit(&loop->gate);
  handed_deinit(&loop->handed);
  if (loop->group.worker.instance != NULL) conn_group_deinit(&loop->group);
}

static int init(struct loop *loop, struct loop_set *set, const struct loop_setup *setup) {
  int error = uv_loop_init(&loop->uv);
  if (error != 0) return error;
  loop->duties = setup->duties;
  loop->context = setup->context;
  loop->due_ms = INT64_MAX;
  handed_init(&loop->handed);
  gate_init(&loop->gate, &set->gates);
  error = open_handles(loop, setup->descriptors);
  if (error == 0 && !conn_group_init(&loop->group, setup->instance, &loop->gate, &set->connections))
    error = UV_ENOMEM;
  if (error == 0 && set->tls != NULL) {
    loop->tls = tls_turn_create(&loop->uv, &loop->group, set->tls);
    if (loop->tls == NULL) error = UV_ENOMEM;
  }
  if (error != 0) {
    deinit(loop);
    return error;
  }
  cron_init(&loop->cron, &loop->group);
  struct worker *worker = &loop->group.worker;
  loop->clock_number = served_clock_add(&worker->instance->clock, worker->monotonic_ms);
  gate_leave(&loop->gate); /* the thread that runs the loop enters the first one */
  return 0;
}

/* Not inlined, even where the whole program is optimised: bench/instructions.py counts what it
 * calls. */
__attribute__((noinline)) void loop_run(struct loop *loop) {
  uv_run(&loop->uv, UV_RUN_DEFAULT);
  served_clock_leave(&loop->group.worker.instance->clock, loop->clock_number);
  gate_leave(&loop->gate);
}

void loop_stop(struct loop *loop) { uv_stop(&loop->uv); }

void loop_close_connections(struct loop *loop) {
  struct list *sessions = &loop->group.worker.sessions;
  while (!list_empty(sessions))
    conn_close(conn_of(LIST_ENTRY(sessions->next, struct session, link)));
}

/* ---- all loops ---- */

bool loop_set_init(struct loop_set *set) { return gate_set_init(&set->gates); }

int loop_set_add(struct loop_set *set, const struct loop_setup *setup) {
  struct loop *loop = calloc(1, sizeof *loop);
  int error = loop != NULL ? init(loop, set, setup) : UV_ENOMEM;
  if (error != 0) {
    free(loop);
    return error;
  }
  set->loops[set->count++] = loop;
  return 0;
}

/* No loop is freed before all have ended: a walk through sessions (CLIENT LIST) has cursors in
 * all. */
void loop_set_deinit(struct loop_set *set) {
  for (unsigned i = 0; i < set->count; i++) deinit(set->loops[i]);
  for (unsigned i = 0; i < set->count; i++) free(set->loops[i]);
  gate_set_deinit(&set->gates);
}

void loop_set_wake(struct loop_set *set, uint64_t loops) {
  for (; loops != 0; loops &= loops - 1) wake(set->loops[__builtin_ctzll(loops)]);
}

void loop_set_wake_all(struct loop_set *set) {
  loop_set_wake(set, UINT64_MAX >> (64u - set->count));
}

struct loop *loop_set_fewest(const struct loop_set *set) {
  struct loop *fewest = set->loops[0];
  for (unsigned i = 1; i < set->count; i++) {
    struct loop *loop = set->loops[i];
    if (atomic_load(&loop->group.connections) < atomic_load(&fewest->group.connections))
      fewest = loop;
  }
  return fewest;
}
