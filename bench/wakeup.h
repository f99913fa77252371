/* Wake-ups: connections that wait for one key, and the moment in which it is stored. */
#ifndef IDEM_BENCH_WAKEUP_H
#define IDEM_BENCH_WAKEUP_H

#include "bench/plan.h"

/* Runs the recipe (recipe.h) that --scenario names and adds its figures to the report. Failures are
 * explained on stderr. */
enum plan_status wakeup_run(const struct options *options, struct report *report);

#endif
