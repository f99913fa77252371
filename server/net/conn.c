/* conn.c - one peer: bytes in, commands run, replies out, the end. See loop.h. */
#include <arpa/inet.h>
#include <assert.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "server/commands/check.h"
#include "server/commands/execute.h"
#include "server/commands/deliver.h"
#include "server/commands/incoming.h"
#include "server/commands/measure.h"
#include "server/commands/output_limit.h"
#include "server/commands/outputs.h"
#include "server/commands/setup.h"
#include "server/commands/strangers.h"
#include "server/net/loop.h"
#include "server/engine/waiter.h"

struct conn *conn_of(struct session *session) {
  return LIST_ENTRY(session, struct conn, session);
}

/* -1: it is closed. */
static int conn_fd(const struct conn *conn) {
  uv_os_fd_t fd;
  return uv_fileno(&conn->uv.handle, &fd) == 0 ? fd : -1;
}

static void start_reading(struct conn *conn);

static void make_runnable(struct conn *conn) {
  if (!conn->closing && list_empty(&conn->runnable)) {
    list_append(&conn_loop(conn)->runnable, &conn->runnable);
  }
}

/* ---- running commands ---- */

static inline bool output_over_limit(const struct conn *conn) {
  return !output_limit_small(&conn->session) &&
         output_limit_over(&conn->session, &conn_loop(conn)->worker, 0);
}

static bool must_stop(const struct conn *conn) {
  const struct session *session = &conn->session;
  /* A waiter without a wait is a grant whose reply is on its way: there is room for one. */
  return session->waiter != NULL || session_blocked(session) || session->close_when_sent ||
         session->close_now || output_over_limit(conn);
}

/* What a connection may have of one turn. */
struct share {
  unsigned commands;
  uint64_t end_ns;
  bool late; /* short commands only, and one batch of them */
  bool used; /* the others are next */
};

/* A turn that has lasted long leaves only short commands to those that it comes to now: who sends
 * one must not wait for the shares of all that were in front. */
static struct share share_of(const struct loop *loop) {
  uint64_t now_ns = loop->stamp_ns;
  return (struct share){
      .commands = LOOP_COMMANDS_PER_TURN,
      .end_ns = now_ns + LOOP_SHARE_NS,
      .late = now_ns >= loop->turn_ns + LOOP_READING_NS,
  };
}

static bool must_come_later(const struct batch_item *item, const struct share *share) {
  return share->late && item->result == RESP_READ_COMMAND &&
         !command_is_short(item->request.command, item->request.argc);
}

/* Looked at after each command. The time is that of the last look at the clock: after each batch,
 * and after each command that may take long. */
static bool share_used(const struct conn *conn, struct share *share) {
  const struct session *session = &conn->session;
  if (session->out != NULL && resp_output_size(session->out) >= LOOP_SHARE_BYTES)
    share->used = true;
  if (conn_loop(conn)->stamp_ns >= share->end_ns) share->used = true;
  return share->used;
}

/* Takes no more commands, and closes once the replies of those that ran are sent. A wait ends
 * without an answer: its client has gone, or is sent away. */
static void end_input(struct conn *conn) {
  struct session *session = &conn->session;
  if (session->waiting) session_cancel_wait(session, &conn_loop(conn)->worker);
  session->close_when_sent = true;
}

/* Takes one result of the reader. False: nothing more can be run from these bytes. */
static bool take_result(struct conn *conn, const struct resp_reader *reader,
                        struct batch_item *item) {
  struct loop *loop = conn_loop(conn);
  struct worker *worker = &loop->worker;
  struct session *session = &conn->session;
  switch (item->result) {
    case RESP_READ_COMMAND:
      if (worker->instance->pause_until_ms != 0 &&
          check_postponed(worker, session, &item->request)) {
        conn->postponed = true;
        return false;
      }
      item->request.stamp_ns = loop->stamp_ns;
      execute_request(worker, session, &item->request);
      loop->stamp_ns = item->request.stamp_ns;
      return true;
    case RESP_READ_TOOBIG:
      execute_toobig(worker, session, reader->toobig_index, reader->toobig_limit);
      return true;
    case RESP_READ_MALFORMED:
      execute_malformed(worker, session, reader->error);
      end_input(conn);
      return false;
    case RESP_READ_MORE: return false;
    case RESP_READ_HTTP:
      log_happened(worker->log, LOG_HTTP, session->id, worker->now_ms);
      end_input(conn);
      return false;
    case RESP_READ_NO_MEMORY:
    default: end_input(conn); return false;
  }
}

