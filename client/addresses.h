/*
 * addresses.h - the addresses of a server's name, of which one at a time is used; the next one when
 * it does not work. Resolving blocks, so it is done at the start and then as seldom as can be.
 */
#ifndef IDEM_CLIENT_ADDRESSES_H
#define IDEM_CLIENT_ADDRESSES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "client/idem.h"
#include "client/target.h"

/* That are tried in turn. */
#define ADDRESSES_MAX 8

/* Zero-filled at first. */
struct addresses {
  struct sockaddr_storage list[ADDRESSES_MAX];
  socklen_t sizes[ADDRESSES_MAX];
  unsigned count, current;
  bool failed;        /* each of them, since they were resolved */
  int64_t resolve_ms; /* not resolved again before */
};

/* Blocks. OK; else why says it. */
enum idem_status addresses_resolve(struct addresses *addresses, const struct target *target,
                                   struct idem_error *why);
/* Makes sure that there is one to use: when there is none, or none works, the name is resolved
 * again now and then. OK, UNAVAILABLE or NO_MEMORY. */
enum idem_status addresses_find(struct addresses *addresses, const struct target *target,
                                int64_t now, struct idem_error *why);
/* The current one does not work, or does. */
void addresses_turn(struct addresses *addresses);
void addresses_worked(struct addresses *addresses);

#endif
