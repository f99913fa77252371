/*
 * stream_memory.h - a stream whose peer and kernel are the test's: what the peer says, how much of
 * the writes is taken, and what fails is said by functions; nothing happens by itself.
 *
 *     peer_say, peer_end, peer_break  ->  read events, through the room that the reader gives
 *     peer.room: bytes that are taken of a write at once; peer_take: of what was left, later
 *     peer_finish: the last events of a stream that was closed
 */
#ifndef IDEM_TESTS_UNIT_STREAM_MEMORY_H
#define IDEM_TESTS_UNIT_STREAM_MEMORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/net/stream.h"

#define PEER_LEFT_MAX 4096

struct peer_left {
  char *bytes; /* a copy */
  size_t len, taken;
  void *later;
};

/* The other end. It outlives its stream. */
struct peer {
  struct stream_memory *stream; /* NULL: `closed` was said, or there never was one */
  bool reads, shut, closed;     /* what the stream was asked */
  bool hung_up;                 /* for STREAM_PEER_GONE */
  size_t room;                  /* SIZE_MAX: all is taken */
  int64_t unacknowledged, arrived;
  int write_error, read_error, shutdown_error; /* negative: the next ones fail */
  char *heard;                                 /* text */
  size_t heard_len;
  struct peer_left left[PEER_LEFT_MAX];
  unsigned left_first, left_end;
  void (*on_write)(void);  /* called at each write; NULL: nothing is */
  struct peer *ends_other; /* whose end comes with the next write here; NULL: nobody's */
  bool other_is_read;      /* the server hears of that end; else it lies in the socket */
};

struct stream_memory {
  struct stream stream;
  struct peer *peer;
};

static inline struct peer *peer_of(const struct stream *stream) {
  return ((const struct stream_memory *)(const void *)stream)->peer;
}

static inline void peer_hears(struct peer *peer, const void *bytes, size_t len) {
  peer->heard = realloc(peer->heard, peer->heard_len + len + 1);
  assert_non_null(peer->heard);
  memcpy(peer->heard + peer->heard_len, bytes, len);
  peer->heard_len += len;
  peer->heard[peer->heard_len] = '\0';
  if (peer->room != SIZE_MAX) peer->room -= len;
}

/* ---- the stream ---- */

static inline int memory_read(struct stream *stream, bool on) {
  struct peer *peer = peer_of(stream);
  assert_false(peer->closed);
  if (on && peer->read_error != 0) return peer->read_error;
  peer->reads = on;
  return 0;
}

static inline size_t memory_size(const struct iovec *parts, unsigned count) {
  size_t size = 0;
  for (unsigned i = 0; i < count; i++) {
    assert_true(parts[i].iov_len > 0);
    size += parts[i].iov_len;
  }
  return size;
}

static inline void memory_leave(struct peer *peer, const struct iovec *parts, unsigned count,
                                void *later) {
  assert_true(peer->left_end < PEER_LEFT_MAX);
  struct peer_left *left = &peer->left[peer->left_end++];
  *left = (struct peer_left){.len = memory_size(parts, count), .later = later};
  left->bytes = malloc(left->len);
  assert_non_null(left->bytes);
  for (unsigned i = 0, at = 0; i < count; at += (unsigned)parts[i++].iov_len)
    memcpy(left->bytes + at, parts[i].iov_base, parts[i].iov_len);
}

static inline void peer_end(struct peer *peer, ssize_t count);

static inline void memory_end_other(struct peer *peer) {
  struct peer *other = peer->ends_other;
  peer->ends_other = NULL;
  if (other == NULL) return;
  if (peer->other_is_read) {
    peer_end(other, 0);
  } else {
    other->hung_up = true;
  }
}

static inline int64_t memory_write(struct stream *stream, const struct iovec *parts, unsigned count,
                                   void *later) {
  struct peer *peer = peer_of(stream);
  assert_false(peer->closed);
  memory_end_other(peer);
  if (peer->shut) return -EPIPE;
  if (peer->on_write != NULL) peer->on_write();
  if (peer->write_error != 0) return peer->write_error;
  if (later != NULL) {
    memory_leave(peer, parts, count, later);
    return 0;
  }
  assert_int_equal(peer->left_first, peer->left_end);
  size_t taken = 0;
  for (unsigned i = 0; i < count && peer->room > 0; i++) {
    size_t len = parts[i].iov_len < peer->room ? parts[i].iov_len : peer->room;
    peer_hears(peer, parts[i].iov_base, len);
    taken += len;
  }
  return (int64_t)taken;
}