/* Runs a batch as far as it goes, and returns the bytes of what ran. What did not is forgotten, to
 * be read once more when its time comes. *more: nothing keeps what is behind from running. */
static size_t run_batch(struct conn *conn, struct resp_reader *reader, struct share *share,
                        bool *more) {
  struct batch *batch = &conn_loop(conn)->batch;
  for (unsigned i = 0; i < batch->count; i++) {
    struct batch_item *item = &batch->items[i];
    bool stopped = i > 0 && (must_stop(conn) || share_used(conn, share));
    if (!stopped && must_come_later(item, share)) stopped = share->used = true;
    *more = !stopped && take_result(conn, reader, item);
    if (stopped || conn->postponed) {
      resp_read_forget(reader);
      return item->start;
    }
  }
  return batch->items[batch->count - 1].end;
}

/* Runs complete commands. Returns the bytes consumed; what is left is incomplete, or has to wait
 * for its turn. body: of the first command; NULL: it has none apart. */
static size_t run_commands(struct conn *conn, struct resp_reader *reader, const char *data,
                           size_t len, struct received_body *body) {
  struct loop *loop = conn_loop(conn);
  struct batch *batch = &loop->batch;
  size_t at = 0;
  bool more = true;
  struct share share = share_of(loop);
  conn->postponed = false;
  while (more && at < len && !must_stop(conn)) {
    reader->unauthenticated = !conn->session.authenticated;
    batch_read(batch, reader, &loop->worker, data + at, len - at, share.commands);
    batch->items[0].request.body = body;
    body = NULL;
    share.commands -= batch->count;
    at += run_batch(conn, reader, &share, &more);
    if (at < len) loop->stamp_ns = loop_see_time(loop); /* what ran took its time */
    if (share.commands == 0 || share.late || share_used(conn, &share)) share.used = true;
    more = more && !share.used;
  }
  if (at < len && share.used) make_runnable(conn);
  measure_end(&loop->worker);
  loop->stamp_ns = 0;
  conn->held_back = at < len && output_over_limit(conn);
  return at;
}

static void stop_reading(struct conn *conn) {
  if (!conn->reading) return;
  uv_read_stop(&conn->uv.stream);
  conn->reading = false;
}

/* Whether more input is wanted: not while commands are left that only we hold up, nor after the
 * end. */
static void adjust_reading(struct conn *conn) {
  if (conn->closing || conn->lingering) return;
  bool behind = !list_empty(&conn->runnable) || output_over_limit(conn) || conn->postponed ||
                conn->session.waiter != NULL || session_blocked(&conn->session);
  input_await(conn, !behind && !conn->ended);
  if (conn->ended || conn->session.close_when_sent || (behind && !conn->session.waiting)) {
    stop_reading(conn);
  } else {
    start_reading(conn);
  }
}

/* What there is to do after commands have run: send, resume later, close. */
static void settle(struct conn *conn) {
  struct session *session = &conn->session;
  if (session->close_when_sent) input_destroy(conn);
  if (session->close_now) {
    conn_close(conn);
    return;
  }
  conn_flush(conn);
  if (!conn->closing && session->stranger && strangers_overdue(session)) {
    conn_loop(conn)->worker.counters.closed_before_auth++;
    conn_close(conn);
  }
  if (conn->closing) return;
  if (conn->held_back && conn->input != NULL && !output_over_limit(conn)) make_runnable(conn);
  bool granted = session->waiter != NULL && !session->waiting; /* and its reply is on its way */
  bool stuck = session->working || session->delayed ||
               (conn->input != NULL && (output_over_limit(conn) || conn->postponed || granted));
  if (conn->ended && list_empty(&conn->runnable) && !stuck) {
    end_input(conn);
    input_destroy(conn);
    conn_flush(conn);
  }
  adjust_reading(conn);
}

