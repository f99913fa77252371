/* memory_metrics.h - the rows of memory: what the engines use, what the system sees, the limit. */
#ifndef IDEM_SERVER_COMMANDS_MEMORY_METRICS_H
#define IDEM_SERVER_COMMANDS_MEMORY_METRICS_H

#include "server/base/metric.h"
#include "server/engine/stats.h"
#include "server/ops/options.h"

struct memory_metrics {
  uint64_t used_bytes, peak_bytes, limit_bytes;
  uint64_t resident_bytes; /* 0: not known */
  int64_t reserve_bytes;
  double resident_by_used;
};

/* `engine`: the sum over all engines. */
void memory_metrics_read(const struct stats *engine, const struct options *options,
                         struct memory_metrics *figures);

extern const struct metric memory_metrics_rows[];

#endif
