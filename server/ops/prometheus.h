/*
 * prometheus.h - metrics as Prometheus' text format 0.0.4: families with HELP and TYPE, and their
 * samples.
 *
 *     # HELP idem_stale_total STALE errors: an owner had lost its claim.
 *     # TYPE idem_stale_total counter
 *     idem_stale_total{kind="absent"} 3
 *
 * Names, units and help follow from the rows (base/metric.h): durations are in seconds. Knows the
 * form of a row and no figure. Not thread-safe.
 */
#ifndef IDEM_SERVER_OPS_PROMETHEUS_H
#define IDEM_SERVER_OPS_PROMETHEUS_H

#include "server/base/histogram.h"
#include "server/ops/metrics.h"

#define PROMETHEUS_NAME_BYTES 96

/* The name of a row's family: "idem_", the row's `family` or else its name, the base unit, and
 * "_total" for a counter. */
void prometheus_name(const struct metric *row, char name[PROMETHEUS_NAME_BYTES]);

/* Each row that is measured: those of kind METRIC_TEXT are left out. Rows of one family follow one
 * another. */
void prometheus_put_rows(struct metrics_text *text, const struct metric *rows, const void *figures);

/* ---- a table: its head, then its samples ---- */

#define PROMETHEUS_LABEL_MAX 512 /* bytes of a label's value, which is cut there */

/* HELP and TYPE. */
void prometheus_put_head(struct metrics_text *text, const struct metric *row);
/* The value in the row's unit. A row without a label has label_value NULL. */
void prometheus_put_sample(struct metrics_text *text, const struct metric *row,
                           const char *label_value, uint64_t value);

/* Of powers of two of the row's unit: 2^first, 2^(first + step), ... 2^last. A bucket has what is
 * less than its bound. */
struct prometheus_buckets {
  unsigned first, last, step;
};
/* Buckets, sum and count. A row without a label has label_value NULL. */
void prometheus_put_histogram(struct metrics_text *text, const struct metric *row,
                              const char *label_value, const struct histogram *histogram,
                              const struct prometheus_buckets *buckets);

#endif