static void run_input(struct conn *conn) {
  struct input *input = conn->input;
  size_t used = run_commands(conn, &input->reader, input->bytes + input->start,
                             input->len - input->start, input_adopted(input));
  if (used > 0) input_await(conn, false); /* what is left is another command */
  bool behind_wait =
      conn->session.waiting && input->len - input->start - used > LOOP_INPUT_BEHIND_WAIT;
  if (!input_consumed(conn, used) || behind_wait) end_input(conn);
  if (input->start == input->len && resp_read_idle(&input->reader)) input_destroy(conn);
  settle(conn);
}

void conn_resume(struct conn *conn) {
  if (conn->closing) return;
  if (conn->input != NULL && !must_stop(conn)) {
    conn_loop(conn)->stamp_ns = loop_see_time(conn_loop(conn));
    run_input(conn);
  } else {
    settle(conn);
  }
}

static void take_bytes(struct conn *conn, const char *data, size_t len) {
  struct loop *loop = conn_loop(conn);
  if (conn->input != NULL) {
    bool whole;
    if (!input_take(conn, data, len, &whole)) {
      end_input(conn);
      settle(conn);
    } else if (whole) {
      run_input(conn);
    }
    return;
  }
  size_t used = run_commands(conn, &loop->reader, data, len, NULL);
  bool over = conn->session.close_when_sent || conn->session.close_now;
  bool left = used < len || !resp_read_idle(&loop->reader);
  if (!over && left && !input_keep(conn, data + used, len - used)) {
    end_input(conn);
    over = true;
  }
  if (over) {
    resp_read_deinit(&loop->reader);
    loop_setup_reader(loop, &loop->reader);
  }
  settle(conn);
}

/* ---- reading ---- */

/* A long argument is read straight to where it will be needed; the rest goes through the loop's
 * buffer. */
static void read_to_input(struct conn *conn, uv_buf_t *buffer) {
  size_t room;
  char *to = input_room(conn, &room);
  if (room > 0) *buffer = (uv_buf_t){to, room};
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)suggested;
  struct conn *conn = handle->data;
  struct loop *loop = conn_loop(conn);
  loop_begin(loop);
  *buffer = (uv_buf_t){loop->read_buffer, sizeof loop->read_buffer};
  if (conn->input != NULL) read_to_input(conn, buffer);
}

static void on_end(struct conn *conn, bool orderly) {
  conn->ended = true;
  stop_reading(conn);
  if (!orderly || conn->lingering) {
    conn_close(conn);
    return;
  }
  if (conn->session.waiting) end_input(conn); /* nobody waits any more */
  settle(conn);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
  struct conn *conn = stream->data;
  struct loop *loop = conn_loop(conn);
  loop_begin(loop);
  loop->stamp_ns = loop_see_time(loop);
  if (loop->turn_ns == 0) loop->turn_ns = loop->stamp_ns;
  incoming_deliver(&loop->worker);
  if (count < 0) {
    on_end(conn, count == UV_EOF);
    return;
  }
  if (count == 0 || conn->lingering) return;
  loop->worker.counters.bytes_in += (uint64_t)count;
  conn->session.active_ms = loop->worker.now_ms;
  take_bytes(conn, buffer->base, (size_t)count);
}

static void start_reading(struct conn *conn) {
  if (conn->reading) return;
  conn->reading = true;
  bool watched = loop_watch(conn_loop(conn), conn_fd(conn));
  if (!watched || uv_read_start(&conn->uv.stream, on_alloc, on_read) != 0) conn_close(conn);
}

/* ---- sending ---- */

/* Half of the clock's bits are enough: what has to be told from it ends within a day (the cap of
 * client-output-timeout), they come round after 49. */
static void note_progress(struct conn *conn) {
  conn->progress_ms = (uint32_t)conn_loop(conn)->worker.now_ms;
}

static int64_t since_progress_ms(const struct conn *conn) {
  return (uint32_t)conn_loop(conn)->worker.now_ms - conn->progress_ms;
}

/* Parts of one request of libuv. For more libuv allocates, and when that fails it counts the
 * request as active for ever: the loop could never be closed. */
