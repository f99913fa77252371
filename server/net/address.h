/* address.h - where a socket's connection comes from and goes to, as text. */
#ifndef IDEM_SERVER_NET_ADDRESS_H
#define IDEM_SERVER_NET_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "server/commands/session.h"

/* Fills in peer and local: "127.0.0.1:5000", "[::1]:5000", "PATH:0" when the socket is a unix
 * socket, whose path is given; empty when the socket is no longer connected. */
void address_describe(struct session_address *address, int fd, const char *unix_path);
/* Of the other end, one of IPv4 mapped. False: it is gone. */
bool address_of_peer(int fd, struct in6_addr *address);
/* The same of this end. */
bool address_own(int fd, struct in6_addr *address);
/* One of IPv4 or IPv6. */
void address_write(const struct sockaddr_storage *address, char text[SESSION_ADDRESS_BYTES]);

#endif
