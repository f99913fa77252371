/* The kinds of runs, one function each: it measures what the options ask for and adds its figures
 * to the report. All return a plan_status; failures are explained on stderr.
 */
#ifndef IDEM_BENCH_EXPERIMENT_H
#define IDEM_BENCH_EXPERIMENT_H

#include "bench/options.h"
#include "bench/plan.h"
#include "bench/report.h"

/* Any scenario of scenario.h: CPU per operation and latency, closed or open loop. */
enum plan_status steady_run(const struct options *options, struct report *report);

/* Keys of the scenario --like, and the memory that the server takes for each. */
enum plan_status fill_run(const struct options *options, struct report *report);

/* Connections that do nothing, and the memory that each takes. */
enum plan_status idle_run(const struct options *options, struct report *report);

/* Many keys that end within a short window, beside readers of other keys at a fixed rate. */
enum plan_status expire_run(const struct options *options, struct report *report);

/* A scenario of one step from a load that takes as little CPU as it can; how much it took. */
enum plan_status flood_run(const struct options *options, struct report *report);

/* Connections that wait for one key, and the moment in which it is stored. `name` is a row of
 * wakeup_print_list; wakeup_knows tells whether there is one. */
bool wakeup_knows(const char *name);
enum plan_status wakeup_run(const struct options *options, struct report *report);
void wakeup_print_list(void);

#endif
