/* peer.c - one peer: bytes in, commands run, replies out, the end. See loop.h. */
#include <arpa/inet.h>
#include <assert.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "server/commands/inbox.h"
#include "server/commands/strangers.h"
#include "server/net/loop.h"

struct peer *peer_of(struct client *client) {
  return LIST_ENTRY(client, struct peer, client);
}

/* -1: it is closed. */
static int peer_fd(const struct peer *peer) {
  uv_os_fd_t fd;
  return uv_fileno(&peer->uv.handle, &fd) == 0 ? fd : -1;
}

static void start_reading(struct peer *peer);

static void make_runnable(struct peer *peer) {
  if (!peer->closing && list_empty(&peer->runnable)) {
    list_append(&peer_loop(peer)->runnable, &peer->runnable);
  }
}

/* ---- running commands ---- */

static inline bool output_over_limit(const struct peer *peer) {
  return !client_output_small(&peer->client) &&
         client_output_over(&peer->client, &peer_loop(peer)->host, 0);
}

static bool must_stop(const struct peer *peer) {
  const struct client *client = &peer->client;
  /* A waiter without a wait is a grant whose reply is on its way: there is room for one. */
  return client->waiter != NULL || client_blocked(client) || client->close_when_sent ||
         client->close_now || output_over_limit(peer);
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
  uint64_t now_ns = loop->host.stamp_ns;
  return (struct share){
      .commands = LOOP_COMMANDS_PER_TURN,
      .end_ns = now_ns + LOOP_SHARE_NS,
      .late = now_ns >= loop->turn_ns + LOOP_READING_NS,
  };
}

static bool must_come_later(const struct batch_item *item, const struct share *share) {
  return share->late && item->result == RESP_COMMAND &&
         !command_is_short(item->request.command, item->request.argc);
}

/* Looked at after each command. The time is that of the last look at the clock: after each batch,
 * and after each command that may take long. */
static bool share_used(const struct peer *peer, struct share *share) {
  const struct client *client = &peer->client;
  if (client->out != NULL && resp_output_size(client->out) >= LOOP_SHARE_BYTES) share->used = true;
  if (peer_loop(peer)->host.stamp_ns >= share->end_ns) share->used = true;
  return share->used;
}

/* Takes no more commands, and closes once the replies of those that ran are sent. A wait ends
 * without an answer: its client has gone, or is sent away. */
static void end_input(struct peer *peer) {
  struct client *client = &peer->client;
  if (client->waiting) client_cancel_wait(client, &peer_loop(peer)->host);
  client->close_when_sent = true;
}

/* Takes one result of the reader. False: nothing more can be run from these bytes. */
static bool take_result(struct peer *peer, const struct resp_reader *reader,
                        const struct batch_item *item) {
  struct host *host = &peer_loop(peer)->host;
  struct client *client = &peer->client;
  switch (item->result) {
    case RESP_COMMAND:
      if (host->shared->pause_until_ms != 0 && command_postponed(host, client, &item->request)) {
        peer->postponed = true;
        return false;
      }
      command_run(host, client, &item->request);
      return true;
    case RESP_TOOBIG:
      command_toobig(host, client, reader->toobig_index, reader->toobig_limit);
      return true;
    case RESP_MALFORMED:
      command_malformed(host, client, reader->error);
      end_input(peer);
      return false;
    case RESP_MORE: return false;
    case RESP_HTTP:
      log_happened(host->log, LOG_HTTP, client->id, host->now_ms);
      end_input(peer);
      return false;
    case RESP_NO_MEMORY:
    default: end_input(peer); return false;
  }
}

/* Runs a batch as far as it goes, and returns the bytes of what ran. What did not is forgotten, to
 * be read once more when its time comes. *more: nothing keeps what is behind from running. */
static size_t run_batch(struct peer *peer, struct resp_reader *reader, struct share *share,
                        bool *more) {
  const struct batch *batch = &peer_loop(peer)->batch;
  for (unsigned i = 0; i < batch->count; i++) {
    const struct batch_item *item = &batch->items[i];
    bool stopped = i > 0 && (must_stop(peer) || share_used(peer, share));
    if (!stopped && must_come_later(item, share)) stopped = share->used = true;
    *more = !stopped && take_result(peer, reader, item);
    if (stopped || peer->postponed) {
      resp_reader_forget(reader);
      return item->start;
    }
  }
  return batch->items[batch->count - 1].end;
}