#define PARTS_PER_REQUEST 4u

/* An output that libuv has, in as many requests as it takes. */
struct sending {
  struct conn *conn;
  struct resp_output *out;
  unsigned left; /* requests whose end is to come */
  uv_write_t requests[];
};

/* What libuv still has tells what the kernel took, also of a write that is not through yet. */
static void note_taken(struct conn *conn, bool sent) {
  struct worker *worker = &conn_loop(conn)->worker;
  size_t taken = conn->session.sending_bytes - uv_stream_get_write_queue_size(&conn->uv.stream);
  if (taken == 0) return;
  conn->session.sending_bytes -= taken;
  atomic_fetch_sub(&worker->instance->sending_bytes, taken);
  if (sent) worker->counters.bytes_out += taken;
  note_progress(conn);
}

/* Buffers of one write; an output with more parts takes several turns of libuv. */
#define PARTS_ON_STACK 64

/* The output's bytes and references in order, without the first `skip` bytes. parts has room for 2
 * * refs + 1. */
static unsigned list_pieces(const struct resp_output *out, size_t skip, uv_buf_t *parts) {
  unsigned count = 0;
  size_t at = 0;
  for (size_t i = 0; i <= out->ref_count; i++) {
    size_t end = i < out->ref_count ? out->refs[i].at : out->len;
    struct span pieces[2] = {{out->bytes + at, end - at}, SPAN_ABSENT};
    if (i < out->ref_count) pieces[1] = (struct span){out->refs[i].data, out->refs[i].len};
    at = end;
    for (unsigned p = 0; p < 2; p++) {
      size_t skipped = skip < pieces[p].len ? skip : pieces[p].len;
      skip -= skipped;
      if (pieces[p].len == skipped) continue;
      parts[count++] =
          (uv_buf_t){(char *)(uintptr_t)(pieces[p].data + skipped), pieces[p].len - skipped};
    }
  }
  return count;
}

static inline unsigned list_parts(const struct resp_output *out, size_t skip, uv_buf_t *parts) {
  if (out->ref_count > 0) return list_pieces(out, skip, parts);
  parts[0] = (uv_buf_t){out->bytes + skip, out->len - skip};
  return 1;
}

static void output_done(struct loop *loop, struct resp_output *out) {
  if (out->ref_count > 0) outputs_unpin(&loop->worker, out, 0);
  outputs_give(&loop->worker, out);
}

static void on_shutdown(uv_shutdown_t *request, int status) {
  (void)status; /* a peer that is gone already is noticed by the read */
  free(request);
}

/*
 * Tells the peer that this is the end and reads on, without looking, until it has closed too.
 * Closing with unread input would reset the connection, and the reset would overtake the last
 * reply.
 */
static void linger(struct conn *conn) {
  if (conn->lingering) return;
  uv_shutdown_t *request = malloc(sizeof *request);
  if (request == NULL || uv_shutdown(request, &conn->uv.stream, on_shutdown) != 0) {
    free(request);
    conn_close(conn);
    return;
  }
  conn->lingering = true;
  session_unbind(&conn->session, &conn_loop(conn)->worker); /* to its peer it is closed */
  note_progress(conn);
  start_reading(conn);
}

static void all_sent(struct conn *conn) {
  if (conn->session.waiter != NULL) deliver_written(&conn->session, &conn_loop(conn)->worker);
  /* A reply that comes later is among those that are awaited. */
  if (!conn->session.close_when_sent || session_blocked(&conn->session)) return;
  if (conn->ended) {
    conn_close(conn);
  } else {
    linger(conn);
  }
}

static void on_sent(uv_write_t *request, int status) {
  struct sending *sending = request->data;
  struct conn *conn = sending->conn;
  struct loop *loop = conn_loop(conn);
  loop_begin(loop);
  loop_see_time(loop);
  note_taken(conn, status == 0);
  bool last = --sending->left == 0;
  if (last) {
    conn->sending_count--;
    output_done(loop, sending->out);
    free(sending);
  }
  if (conn->closing) return;
  if (status != 0) { /* libuv leaves the other requests until the end */
    conn_close(conn);
    return;
  }
  if (!last) return;
  if (conn->sending_count == 0) all_sent(conn);
  if (!conn->closing && !output_over_limit(conn)) make_runnable(conn);
}

