/* A steady load: any scenario or mix, in a closed or an open loop; CPU per operation and latency.
 */
#ifndef IDEM_BENCH_STEADY_H
#define IDEM_BENCH_STEADY_H

#include "bench/plan.h"

/* Measures what the options ask for and adds its figures to the report. Failures are explained on
 * stderr. */
enum plan_status steady_run(const struct options *options, struct report *report);

#endif
