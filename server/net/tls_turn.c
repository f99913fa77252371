/* tls_turn.c - see tls_turn.h. */
#include "server/net/tls_turn.h"

#include <stdlib.h>

#include "server/commands/strangers.h"
#include "server/net/cron.h"

/* ---- what connections are told ---- */

static void enter(struct stream *stream) { gate_enter(conn_of_stream(stream)->group->gate); }

static void secured(struct stream *stream) {
  struct conn *conn = conn_of_stream(stream);
  struct worker *worker = &conn->group->worker;
  conn_group_see_time(conn->group);
  worker->counters.tls_handshakes++;
  strangers_secured(worker, &conn->session);
}

/* Sends no reply: the alert has been sent. */
static void failed(struct stream *stream, enum stream_tls_failure failure, const char *reason) {
  struct conn *conn = conn_of_stream(stream);
  struct worker *worker = &conn->group->worker;
  conn_group_see_time(conn->group);
  worker->counters.tls_handshakes_failed++;
  if (failure == STREAM_TLS_PLAIN) {
    log_happened(worker->log, LOG_PLAIN, conn->session.id, worker->monotonic_ms);
  } else if (log_wants(worker->log, LOG_HANDSHAKE, worker->monotonic_ms)) {
    struct session_address address;
    conn_describe(&conn->session, &address);
    log_line(worker->log, LOG_LEVEL_WARNING, "TLS handshake with %s failed: %s (client %llu)",
             address.peer[0] != '\0' ? address.peer : "a client that is gone",
             reason != NULL ? reason : "the client left, or memory is short",
             (unsigned long long)conn->session.id);
  }
  conn_end(conn);
  conn_mark(conn);
}

static const struct stream_tls_hooks HOOKS = {.enter = enter, .secured = secured, .failed = failed};

/* ---- the turn ---- */

static bool time_left(void *context) {
  struct tls_turn *turn = context;
  return conn_group_see_time(turn->conns) < turn->end_ns;
}

/* What was sent while the loop did not run is still in the sockets. The loop has a turn every
 * CRON_MS. */
static void count_time(struct tls_turn *turn) {
  int64_t now_ms = turn->conns->worker.monotonic_ms, passed_ms = now_ms - turn->seen_ms;
  turn->seen_ms = now_ms;
  turn->group.now_ms += passed_ms < CRON_STALL_MS ? passed_ms : CRON_STALL_MS;
  stream_tls_end_late(&turn->group);
}

static void on_check(uv_check_t *check) {
  struct tls_turn *turn = check->data;
  gate_enter(turn->conns->gate);
  stream_tls_begin_turn(&turn->group);
  count_time(turn);
  if (!stream_tls_has_work(&turn->group)) return;
  turn->end_ns = conn_group_see_time(turn->conns) + TLS_TURN_HANDSHAKES_NS;
  stream_tls_shake(&turn->group, time_left, turn);
  turn->end_ns = conn_group_see_time(turn->conns) + TLS_TURN_READERS_NS;
  stream_tls_read_on(&turn->group, time_left, turn);
}

static void on_busy(uv_idle_t *idle) { (void)idle; }

/* The loop does not sleep while there is work. */
static void on_prepare(uv_prepare_t *prepare) {
  struct tls_turn *turn = prepare->data;
  gate_enter(turn->conns->gate);
  if (stream_tls_has_work(&turn->group)) {
    uv_idle_start(&turn->busy, on_busy);
  } else {
    uv_idle_stop(&turn->busy);
  }
}

/* ---- life ---- */

struct tls_turn *tls_turn_create(uv_loop_t *uv, struct conn_group *conns, struct tls *tls) {
  struct tls_turn *turn = calloc(1, sizeof *turn);
  if (turn == NULL) return NULL;
  turn->tls = tls;
  turn->conns = conns;
  turn->group.hooks = &HOOKS;
  turn->group.handshake_count = &tls->figures->handshakes;
  turn->group.stream_count = &tls->figures->connections;
  if (!stream_tls_group_init(&turn->group)) {
    free(turn);
    return NULL;
  }
  uv_check_init(uv, &turn->check);
  uv_prepare_init(uv, &turn->prepare);
  uv_idle_init(uv, &turn->busy);
  turn->check.data = turn->prepare.data = turn;
  /* libuv calls those first that were started last: before the loop's own. */
  uv_check_start(&turn->check, on_check);
  uv_prepare_start(&turn->prepare, on_prepare);
  return turn;
}

void tls_turn_destroy(struct tls_turn *turn) {
  if (turn == NULL) return;
  stream_tls_group_deinit(&turn->group);
  free(turn);
}
