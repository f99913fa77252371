/* What every part of the load generator needs of sockets and clocks: a connection, the time, and a
 * plain blocking exchange for the moments that are not measured. It knows no command.
 */
#ifndef IDEM_BENCH_NET_H
#define IDEM_BENCH_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* CLOCK_MONOTONIC. */
uint64_t net_now_ns(void);
void net_sleep_ms(uint64_t ms);

/* Raises the soft limit of open files to the hard one, for runs with many connections. */
void net_raise_file_limit(void);

/* Where a server listens; the strings are borrowed. */
struct net_target {
  const char *unix_path; /* of its unix socket; NULL: TCP */
  const char *host;
  uint16_t port;
};

/* A connected socket, on TCP without Nagle's delay, or -1 with the reason on stderr. */
int net_connect(const struct net_target *target);

/* Sends all of `bytes`, waiting as long as it takes. 0 or -1, explained on stderr. */
int net_send_all(int fd, const char *data, size_t bytes);

/* Appends what has arrived, waiting up to `timeout_ms` for something; returns the bytes received
 * or -1, explained on stderr (also at the end of input and when nothing came). */
ssize_t net_receive(int fd, char *data, size_t room, uint64_t timeout_ms);

/* The value of `field` (a whole number) in the server's INFO `section`. False when the server gave
 * none, silently: not every server has every field. */
bool net_info(int fd, const char *section, const char *field, uint64_t timeout_ms, uint64_t *value);

/* Prints bytes with everything unusual escaped, cut to a line, on stderr. */
void net_print_bytes(const char *data, size_t bytes);

#endif