static bool hand_over(struct sending *sending, const uv_buf_t *parts, unsigned count) {
  for (unsigned i = 0; i < sending->left; i++) {
    unsigned at = i * PARTS_PER_REQUEST, rest = count - at;
    uv_write_t *request = &sending->requests[i];
    request->data = sending;
    int error = uv_write(request, &sending->conn->uv.stream, parts + at,
                         rest < PARTS_PER_REQUEST ? rest : PARTS_PER_REQUEST, on_sent);
    assert(error == 0 || i == 0); /* what the first one may do, all may */
    if (error != 0) return false;
  }
  return true;
}

/* Leaves the rest to libuv, which owns the output from here on. False: memory is short. */
static bool send_rest(struct conn *conn, struct resp_output *out, size_t sent, uv_buf_t *parts) {
  size_t bytes = resp_output_size(out) - sent;
  unsigned count = list_parts(out, sent, parts);
  unsigned requests = (count + PARTS_PER_REQUEST - 1) / PARTS_PER_REQUEST;
  struct sending *sending = malloc(sizeof *sending + requests * sizeof sending->requests[0]);
  /* Where it is not read now, libuv has perhaps left the watch (see loop_watch). */
  if (sending == NULL || !loop_watch(conn_loop(conn), conn_fd(conn))) {
    free(sending);
    return false;
  }
  *sending = (struct sending){.conn = conn, .out = out, .left = requests};
  if (!hand_over(sending, parts, count)) {
    free(sending);
    return false;
  }
  if (conn->sending_count++ == 0) note_progress(conn);
  conn->session.sending_bytes += bytes;
  atomic_fetch_add(&conn_loop(conn)->worker.instance->sending_bytes, bytes);
  return true;
}

/* What a slow reader holds is counted as the bytes that it has yet to take: more room than twice as
 * much is given back. Returns the bytes that are in the output no longer. */
static size_t forget_sent(struct resp_output *out, size_t sent) {
  bool much = out->ref_count == 0 && out->capacity > 2 * (out->len - sent);
  return much ? resp_output_forget(out, sent) : 0;
}

/* False: the connection is broken, or memory is short; the output is still ours. */
static bool send_output(struct conn *conn, struct resp_output *out, uv_buf_t *parts) {
  struct loop *loop = conn_loop(conn);
  size_t sent = 0;
  if (conn->sending_count == 0) {
    int result = uv_try_write(&conn->uv.stream, parts, list_parts(out, 0, parts));
    if (result < 0 && result != UV_EAGAIN) return false;
    if (result > 0) sent = (size_t)result;
    loop->worker.counters.bytes_out += sent;
  }
  if (sent < resp_output_size(out)) {
    sent -= forget_sent(out, sent);
    return send_rest(conn, out, sent, parts);
  }
  output_done(loop, out);
  return true;
}

/* Takes the output over, whatever comes of it: it may not be looked at afterwards. Parts: room to
 * list it; NULL: memory is short. False: what the peer should have been told is lost, so that the
 * connection must close. */
static inline bool send_listed(struct conn *conn, struct resp_output *out, uv_buf_t *parts) {
  bool whole = !out->failed && parts != NULL;
  bool empty = resp_output_size(out) == 0;
  if (whole && !empty && send_output(conn, out, parts)) return true;
  output_done(conn_loop(conn), out);
  return whole && empty;
}

static bool send_with_refs(struct conn *conn, struct resp_output *out) {
  uv_buf_t on_stack[PARTS_ON_STACK], *parts = on_stack;
  size_t room = 2 * out->ref_count + 1;
  if (room > PARTS_ON_STACK) parts = malloc(room * sizeof *parts);
  bool fine = send_listed(conn, out, parts);
  if (parts != on_stack) free(parts);
  return fine;
}

static bool send_or_drop(struct conn *conn, struct resp_output *out) {
  if (out->ref_count > 0) return send_with_refs(conn, out);
  uv_buf_t part; /* all there is, nearly always */
  return send_listed(conn, out, &part);
}

