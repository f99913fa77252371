/*
 * accept.h - new connections, on the first loop: accepted from their listening socket, given to the
 * loop that has the fewest, or refused.
 *
 * libuv's own accept is not used: when it has no memory for a connection it never listens again,
 * and when descriptors are short it may try for ever within one turn. Here a lack of either refuses
 * connections, or leaves them waiting until the next cron tick; the socket keeps listening.
 */
#ifndef IDEM_SERVER_NET_ACCEPT_H
#define IDEM_SERVER_NET_ACCEPT_H

#include "server/net/loop.h"
#include "server/net/proxy_room.h"
#include "server/ops/options.h"

/* Each address for TCP and TLS, and a unix socket. */
#define ACCEPT_SOCKETS (2 * OPTIONS_BIND_MAX + 1)
/* With so many handshakes that wait for the server's CPU, further clients of TLS wait in the queue
 * of the listening socket. Half of STRANGERS_MAX, so that a crowd that comes back does not evict
 * itself: those that wait for their client do not count here. */
#define ACCEPT_HANDSHAKES 128u

/* Once it is closed its place is not used again: libuv has the handle until the loop's next turn.
 */
struct accept_socket {
  uv_poll_t poll;
  struct acceptor *acceptor;
  int fd;
  enum handed_kind kind;
  bool open; /* the loop has the handle; not active while it is paused (accept_resume) */
};

struct acceptor {
  struct loop_set *loops;
  struct accept_socket sockets[ACCEPT_SOCKETS];
  unsigned count;
  int spare_fd; /* closed to refuse a connection when no other is left; -1: it could not be opened
                   again */
  struct proxy_room *proxies; /* the caller's; NULL: no load balancers */
};

/* What a proxy_room's `ready` does; context: struct acceptor. */
void accept_proxied(void *context, int fd, enum handed_kind kind);
void accept_init(struct acceptor *acceptor, struct loop_set *loops);
/* Listens on a bound socket and begins to take connections from it; owns it in every case. 0, or a
 * libuv error. */
int accept_add(struct acceptor *acceptor, struct handed_socket socket, int backlog);
/* Closes all sockets. Can be repeated. */
void accept_close(struct acceptor *acceptor);
/* Call regularly: closes load balancers' connections without a header, and resumes the sockets that
 * were paused: memory or descriptors were short, or handshakes too many. */
void accept_resume(struct acceptor *acceptor);

#endif
