/* output.c - see output.h. */
#include "client/once/output.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_FIRST_BYTES 4096

/* ---- the record ---- */

static size_t record_room(const struct output *output) {
  if (output->missed > 0) return 0;
  return OUTPUT_RECORD_BYTES - output->streams[OUTPUT_STDOUT].record.len -
         output->streams[OUTPUT_STDERR].record.len;
}

static bool record_grow(struct output_record *record, size_t needed) {
  size_t size = record->size == 0 ? RECORD_FIRST_BYTES : record->size;
  while (size < needed) size *= 2;
  if (size == record->size) return true;
  char *grown = realloc(record->data, size);
  if (grown == NULL) return false;
  record->data = grown;
  record->size = size;
  return true;
}

/* How many of the bytes are recorded: the first ones. */
static size_t record_append(struct output *output, struct output_record *record, const char *data,
                            size_t len) {
  size_t room = record_room(output), kept = len < room ? len : room;
  if (kept == 0 || !record_grow(record, record->len + kept)) return 0;
  memcpy(record->data + record->len, data, kept);
  record->len += kept;
  return kept;
}

/* ---- the order of the streams ---- */

static bool same_file(int one, int other) {
  struct stat a, b;
  return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

static void order_add(struct output_order *order, enum output_name name, size_t len) {
  if (order->count == 0) order->next = name;
  enum output_name new_one = (order->next + order->count) % OUTPUT_STREAMS;
  size_t at = order->first + order->count;
  if (order->count > 0 && new_one != name) {
    at--; /* the last run is of this stream */
  } else if (order->count < OUTPUT_RUNS) {
    order->runs[at % OUTPUT_RUNS] = 0;
    order->count++;
  } else {
    at -= 2; /* too many to remember: too early by one run of the other */
  }
  order->runs[at % OUTPUT_RUNS] += len;
}

static void order_take(struct output_order *order, size_t len) {
  order->runs[order->first] -= len;
  if (order->runs[order->first] > 0) return;
  order->first = (order->first + 1) % OUTPUT_RUNS;
  order->next = (order->next + 1) % OUTPUT_STREAMS;
  order->count--;
}

/* ---- writing ---- */

/*
 * No write may block: while the command runs, its signals, its end and the loss of the claim are
 * waited for in the same loop. O_NONBLOCK on the descriptor that was inherited would hold for all
 * processes that share it, so pipes and terminals are opened once more. Where that is not allowed,
 * a pipe takes PIPE_BUF bytes at once when poll says that it takes any. Files never block, but the
 * disk has its pace: they get what was read at once, not a whole record.
 */
static struct output_sink sink_open(int fd) {
  struct output_sink sink = {.fd = fd, .kind = OUTPUT_SINK_CAREFUL};
  struct stat file;
  char path[32];
  if (fstat(fd, &file) != 0) return sink;
  if (S_ISSOCK(file.st_mode)) sink.kind = OUTPUT_SINK_SOCKET;
  if (S_ISREG(file.st_mode)) sink.kind = OUTPUT_SINK_FILE;
  if (!S_ISFIFO(file.st_mode) && !isatty(fd)) return sink;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (own >= 0) sink = (struct output_sink){.fd = own, .kind = OUTPUT_SINK_NONBLOCKING};
  return sink;
}

static void sink_close(struct output_sink *sink) {
  if (sink->kind == OUTPUT_SINK_NONBLOCKING && sink->fd >= 0) close(sink->fd);
  sink->fd = -1;
}

static ssize_t sink_write(const struct output_sink *sink, const char *data, size_t len) {
  if (sink->kind == OUTPUT_SINK_SOCKET)
    return send(sink->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sink->kind == OUTPUT_SINK_CAREFUL && len > PIPE_BUF) len = PIPE_BUF;
  if (sink->kind == OUTPUT_SINK_FILE && len > OUTPUT_CHUNK_BYTES) len = OUTPUT_CHUNK_BYTES;
  return write(sink->fd, data, len);
}

static size_t stream_pending(const struct output_stream *stream) {
  if (stream->sink.fd < 0) return 0;
  return stream->record.len - stream->written + stream->have - stream->have_written;
}

/* How much of a stream may be written now. */
static size_t stream_turn(const struct output *output, enum output_name name) {
  const struct output_order *order = &output->order;
  if (!order->kept || output->streams[name].sink.fd < 0) {
    return stream_pending(&output->streams[name]);
  }
  return order->count > 0 && order->next == name ? order->runs[order->first] : 0;
}

/* The command runs on, and is recorded, for later callers. */
static void stream_fail(struct output *output, enum output_name name, int error) {
  output->streams[name].error = error;
  for (int i = 0; i < OUTPUT_STREAMS; i++) {
    if (i == (int)name || output->order.kept) sink_close(&output->streams[i].sink);
  }
}

static void stream_write(struct output *output, enum output_name name) {
  struct output_stream *stream = &output->streams[name];
  size_t most = stream_turn(output, name), recorded = stream->record.len - stream->written;
  const char *data = stream->chunk + stream->have_written;
  if (recorded > 0) {
    data = stream->record.data + stream->written;
    if (most > recorded) most = recorded;
  }
  ssize_t put = sink_write(&stream->sink, data, most);
  if (put < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (put < 0) {
    stream_fail(output, name, errno);
    return;
  }
  *(recorded > 0 ? &stream->written : &stream->have_written) += (size_t)put;
  if (output->order.kept && put > 0) order_take(&output->order, (size_t)put);
}

/* ---- reading ---- */

static bool stream_readable(const struct output *output, const struct output_stream *stream) {
  if (stream->from < 0 || (output->ended && stream->left == 0)) return false;
  return record_room(output) > 0 || stream_pending(stream) == 0;
}

static void stream_close(struct output_stream *stream) {
  if (stream->from >= 0) close(stream->from);
  stream->from = -1;
  stream->left = 0;
}

/* What was read into the chunk: the first part is recorded, the rest stays there until it is
 * written. */
static void stream_take(struct output *output, enum output_name name, size_t len) {
  struct output_stream *stream = &output->streams[name];
  size_t kept = record_append(output, &stream->record, stream->chunk, len), rest = len - kept;
  if (!output->counted) output->missed += rest;
  stream->have = stream->have_written = 0;
  if (stream->sink.fd < 0) return;
  if (output->order.kept) order_add(&output->order, name, len);
  memmove(stream->chunk, stream->chunk + kept, rest);
  stream->have = rest;
}

static void stream_read(struct output *output, enum output_name name) {
  struct output_stream *stream = &output->streams[name];
  size_t most = sizeof stream->chunk;
  if (output->ended && stream->left < most) most = stream->left;
  ssize_t got = read(stream->from, stream->chunk, most);
  if (got < 0 && errno == EINTR) return;
  if (got <= 0) {
    stream_close(stream);
    return;
  }
  if (output->ended) stream->left -= (size_t)got;
  stream_take(output, name, (size_t)got);
}

/* ---- both streams ---- */

void output_init(struct output *output) {
  static const int to[OUTPUT_STREAMS] = {STDOUT_FILENO, STDERR_FILENO};
  for (int i = 0; i < OUTPUT_STREAMS; i++) {
    /* All but the chunk, which is large. */
    memset(&output->streams[i], 0, offsetof(struct output_stream, chunk));
    output->streams[i].from = -1;
    output->streams[i].sink = sink_open(to[i]);
  }
  output->order.kept = same_file(STDOUT_FILENO, STDERR_FILENO);
  output->order.first = output->order.count = 0;
  output->missed = 0;
  output->ended = output->counted = false;
}

void output_deinit(struct output *output) {
  for (int i = 0; i < OUTPUT_STREAMS; i++) {
    stream_close(&output->streams[i]);
    sink_close(&output->streams[i].sink);
    free(output->streams[i].record.data);
    output->streams[i].record = (struct output_record){0};
  }
}

void output_attach(struct output *output, int out, int err) {
  output->streams[OUTPUT_STDOUT].from = out;
  output->streams[OUTPUT_STDERR].from = err;
}

void output_want(const struct output *output, struct pollfd polled[OUTPUT_POLLED]) {
  for (int i = 0; i < OUTPUT_STREAMS; i++) {
    const struct output_stream *stream = &output->streams[i];
    bool reads = stream_readable(output, stream);
    bool writes = stream_turn(output, (enum output_name)i) > 0;
    polled[i] = (struct pollfd){.fd = reads ? stream->from : -1, .events = POLLIN};
    polled[OUTPUT_STREAMS + i] =
        (struct pollfd){.fd = writes ? stream->sink.fd : -1, .events = POLLOUT};
  }
}

/* Writes before it reads: what is asked of poll is no longer true once the record has grown. */
void output_serve(struct output *output, const struct pollfd polled[OUTPUT_POLLED]) {
  for (int i = 0; i < OUTPUT_STREAMS; i++) {
    enum output_name name = (enum output_name)i;
    if (polled[OUTPUT_STREAMS + i].revents != 0 && stream_turn(output, name) > 0) {
      stream_write(output, name);
    }
  }
  for (int i = 0; i < OUTPUT_STREAMS; i++) {
    if (polled[i].revents != 0 && stream_readable(output, &output->streams[i])) {
      stream_read(output, (enum output_name)i);
    }
  }
}

void output_end(struct output *output) {
  output->ended = true;
  for (int i = 0; i < OUTPUT_STREAMS; i++) {
    struct output_stream *stream = &output->streams[i];
    int left = 0;
    if (stream->from < 0) continue;
    if (ioctl(stream->from, FIONREAD, &left) != 0 || left <= 0) stream_close(stream);
    if (left > 0) stream->left = (size_t)left;
  }
}

bool output_recording(const struct output *output) {
  if (!output->ended) return true;
  if (record_room(output) == 0) return false;
  return output->streams[OUTPUT_STDOUT].left > 0 || output->streams[OUTPUT_STDERR].left > 0;
}

void output_count(struct output *output) {
  for (int i = 0; i < OUTPUT_STREAMS; i++) output->missed += output->streams[i].left;
  output->counted = true;
}

static bool unwritten(const struct output *output) {
  for (int i = 0; i < OUTPUT_STREAMS; i++) {
    const struct output_stream *stream = &output->streams[i];
    if (stream->left > 0 || stream_pending(stream) > 0) return true;
  }
  return false;
}

void output_flush(struct output *output) {
  struct pollfd polled[OUTPUT_POLLED];
  assert(output->counted);
  while (unwritten(output)) {
    output_want(output, polled);
    if (poll(polled, OUTPUT_POLLED, -1) > 0) output_serve(output, polled);
  }
  /* A full disk of another machine may be told only now. */
  struct output_stream *out = &output->streams[OUTPUT_STDOUT];
  if (close(STDOUT_FILENO) != 0 && out->error == 0 && out->record.len > 0) out->error = errno;
}

int output_put(int fd, const char *data, size_t len) {
  while (len > 0) {
    ssize_t put = write(fd, data, len);
    if (put < 0 && errno == EAGAIN) {
      struct pollfd polled = {.fd = fd, .events = POLLOUT};
      poll(&polled, 1, -1);
    } else if (put < 0 && errno != EINTR) {
      return -errno;
    }
    if (put <= 0) continue;
    data += put;
    len -= (size_t)put;
  }
  return 0;
}
