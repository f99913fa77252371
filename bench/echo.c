/* bench-echo: the floor. A bare libuv TCP server that moves the bytes of a benchmark and does
 * nothing else: for every --request-bytes that come in, --reply-bytes go out. It parses nothing,
 * stores nothing, and writes once per connection and read event, as idem does; what idem costs
 * above it is idem's own work.
 *
 * Invariants: nothing is copied or allocated per request while the peer keeps up; a
 * peer that does not read is cut off at QUEUE_LIMIT_BYTES.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum {
  EXIT_USAGE = 2,
  READ_BYTES = 64 << 10,
  SIZE_MAX_BYTES = 1 << 20,
  QUEUE_LIMIT_BYTES = 64 << 20,
  WRITE_BYTES = 1 << 20, /* the block of zeros that replies are cut from */
  BUFFERS_MAX = 128,
  BACKLOG = 511
};

struct echo {
  size_t port, request_bytes, reply_bytes;
  char *input;  /* one read buffer for all: the bytes are only counted */
  char *output; /* WRITE_BYTES that never change */
};

struct peer {
  uv_tcp_t tcp;
  size_t pending_bytes; /* of a request that is not whole yet */
};

static void on_closed(uv_handle_t *handle) { free(handle->data); }

static void drop(struct peer *peer) {
  if (!uv_is_closing((uv_handle_t *)&peer->tcp)) uv_close((uv_handle_t *)&peer->tcp, on_closed);
}

static void on_written(uv_write_t *request, int status) {
  struct peer *peer = request->handle->data;
  free(request);
  if (status < 0) drop(peer);
}

/* What the socket did not take at once. */
static int write_later(struct peer *peer, struct echo *echo, size_t bytes) {
  uv_stream_t *stream = (uv_stream_t *)&peer->tcp;
  while (bytes > 0) {
    if (uv_stream_get_write_queue_size(stream) > QUEUE_LIMIT_BYTES) return UV_ENOBUFS;
    size_t part = bytes < WRITE_BYTES ? bytes : WRITE_BYTES;
    uv_buf_t buffer = uv_buf_init(echo->output, (unsigned)part);
    uv_write_t *request = malloc(sizeof *request);
    if (request == NULL) return UV_ENOMEM;
    int error = uv_write(request, stream, &buffer, 1, on_written);
    if (error != 0) {
      free(request);
      return error;
    }
    bytes -= part;
  }
  return 0;
}

static int reply(struct peer *peer, struct echo *echo, size_t bytes) {
  uv_buf_t buffers[BUFFERS_MAX];
  unsigned count = 0;
  for (size_t left = bytes; left > 0 && count < BUFFERS_MAX; count++) {
    size_t part = left < WRITE_BYTES ? left : WRITE_BYTES;
    buffers[count] = uv_buf_init(echo->output, (unsigned)part);
    left -= part;
  }
  int written = uv_try_write((uv_stream_t *)&peer->tcp, buffers, count);
  if (written < 0 && written != UV_EAGAIN) return written;
  return write_later(peer, echo, bytes - (written > 0 ? (size_t)written : 0));
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)suggested;
  struct echo *echo = handle->loop->data;
  *buffer = uv_buf_init(echo->input, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer) {
  (void)buffer;
  struct peer *peer = stream->data;
  struct echo *echo = stream->loop->data;
  if (got < 0) {
    drop(peer);
    return;
  }
  peer->pending_bytes += (size_t)got;
  size_t requests = peer->pending_bytes / echo->request_bytes;
  peer->pending_bytes -= requests * echo->request_bytes;
  if (requests > 0 && reply(peer, echo, requests * echo->reply_bytes) != 0) drop(peer);
}

static void on_connection(uv_stream_t *listener, int status) {
  if (status < 0) return;
  struct peer *peer = calloc(1, sizeof *peer);
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
  if (error == 0) error = uv_listen((uv_stream_t *)listener, BACKLOG, on_connection);
  if (error == 0) error = uv_tcp_getsockname(listener, (struct sockaddr *)&address, &bytes);
  if (error == 0) *port = ntohs(address.sin_port);
  return error;
}

static int usage(FILE *stream) {
  fprintf(
      stream,
      "usage: bench-echo --request-bytes N --reply-bytes N [--port N]\n"
      "Listens on 127.0.0.1 (port 0, the default: the kernel picks) and prints \"ready PORT\".\n"
      "Answers every N bytes of requests with N bytes of reply, whatever they are.\n");
  return stream == stdout ? EXIT_SUCCESS : EXIT_USAGE;
}

static bool parse_size(const char *text, size_t least, size_t most, size_t *size) {
  char *end = NULL;
  errno = 0;
  unsigned long value = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
  if (end == NULL || *end != '\0' || errno != 0 || value < least || value > most) return false;
  *size = value;
  return true;
}

static bool parse_options(struct echo *echo, int argc, char **argv) {
  struct {
    const char *name;
    size_t least, most;
    size_t *size;
  } rows[] = {{"--port", 0, 65535, &echo->port},
              {"--request-bytes", 1, SIZE_MAX_BYTES, &echo->request_bytes},
              {"--reply-bytes", 1, SIZE_MAX_BYTES, &echo->reply_bytes}};
  for (int i = 1; i < argc; i += 2) {
    size_t row = 0;
    while (row < sizeof rows / sizeof rows[0] && strcmp(rows[row].name, argv[i]) != 0) row++;
    if (row == sizeof rows / sizeof rows[0]) {
      fprintf(stderr, "bench-echo: %s: unknown option\n", argv[i]);
      return false;
    }
    if (i + 1 == argc ||
        !parse_size(argv[i + 1], rows[row].least, rows[row].most, rows[row].size)) {
      fprintf(stderr, "bench-echo: %s needs a number from %zu to %zu\n", argv[i], rows[row].least,
              rows[row].most);
      return false;
    }
  }
  if (echo->request_bytes == 0 || echo->reply_bytes == 0) {
    fprintf(stderr, "bench-echo: --request-bytes and --reply-bytes are required\n");
    return false;
  }
  /* One read can complete so many requests; their replies must fit one gathered write. */
  if ((READ_BYTES / echo->request_bytes + 1) * echo->reply_bytes >
      (size_t)BUFFERS_MAX * WRITE_BYTES) {
    fprintf(stderr, "bench-echo: --reply-bytes is too large for so small a --request-bytes\n");
    return false;
  }
  return true;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return usage(stdout);
  struct echo echo = {.port = 0};
  if (!parse_options(&echo, argc, argv)) return usage(stderr);

  /* A write to a peer that left is an error code, not the end of the server. */
  signal(SIGPIPE, SIG_IGN);
  echo.input = malloc(READ_BYTES);
  echo.output = calloc(1, WRITE_BYTES);
  uv_loop_t loop;
  uv_tcp_t listener;
  int error = echo.input != NULL && echo.output != NULL ? uv_loop_init(&loop) : UV_ENOMEM;
  if (error == 0) {
    loop.data = &echo;
    error = listen_on(&loop, &listener, &echo.port);
  }
  if (error != 0) {
    fprintf(stderr, "bench-echo: %s\n", uv_strerror(error));
    return EXIT_FAILURE;
  }
  printf("ready %zu\n", echo.port);
  fflush(stdout);
  return uv_run(&loop, UV_RUN_DEFAULT);
}
