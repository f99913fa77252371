/* conn.c - see conn.h. */
#include "server/net/conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/commands/deliver.h"
#include "server/commands/journaling.h"
#include "server/commands/output_limit.h"
#include "server/commands/setup.h"
#include "server/commands/strangers.h"
#include "server/net/address.h"
#include "server/net/output.h"

/* How long sending may take in a turn, not counting the first few connections, and how many
 * connections are settled between two readings of the clock: each costs a system call. */
#define SENDING_NS 3000000u
#define SETTLED_PER_LOOK 8u
/* As much as one connection's share of a turn. */
#define GATHERED_BYTES (1024u * 1024)

/* ---- the group ---- */

bool conn_group_init(struct conn_group *group, struct instance *instance, struct gate *gate,
                     _Atomic uint64_t *connections_of_all) {
  list_init(&group->runnable);
  if (!setup_worker_init(&group->worker, instance, (int64_t)(clock_monotonic_ns() / 1000000)))
    return false;
  group->gate = gate;
  group->connections_of_all = connections_of_all;
  input_budget_init(&group->budget, &group->worker);
  input_init_reader(&group->reader, &group->worker);
  input_init_reader(&group->idle, &group->worker);
  return true;
}

void conn_group_deinit(struct conn_group *group) {
  resp_read_deinit(&group->reader);
  setup_worker_deinit(&group->worker);
}

void conn_group_count(struct conn_group *group) {
  atomic_fetch_add(group->connections_of_all, 1);
  atomic_fetch_add(&group->connections, 1);
}

void conn_group_forget(struct conn_group *group) {
  atomic_fetch_sub(&group->connections, 1);
  atomic_fetch_sub(group->connections_of_all, 1);
}

/* ---- state ---- */

unsigned conn_blocked_by(const struct conn *conn) {
  const struct session *session = &conn->session;
  unsigned set = 0;
  if (session->waiting) set |= CONN_BLOCKED_BY_WAIT;
  if (session->waiter != NULL && !session->waiting) set |= CONN_BLOCKED_BY_GRANT;
  if (session->working) set |= CONN_BLOCKED_BY_TASK;
  if (session->delayed) set |= CONN_BLOCKED_BY_DELAYED_ERROR;
  if (conn_output_over(conn)) set |= CONN_BLOCKED_BY_OUTPUT;
  if (conn->paused) set |= CONN_BLOCKED_BY_PAUSE;
  if (session->close_when_sent || session->close_now) set |= CONN_BLOCKED_BY_END;
  return set;
}

/* ---- reading ---- */

static void set_reading(struct conn *conn, bool on) {
  enum conn_incoming wanted = on ? CONN_READS : CONN_RESTS;
  if (conn->incoming == wanted || conn->incoming == CONN_ENDED) return;
  conn->incoming = wanted;
  if (stream_read(&conn->stream, on) != 0 && on) conn_close(conn);
}

/* While commands are held back, no more are read. During a wait it reads on, since the end of the
 * client's input ends the wait. */
void conn_adjust_reading(struct conn *conn) {
  if (conn->phase >= CONN_LINGERING) return;
  unsigned blocked_by = conn_blocked_by(conn);
  bool behind = conn->unrun || blocked_by != 0;
  bool waits = (blocked_by & CONN_BLOCKED_BY_WAIT) != 0;
  bool ends = conn->phase != CONN_OPEN || (blocked_by & CONN_BLOCKED_BY_END) != 0;
  if (conn->input != NULL) input_await(conn->input, !behind && conn->incoming != CONN_ENDED);
  set_reading(conn, !ends && (!behind || waits));
}

static void drop_input(struct conn *conn) {
  input_destroy(conn->input);
  conn->input = NULL;
  conn->unrun = false;
}

/* ---- phases ---- */

static void enter_closing(struct conn *conn) {
  struct session *session = &conn->session;
  if (session->waiting) session_cancel_wait(session, &conn->group->worker);
  session->close_when_sent = true;
  drop_input(conn);
  set_reading(conn, false);
}

/* Reads on and discards: closing with unread input would reset the connection, and the reset would
 * overtake the last reply. */
