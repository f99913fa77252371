/* worker_metrics.h - the rows of what each loop counts, and the sum over all loops. */
#ifndef IDEM_SERVER_COMMANDS_WORKER_METRICS_H
#define IDEM_SERVER_COMMANDS_WORKER_METRICS_H

#include "server/base/metric.h"
#include "server/commands/worker.h"
#include "server/ops/metrics.h"

/* Of all workers. The other loops are paused. */
void worker_metrics_read(const struct instance *instance, struct worker_counters *sum);

/* Lines of INFO threads and families of /metrics: one for each loop. */
void worker_metrics_put_lines(const struct instance *instance, const void *figures,
                              struct metrics_text *text);
void worker_metrics_put_families(const struct instance *instance, const void *figures,
                                 struct metrics_text *text);

/* Tables over struct worker_counters: what came in and went out; what was refused or closed. */
extern const struct metric worker_metrics_traffic[];
extern const struct metric worker_metrics_refusals[];
extern const struct metric worker_metrics_idem[];
extern const struct metric worker_metrics_tables[]; /* by loop */

#endif
