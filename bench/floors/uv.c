/* bench-uv: the floors on libuv. They move the bytes of a benchmark and do nothing else: no keys,
 * no parsing, nothing kept, no deadlines. What idem costs above them is idem's own work.
 *
 *   bench-uv echo   for every --request-bytes that come in, --reply-bytes go out
 *   bench-uv relay  one connection's line makes it write to all that wait; floor.h has the lines
 *
 * Like idem it reads with one buffer and writes once per connection and read event. Invariants:
 * nothing is copied or allocated per request while the connection keeps up; a connection that does
 * not read is cut off at QUEUE_LIMIT_BYTES.
 */
#include "bench/floors/floor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { QUEUE_LIMIT_BYTES = 64 << 20, BUFFERS_MAX = 128 };

struct server {
  struct floor_options options;
  bool relay;
  char *input; /* one read buffer for all */
  struct floor_output output;
  struct connection **waiters;
  size_t waiter_count;
};

struct connection {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  size_t pending_bytes; /* echo: of a request that is not whole yet */
  struct floor_line line;
};

static void on_closed(uv_handle_t *handle) { free(handle->data); }

static void drop(struct connection *connection) {
  struct server *server = connection->handle.loop->data;
  if (uv_is_closing(&connection->handle)) return;
  /* Rare: at the end of a run. A list that knew its places would cost the waking. */
  for (size_t i = 0; i < server->waiter_count; i++) {
    if (server->waiters[i] == connection)
      server->waiters[i--] = server->waiters[--server->waiter_count];
  }
  uv_close(&connection->handle, on_closed);
}

static void on_written(uv_write_t *request, int status) {
  struct connection *connection = request->handle->data;
  free(request);
  if (status < 0) drop(connection);
}

/* What the socket did not take at once. */
static int write_later(struct connection *connection, size_t bytes) {
  struct server *server = connection->handle.loop->data;
  uv_stream_t *stream = &connection->stream;
  while (bytes > 0) {
    if (uv_stream_get_write_queue_size(stream) > QUEUE_LIMIT_BYTES) return UV_ENOBUFS;
    size_t part;
    char *data = floor_output_next(&server->output, bytes, &part);
    uv_buf_t buffer = uv_buf_init(data, (unsigned)part);
    uv_write_t *request = malloc(sizeof *request);
    int error = request == NULL ? UV_ENOMEM : uv_write(request, stream, &buffer, 1, on_written);
    if (error != 0) {
      free(request);
      return error;
    }
    bytes -= part;
  }
  return 0;
}

static void write_output(struct connection *connection, size_t bytes) {
  struct server *server = connection->handle.loop->data;
  uv_buf_t buffers[BUFFERS_MAX];
  unsigned count = 0;
  for (size_t left = bytes, part = 0; left > 0 && count < BUFFERS_MAX; left -= part) {
    char *data = floor_output_next(&server->output, left, &part);
    buffers[count++] = uv_buf_init(data, (unsigned)part);
  }
  int written = uv_try_write(&connection->stream, buffers, count);
  if ((written < 0 && written != UV_EAGAIN) ||
      write_later(connection, bytes - (written > 0 ? (size_t)written : 0)) != 0)
    drop(connection);
}

/* A count never waits for room: it is the only thing its connection is sent. */
static void write_count(struct connection *connection, size_t count) {
  char text[FLOOR_COUNT_BYTES];
  uv_buf_t buffer = uv_buf_init(text, (unsigned)floor_count(text, count));
  if (uv_try_write(&connection->stream, &buffer, 1) != (int)buffer.len)
    drop(connection);
}

static void wake_all(struct server *server, struct connection *connection) {
  size_t count = server->waiter_count;
  server->waiter_count = 0;
  for (size_t i = 0; i < count; i++) write_output(server->waiters[i], server->options.reply_bytes);
  write_count(connection, count);
}

static void take_lines(struct server *server, struct connection *connection, size_t bytes) {
  const char *at = server->input, *end = at + bytes;
  for (char word; (word = floor_next(&connection->line, &at, end)) != 0;) {
    if (word == 'W' && server->waiter_count < FLOOR_WAITERS_MAX) {
      server->waiters[server->waiter_count++] = connection;
    } else if (word == 'S') {
      wake_all(server, connection);
    } else if (word == 'P') {
      write_count(connection, server->waiter_count);
    }
  }
}