static void enter_lingering(struct conn *conn) {
  session_unbind(&conn->session, &conn->group->worker); /* for its client it is closed */
  conn_note_progress(conn);
  set_reading(conn, true);
}

static void enter_closed(struct conn *conn) {
  struct conn_group *group = conn->group;
  struct list *link = &conn->session.link;
  if (group->next_check == link) group->next_check = link->next;
  drop_input(conn);
  setup_session_deinit(&conn->session, &group->worker);
  conn_group_forget(group);
  stream_close(&conn->stream);
}

/* Forward only. */
static void move_to(struct conn *conn, enum conn_phase phase) {
  assert(phase > conn->phase);
  conn->phase = phase;
  switch (phase) {
    case CONN_CLOSING: enter_closing(conn); break;
    case CONN_LINGERING: enter_lingering(conn); break;
    case CONN_CLOSED: enter_closed(conn); break;
    case CONN_OPEN:
    default: break;
  }
}

void conn_end(struct conn *conn) {
  if (conn->phase == CONN_OPEN) move_to(conn, CONN_CLOSING);
}

void conn_close(struct conn *conn) {
  if (conn->phase != CONN_CLOSED) move_to(conn, CONN_CLOSED);
}

/* Shuts down sending, and waits for the client to close. */
static void linger(struct conn *conn) {
  move_to(conn, stream_shutdown(&conn->stream) == 0 ? CONN_LINGERING : CONN_CLOSED);
}

/* ---- beginning and end ---- */

struct conn *conn_create(struct conn_group *group, size_t stream_bytes) {
  struct conn *conn = calloc(1, offsetof(struct conn, stream) + stream_bytes);
  if (conn == NULL) return NULL;
  conn->group = group;
  conn->phase = CONN_CLOSED;
  return conn;
}

void conn_destroy(struct conn *conn) { free(conn); }

void conn_begin(struct conn *conn, enum handed_kind kind) {
  struct worker *worker = &conn->group->worker;
  conn_group_see_time(conn->group);
  conn->phase = CONN_OPEN;
  setup_session_init(&conn->session, worker);
  conn->session.local = kind == HANDED_UNIX;
  conn->session.handshaking = kind == HANDED_TLS;
  strangers_add(worker, &conn->session);
  set_reading(conn, true);
}

/* ---- the end of a turn ---- */

/* False: it has closed. */
static bool send_output(struct conn *conn) {
  struct session *session = &conn->session;
  struct worker *worker = &conn->group->worker;
  conn->grant_gathered = false;
  switch (output_send(&conn->stream, session, worker, conn->left_count > 0)) {
    case OUTPUT_LEFT:
      if (conn->left_count++ == 0) conn_note_progress(conn);
      break;
    case OUTPUT_LOST: conn_close(conn); return false;
    case OUTPUT_SENT:
    default: break;
  }
  if (!session->stranger || !strangers_overdue(session)) return true;
  worker->counters.closed_before_auth++;
  conn_close(conn);
  return false;
}

/* The client sends no more, and what it had sent has been run, or never will be. */
static bool has_run_all(const struct conn *conn) {
  if (conn->incoming != CONN_ENDED) return false;
  unsigned blocked_by = conn_blocked_by(conn);
  if ((blocked_by & (CONN_BLOCKED_BY_TASK | CONN_BLOCKED_BY_DELAYED_ERROR)) != 0) return false;
  return !conn->unrun || (blocked_by & CONN_BLOCKED_BY_WAIT) != 0;
}

static void all_sent(struct conn *conn) {
  struct session *session = &conn->session;
  if (session->waiter != NULL) deliver_written(session, &conn->group->worker);
  /* A reply that comes later has to be sent too before it closes. */
  if (conn->phase != CONN_CLOSING || session_blocked(session)) return;
  if (conn->incoming == CONN_ENDED) {
    conn_close(conn);
  } else {
    linger(conn);
  }
}

/* Most connections have nothing left to do. */
static bool is_idle_now(const struct conn *conn) {
  return conn->incoming == CONN_READS && conn->input == NULL && conn_may_run(conn);
}

