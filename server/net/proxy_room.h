/*
 * proxy_room.h - where connections of load balancers wait until their PROXY header is there
 * (proxy_header.h), on the first loop, before TLS. What follows the header is not read here.
 *
 * A room has PROXY_ROOM_MAX places; the one that has waited longest makes room. All that wait count
 * as connections.
 */
#ifndef IDEM_SERVER_NET_PROXY_ROOM_H
#define IDEM_SERVER_NET_PROXY_ROOM_H

#include "server/net/loop.h"
#include "server/net/proxied.h"

#define PROXY_ROOM_MAX 1024u
#define PROXY_ROOM_MS 5000 /* from its acceptance to the end of the header */

struct proxy_room {
  struct loop *loop;
  struct proxied *proxied;
  struct list waiting; /* oldest first */
  unsigned count;
  /* The header was read; the addresses, if it has any, are in proxied. Owns the socket. */
  void (*ready)(void *context, int fd, enum handed_kind kind);
  void *context;
};

/* NULL: memory is short. loop and context are borrowed. */
struct proxy_room *proxy_room_create(struct loop *loop, struct proxied *proxied,
                                     void (*ready)(void *context, int fd, enum handed_kind kind), void *context);
/* Closes all that wait. Takes NULL. */
void proxy_room_destroy(struct proxy_room *room);
void proxy_room_close_all(struct proxy_room *room);
/* Takes the socket over. kind: what `ready` is to be told with it. */
void proxy_room_enter(struct proxy_room *room, int fd, enum handed_kind kind);
/* Call regularly: closes those whose time is over. Takes NULL. */
void proxy_room_review(struct proxy_room *room);

#endif