void conn_flush(struct conn *conn) {
  struct session *session = &conn->session;
  if (conn->closing) return;
  struct resp_output *out = session->out;
  list_remove(&session->unsent);
  bool fine = !session->close_now;
  if (fine && out != NULL) {
    session->out = NULL;
    fine = send_or_drop(conn, out);
  }
  if (!fine) {
    conn_close(conn);
  } else if (conn->sending_count == 0) {
    all_sent(conn);
  }
}

/* ---- waiters ---- */

/* A peer that has hung up is noticed here even when the loop has not come to its event yet: a grant
 * must not go to it. */
static bool conn_is_gone(const struct conn *conn) {
  int fd = conn_fd(conn);
  if (fd < 0) return true;
  struct pollfd check = {.fd = fd, .events = POLLRDHUP};
  return poll(&check, 1, 0) == 1;
}

void conn_answered(struct conn *conn) {
  conn_flush(conn);
  if (!conn->closing) make_runnable(conn);
}

void conn_answer(struct loop *loop, struct waiter *waiter) {
  struct conn *conn = conn_of(waiter_context(waiter));
  if (waiter_answer(waiter)->status == ENGINE_CLAIMED && conn_is_gone(conn)) {
    conn_close(conn); /* takes the grant back */
    return;
  }
  deliver_waiter(&loop->worker, waiter);
  conn_answered(conn);
}

/* ---- beginning and end ---- */

static void on_closed(uv_handle_t *handle) {
  struct conn *conn = handle->data;
  loop_begin(conn_loop(conn));
  free(conn);
}

void conn_close(struct conn *conn) {
  if (conn->closing) return;
  conn->closing = true;
  list_remove(&conn->runnable);
  struct list *link = &conn->session.link;
  if (conn_loop(conn)->review == link) conn_loop(conn)->review = link->next;
  input_destroy(conn);
  setup_session_deinit(&conn->session, &conn_loop(conn)->worker);
  loop_forget_connection(conn_loop(conn));
  uv_close(&conn->uv.handle, on_closed);
}

/* The kernel gives up a peer that acknowledges nothing some time after conn_review would. */
#define USER_TIMEOUT_MORE_MS 10000

static void set_up_tcp(struct loop *loop, struct conn *conn) {
  const struct options *options = loop->worker.options;
  unsigned user_timeout_ms = (unsigned)options->client_output_timeout_ms + USER_TIMEOUT_MORE_MS;
  uv_tcp_nodelay(&conn->uv.tcp, 1);
  if (options->tcp_keepalive_s > 0)
    uv_tcp_keepalive(&conn->uv.tcp, 1, (unsigned)options->tcp_keepalive_s);
  setsockopt(conn_fd(conn), IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
             sizeof user_timeout_ms);
}

static void on_unused(uv_handle_t *handle) { free(handle); }

static void begin(struct conn *conn) {
  struct loop *loop = conn_loop(conn);
  loop_see_time(loop);
  if (!conn->is_unix) set_up_tcp(loop, conn);
  list_init(&conn->runnable);
  setup_session_init(&conn->session, &loop->worker);
  conn->session.local = conn->is_unix;
  strangers_add(&loop->worker, &conn->session);
  start_reading(conn);
}

bool conn_begin(struct loop *loop, int fd, bool is_unix) {
  if (!loop_has_room(loop, fd) || !loop_watch(loop, fd)) return false;
  struct conn *conn = calloc(1, sizeof *conn);
  if (conn == NULL || uv_tcp_init(&loop->uv, &conn->uv.tcp) != 0) {
    free(conn);
    return false;
  }
  conn->uv.handle.data = conn;
  conn->is_unix = is_unix;
  if (uv_tcp_open(&conn->uv.tcp, fd) != 0) {
    uv_close(&conn->uv.handle, on_unused);
    return false;
  }
  begin(conn);
  return true;
}

/* What the kernel holds for the peer becomes less when the peer takes some. libuv hears of it only
 * once much of a large buffer is free: a slow reader may need minutes for that. */
