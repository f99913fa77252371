/*
 * stream.h - bytes to and from one peer: an interface of four functions with their callbacks, and
 * one for questions. The user of a stream does not know what carries it; a stream may use another
 * one.
 *
 *     connection        room, read, written, closed   (struct stream_events, what it is told)
 *         |   ^
 *         v   |
 *      stream           read, write, shutdown, close  (struct stream_ops, what it is asked to do)
 *
 * All functions and callbacks run in the thread of the stream's loop. No callback runs within read,
 * write, shutdown or close, unless said there.
 */
#ifndef IDEM_SERVER_NET_STREAM_H
#define IDEM_SERVER_NET_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct stream;

enum stream_question {
  STREAM_DESCRIPTOR,     /* the socket's; -1: it is closed, or there is none */
  STREAM_PEER_GONE,      /* 1: the peer has hung up, even if the end has not been read yet */
  STREAM_ARRIVED,        /* bytes that may be read now, about */
  STREAM_LEFT,           /* bytes that were left to the stream (as it was given them) and that the
                            kernel has not taken */
  STREAM_UNACKNOWLEDGED, /* bytes that the kernel has and the peer has not; -1: unknown */
};

struct stream_ops {
  /* Begins to read, or stops. 0, or a negative error: memory is short, the stream does not read. */
  int (*read)(struct stream *stream, bool on);
  /*
   * Sends the parts in order. Without `later` the stream takes what goes at once: returns so many
   * bytes, 0 when none do, or a negative error. With it the stream takes all, and borrows the bytes
   * (not the parts) until it calls `written` with this `later`: returns 0, or a negative error, and
   * then it has taken nothing. Without `later` only when nothing is left to it.
   */
  int64_t (*write)(struct stream *stream, const struct iovec *parts, unsigned count, void *later);
  /* Shuts down sending, after all that is left to the stream. 0, or a negative error: memory is
   * short, or the peer is gone. */
  int (*shutdown)(struct stream *stream);
  /* Called once. Ends what is left to the stream with errors, each by a call of `written`; `closed`
   * is called last. */
  void (*close)(struct stream *stream);
  /* Costs a system call at most. */
  int64_t (*ask)(const struct stream *stream, enum stream_question question);
};

struct stream_events {
  /* Where the next bytes are to be read to: at least one byte. */
  struct iovec (*room)(struct stream *stream);
  /* count > 0 bytes, in that room; 0: the peer sends no more; negative: it broke. After the last
   * two nothing more is read. */
  void (*read)(struct stream *stream, const char *data, ssize_t count);
  /* The kernel took some of what was left to the stream, or it never will (error, negative).
   * `later` is NULL until the last of its bytes; from then on nothing of it is borrowed. */
  void (*written)(struct stream *stream, void *later, int error);
  /* The stream's memory may be given back. */
  void (*closed)(struct stream *stream);
};

struct stream_type {
  const struct stream_ops *ops;
  const struct stream_events *events;
};

/* What every stream begins with; the rest, and its size, depend on its kind. */
struct stream {
  const struct stream_type *type;
};

static inline int stream_read(struct stream *stream, bool on) {
  return stream->type->ops->read(stream, on);
}
static inline int64_t stream_write(struct stream *stream, const struct iovec *parts, unsigned count,
                                   void *later) {
  return stream->type->ops->write(stream, parts, count, later);
}
static inline int stream_shutdown(struct stream *stream) {
  return stream->type->ops->shutdown(stream);
}
static inline void stream_close(struct stream *stream) { stream->type->ops->close(stream); }
static inline int64_t stream_ask(const struct stream *stream, enum stream_question question) {
  return stream->type->ops->ask(stream, question);
}

#endif
