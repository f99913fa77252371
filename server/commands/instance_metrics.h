/* instance_metrics.h - the rows of the server as a whole: what it is, and its clients. */
#ifndef IDEM_SERVER_COMMANDS_INSTANCE_METRICS_H
#define IDEM_SERVER_COMMANDS_INSTANCE_METRICS_H

#include "server/base/metric.h"
#include "server/commands/worker.h"

struct instance_metrics {
  const char *run_id, *config_file;
  int64_t port, wall_us, uptime_s, uptime_days, maxclients, horizon_start_unix_ms;
  uint64_t several_loops, loops, shards, draining; /* several_loops, draining: 0 or 1 */
  uint64_t sessions, peak_sessions, waiting, strangers, monitors;
  uint64_t input_bytes, output_bytes;
};

/* Texts are borrowed from the instance. The other loops are paused. */
void instance_metrics_read(const struct worker *worker, struct instance_metrics *figures);

extern const struct metric instance_metrics_server[];
extern const struct metric instance_metrics_clients[];
extern const struct metric instance_metrics_memory_of_requests[];
extern const struct metric instance_metrics_replication[];
extern const struct metric instance_metrics_threads[];

#endif
