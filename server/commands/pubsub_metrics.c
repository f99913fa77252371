/* pubsub_metrics.c - see pubsub_metrics.h. */
#include "server/commands/pubsub_metrics.h"

#include "server/commands/pubsub.h"

void pubsub_metrics_read(const struct instance *instance, struct pubsub_metrics *figures) {
  *figures =
      (struct pubsub_metrics){pubsub_channel_count(instance), pubsub_pattern_count(instance)};
}

const struct metric pubsub_metrics_rows[] = {
    {"pubsub_channels", METRIC_GAUGE, METRIC_NO_UNIT, "Channels with a subscriber.",
     METRIC_FIELD(struct pubsub_metrics, channels)},
    {"pubsub_patterns", METRIC_GAUGE, METRIC_NO_UNIT, "Patterns with a subscriber.",
     METRIC_FIELD(struct pubsub_metrics, patterns)},
    METRIC_END,
};
