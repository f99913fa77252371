/* redis_metrics.h - rows for what a Redis has and idem has not: tools look for them. All are fixed.
 */
#ifndef IDEM_SERVER_COMMANDS_REDIS_METRICS_H
#define IDEM_SERVER_COMMANDS_REDIS_METRICS_H

#include "server/base/metric.h"

extern const struct metric redis_metrics_persistence[];
extern const struct metric redis_metrics_cluster[];

#endif
