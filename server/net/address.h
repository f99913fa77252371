/* address.h - where a socket's connection comes from and goes to, as text. */
#ifndef IDEM_SERVER_NET_ADDRESS_H
#define IDEM_SERVER_NET_ADDRESS_H

#include "server/commands/session.h"

/* Fills in peer and local: "127.0.0.1:5000", "[::1]:5000", "PATH:0" when the socket is a unix
 * socket, whose path is given; empty when the socket is no longer connected. */
void address_describe(struct session_address *address, int fd, const char *unix_path);

#endif
