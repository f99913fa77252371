/* command_metrics.h - what is counted of each command: a line of INFO commandstats, and families of
 * /metrics. Sums over all loops, which are paused. How long they took: latency.h. */
#ifndef IDEM_SERVER_COMMANDS_COMMAND_METRICS_H
#define IDEM_SERVER_COMMANDS_COMMAND_METRICS_H

#include "server/commands/worker.h"
#include "server/ops/metrics.h"

void command_metrics_put_lines(const struct instance *instance, const void *figures,
                               struct metrics_text *text);
void command_metrics_put_families(const struct instance *instance, const void *figures,
                                  struct metrics_text *text);

extern const struct metric command_metrics_rows[];

#endif
