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
static bool keep_rest(struct conn *conn, struct resp_reader *reader, struct span rest) {
  enum input_result result = input_keep(&conn->input, &conn->group->budget, reader, rest);
  if (conn->input != NULL) conn->input->owner = conn;
  return was_kept(conn, result);
}

static void forget(struct conn_group *group, struct resp_reader *reader) {
  resp_read_deinit(reader);
  input_init_reader(reader, &group->worker);
}

static void note_arrived(struct conn *conn, struct span bytes) {
  struct worker *worker = &conn->group->worker;
  worker->counters.bytes_in += bytes.len;
  if (!conn->session.waiting) conn->session.active_ms = worker->monotonic_ms; /* else: its start */
}

/* What was read ahead is in the batch. */
static void run_arrived(struct conn *conn, struct resp_reader *reader, struct span bytes) {
  note_arrived(conn, bytes);
  size_t used = turn_share_run(conn, reader, bytes, NULL);
  bool over = conn->session.close_when_sent || conn->session.close_now;
  bool left = used < bytes.len || !resp_read_idle(reader);
  if (!over && left &&
      !keep_rest(conn, reader, (struct span){bytes.data + used, bytes.len - used})) {
    conn_end(conn);
    over = true;
  }
  if (over) forget(conn->group, reader);
  after_run(conn);
}

/* ---- several connections ---- */

_Static_assert(SERVE_QUEUED_BYTES <= INPUT_READ_BYTES / BATCH_COMMANDS / 4,
               "there is room to read to after all of them");
/* So that no two of them share a line. */
#define LINE_BYTES 64u

static void begin_running(struct conn_group *group) {
  group->stamp_ns = conn_group_see_time(group);
  if (group->part_ns == 0) group->part_ns = group->stamp_ns;
  if (group->unsent_ns == 0) group->unsent_ns = group->stamp_ns;
  incoming_deliver(&group->worker);
}

/* What was read ahead of the connection that is next stays in the batch. */
void serve_queued(struct conn_group *group) {
  struct batch *batch = &group->batch;
  unsigned count = group->queued_count, read_first = batch->first, read_count = batch->count;
  group->queued_count = 0;
  begin_running(group);
  batch_fetch_on(batch, count, &group->worker);
  for (unsigned i = 0; i < count; i++) {
    struct conn *conn = group->queued[i].conn;
    conn->queued = false;
    if (conn->phase != CONN_OPEN) continue; /* it was ended meanwhile */
    batch->first = i;
    batch->count = 1;
    run_arrived(conn, &group->idle, group->queued[i].bytes);
  }
  group->queued_bytes = 0;
  batch->first = read_first;
  batch->count = read_count;
}

static void queue(struct conn *conn, struct span bytes) {
  struct conn_group *group = conn->group;
  conn->queued = true;
  group->queued[group->queued_count++] = (struct conn_queued){conn, bytes};
  group->queued_bytes += (bytes.len + LINE_BYTES - 1) & ~(size_t)(LINE_BYTES - 1);
  group->batch.first = group->batch.count = 0;
  if (group->queued_count == BATCH_COMMANDS) serve_queued(group);
}

/* What ran before it has ended it. */
static void drop_batch(struct conn_group *group) {
  forget(group, &group->reader);
  group->batch.first = group->batch.count = 0;
}

/* One short command is left where it lies, if that is the end of what others have left. */
static void run_or_queue(struct conn *conn, struct span bytes) {
  struct conn_group *group = conn->group;
  struct batch *batch = &group->batch;
  const struct batch_item *item = &batch->items[group->queued_count];
  batch->first = group->queued_count;
  group->reader.unauthenticated = !conn->session.authenticated;
  batch_read(batch, &group->reader, &group->worker, bytes.data, bytes.len, BATCH_COMMANDS);
  bool in_place = item->request.argv == item->array.argv; /* not in the reader */
  bool next_in_room = bytes.data == group->read_buffer + group->queued_bytes;
  if (in_place && next_in_room && item->end == bytes.len && bytes.len <= SERVE_QUEUED_BYTES) {
    queue(conn, bytes);
    return;
  }
  serve_run_queued(group);
  begin_running(group);
  if (conn->phase == CONN_OPEN) {
    run_arrived(conn, &group->reader, bytes);
  } else {
    drop_batch(group);
  }
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
  return (struct iovec){group->read_buffer + group->queued_bytes,
                        sizeof group->read_buffer - group->queued_bytes};
}

static void on_read(struct stream *stream, const char *data, ssize_t count) {
  struct conn *conn = conn_of_stream(stream);
  struct conn_group *group = conn->group;
  struct span bytes = {data, count > 0 ? (size_t)count : 0};
  gate_enter(group->gate);
  if (conn->queued) serve_queued(group);
  if (count > 0 && conn->input == NULL && conn->phase == CONN_OPEN) {
    run_or_queue(conn, bytes);
    return;
  }
  serve_run_queued(group);
  begin_running(group);
  if (count <= 0) {
    conn_note_end(conn, count == 0);
  } else if (conn->phase == CONN_OPEN) { /* else lingering */
    note_arrived(conn, bytes);
    add_to_input(conn, bytes);
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
