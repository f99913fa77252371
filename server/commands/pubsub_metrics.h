/* pubsub_metrics.h - the rows of what pub/sub has. */
#ifndef IDEM_SERVER_COMMANDS_PUBSUB_METRICS_H
#define IDEM_SERVER_COMMANDS_PUBSUB_METRICS_H

#include "server/base/metric.h"
#include "server/commands/worker.h"

struct pubsub_metrics {
  uint64_t channels, patterns;
};

/* The other loops are paused. */
void pubsub_metrics_read(const struct instance *instance, struct pubsub_metrics *figures);

extern const struct metric pubsub_metrics_rows[];

#endif
