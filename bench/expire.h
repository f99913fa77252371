/* Mass expiry: many keys end within a short window, beside readers of other keys at a fixed rate.
 */
#ifndef IDEM_BENCH_EXPIRE_H
#define IDEM_BENCH_EXPIRE_H

#include "bench/plan.h"

/* Adds the figures of all windows to the report. Failures are explained on stderr. */
enum plan_status expire_run(const struct options *options, struct report *report);

#endif