/* Runs complete commands. Returns the bytes consumed; what is left is incomplete, or has to wait
 * for its turn. */
static size_t run_commands(struct peer *peer, struct resp_reader *reader, const char *data,
                           size_t len) {
  struct loop *loop = peer_loop(peer);
  struct batch *batch = &loop->batch;
  size_t at = 0;
  bool more = true;
  struct share share = share_of(loop);
  peer->postponed = false;
  while (more && at < len && !must_stop(peer)) {
    reader->unauthenticated = !peer->client.authenticated;
    batch_read(batch, reader, &loop->host, data + at, len - at, share.commands);
    share.commands -= batch->count;
    at += run_batch(peer, reader, &share, &more);
    if (at < len) loop->host.stamp_ns = loop_see_time(loop); /* what ran took its time */
    if (share.commands == 0 || share.late || share_used(peer, &share)) share.used = true;
    more = more && !share.used;
  }
  if (at < len && share.used) make_runnable(peer);
  command_batch_end(&loop->host);
  peer->held_back = at < len && output_over_limit(peer);
  return at;
}

static void stop_reading(struct peer *peer) {
  if (!peer->reading) return;
  uv_read_stop(&peer->uv.stream);
  peer->reading = false;
}

/* Whether more input is wanted: not while commands are left that only we hold up, nor after the
 * end. */
static void adjust_reading(struct peer *peer) {
  if (peer->closing || peer->lingering) return;
  bool behind = !list_empty(&peer->runnable) || output_over_limit(peer) || peer->postponed ||
                peer->client.waiter != NULL || client_blocked(&peer->client);
  input_await(peer, !behind && !peer->ended);
  if (peer->ended || peer->client.close_when_sent || (behind && !peer->client.waiting)) {
    stop_reading(peer);
  } else {
    start_reading(peer);
  }
}

/* What there is to do after commands have run: send, resume later, close. */
static void settle(struct peer *peer) {
  struct client *client = &peer->client;
  if (client->close_when_sent) input_destroy(peer);
  if (client->close_now) {
    peer_close(peer);
    return;
  }
  peer_flush(peer);
  if (!peer->closing && client->stranger && strangers_overdue(client)) {
    peer_loop(peer)->host.counters.closed_before_auth++;
    peer_close(peer);
  }
  if (peer->closing) return;
  if (peer->held_back && peer->input != NULL && !output_over_limit(peer)) make_runnable(peer);
  bool granted = client->waiter != NULL && !client->waiting; /* and its reply is on its way */
  bool stuck = client->working || client->delayed ||
               (peer->input != NULL && (output_over_limit(peer) || peer->postponed || granted));
  if (peer->ended && list_empty(&peer->runnable) && !stuck) {
    end_input(peer);
    input_destroy(peer);
    peer_flush(peer);
  }
  adjust_reading(peer);
}

static void run_input(struct peer *peer) {
  struct input *input = peer->input;
  struct host *host = &peer_loop(peer)->host;
  host->received = input_received(input);
  size_t used =
      run_commands(peer, &input->reader, input->bytes + input->start, input->len - input->start);
  host->received = NULL;
  if (used > 0) input_await(peer, false); /* what is left is another command */
  bool behind_wait =
      peer->client.waiting && input->len - input->start - used > LOOP_INPUT_BEHIND_WAIT;
  if (!input_consumed(peer, used) || behind_wait) end_input(peer);
  if (input->start == input->len && resp_reader_idle(&input->reader)) input_destroy(peer);
  settle(peer);
}

void peer_resume(struct peer *peer) {
  if (peer->closing) return;
  if (peer->input != NULL && !must_stop(peer)) {
    peer_loop(peer)->host.stamp_ns = loop_see_time(peer_loop(peer));
    run_input(peer);
  } else {
    settle(peer);
  }
}

static void take_bytes(struct peer *peer, const char *data, size_t len) {
  struct loop *loop = peer_loop(peer);
  if (peer->input != NULL) {
    bool whole;
    if (!input_take(peer, data, len, &whole)) {
      end_input(peer);
      settle(peer);
    } else if (whole) {
      run_input(peer);
    }
    return;
  }
  size_t used = run_commands(peer, &loop->reader, data, len);
  bool over = peer->client.close_when_sent || peer->client.close_now;
  bool left = used < len || !resp_reader_idle(&loop->reader);
  if (!over && left && !input_keep(peer, data + used, len - used)) {
    end_input(peer);
    over = true;
  }
  if (over) {
    resp_reader_deinit(&loop->reader);
    loop_setup_reader(loop, &loop->reader);
  }
  settle(peer);
}

