/*
 * proxied.h - addresses of clients behind a load balancer, from when its header was read until the
 * socket has become a connection, in whatever loop: by the number of the descriptor, which no other
 * connection can have meanwhile.
 */
#ifndef IDEM_SERVER_NET_PROXIED_H
#define IDEM_SERVER_NET_PROXIED_H

#include <stdatomic.h>

#include "server/commands/session.h"

struct proxied {
  unsigned count; /* descriptors below it have a place */
  _Atomic(struct session_proxied *) places[];
};

/* For as many descriptors as the process may ever have. NULL: memory is short. */
struct proxied *proxied_create(void);
void proxied_destroy(struct proxied *proxied); /* takes NULL; frees what was not taken */
/* From any thread. Takes the addresses over; false: there is no place, and they are the caller's.
 */
bool proxied_put(struct proxied *proxied, int fd, struct session_proxied *addresses);
/* NULL: none, or no table. The caller owns them. */
struct session_proxied *proxied_take(struct proxied *proxied, int fd);

#endif
