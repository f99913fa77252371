/* error_metrics.h - errors that clients were answered, by their code: lines of INFO errorstats,
 * total_error_replies, a family of /metrics. As in Redis, those of the commands of an EXEC count,
 * and those that CLIENT REPLY drops; an error to a connection that is refused does not. */
#ifndef IDEM_SERVER_COMMANDS_ERROR_METRICS_H
#define IDEM_SERVER_COMMANDS_ERROR_METRICS_H

#include "server/commands/worker.h"
#include "server/ops/metrics.h"

/* The sum over all workers. The other loops are paused. */
void error_metrics_read(const struct instance *instance, struct resp_errors *sum);

/* `figures` is the sum. */
void error_metrics_put_lines(const struct instance *instance, const void *figures,
                             struct metrics_text *text);
void error_metrics_put_families(const struct instance *instance, const void *figures,
                                struct metrics_text *text);

extern const struct metric error_metrics_rows[];   /* of struct resp_errors */
extern const struct metric error_metrics_tables[]; /* by code */

#endif
