/*
 * accept.h - connections that come, on the first loop: taken from their listening socket, given to
 * the loop that has fewest, or refused.
 *
 * Not by libuv's own accept: when a connection cannot be taken for want of memory libuv never
 * listens again, and when descriptors are short it may try for ever within one turn. Here a lack
 * of either refuses connections, or leaves them waiting until the next cron tick, and the listener
 * goes on.
 */
#ifndef IDEM_SERVER_NET_ACCEPT_H
#define IDEM_SERVER_NET_ACCEPT_H

#include "server/net/loop.h"
#include "server/ops/options.h"

#define ACCEPT_SOCKETS (OPTIONS_BIND_MAX + 1)

/* Once it is closed its place is not used again: libuv has the handle until the loop's next turn.
 */
struct accept_socket {
  uv_poll_t poll;
  struct acceptor *acceptor;
  int fd;
  bool is_unix;
  bool open; /* the loop has the handle; it rests (accept_resume) when it is not active */
};

struct acceptor {
  struct loop_set *loops;
  struct accept_socket sockets[ACCEPT_SOCKETS];
  unsigned count;
  int spare_fd; /* given up to refuse a connection when there is no other left; -1: it could not be
                   had again */
};

void accept_init(struct acceptor *acceptor, struct loop_set *loops);
/* Listens on a bound socket and begins to take connections from it; owns it in every case. 0, or a
 * libuv error. */
int accept_add(struct acceptor *acceptor, struct handed_socket socket, int backlog);
/* Closes all sockets. Can be repeated. */
void accept_close(struct acceptor *acceptor);
/* Once in a while: sockets that rest, because nothing could be had for a connection, go on. */
void accept_resume(struct acceptor *acceptor);

#endif
