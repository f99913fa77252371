/* bench-relay: the floor of a wake-up on libuv. One connection's line makes it write to all that
 * wait, and it does nothing else: no keys, no replies kept, no deadlines. What idem's STORE costs
 * its waiters above it is idem's own work. floor.h has the lines.
 */
#include "bench/floors/floor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct relay {
  struct floor_options options;
  char *input;
  char *output; /* reply_bytes that never change */
  struct peer **waiters;
  size_t waiter_count;
};

struct peer {
  uv_tcp_t tcp;
  struct floor_line line;
};

static void on_closed(uv_handle_t *handle) { free(handle->data); }

static void drop(struct peer *peer) {
  struct relay *relay = peer->tcp.loop->data;
  if (uv_is_closing((uv_handle_t *)&peer->tcp)) return;
  /* Rare: at the end of a run. A list that knew its places would cost the waking. */
  for (size_t i = 0; i < relay->waiter_count; i++) {
    if (relay->waiters[i] == peer) relay->waiters[i--] = relay->waiters[--relay->waiter_count];
  }
  uv_close((uv_handle_t *)&peer->tcp, on_closed);
}

static void on_written(uv_write_t *request, int status) {
  struct peer *peer = request->handle->data;
  free(request);
  if (status < 0) drop(peer);
}

static void write_output(struct peer *peer, char *data, size_t bytes) {
  uv_stream_t *stream = (uv_stream_t *)&peer->tcp;
  uv_buf_t buffer = uv_buf_init(data, (unsigned)bytes);
  int written = uv_try_write(stream, &buffer, 1);
  if (written < 0 && written != UV_EAGAIN) {
    drop(peer);
    return;
  }
  size_t done = written > 0 ? (size_t)written : 0;
  if (done == bytes) return;
  buffer = uv_buf_init(data + done, (unsigned)(bytes - done));
  uv_write_t *request = malloc(sizeof *request);
  if (request == NULL || uv_write(request, stream, &buffer, 1, on_written) != 0) {
    free(request);
    drop(peer);
  }
}

/* A count never waits for room: it is the only thing its connection is sent. */
static void write_count(struct peer *peer, size_t count) {
  char text[FLOOR_COUNT_BYTES];
  uv_buf_t buffer = uv_buf_init(text, (unsigned)floor_count(text, count));
  if (uv_try_write((uv_stream_t *)&peer->tcp, &buffer, 1) != (int)buffer.len) drop(peer);
}

static void wake_all(struct relay *relay, struct peer *peer) {
  size_t count = relay->waiter_count;
  relay->waiter_count = 0;
  for (size_t i = 0; i < count; i++)
    write_output(relay->waiters[i], relay->output, relay->options.reply_bytes);
  write_count(peer, count);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)suggested;
  struct relay *relay = handle->loop->data;
  *buffer = uv_buf_init(relay->input, FLOOR_READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer) {
  struct peer *peer = stream->data;
  struct relay *relay = stream->loop->data;
  if (got < 0) {
    drop(peer);
    return;
  }
  const char *at = buffer->base, *end = at + got;
  for (char word; (word = floor_next(&peer->line, &at, end)) != 0;) {
    if (word == 'W' && relay->waiter_count < FLOOR_WAITERS_MAX) {
      relay->waiters[relay->waiter_count++] = peer;
    } else if (word == 'S') {
      wake_all(relay, peer);
    } else if (word == 'P') {
      write_count(peer, relay->waiter_count);
    }
  }
}

static void on_connection(uv_stream_t *listener, int status) {
  struct peer *peer = status < 0 ? NULL : calloc(1, sizeof *peer);
  if (peer == NULL) return;
  if (uv_tcp_init(listener->loop, &peer->tcp) != 0) {
    free(peer);
    return;
  }
  peer->tcp.data = peer;
  if (uv_accept(listener, (uv_stream_t *)&peer->tcp) != 0 || uv_tcp_nodelay(&peer->tcp, 1) != 0 ||
      uv_read_start((uv_stream_t *)&peer->tcp, on_allocate, on_read) != 0) {
    drop(peer);
  }
}

static int listen_on(uv_loop_t *loop, uv_tcp_t *listener, size_t *port) {
  struct sockaddr_in address;
  int bytes = sizeof address;
  int error = uv_ip4_addr("127.0.0.1", (int)*port, &address);
  if (error == 0) error = uv_tcp_init(loop, listener);
  if (error == 0) error = uv_tcp_bind(listener, (const struct sockaddr *)&address, 0);
  if (error == 0) error = uv_listen((uv_stream_t *)listener, FLOOR_BACKLOG, on_connection);
  if (error == 0) error = uv_tcp_getsockname(listener, (struct sockaddr *)&address, &bytes);
  if (error == 0) *port = ntohs(address.sin_port);
  return error;
}

static int usage(FILE *stream) {
  fprintf(
      stream,
      "usage: bench-relay --reply-bytes N [--port N]\n"
      "Listens on 127.0.0.1 (port 0, the default: the kernel picks) and prints \"ready PORT\".\n"
      "Lines: W... waits, S... sends all that wait N bytes, P counts them.\n");
  return stream == stdout ? EXIT_SUCCESS : FLOOR_EXIT_USAGE;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return usage(stdout);
  struct relay relay = {.waiter_count = 0};
  if (!floor_parse(&relay.options, "bench-relay", true, argc, argv)) return usage(stderr);
  signal(SIGPIPE, SIG_IGN);
  relay.input = malloc(FLOOR_READ_BYTES);
  relay.output = calloc(1, relay.options.reply_bytes);
  relay.waiters = calloc(FLOOR_WAITERS_MAX, sizeof(struct peer *));
  uv_loop_t loop;
  uv_tcp_t listener;
  bool fits = relay.input != NULL && relay.output != NULL && relay.waiters != NULL;
  int error = fits ? uv_loop_init(&loop) : UV_ENOMEM;
  if (error == 0) {
    loop.data = &relay;
    error = listen_on(&loop, &listener, &relay.options.port);
  }
  if (error != 0) {
    fprintf(stderr, "bench-relay: %s\n", uv_strerror(error));
    return EXIT_FAILURE;
  }
  floor_ready(relay.options.port);
  return uv_run(&loop, UV_RUN_DEFAULT);
}
