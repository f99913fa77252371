/* A flood: a scenario of one step from a load that takes as little CPU as it can. */
#ifndef IDEM_BENCH_FLOOD_H
#define IDEM_BENCH_FLOOD_H

#include "bench/plan.h"

/* Adds to the report what the server took and what the load took. Failures are explained on stderr.
 */
enum plan_status flood_run(const struct options *options, struct report *report);

#endif