/* ---- reading ---- */

/* A long argument is read straight to where it will be needed; the rest goes through the loop's
 * buffer. */
static void read_to_input(struct peer *peer, uv_buf_t *buffer) {
  size_t room;
  char *to = input_room(peer, &room);
  if (room > 0) *buffer = (uv_buf_t){to, room};
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)suggested;
  struct peer *peer = handle->data;
  struct loop *loop = peer_loop(peer);
  loop_begin(loop);
  *buffer = (uv_buf_t){loop->read_buffer, sizeof loop->read_buffer};
  if (peer->input != NULL) read_to_input(peer, buffer);
}

static void on_end(struct peer *peer, bool orderly) {
  peer->ended = true;
  stop_reading(peer);
  if (!orderly || peer->lingering) {
    peer_close(peer);
    return;
  }
  if (peer->client.waiting) end_input(peer); /* nobody waits any more */
  settle(peer);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
  struct peer *peer = stream->data;
  struct loop *loop = peer_loop(peer);
  loop_begin(loop);
  loop->host.stamp_ns = loop_see_time(loop);
  if (loop->turn_ns == 0) loop->turn_ns = loop->host.stamp_ns;
  inbox_deliver(&loop->host);
  if (count < 0) {
    on_end(peer, count == UV_EOF);
    return;
  }
  if (count == 0 || peer->lingering) return;
  loop->host.counters.bytes_in += (uint64_t)count;
  peer->client.active_ms = loop->host.now_ms;
  take_bytes(peer, buffer->base, (size_t)count);
}

static void start_reading(struct peer *peer) {
  if (peer->reading) return;
  peer->reading = true;
  bool watched = loop_watch(peer_loop(peer), peer_fd(peer));
  if (!watched || uv_read_start(&peer->uv.stream, on_alloc, on_read) != 0) peer_close(peer);
}

/* ---- sending ---- */

/* Half of the clock's bits are enough: what has to be told from it ends within a day (the cap of
 * client-output-timeout), they come round after 49. */
static void note_progress(struct peer *peer) {
  peer->progress_ms = (uint32_t)peer_loop(peer)->host.now_ms;
}

static int64_t since_progress_ms(const struct peer *peer) {
  return (uint32_t)peer_loop(peer)->host.now_ms - peer->progress_ms;
}

/* Parts of one request of libuv. For more libuv allocates, and when that fails it counts the
 * request as active for ever: the loop could never be closed. */
#define PARTS_PER_REQUEST 4u

/* An output that libuv has, in as many requests as it takes. */
struct sending {
  struct peer *peer;
  struct resp_output *out;
  unsigned left; /* requests whose end is to come */
  uv_write_t requests[];
};

