/* serve.c - see serve.h. */
#include "server/net/serve.h"

#include <stdio.h>

#include "server/commands/execute.h"
#include "server/commands/incoming.h"
#include "server/net/turn_share.h"

/* ---- running ---- */

/* Whether the input could hold it; logs and counts the failure. */
static bool was_kept(struct conn *conn, enum input_result result) {
  struct worker *worker = &conn->group->worker;
  if (result == INPUT_OK) return true;
  if (result == INPUT_OVER_BUDGET) worker->counters.closed_by_input_limit++;
  log_happened(worker->log, result == INPUT_OVER_BUDGET ? LOG_INPUT_TOTAL : LOG_INPUT_MEMORY,
               conn->session.id, worker->monotonic_ms);
  return false;
}

/* Stops reading a connection that may not run its next command, already in this turn. */
static void after_run(struct conn *conn) {
  if (conn->unrun || !conn_may_run(conn)) conn_adjust_reading(conn);
  conn_gather(conn);
}

static void run_input(struct conn *conn) {
  struct input *input = conn->input;
  size_t used = turn_share_run(conn, &input->reader, input_bytes(input), input_adopted(input));
  if (used > 0) input_await(input, false); /* what is left is another command */
  bool much = conn->session.waiting && input_bytes(input).len - used > SERVE_BYTES_AFTER_WAIT;
  if (!was_kept(conn, input_consumed(input, used)) || much) {
    conn_end(conn);
  } else if (input_is_empty(input)) {
    input_destroy(input);
    conn->input = NULL;
  }
  after_run(conn);
}

void serve_resume(struct conn *conn) {
  if (conn->input != NULL && conn_may_run(conn)) {
    conn->group->stamp_ns = conn_group_see_time(conn->group);
    run_input(conn);
  } else {
    conn_mark(conn);
  }
}

static void add_to_input(struct conn *conn, struct span bytes) {
  bool whole;
  if (!was_kept(conn, input_take(conn->input, bytes, &whole))) {
    conn_end(conn);
    conn_mark(conn);
  } else if (whole) {
    run_input(conn);
  }
}

/* What was not run becomes its input. False: over the budget, or no memory. */
static bool keep_rest(struct conn *conn, struct span rest) {
  struct conn_group *group = conn->group;
  enum input_result result = input_keep(&conn->input, &group->budget, &group->reader, rest);
  if (conn->input != NULL) conn->input->owner = conn;
  return was_kept(conn, result);
}

static void run_arrived(struct conn *conn, struct span bytes) {
  struct resp_reader *reader = &conn->group->reader;
  size_t used = turn_share_run(conn, reader, bytes, NULL);
  bool over = conn->session.close_when_sent || conn->session.close_now;
  bool left = used < bytes.len || !resp_read_idle(reader);
  if (!over && left && !keep_rest(conn, (struct span){bytes.data + used, bytes.len - used})) {
    conn_end(conn);
    over = true;
  }
  if (over) {
    resp_read_deinit(reader);
    input_init_reader(reader, &conn->group->worker);
  }
  after_run(conn);
}

void serve_late(struct conn *conn) {
  struct worker *worker = &conn->group->worker;
  char error[64];
  snprintf(error, sizeof error, "the command did not arrive within %d s", INPUT_REQUEST_MS / 1000);
  worker->counters.closed_by_request_timeout++;
  log_happened(worker->log, LOG_REQUEST_LATE, conn->session.id, worker->monotonic_ms);
  execute_malformed(worker, &conn->session, error);
  conn_end(conn);
  conn_mark(conn);
}

/* ---- events ---- */

/* A long argument is read straight to where it will be needed; the rest goes through the buffer
 * that all connections share. During a wait the buffer is used: few bytes may follow, or the
 * connection ends. */
static struct iovec on_room(struct stream *stream) {
  struct conn *conn = conn_of_stream(stream);
  struct conn_group *group = conn->group;
  gate_enter(group->gate);
  size_t room = 0;
  char *to = conn->input != NULL && !conn->session.waiting ? input_room(conn->input, &room) : NULL;
  if (room > 0) return (struct iovec){to, room};
  return (struct iovec){group->read_buffer, sizeof group->read_buffer};
}

static void on_read(struct stream *stream, const char *data, ssize_t count) {
  struct conn *conn = conn_of_stream(stream);
  struct conn_group *group = conn->group;
  struct worker *worker = &group->worker;
  gate_enter(group->gate);
  group->stamp_ns = conn_group_see_time(group);
  if (group->part_ns == 0) group->part_ns = group->stamp_ns;
  if (group->unsent_ns == 0) group->unsent_ns = group->stamp_ns;
  incoming_deliver(worker);
  if (count <= 0) {
    conn_note_end(conn, count == 0);
    return;
  }
  if (conn->phase != CONN_OPEN) return; /* lingering */
  struct span bytes = {data, (size_t)count};
  worker->counters.bytes_in += bytes.len;
  if (!conn->session.waiting) conn->session.active_ms = worker->monotonic_ms; /* else: its start */
  if (conn->input != NULL) {
    add_to_input(conn, bytes);
  } else {
    run_arrived(conn, bytes);
  }
}

static void on_written(struct stream *stream, void *later, int error) {
  struct conn *conn = conn_of_stream(stream);
  gate_enter(conn->group->gate);
  conn_group_see_time(conn->group);
  conn_note_written(conn, later, error);
}

static void on_closed(struct stream *stream) {
  struct conn *conn = conn_of_stream(stream);
  gate_enter(conn->group->gate);
  conn_destroy(conn);
}

const struct stream_events SERVE_EVENTS = {
    .room = on_room,
    .read = on_read,
    .written = on_written,
    .closed = on_closed,
};
