/* Memory: how much the server takes for each key (fill) and for each idle connection (idle). */
#ifndef IDEM_BENCH_OCCUPANCY_H
#define IDEM_BENCH_OCCUPANCY_H

#include "bench/plan.h"

/* Keys of the scenario --like, and the memory that the server takes for each. Adds its figures to
 * the report; failures are explained on stderr, here and below. */
enum plan_status occupancy_fill(const struct options *options, struct report *report);

/* Connections that do nothing, and the memory that each takes. */
enum plan_status occupancy_idle(const struct options *options, struct report *report);

#endif
