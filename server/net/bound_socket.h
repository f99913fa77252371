/*
 * bound_socket.h - a TCP socket bound to an address of an option (options_bind.h), for RESP, TLS
 * and HTTP alike. Results are 0 or more, or a libuv error (a negative errno).
 */
#ifndef IDEM_SERVER_NET_BOUND_SOCKET_H
#define IDEM_SERVER_NET_BOUND_SOCKET_H

#include <stdbool.h>

/* A descriptor, the caller's, that does not block and does not listen yet. address: one word,
 * without a leading '-'; "*" is every IPv4 address, "::*" every IPv6 one. */
int bound_socket_open(const char *address, int port);
/* Whether the machine does not have such an address: no fault of one with a leading '-'. */
bool bound_socket_is_missing(int error);

#endif