/* What libuv still has tells what the kernel took, also of a write that is not through yet. */
static void note_taken(struct peer *peer, bool sent) {
  struct host *host = &peer_loop(peer)->host;
  size_t taken = peer->client.sending_bytes - uv_stream_get_write_queue_size(&peer->uv.stream);
  if (taken == 0) return;
  peer->client.sending_bytes -= taken;
  atomic_fetch_sub(&host->shared->sending_bytes, taken);
  if (sent) host->counters.bytes_out += taken;
  note_progress(peer);
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
  if (out->ref_count > 0) host_output_unpin(&loop->host, out, 0);
  host_output_give(&loop->host, out);
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
static void linger(struct peer *peer) {
  if (peer->lingering) return;
  uv_shutdown_t *request = malloc(sizeof *request);
  if (request == NULL || uv_shutdown(request, &peer->uv.stream, on_shutdown) != 0) {
    free(request);
    peer_close(peer);
    return;
  }
  peer->lingering = true;
  client_unbind(&peer->client, &peer_loop(peer)->host); /* to its peer it is closed */
  note_progress(peer);
  start_reading(peer);
}

static void all_sent(struct peer *peer) {
  if (peer->client.waiter != NULL) client_granted_written(&peer->client, &peer_loop(peer)->host);
  /* A reply that comes later is among those that are awaited. */
  if (!peer->client.close_when_sent || client_blocked(&peer->client)) return;
  if (peer->ended) {
    peer_close(peer);
  } else {
    linger(peer);
  }
}

static void on_sent(uv_write_t *request, int status) {
  struct sending *sending = request->data;
  struct peer *peer = sending->peer;
  struct loop *loop = peer_loop(peer);
  loop_begin(loop);
  loop_see_time(loop);
  note_taken(peer, status == 0);
  bool last = --sending->left == 0;
  if (last) {
    peer->sending_count--;
    output_done(loop, sending->out);
    free(sending);
  }
  if (peer->closing) return;
  if (status != 0) { /* libuv leaves the other requests until the end */
    peer_close(peer);
    return;
  }
  if (!last) return;
  if (peer->sending_count == 0) all_sent(peer);
  if (!peer->closing && !output_over_limit(peer)) make_runnable(peer);
}

static bool hand_over(struct sending *sending, const uv_buf_t *parts, unsigned count) {
  for (unsigned i = 0; i < sending->left; i++) {
    unsigned at = i * PARTS_PER_REQUEST, rest = count - at;
    uv_write_t *request = &sending->requests[i];
    request->data = sending;
    int error = uv_write(request, &sending->peer->uv.stream, parts + at,
                         rest < PARTS_PER_REQUEST ? rest : PARTS_PER_REQUEST, on_sent);
    assert(error == 0 || i == 0); /* what the first one may do, all may */
    if (error != 0) return false;
  }
  return true;
}

/* Leaves the rest to libuv, which owns the output from here on. False: memory is short. */
static bool send_rest(struct peer *peer, struct resp_output *out, size_t sent, uv_buf_t *parts) {
  size_t bytes = resp_output_size(out) - sent;
  unsigned count = list_parts(out, sent, parts);
  unsigned requests = (count + PARTS_PER_REQUEST - 1) / PARTS_PER_REQUEST;
  struct sending *sending = malloc(sizeof *sending + requests * sizeof sending->requests[0]);
  /* Where it is not read now, libuv has perhaps left the watch (see loop_watch). */
  if (sending == NULL || !loop_watch(peer_loop(peer), peer_fd(peer))) {
    free(sending);
    return false;
  }
  *sending = (struct sending){.peer = peer, .out = out, .left = requests};
  if (!hand_over(sending, parts, count)) {
    free(sending);
    return false;
  }
  if (peer->sending_count++ == 0) note_progress(peer);
  peer->client.sending_bytes += bytes;
  atomic_fetch_add(&peer_loop(peer)->host.shared->sending_bytes, bytes);
  return true;
}

/* What a slow reader holds is counted as the bytes that it has yet to take: more room than twice as
 * much is given back. Returns the bytes that are in the output no longer. */
static size_t forget_sent(struct resp_output *out, size_t sent) {
  bool much = out->ref_count == 0 && out->capacity > 2 * (out->len - sent);
  return much ? resp_output_forget(out, sent) : 0;
}

/* False: the connection is broken, or memory is short; the output is still ours. */
static bool send_output(struct peer *peer, struct resp_output *out, uv_buf_t *parts) {
  struct loop *loop = peer_loop(peer);
  size_t sent = 0;
  if (peer->sending_count == 0) {
    int result = uv_try_write(&peer->uv.stream, parts, list_parts(out, 0, parts));
    if (result < 0 && result != UV_EAGAIN) return false;
    if (result > 0) sent = (size_t)result;
    loop->host.counters.bytes_out += sent;
  }
  if (sent < resp_output_size(out)) {
    sent -= forget_sent(out, sent);
    return send_rest(peer, out, sent, parts);
  }
  output_done(loop, out);
  return true;
}

/* Takes the output over, whatever comes of it: it may not be looked at afterwards. Parts: room to
 * list it; NULL: memory is short. False: what the peer should have been told is lost, so that the
 * connection must close. */
static inline bool send_listed(struct peer *peer, struct resp_output *out, uv_buf_t *parts) {
  bool whole = !out->failed && parts != NULL;
  bool empty = resp_output_size(out) == 0;
  if (whole && !empty && send_output(peer, out, parts)) return true;
  output_done(peer_loop(peer), out);
  return whole && empty;
}

static bool send_with_refs(struct peer *peer, struct resp_output *out) {
  uv_buf_t on_stack[PARTS_ON_STACK], *parts = on_stack;
  size_t room = 2 * out->ref_count + 1;
  if (room > PARTS_ON_STACK) parts = malloc(room * sizeof *parts);
  bool fine = send_listed(peer, out, parts);
  if (parts != on_stack) free(parts);
  return fine;
}

static bool send_or_drop(struct peer *peer, struct resp_output *out) {
  if (out->ref_count > 0) return send_with_refs(peer, out);
  uv_buf_t part; /* all there is, nearly always */
  return send_listed(peer, out, &part);
}

void peer_flush(struct peer *peer) {
  struct client *client = &peer->client;
  if (peer->closing) return;
  struct resp_output *out = client->out;
  list_remove(&client->unsent);
  bool fine = !client->close_now;
  if (fine && out != NULL) {
    client->out = NULL;
    fine = send_or_drop(peer, out);
  }
  if (!fine) {
    peer_close(peer);
  } else if (peer->sending_count == 0) {
    all_sent(peer);
  }
}

/* ---- waiters ---- */

/* A peer that has hung up is noticed here even when the loop has not come to its event yet: a grant
 * must not go to it. */
static bool peer_is_gone(const struct peer *peer) {
  int fd = peer_fd(peer);
  if (fd < 0) return true;
  struct pollfd check = {.fd = fd, .events = POLLRDHUP};
  return poll(&check, 1, 0) == 1;
}

void peer_answered(struct peer *peer) {
  peer_flush(peer);
  if (!peer->closing) make_runnable(peer);
}

void peer_answer(struct loop *loop, struct engine_waiter *waiter) {
  struct peer *peer = peer_of(engine_waiter_context(waiter));
  if (engine_waiter_answer(waiter)->status == ENGINE_CLAIMED && peer_is_gone(peer)) {
    peer_close(peer); /* takes the grant back */
    return;
  }
  command_answer_waiter(&loop->host, waiter);
  peer_answered(peer);
}

/* ---- beginning and end ---- */

static void on_closed(uv_handle_t *handle) {
  struct peer *peer = handle->data;
  loop_begin(peer_loop(peer));
  free(peer);
}

void peer_close(struct peer *peer) {
  if (peer->closing) return;
  peer->closing = true;
  list_remove(&peer->runnable);
  struct list *link = &peer->client.link;
  if (peer_loop(peer)->review == link) peer_loop(peer)->review = link->next;
  input_destroy(peer);
  client_deinit(&peer->client, &peer_loop(peer)->host);
  loop_forget_connection(peer_loop(peer));
  uv_close(&peer->uv.handle, on_closed);
}

/* The kernel gives up a peer that acknowledges nothing some time after peer_review would. */
#define USER_TIMEOUT_MORE_MS 10000

static void set_up_tcp(struct loop *loop, struct peer *peer) {
  const struct options *options = loop->host.options;
  unsigned user_timeout_ms = (unsigned)options->client_output_timeout_ms + USER_TIMEOUT_MORE_MS;
  uv_tcp_nodelay(&peer->uv.tcp, 1);
  if (options->tcp_keepalive_s > 0)
    uv_tcp_keepalive(&peer->uv.tcp, 1, (unsigned)options->tcp_keepalive_s);
  setsockopt(peer_fd(peer), IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
             sizeof user_timeout_ms);
}

static void on_unused(uv_handle_t *handle) { free(handle); }

static void begin(struct peer *peer) {
  struct loop *loop = peer_loop(peer);
  loop_see_time(loop);
  if (!peer->is_unix) set_up_tcp(loop, peer);
  list_init(&peer->runnable);
  client_init(&peer->client, &loop->host);
  peer->client.local = peer->is_unix;
  strangers_add(&loop->host, &peer->client);
  start_reading(peer);
}

bool peer_begin(struct loop *loop, int fd, bool is_unix) {
  if (!loop_has_room(loop, fd) || !loop_watch(loop, fd)) return false;
  struct peer *peer = calloc(1, sizeof *peer);
  if (peer == NULL || uv_tcp_init(&loop->uv, &peer->uv.tcp) != 0) {
    free(peer);
    return false;
  }
  peer->uv.handle.data = peer;
  peer->is_unix = is_unix;
  if (uv_tcp_open(&peer->uv.tcp, fd) != 0) {
    uv_close(&peer->uv.handle, on_unused);
    return false;
  }
  begin(peer);
  return true;
}

/* What the kernel holds for the peer becomes less when the peer takes some. libuv hears of it only
 * once much of a large buffer is free: a slow reader may need minutes for that. */
static void note_acknowledged(struct peer *peer) {
  int unacknowledged = 0;
  if (ioctl(peer_fd(peer), SIOCOUTQ, &unacknowledged) != 0) return;
  if ((uint32_t)unacknowledged < peer->unacknowledged) note_progress(peer);
  peer->unacknowledged = (uint32_t)unacknowledged;
}

/* Takes nothing of what it has to take, however little that is. */
static bool is_stuck(const struct peer *peer, bool listens) {
  const struct options *options = peer_loop(peer)->host.options;
  if (listens && output_over_limit(peer)) return true;
  return peer->sending_count > 0 && since_progress_ms(peer) >= options->client_output_timeout_ms;
}

/* Nobody speaks. Who waits, listens or has much to take is not idle, nor is an owner whose claim
 * would end with the connection. */
static bool is_idle(struct peer *peer, bool listens) {
  struct host *host = &peer_loop(peer)->host;
  const struct client *client = &peer->client;
  int64_t timeout_ms = host->options->timeout_s * 1000;
  return timeout_ms > 0 && host->now_ms - client->active_ms >= timeout_ms && !listens &&
         !client_blocked(client) && !peer->postponed && peer->sending_count == 0 &&
         !client_holds_bound(client, host);
}

void peer_review(struct peer *peer) {
  const struct client *client = &peer->client;
  if (peer->sending_count > 0) {
    note_taken(peer, true);
    note_acknowledged(peer);
  }
  bool listens = client_subscriptions(client) != NULL || client->monitors;
  bool stuck = is_stuck(peer, listens);
  bool lingered = peer->lingering && since_progress_ms(peer) >= (int64_t)LOOP_LINGER_MS;
  if (stuck) peer_loop(peer)->host.counters.closed_by_output_limit++;
  if (stuck || lingered || is_idle(peer, listens)) peer_close(peer);
}

bool peer_has_input(const struct peer *peer) {
  int bytes = 0;
  return peer->reading && ioctl(peer_fd(peer), FIONREAD, &bytes) == 0 && bytes > 0;
}

void peer_late(struct peer *peer) {
  struct host *host = &peer_loop(peer)->host;
  char error[64];
  snprintf(error, sizeof error, "the command did not arrive within %d s", INPUT_REQUEST_MS / 1000);
  host->counters.closed_by_request_timeout++;
  log_happened(host->log, LOG_REQUEST_LATE, peer->client.id, host->now_ms);
  command_malformed(host, &peer->client, error);
  end_input(peer);
  settle(peer);
}

/* ---- addresses ---- */

static void write_address(const struct sockaddr_storage *address, char text[CLIENT_ADDRESS_BYTES]) {
  char host[INET6_ADDRSTRLEN] = "?";
  if (address->ss_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const void *)address;
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    snprintf(text, CLIENT_ADDRESS_BYTES, "[%s]:%d", host, ntohs(v6->sin6_port));
  } else {
    const struct sockaddr_in *v4 = (const void *)address;
    inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    snprintf(text, CLIENT_ADDRESS_BYTES, "%s:%d", host, ntohs(v4->sin_port));
  }
}

void peer_describe(const struct client *client, struct client_address *address) {
  const struct peer *peer = LIST_ENTRY((struct client *)(uintptr_t)client, struct peer, client);
  *address = (struct client_address){
      .fd = peer_fd(peer),
      .input_bytes = input_size(peer->input),
      .output_bytes = client_output_bytes(client),
  };
  if (peer->is_unix) {
    const char *path = peer_loop(peer)->host.options->unixsocket;
    snprintf(address->peer, CLIENT_ADDRESS_BYTES, "%s:0", path);
    snprintf(address->local, CLIENT_ADDRESS_BYTES, "%s:0", path);
    return;
  }
  struct sockaddr_storage storage = {0};
  int len = sizeof storage;
  if (uv_tcp_getpeername(&peer->uv.tcp, (struct sockaddr *)&storage, &len) == 0)
    write_address(&storage, address->peer);
  len = sizeof storage;
  if (uv_tcp_getsockname(&peer->uv.tcp, (struct sockaddr *)&storage, &len) == 0)
    write_address(&storage, address->local);
}
