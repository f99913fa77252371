/* stream_uv.c - see stream_uv.h. */
#include "server/net/stream_uv.h"

#include <assert.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "server/net/descriptors.h"

_Static_assert(sizeof(uv_buf_t) == sizeof(struct iovec), "libuv: a uv_buf_t may be cast to one");
_Static_assert(offsetof(uv_buf_t, base) == offsetof(struct iovec, iov_base), "the same");
_Static_assert(offsetof(uv_buf_t, len) == offsetof(struct iovec, iov_len), "the same");

/* Parts of one request of libuv. For more libuv allocates, and when that fails it counts the
 * request as active for ever: the loop could never be closed. */
#define PARTS_PER_REQUEST 4u

static uv_tcp_t *tcp_of(struct stream *stream) { return (uv_tcp_t *)(void *)stream; }
static uv_stream_t *uv_of(struct stream *stream) { return (uv_stream_t *)(void *)stream; }
static struct stream *stream_of(void *handle) { return handle; }

static int descriptor(const struct stream *stream) {
  uv_os_fd_t fd;
  return uv_fileno((const uv_handle_t *)(const void *)stream, &fd) == 0 ? fd : -1;
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)suggested;
  struct stream *stream = stream_of(handle);
  struct iovec room = stream->type->events->room(stream);
  *buffer = (uv_buf_t){room.iov_base, room.iov_len};
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buffer) {
  struct stream *stream = stream_of(handle);
  if (count == 0) return; /* there was nothing after all */
  if (count < 0) uv_read_stop(handle);
  stream->type->events->read(stream, buffer->base, count == UV_EOF ? 0 : count);
}

static int read_uv(struct stream *stream, bool on) {
  if (!on) return uv_read_stop(uv_of(stream));
  if (!descriptors_watch(tcp_of(stream)->loop, descriptor(stream))) return UV_ENOMEM;
  return uv_read_start(uv_of(stream), on_alloc, on_read);
}

/* ---- writing ---- */

/* What was left to libuv, in as many requests as it needs. */
struct left {
  void *later;
  unsigned count; /* requests that have not ended */
  uv_write_t requests[];
};

static void on_written(uv_write_t *request, int status) {
  struct left *left = request->data;
  struct stream *stream = stream_of(request->handle);
  bool last = --left->count == 0;
  void *later = last ? left->later : NULL;
  if (last) free(left);
  stream->type->events->written(stream, later, status);
}

static bool hand_over(struct stream *stream, struct left *left, const uv_buf_t *parts,
                      unsigned count) {
  for (unsigned i = 0; i < left->count; i++) {
    unsigned at = i * PARTS_PER_REQUEST, rest = count - at;
    uv_write_t *request = &left->requests[i];
    request->data = left;
    int error = uv_write(request, uv_of(stream), parts + at,
                         rest < PARTS_PER_REQUEST ? rest : PARTS_PER_REQUEST, on_written);
    assert(error == 0 || i == 0); /* only the first can fail */
    if (error != 0) return false;
  }
  return true;
}

static int64_t leave(struct stream *stream, const uv_buf_t *parts, unsigned count, void *later) {
  unsigned requests = (count + PARTS_PER_REQUEST - 1) / PARTS_PER_REQUEST;
  struct left *left = malloc(sizeof *left + requests * sizeof left->requests[0]);
  /* When it is not being read, libuv may have stopped watching it. */
  if (left == NULL || !descriptors_watch(tcp_of(stream)->loop, descriptor(stream))) {
    free(left);
    return UV_ENOMEM;
  }
  left->later = later;
  left->count = requests;
  if (hand_over(stream, left, parts, count)) return 0;
  free(left);
  return UV_EPIPE;
}

static int64_t write_uv(struct stream *stream, const struct iovec *parts, unsigned count,
                        void *later) {
  const uv_buf_t *buffers = (const uv_buf_t *)(const void *)parts;
  if (later != NULL) return leave(stream, buffers, count, later);
  int taken = uv_try_write(uv_of(stream), buffers, count);
  return taken != UV_EAGAIN ? taken : 0;
}

/* ---- the end ---- */

static void on_shutdown(uv_shutdown_t *request, int status) {
  (void)status; /* reading notices a peer that is gone already */
  free(request);
}

static int shutdown_uv(struct stream *stream) {
  uv_shutdown_t *request = malloc(sizeof *request);
  if (request == NULL) return UV_ENOMEM;
  int error = uv_shutdown(request, uv_of(stream), on_shutdown);
  if (error != 0) free(request);
  return error;
}

static void on_closed(uv_handle_t *handle) {
  struct stream *stream = stream_of(handle);
  stream->type->events->closed(stream);
}

static void close_uv(struct stream *stream) { uv_close((uv_handle_t *)(void *)stream, on_closed); }

/* ---- questions ---- */

static bool is_gone(int fd) {
  if (fd < 0) return true;
  struct pollfd check = {.fd = fd, .events = POLLRDHUP};
  return poll(&check, 1, 0) == 1;
}

static int64_t bytes_by(int fd, unsigned long request, int64_t otherwise) {
  int bytes = 0;
  return ioctl(fd, request, &bytes) == 0 ? bytes : otherwise;
}

static int64_t ask_uv(const struct stream *stream, enum stream_question question) {
  int fd = descriptor(stream);
  switch (question) {
    case STREAM_PEER_GONE: return is_gone(fd);
    case STREAM_ARRIVED: return bytes_by(fd, FIONREAD, 0);
    case STREAM_LEFT:
      return (int64_t)uv_stream_get_write_queue_size((const uv_stream_t *)(const void *)stream);
    case STREAM_UNACKNOWLEDGED: return bytes_by(fd, SIOCOUTQ, -1);
    case STREAM_DESCRIPTOR:
    default: return fd;
  }
}

const struct stream_ops STREAM_UV = {
    .read = read_uv,
    .write = write_uv,
    .shutdown = shutdown_uv,
    .close = close_uv,
    .ask = ask_uv,
};

/* ---- the beginning ---- */

bool stream_uv_open(struct stream *stream, const struct stream_type *type, uv_loop_t *uv, int fd) {
  int error = uv_tcp_init(uv, tcp_of(stream));
  stream->type = type;
  if (error != 0) {
    type->events->closed(stream);
    return false;
  }
  if (uv_tcp_open(tcp_of(stream), fd) == 0) return true;
  close_uv(stream);
  return false;
}

void stream_uv_set_up(int fd, const struct stream_uv_tcp *tcp) {
  int on = 1, keeps = tcp->keepalive_s > 0;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &keeps, sizeof keeps);
  if (keeps) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &tcp->keepalive_s, sizeof tcp->keepalive_s);
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &tcp->user_timeout_ms, sizeof tcp->user_timeout_ms);
}
