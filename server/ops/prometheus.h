/*
 * prometheus.h - metrics as Prometheus' text format 0.0.4: families with HELP and TYPE, and their
 * samples.
 *
 *     # HELP idem_stale_total STALE errors: an owner had lost its claim.
 *     # TYPE idem_stale_total counter
 *     idem_stale_total{kind="absent"} 3
 *
 * Knows the form of a row (base/metric.h) and no figure. Not thread-safe.
 */
#ifndef IDEM_SERVER_OPS_PROMETHEUS_H
#define IDEM_SERVER_OPS_PROMETHEUS_H

#include "server/ops/metrics.h"

#define PROMETHEUS_NAME_BYTES 96

/* The name of a row's family: "idem_", the row's `family` or else its name, the base unit, and
 * "_total" for a counter. */
void prometheus_name(const struct metric *row, char name[PROMETHEUS_NAME_BYTES]);
/* HELP and TYPE, before the samples of a family. */
void prometheus_put_head(struct metrics_text *text, const char *name, enum metric_kind kind,
                         const char *help);
/* Each row that is measured: those of kind METRIC_TEXT are left out. Rows of one family follow one
 * another. */
void prometheus_put_rows(struct metrics_text *text, const struct metric *rows, const void *figures);

#endif