static void settle(struct conn *conn) {
  struct session *session = &conn->session;
  if (session->close_now) {
    conn_close(conn);
    return;
  }
  if (conn->grant_gathered && stream_ask(&conn->stream, STREAM_PEER_GONE) != 0) {
    conn_close(conn); /* takes the grant back */
    return;
  }
  if (session->close_when_sent) conn_end(conn);
  if (!send_output(conn)) return;
  if (has_run_all(conn)) conn_end(conn);
  if (conn->left_count == 0) all_sent(conn);
  if (is_idle_now(conn) || conn->phase == CONN_CLOSED) return;
  if (conn->unrun && conn_may_run(conn)) list_append(&conn->group->runnable, &session->unsent);
  conn_adjust_reading(conn);
}

void conn_group_send(struct conn_group *group) {
  struct list *unsent = &group->worker.unsent;
  uint64_t end_ns = 0;
  if (group->worker.journal != NULL) journaling_commit(&group->worker);
  group->gathered_bytes = 0;
  group->looked_appends = 0;
  group->unsent_ns = 0;
  for (unsigned settled = 1; !list_empty(unsent); settled++) {
    settle(conn_of(LIST_ENTRY(list_pop(unsent), struct session, unsent)));
    if (settled % SETTLED_PER_LOOK != 0) continue;
    uint64_t now_ns = conn_group_see_time(group);
    if (end_ns == 0) end_ns = now_ns + SENDING_NS;
    if (now_ns >= end_ns) return;
  }
}

/* Neither a sync nor sending counts for the command that runs next, nor does its lease begin before. */
static void see_time_again(struct conn_group *group) {
  group->stamp_ns = conn_group_see_time(group);
}

void conn_gather(struct conn *conn) {
  struct conn_group *group = conn->group;
  const struct resp_output *out = conn->session.out;
  conn_mark(conn);
  if (group->worker.journal != NULL && journaling_commits_early(&group->worker)) {
    journaling_commit(&group->worker);
    see_time_again(group);
  }
  if (out == NULL) return;
  group->gathered_bytes += resp_output_size(out);
  /* A push would close a subscriber that is over its limit by replies that it was not offered. */
  bool in_danger = conn_output_over(conn) && conn_is_subscribed(conn);
  if (group->gathered_bytes < GATHERED_BYTES && !in_danger) return;
  conn_group_send(group);
  see_time_again(group);
}

void conn_unpause(struct conn *conn) {
  if (!conn->paused) return;
  conn->paused = false;
  conn_mark(conn);
}

void conn_note_end(struct conn *conn, bool orderly) {
  conn->incoming = CONN_ENDED;
  if (!orderly || conn->phase == CONN_LINGERING || conn->grant_gathered) {
    conn_close(conn);
    return;
  }
  if (conn->session.waiting) conn_end(conn); /* its client has gone */
  conn_mark(conn);
}

void conn_note_written(struct conn *conn, struct resp_output *out, int error) {
  struct worker *worker = &conn->group->worker;
  if (output_note_taken(&conn->stream, &conn->session, worker, error == 0))
    conn_note_progress(conn);
  if (out != NULL) {
    conn->left_count--;
    output_done(out, worker);
  }
  if (conn->phase == CONN_CLOSED) return;
  /* At once: whatever closes the connection before it is settled, its client has the grant. */
  bool all_taken = error == 0 && conn->left_count == 0 && !conn->grant_gathered;
  if (all_taken && conn->session.waiter != NULL) deliver_written(&conn->session, worker);
  if (error != 0) {
    conn_close(conn); /* the stream reports its other outputs the same way */
  } else if (out != NULL) {
    conn_mark(conn);
  }
}

void conn_describe(const struct session *session, struct session_address *address) {
  const struct conn *conn = LIST_ENTRY((struct session *)(uintptr_t)session, struct conn, session);
  *address = (struct session_address){
      .fd = (int)stream_ask(&conn->stream, STREAM_DESCRIPTOR),
      .input_bytes = input_size(conn->input),
      .output_bytes = session_output_bytes(session),
  };
  const struct session_proxied *proxied =
      session->details != NULL ? session->details->proxied : NULL;
  if (proxied != NULL) {
    memcpy(address->peer, proxied->peer, sizeof address->peer);
    memcpy(address->local, proxied->local, sizeof address->local);
    return;
  }
  address_describe(address, address->fd,
                   session->local ? conn->group->worker.options->unixsocket : NULL);
}
