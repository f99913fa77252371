/* What the floors share: their options, and the three words that a relay understands. It knows
 * neither libuv nor epoll.
 *
 * A relay is spoken to in lines. One that begins with W makes its connection a waiter; S sends
 * every waiter --reply-bytes bytes, forgets it, and answers ":N" with how many there were; P
 * answers ":N" and changes nothing. Lines are as long as the load makes them, so that they weigh
 * what requests weigh.
 */
#ifndef IDEM_BENCH_FLOORS_FLOOR_H
#define IDEM_BENCH_FLOORS_FLOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  FLOOR_EXIT_USAGE = 2,
  FLOOR_READ_BYTES = 64 << 10,
  FLOOR_SIZE_MAX_BYTES = 1 << 20,
  FLOOR_WRITE_BYTES = 1 << 20, /* most of one write of small replies */
  FLOOR_BODIES_MAX = 100000,
  FLOOR_WAITERS_MAX = 100000,
  FLOOR_COUNT_BYTES = 32, /* ":N" CR LF */
  FLOOR_BACKLOG = 511
};

struct floor_options {
  const char *unix_path; /* listens there instead, borrowed; NULL: TCP */
  size_t port;
  size_t request_bytes; /* echo only */
  size_t reply_bytes;
  size_t bodies; /* echo only: different replies in memory; 0: one */
};

/* `name` is the program's; a relay has no --request-bytes. Explains on stderr what is wrong. */
bool floor_parse(struct floor_options *options, const char *name, bool relay, int argc,
                 char **argv);

/* A line that may arrive in parts. All zero at first. */
struct floor_line {
  bool inside;
  char first;
};

/* The first letter of the next line that ends in [*at, end); *at is then after it. 0 when none
 * does.
 */
char floor_next(struct floor_line *line, const char **at, const char *end);

/* ":N" CR LF into `text` of FLOOR_COUNT_BYTES; returns its bytes. */
size_t floor_count(char *text, size_t count);

/* "ready PORT" on stdout; on a unix socket the port is 0. */
void floor_ready(size_t port);

/* What is sent. With one body its bytes lie side by side as often as they fit FLOOR_WRITE_BYTES,
 * and a write takes as many replies as are owed. With more each reply comes from another one, drawn
 * at random, as the replies of a server with so many keys do: a floor that sends the same warm
 * bytes each time would have the caches to itself. */
struct floor_output {
  char *data;
  size_t reply_bytes, bodies;
  uint64_t draws;
};

/* Writes to all of it: memory that was only read is one page of zeros. False when it is short. */
bool floor_output_init(struct floor_output *output, const struct floor_options *options);

/* The next bytes for a connection that is owed `owed_bytes` > 0; *bytes says how many. */
char *floor_output_next(struct floor_output *output, size_t owed_bytes, size_t *bytes);

#endif
