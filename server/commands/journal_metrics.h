/* journal_metrics.h - rows of the journal, for INFO persistence. Without one they are 0. */
#ifndef IDEM_SERVER_COMMANDS_JOURNAL_METRICS_H
#define IDEM_SERVER_COMMANDS_JOURNAL_METRICS_H

#include "server/base/metric.h"
#include "server/commands/instance.h"
#include "server/journal/journal.h"
#include "server/ops/metrics.h"

struct journal_metrics {
  uint64_t enabled;
  const char *write_status; /* "ok", or "err": the last attempt to make room failed */
  struct journal_figures journal;
  double records_per_sync;
  uint64_t no_room;
  uint64_t recovered_ms;
};

void journal_metrics_read(const struct instance *instance, struct journal_metrics *figures);

/* `figures` is a struct journal_metrics. */
void journal_metrics_put_families(const struct instance *instance, const void *figures,
                                  struct metrics_text *text);

extern const struct metric journal_metrics_rows[];
extern const struct metric journal_metrics_tables[];

#endif