static inline int memory_shutdown(struct stream *stream) {
  struct peer *peer = peer_of(stream);
  assert_false(peer->closed || peer->shut);
  if (peer->shutdown_error != 0) return peer->shutdown_error;
  peer->shut = true;
  return 0;
}

static inline void memory_close(struct stream *stream) {
  struct peer *peer = peer_of(stream);
  assert_false(peer->closed);
  peer->closed = true;
  peer->reads = false;
}

static inline int64_t memory_ask(const struct stream *stream, enum stream_question question) {
  const struct peer *peer = peer_of(stream);
  int64_t left = 0;
  switch (question) {
    case STREAM_PEER_GONE: return peer->hung_up;
    case STREAM_ARRIVED: return peer->arrived;
    case STREAM_UNACKNOWLEDGED: return peer->unacknowledged;
    case STREAM_LEFT:
      for (unsigned i = peer->left_first; i < peer->left_end; i++)
        left += (int64_t)(peer->left[i].len - peer->left[i].taken);
      return left;
    case STREAM_DESCRIPTOR:
    default: return -1;
  }
}

static const struct stream_ops STREAM_MEMORY = {
    .read = memory_read,
    .write = memory_write,
    .shutdown = memory_shutdown,
    .close = memory_close,
    .ask = memory_ask,
};

/* ---- the peer ---- */

/* `stream` has room for a struct stream_memory. */
static inline void peer_connect(struct peer *peer, struct stream *stream,
                                const struct stream_type *type) {
  free(peer->heard);
  memset(peer, 0, sizeof *peer);
  peer->room = SIZE_MAX;
  peer->stream = (struct stream_memory *)(void *)stream;
  peer->stream->peer = peer;
  stream->type = type;
}

/* Says bytes as long as they are read, a room at a time. Returns how many were. */
static inline size_t peer_say(struct peer *peer, const char *bytes, size_t len) {
  size_t said = 0;
  while (said < len && peer->reads) {
    struct stream *stream = &peer->stream->stream;
    struct iovec room = stream->type->events->room(stream);
    size_t part = len - said < room.iov_len ? len - said : room.iov_len;
    assert_true(room.iov_len > 0);
    memcpy(room.iov_base, bytes + said, part);
    said += part;
    stream->type->events->read(stream, room.iov_base, (ssize_t)part);
  }
  return said;
}

/* Says that no more will come: count 0; or that it broke: negative. */
static inline void peer_end(struct peer *peer, ssize_t count) {
  struct stream *stream = &peer->stream->stream;
  assert_true(peer->reads);
  peer->reads = false;
  peer->hung_up = true;
  stream->type->events->read(stream, NULL, count);
}

static inline void peer_written(struct peer *peer, int error) {
  struct peer_left *left = &peer->left[peer->left_first++];
  struct stream *stream = &peer->stream->stream;
  free(left->bytes);
  stream->type->events->written(stream, left->later, error);
}

/* The kernel takes so many bytes of what is left. Returns how many there were. */
static inline size_t peer_take(struct peer *peer, size_t bytes) {
  size_t taken = 0;
  while (taken < bytes && peer->left_first < peer->left_end) {
    struct peer_left *left = &peer->left[peer->left_first];
    size_t rest = left->len - left->taken, part = bytes - taken < rest ? bytes - taken : rest;
    peer_hears(peer, left->bytes + left->taken, part);
    left->taken += part;
    taken += part;
    if (left->taken == left->len) peer_written(peer, 0);
  }
  return taken;
}

/* What was left fails. */
static inline void peer_fail(struct peer *peer, int error) {
  assert_true(peer->left_first < peer->left_end);
  peer_written(peer, error);
}

/* A stream that was closed says its last events; any other is left alone. */
static inline void peer_finish(struct peer *peer) {
  if (peer->stream == NULL || !peer->closed) return;
  while (peer->left_first < peer->left_end) peer_written(peer, -ECANCELED);
  struct stream *stream = &peer->stream->stream;
  peer->stream = NULL;
  stream->type->events->closed(stream);
}

#endif
