/*
 * socket.h - what every socket of the library needs. Knows no protocol and no time.
 */
#ifndef IDEM_CLIENT_SOCKET_H
#define IDEM_CLIENT_SOCKET_H

#include <stdbool.h>
#include <sys/socket.h>

/* Begins to connect: *error is 0 (connected), EINPROGRESS (socket_connected tells when it is
 * writable) or why it failed, with -1 returned. The descriptor does not block, is closed by exec
 * and is none of stdin, stdout and stderr: what a program prints must not reach the server. */
int socket_connect(const struct sockaddr *address, socklen_t len, int *error);
/* The same for the path of a unix socket. */
int socket_connect_path(const char *path, int *error);
/* Whether a connect under way, after which the socket is writable, succeeded: 0 or an errno. A
 * socket that is connected to itself (a port in the ephemeral range without a listener can be, and
 * then echoes what it is sent) is ECONNREFUSED. TCP gets its options: no delay, and probes that
 * notice a server which vanished without a word while a call waits (after 15 + 3 * 5 s). */
int socket_connected(int descriptor);
/* From now on it blocks. 0 or an errno. */
int socket_set_blocking(int descriptor);
/* True when reading would not block. */
bool socket_readable(int descriptor);

#endif
