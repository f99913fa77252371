/* The clock of an open loop: operation i is meant to be sent at i / rate after the start, whatever
 * the server does. Latency counts from there, so that a server that stalls is charged for every
 * operation that should have been sent meanwhile, and not only for the few that were. Pure.
 */
#ifndef IDEM_BENCH_SCHEDULE_H
#define IDEM_BENCH_SCHEDULE_H

#include <stdint.h>

struct schedule {
  uint64_t begin_ns;
  uint64_t per_second; /* at least 1 */
};

/* When operation `index` is meant to be sent. Exact for any index below 2^40: no drift. */
uint64_t schedule_at_ns(const struct schedule *schedule, uint64_t index);

/* How many operations should have been sent at `now_ns`: those with schedule_at_ns <= now_ns. */
uint64_t schedule_due(const struct schedule *schedule, uint64_t now_ns);

#endif
