/*
 * stream_uv.h - a stream over a TCP or unix socket, by libuv.
 *
 * A unix socket is a uv_tcp_t too, which libuv accepts for any stream socket: uv_pipe_t is larger,
 * and the difference is for names and for passing descriptors.
 */
#ifndef IDEM_SERVER_NET_STREAM_UV_H
#define IDEM_SERVER_NET_STREAM_UV_H

#include <uv.h>

#include "server/net/stream.h"

/* libuv's `data`, which is free for its user, is the first word of every handle. The stream's type
 * lies there, so that the interface costs an idle connection nothing. */
struct stream_uv {
  union {
    struct stream stream;
    uv_tcp_t tcp;
  };
};
_Static_assert(offsetof(uv_tcp_t, data) == 0, "the type of a stream lies in it");
_Static_assert(sizeof(struct stream_uv) == sizeof(uv_tcp_t), "a stream costs nothing");

/*
 * Makes a stream of the socket, which it owns from then on; `stream` has room for a struct
 * stream_uv. libuv has room for the descriptor, and the kernel watches it (descriptors.h). False:
 * memory is short, fd is still the caller's, and `closed` is called, perhaps later.
 */
bool stream_uv_open(struct stream *stream, const struct stream_type *type, uv_loop_t *uv, int fd);

/* For TCP. What cannot be set is left as it is. keepalive_s 0: no keepalive. */
struct stream_uv_tcp {
  unsigned keepalive_s;
  unsigned user_timeout_ms; /* after which the kernel gives up a peer that acknowledges nothing */
};
/* By the descriptor, not by libuv, which would write its handle: the loop may be another one's. */
void stream_uv_set_up(int fd, const struct stream_uv_tcp *tcp);

extern const struct stream_ops STREAM_UV;

#endif
