/* error_metrics.c - see error_metrics.h. */
#include "server/commands/error_metrics.h"

#include <inttypes.h>

#include "server/ops/prometheus.h"

void error_metrics_read(const struct instance *instance, struct resp_errors *sum) {
  *sum = (struct resp_errors){0};
  for (unsigned i = 0; i < instance->worker_count; i++)
    resp_errors_merge(sum, instance->workers[i]->errors);
}

const struct metric error_metrics_rows[] = {
    {"total_error_replies", METRIC_COUNTER, METRIC_NO_UNIT, "Errors answered, of all codes.",
     METRIC_FIELD_AS(struct resp_errors, total, "error_replies", NULL)},
    METRIC_END,
};

const struct metric error_metrics_tables[] = {
    {"errors", METRIC_COUNTER, METRIC_NO_UNIT, "Errors answered, by their code.",
     METRIC_TABLE("error", "errorstat_")},
    METRIC_END,
};

void error_metrics_put_lines(const struct instance *instance, const void *figures,
                             struct metrics_text *text) {
  (void)instance;
  const struct resp_errors *errors = figures;
  for (size_t i = 0; i < errors->count; i++)
    metrics_put(text, "errorstat_%s:count=%" PRIu64 "\r\n", errors->codes[i].code,
                errors->codes[i].errors);
}

void error_metrics_put_families(const struct instance *instance, const void *figures,
                                struct metrics_text *text) {
  (void)instance;
  const struct resp_errors *errors = figures;
  prometheus_put_head(text, error_metrics_tables);
  for (size_t i = 0; i < errors->count; i++)
    prometheus_put_sample(text, error_metrics_tables, errors->codes[i].code,
                          errors->codes[i].errors);
}