static void note_acknowledged(struct conn *conn) {
  int unacknowledged = 0;
  if (ioctl(conn_fd(conn), SIOCOUTQ, &unacknowledged) != 0) return;
  if ((uint32_t)unacknowledged < conn->unacknowledged) note_progress(conn);
  conn->unacknowledged = (uint32_t)unacknowledged;
}

/* Takes nothing of what it has to take, however little that is. */
static bool is_stuck(const struct conn *conn, bool listens) {
  const struct options *options = conn_loop(conn)->worker.options;
  if (listens && output_over_limit(conn)) return true;
  return conn->sending_count > 0 && since_progress_ms(conn) >= options->client_output_timeout_ms;
}

/* Nobody speaks. Who waits, listens or has much to take is not idle, nor is an owner whose claim
 * would end with the connection. */
static bool is_idle(struct conn *conn, bool listens) {
  struct worker *worker = &conn_loop(conn)->worker;
  const struct session *session = &conn->session;
  int64_t timeout_ms = worker->options->timeout_s * 1000;
  return timeout_ms > 0 && worker->now_ms - session->active_ms >= timeout_ms && !listens &&
         !session_blocked(session) && !conn->postponed && conn->sending_count == 0 &&
         !session_holds_bound(session, worker);
}

void conn_review(struct conn *conn) {
  const struct session *session = &conn->session;
  if (conn->sending_count > 0) {
    note_taken(conn, true);
    note_acknowledged(conn);
  }
  bool listens = session_subscriptions(session) != NULL || session->monitors;
  bool stuck = is_stuck(conn, listens);
  bool lingered = conn->lingering && since_progress_ms(conn) >= (int64_t)LOOP_LINGER_MS;
  if (stuck) conn_loop(conn)->worker.counters.closed_by_output_limit++;
  if (stuck || lingered || is_idle(conn, listens)) conn_close(conn);
}

bool conn_has_input(const struct conn *conn) {
  int bytes = 0;
  return conn->reading && ioctl(conn_fd(conn), FIONREAD, &bytes) == 0 && bytes > 0;
}

void conn_late(struct conn *conn) {
  struct worker *worker = &conn_loop(conn)->worker;
  char error[64];
  snprintf(error, sizeof error, "the command did not arrive within %d s", INPUT_REQUEST_MS / 1000);
  worker->counters.closed_by_request_timeout++;
  log_happened(worker->log, LOG_REQUEST_LATE, conn->session.id, worker->now_ms);
  execute_malformed(worker, &conn->session, error);
  end_input(conn);
  settle(conn);
}

/* ---- addresses ---- */

static void write_address(const struct sockaddr_storage *address,
                          char text[SESSION_ADDRESS_BYTES]) {
  char host[INET6_ADDRSTRLEN] = "?";
  if (address->ss_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const void *)address;
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    snprintf(text, SESSION_ADDRESS_BYTES, "[%s]:%d", host, ntohs(v6->sin6_port));
  } else {
    const struct sockaddr_in *v4 = (const void *)address;
    inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    snprintf(text, SESSION_ADDRESS_BYTES, "%s:%d", host, ntohs(v4->sin_port));
  }
}

void conn_describe(const struct session *session, struct session_address *address) {
  const struct conn *conn = LIST_ENTRY((struct session *)(uintptr_t)session, struct conn, session);
  *address = (struct session_address){
      .fd = conn_fd(conn),
      .input_bytes = input_size(conn->input),
      .output_bytes = session_output_bytes(session),
  };
  if (conn->is_unix) {
    const char *path = conn_loop(conn)->worker.options->unixsocket;
    snprintf(address->peer, SESSION_ADDRESS_BYTES, "%s:0", path);
    snprintf(address->local, SESSION_ADDRESS_BYTES, "%s:0", path);
    return;
  }
  struct sockaddr_storage storage = {0};
  int len = sizeof storage;
  if (uv_tcp_getpeername(&conn->uv.tcp, (struct sockaddr *)&storage, &len) == 0)
    write_address(&storage, address->peer);
  len = sizeof storage;
  if (uv_tcp_getsockname(&conn->uv.tcp, (struct sockaddr *)&storage, &len) == 0)
    write_address(&storage, address->local);
}