static void take_requests(struct server *server, struct connection *connection, size_t bytes) {
  connection->pending_bytes += bytes;
  size_t requests = connection->pending_bytes / server->options.request_bytes;
  connection->pending_bytes -= requests * server->options.request_bytes;
  if (requests > 0) write_output(connection, requests * server->options.reply_bytes);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)suggested;
  struct server *server = handle->loop->data;
  *buffer = uv_buf_init(server->input, FLOOR_READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer) {
  (void)buffer;
  struct connection *connection = stream->data;
  struct server *server = stream->loop->data;
  if (got < 0) {
    drop(connection);
  } else if (server->relay) {
    take_lines(server, connection, (size_t)got);
  } else {
    take_requests(server, connection, (size_t)got);
  }
}

static int init_stream(uv_loop_t *loop, struct connection *connection) {
  const struct server *server = loop->data;
  return server->options.unix_path == NULL ? uv_tcp_init(loop, &connection->tcp)
                                           : uv_pipe_init(loop, &connection->pipe, 0);
}

static void on_connection(uv_stream_t *listener, int status) {
  struct connection *connection = status < 0 ? NULL : calloc(1, sizeof *connection);
  if (connection == NULL) return;
  if (init_stream(listener->loop, connection) != 0) {
    free(connection);
    return;
  }
  connection->handle.data = connection;
  if (uv_accept(listener, &connection->stream) != 0 ||
      (connection->handle.type == UV_TCP && uv_tcp_nodelay(&connection->tcp, 1) != 0) ||
      uv_read_start(&connection->stream, on_allocate, on_read) != 0) {
    drop(connection);
  }
}

static int bind_tcp(uv_tcp_t *listener, size_t *port) {
  struct sockaddr_in address;
  int bytes = sizeof address;
  int error = uv_ip4_addr("127.0.0.1", (int)*port, &address);
  if (error == 0) error = uv_tcp_bind(listener, (const struct sockaddr *)&address, 0);
  if (error == 0) error = uv_tcp_getsockname(listener, (struct sockaddr *)&address, &bytes);
  if (error == 0) *port = ntohs(address.sin_port);
  return error;
}

static int listen_on(uv_loop_t *loop, struct connection *listener, struct floor_options *options) {
  int error = init_stream(loop, listener);
  if (error != 0) return error;
  error = options->unix_path == NULL ? bind_tcp(&listener->tcp, &options->port)
                                     : uv_pipe_bind(&listener->pipe, options->unix_path);
  return error != 0 ? error : uv_listen(&listener->stream, FLOOR_BACKLOG, on_connection);
}

static int usage(FILE *stream) {
  fprintf(
      stream,
      "usage: bench-uv echo --request-bytes N --reply-bytes N [--bodies N]\n"
      "         [--port N | --unix PATH]\n"
      "       bench-uv relay --reply-bytes N [--port N | --unix PATH]\n"
      "Listens on 127.0.0.1 (port 0, the default: the kernel picks) and prints \"ready PORT\".\n"
      "echo: answers every N bytes of requests with N bytes of reply, of N different ones.\n"
      "relay: lines. W... waits, S... sends all that wait N bytes, P counts them.\n");
  return stream == stdout ? EXIT_SUCCESS : FLOOR_EXIT_USAGE;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return usage(stdout);
  struct server server = {.relay = argc > 1 && strcmp(argv[1], "relay") == 0};
  if (argc < 2 || (!server.relay && strcmp(argv[1], "echo") != 0)) return usage(stderr);
  if (!floor_parse(&server.options, "bench-uv", server.relay, argc - 1, argv + 1))
    return usage(stderr);
  /* A write to a connection that left is an error code, not the end of the server. */
  signal(SIGPIPE, SIG_IGN);
  server.input = malloc(FLOOR_READ_BYTES);
  server.waiters = calloc(FLOOR_WAITERS_MAX, sizeof(struct connection *));
  uv_loop_t loop;
  struct connection listener;
  bool fits = server.input != NULL && server.waiters != NULL &&
              floor_output_init(&server.output, &server.options);
  int error = fits ? uv_loop_init(&loop) : UV_ENOMEM;
  if (error == 0) {
    loop.data = &server;
    error = listen_on(&loop, &listener, &server.options);
  }
  if (error != 0) {
    fprintf(stderr, "bench-uv: %s\n", uv_strerror(error));
    return EXIT_FAILURE;
  }
  floor_ready(server.options.port);
  return uv_run(&loop, UV_RUN_DEFAULT);
}
