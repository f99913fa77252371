/* redis_metrics.h - rows that Redis has and idem does not need: tools look for them. Their values
 * are fixed. */
#ifndef IDEM_SERVER_COMMANDS_REDIS_METRICS_H
#define IDEM_SERVER_COMMANDS_REDIS_METRICS_H

#include "server/base/metric.h"

extern const struct metric redis_metrics_persistence[];
extern const struct metric redis_metrics_cluster[];

#endif
