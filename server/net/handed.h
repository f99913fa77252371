/*
 * handed.h - connections on their way to a loop: put by the loop that accepts, taken by their own
 * loop at the end of its turn. Bounded.
 */
#ifndef IDEM_SERVER_NET_HANDED_H
#define IDEM_SERVER_NET_HANDED_H

#include <pthread.h>
#include <stdbool.h>

#define HANDED_MAX 1024u

enum handed_kind { HANDED_TCP, HANDED_UNIX, HANDED_TLS /* over TCP */ };

struct handed_socket {
  int fd;
  enum handed_kind kind;
};

struct handed {
  pthread_mutex_t lock;
  struct handed_socket sockets[HANDED_MAX];
  unsigned count;
  _Atomic bool waiting; /* there may be some */
};

void handed_init(struct handed *handed);
/* Closes those that were not taken. */
void handed_deinit(struct handed *handed);
/* From any thread. False: too many were not taken yet. */
bool handed_put(struct handed *handed, struct handed_socket socket);
/* Takes all of them. Returns how many. */
unsigned handed_take(struct handed *handed, struct handed_socket sockets[HANDED_MAX]);

#endif
