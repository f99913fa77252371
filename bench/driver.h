/* The load itself: N connections on one epoll, each with one batch of requests in flight. It knows
 * scenarios only as steps, and nothing of options, CPU figures or output.
 *
 * Closed loop: a connection sends its next batch when the last one is answered. Open loop (a rate
 * is given): operation i is meant for i / rate after the start and its latency counts from there;
 * it goes out on the connection that has been free longest, and waits for one while none is.
 *
 * Invariants: a connection sends its next batch only when the last one is answered whole; a phase
 * ends with nothing in flight, so that operations counted and work done by the server are the same;
 * every reply was matched against the only right one.
 */
#ifndef IDEM_BENCH_DRIVER_H
#define IDEM_BENCH_DRIVER_H

#include "bench/histogram.h"
#include "bench/mix.h"
#include "bench/net.h"

#include <stddef.h>
#include <stdint.h>

struct driver;
struct secure_options;

struct driver_options {
  struct net_target target;
  const struct secure_options *secure; /* NULL: plain text */
  size_t connections;
  size_t batch_most;         /* no phase has a larger pipeline */
  size_t request_most_bytes; /* over all steps that will be run */
  size_t reply_most_bytes;
  uint64_t stall_ms;
  uint64_t seed;
};

/* One phase: ends after `operations`, or `duration_ms` when that is 0. */
struct driver_phase {
  const char *name; /* for the progress line */
  const struct mix *mix;
  size_t pipeline;
  uint64_t operations;
  uint64_t duration_ms;
  uint64_t keys; /* SCENARIO_KEYS_LOADED: keys 0 .. keys - 1 are drawn from */
  uint64_t rate; /* operations per second of an open loop; 0: closed loop */
  /* MESSAGE_PIECE_TTL_BULK: operation i of `operations` ends at expire_ns + expire_window_ns * i /
   * operations, on net_now_ns's clock. */
  uint64_t expire_ns;
  uint64_t expire_window_ns;
};

struct driver_tally {
  uint64_t operations;
  uint64_t elapsed_ns; /* first request to last reply */
  uint64_t sent_bytes;
  uint64_t received_bytes;
  struct histogram latency; /* ns from the (intended) sending to the arrival of the last reply */
  /* Open loop: ns from when an operation was due and a connection free to its sending. What the
   * generator itself was late; the latency includes it. */
  struct histogram lag;
};

/* NULL when it cannot connect; driver_destroy takes NULL. Both explain failures on stderr. */
struct driver *driver_create(const struct driver_options *options);
void driver_destroy(struct driver *driver);

/* Runs one phase and fills `tally`. Returns 0, or -1 when a reply was wrong, missing or late.
 * Ever-new keys go on where the former phase stopped. */
int driver_run(struct driver *driver, const struct driver_phase *phase, struct driver_tally *tally);

#endif
