/*
 * socket.h - what every socket of the library needs, opened here or by hiredis. Knows no protocol
 * and no time.
 */
#ifndef IDEM_CLIENT_SOCKET_H
#define IDEM_CLIENT_SOCKET_H

#include <stdbool.h>

/* True for a TCP socket that is connected to itself: a port in the ephemeral range without a
 * listener can be, and then echoes what it is sent. */
bool socket_is_itself(int descriptor);
/* The same descriptor, or another one in its place beyond stdin, stdout and stderr. hiredis 0.14
 * does not close 0, and what a program prints must not reach the server. Negative: errno says why.
 */
int socket_move(int descriptor);
/* For a connected or connecting TCP socket: no delay, and probes that notice a server which
 * vanished without a word while a call waits (after 15 + 3 * 5 s). */
void socket_set_tcp_options(int descriptor);
/* True when reading would not block. */
bool socket_readable(int descriptor);

#endif
