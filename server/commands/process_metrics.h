/* process_metrics.h - the rows of the program: what it is, what it runs on, its CPU time. */
#ifndef IDEM_SERVER_COMMANDS_PROCESS_METRICS_H
#define IDEM_SERVER_COMMANDS_PROCESS_METRICS_H

#include "server/base/metric.h"
#include "server/commands/instance.h"
#include "server/ops/metrics.h"

struct process_metrics {
  char os_text[256];
  const char *os; /* os_text: the figures stay where they were read */
  uint64_t pointer_bits;
  int64_t pid;
  double cpu_system_s, cpu_user_s;
};

void process_metrics_read(struct process_metrics *figures);

extern const struct metric process_metrics_program[];
extern const struct metric process_metrics_cpu[];
extern const struct metric process_metrics_tables[]; /* for /metrics only */

void process_metrics_put_families(const struct instance *instance, const void *figures,
                                  struct metrics_text *text);

#endif
