/* peer.c - one peer: bytes in, commands run, replies out, the end. See loop.h. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/commands/inbox.h"
#include "server/net/loop.h"

struct peer *peer_of(struct client *client) {
  return LIST_ENTRY(client, struct peer, client);
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
  return client->waiter != NULL || client->close_when_sent || client->close_now ||
         output_over_limit(peer);
}

static void protocol_error(struct peer *peer, const char *error) {
  struct host *host = &peer_loop(peer)->host;
  struct resp_writer reply = client_writer(&peer->client, host);
  resp_errorf(&reply, "ERR Protocol error: %s", error);
  peer->client.close_when_sent = true;
  host->counters.protocol_errors++;
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
    case RESP_MALFORMED: protocol_error(peer, reader->error); return false;
    case RESP_MORE: return false;
    case RESP_HTTP:
      log_happened(host->log, LOG_HTTP, client->id, host->now_ms);
      client->close_now = true;
      return false;
    case RESP_NO_MEMORY:
    default: client->close_now = true; return false;
  }
}

/* Runs a batch as far as it goes, and returns the bytes of what ran. What did not is forgotten, to
 * be read once more when its time comes. *more: nothing keeps what is behind from running. */
static size_t run_batch(struct peer *peer, struct resp_reader *reader, bool *more) {
  const struct batch *batch = &peer_loop(peer)->batch;
  for (unsigned i = 0; i < batch->count; i++) {
    const struct batch_item *item = &batch->items[i];
    bool stopped = i > 0 && must_stop(peer);
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
  unsigned share = LOOP_COMMANDS_PER_TURN;
  peer->postponed = false;
  while (more && at < len && !must_stop(peer)) {
    if (share == 0) {
      make_runnable(peer);
      break;
    }
    reader->unauthenticated = !peer->client.authenticated;
    if (at > 0) loop_see_time(loop); /* what ran before took its time */
    batch_read(batch, reader, &loop->host, data + at, len - at, share);
    share -= batch->count;
    at += run_batch(peer, reader, &more);
  }
  command_batch_end(&loop->host);
  peer->held_back = at < len && output_over_limit(peer);
  return at;
}

static void stop_reading(struct peer *peer) {
  if (!peer->reading) return;
  uv_read_stop(&peer->uv.stream);
  peer->reading = false;
}

/* Whether more input is wanted: not while commands are left that nobody but us holds up, nor behind
 * the end. */
static void adjust_reading(struct peer *peer) {
  if (peer->closing || peer->lingering) return;
  bool behind = !list_empty(&peer->runnable) || output_over_limit(peer) || peer->postponed ||
                peer->client.waiter != NULL;
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
  if (peer->closing) return;
  if (peer->held_back && peer->input != NULL && !output_over_limit(peer)) make_runnable(peer);
  bool stuck = peer->input != NULL && (output_over_limit(peer) || peer->postponed ||
                                       (client->waiter != NULL && !client->waiting));
  if (peer->ended && list_empty(&peer->runnable) && !stuck) {
    if (client->waiting) { /* nobody is there any more to wait */
      peer_close(peer);
      return;
    }
    client->close_when_sent = true;
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
  if (!input_consumed(peer, used)) peer->client.close_now = true;
  bool behind_wait = peer->client.waiting && input->len - input->start > LOOP_INPUT_BEHIND_WAIT;
  if (behind_wait) peer->client.close_now = true;
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
      peer_close(peer);
    } else if (whole) {
      run_input(peer);
    }
    return;
  }
  size_t used = run_commands(peer, &loop->reader, data, len);
  bool over = peer->client.close_when_sent || peer->client.close_now;
  bool left = used < len || !resp_reader_idle(&loop->reader);
  if (!over && left && !input_keep(peer, data + used, len - used)) {
    peer->client.close_when_sent = over = true; /* those in front have their replies */
    if (peer->client.waiting) peer->client.close_now = true;
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
  if (!orderly || peer->client.waiting || peer->lingering) {
    peer_close(peer);
    return;
  }
  settle(peer);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
  struct peer *peer = stream->data;
  struct loop *loop = peer_loop(peer);
  loop_begin(loop);
  loop->host.stamp_ns = loop_see_time(loop);
  inbox_deliver(&loop->host);
  if (count < 0) {
    on_end(peer, count == UV_EOF);
    return;
  }
  if (count == 0 || peer->lingering) return;
  loop->host.counters.bytes_in += (uint64_t)count;
  take_bytes(peer, buffer->base, (size_t)count);
}

static void start_reading(struct peer *peer) {
  if (peer->reading) return;
  peer->reading = true;
  if (uv_read_start(&peer->uv.stream, on_alloc, on_read) != 0) peer_close(peer);
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

struct sending {
  uv_write_t request;
  struct peer *peer;
  struct resp_output *out;
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
  if (!peer->client.close_when_sent) return;
  if (peer->ended) {
    peer_close(peer);
  } else {
    linger(peer);
  }
}

static void on_sent(uv_write_t *request, int status) {
  struct sending *sending = LIST_ENTRY(request, struct sending, request);
  struct peer *peer = sending->peer;
  struct loop *loop = peer_loop(peer);
  loop_begin(loop);
  loop_see_time(loop);
  peer->sending_count--;
  note_taken(peer, status == 0);
  output_done(loop, sending->out);
  free(sending);
  if (peer->closing) return;
  if (status != 0) {
    peer_close(peer);
    return;
  }
  if (peer->sending_count == 0) all_sent(peer);
  if (!peer->closing && !output_over_limit(peer)) make_runnable(peer);
}

/* Leaves the rest to libuv, which owns the output from here on. False: memory is short. */
static bool send_rest(struct peer *peer, struct resp_output *out, size_t sent, uv_buf_t *parts) {
  struct sending *sending = malloc(sizeof *sending);
  if (sending == NULL) return false;
  sending->peer = peer;
  sending->out = out;
  size_t bytes = resp_output_size(out) - sent;
  unsigned count = list_parts(out, sent, parts);
  if (uv_write(&sending->request, &peer->uv.stream, parts, count, on_sent) != 0) {
    free(sending);
    return false;
  }
  if (peer->sending_count++ == 0) note_progress(peer);
  peer->client.sending_bytes += bytes;
  atomic_fetch_add(&peer_loop(peer)->host.shared->sending_bytes, bytes);
  return true;
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
  if (sent < resp_output_size(out)) return send_rest(peer, out, sent, parts);
  output_done(loop, out);
  return true;
}

/* Takes the output over, whatever comes of it. Parts: room to list it; NULL: memory is short. */
static inline bool send_listed(struct peer *peer, struct resp_output *out, uv_buf_t *parts) {
  bool empty = resp_output_size(out) == 0;
  bool sent = !out->failed && parts != NULL && !empty && send_output(peer, out, parts);
  if (!sent) output_done(peer_loop(peer), out);
  return sent || (empty && !out->failed);
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
  uv_os_fd_t fd;
  if (uv_fileno(&peer->uv.handle, &fd) != 0) return true;
  struct pollfd check = {.fd = fd, .events = POLLRDHUP};
  return poll(&check, 1, 0) == 1;
}

void peer_answer(struct loop *loop, struct engine_waiter *waiter) {
  struct peer *peer = peer_of(engine_waiter_context(waiter));
  if (engine_waiter_answer(waiter)->status == ENGINE_CLAIMED && peer_is_gone(peer)) {
    peer_close(peer); /* takes the grant back */
    return;
  }
  command_answer_waiter(&loop->host, waiter);
  peer_flush(peer);
  if (!peer->closing) make_runnable(peer);
}

/* ---- beginning and end ---- */

static void on_closed(uv_handle_t *handle) {
  struct peer *peer = handle->data;
  loop_begin(peer_loop(peer));
  free(peer);
}

static void forget_connection(struct loop *loop) {
  atomic_fetch_sub(&loop->connections, 1);
  atomic_fetch_sub(&loop->server->connections, 1);
}

void peer_close(struct peer *peer) {
  if (peer->closing) return;
  peer->closing = true;
  list_remove(&peer->runnable);
  struct list *link = &peer->client.link;
  if (peer_loop(peer)->review == link) peer_loop(peer)->review = link->next;
  input_destroy(peer);
  client_deinit(&peer->client, &peer_loop(peer)->host);
  forget_connection(peer_loop(peer));
  uv_close(&peer->uv.handle, on_closed);
}

static void on_refused(uv_handle_t *handle) { free(handle); }

/* Over maxclients: told so, and closed; the listener goes on. */
static void refuse(struct loop *loop, struct peer *peer) {
  static const char text[] = "-ERR max number of clients reached\r\n";
  uv_buf_t part = uv_buf_init((char *)(uintptr_t)text, sizeof text - 1);
  uv_try_write(&peer->uv.stream, &part, 1);
  loop->host.counters.connections_refused++;
  uv_close(&peer->uv.handle, on_refused);
}

static void set_up_tcp(struct loop *loop, struct peer *peer) {
  int64_t keepalive_s = loop->host.options->tcp_keepalive_s;
  uv_tcp_nodelay(&peer->uv.tcp, 1);
  if (keepalive_s > 0) uv_tcp_keepalive(&peer->uv.tcp, 1, (unsigned)keepalive_s);
}

static struct peer *peer_create(struct loop *loop, bool is_unix) {
  struct peer *peer = calloc(1, sizeof *peer);
  if (peer == NULL) return NULL;
  if (uv_tcp_init(&loop->uv, &peer->uv.tcp) != 0) {
    free(peer);
    return NULL;
  }
  peer->uv.handle.data = peer;
  peer->is_unix = is_unix;
  return peer;
}

static void begin(struct peer *peer) {
  struct loop *loop = peer_loop(peer);
  loop_see_time(loop);
  if (!peer->is_unix) set_up_tcp(loop, peer);
  list_init(&peer->runnable);
  client_init(&peer->client, &loop->host);
  start_reading(peer);
}

/* The other loop gets a descriptor of its own for the connection; ours is closed. */
static bool give_away(struct peer *peer, struct loop *to) {
  uv_os_fd_t fd;
  if (uv_fileno(&peer->uv.handle, &fd) != 0) return false;
  int given = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (given < 0) return false;
  if (!loop_hand(to, given, peer->is_unix)) {
    close(given);
    return false;
  }
  uv_close(&peer->uv.handle, on_refused);
  return true;
}

void peer_accept(struct loop *loop, struct listener *listener) {
  struct server *server = loop->server;
  struct peer *peer = peer_create(loop, listener->uv.handle.type != UV_TCP);
  if (peer == NULL) return;
  if (uv_accept(&listener->uv.stream, &peer->uv.stream) != 0) {
    uv_close(&peer->uv.handle, on_refused);
    return;
  }
  if (atomic_load(&server->connections) >= (uint64_t)loop->host.options->maxclients) {
    refuse(loop, peer);
    return;
  }
  struct loop *chosen = server_choose_loop(server);
  atomic_fetch_add(&server->connections, 1);
  atomic_fetch_add(&chosen->connections, 1);
  if (chosen != loop) {
    if (give_away(peer, chosen)) return;
    atomic_fetch_sub(&chosen->connections, 1);
    atomic_fetch_add(&loop->connections, 1);
  }
  begin(peer);
}

void peer_adopt(struct loop *loop, int fd, bool is_unix) {
  struct peer *peer = peer_create(loop, is_unix);
  if (peer == NULL) {
    close(fd);
    forget_connection(loop);
    return;
  }
  if (uv_tcp_open(&peer->uv.tcp, fd) == 0) {
    begin(peer);
    return;
  }
  close(fd);
  forget_connection(loop);
  uv_close(&peer->uv.handle, on_refused);
}

void peer_review(struct peer *peer) {
  const struct loop *loop = peer_loop(peer);
  const struct options *options = loop->host.options;
  const struct client *client = &peer->client;
  if (peer->sending_count > 0) note_taken(peer, true);
  bool stuck =
      output_over_limit(peer) && since_progress_ms(peer) >= options->client_output_timeout_ms;
  bool watched = client_subscriptions(client) != NULL || client->monitors;
  if (watched && output_over_limit(peer)) stuck = true;
  bool idle = options->timeout_s > 0 && !client->waiting && !watched &&
              loop->host.now_ms - client->active_ms >= options->timeout_s * 1000;
  bool lingered = peer->lingering && since_progress_ms(peer) >= (int64_t)LOOP_LINGER_MS;
  if (stuck) peer_loop(peer)->host.counters.closed_by_output_limit++;
  if (stuck || idle || lingered) peer_close(peer);
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
  const struct resp_output *out = client->out;
  *address = (struct client_address){
      .fd = -1,
      .input_bytes = input_size(peer->input),
      .output_bytes = peer->client.sending_bytes + (out != NULL ? resp_output_size(out) : 0),
  };
  uv_fileno(&peer->uv.handle, &address->fd);
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
