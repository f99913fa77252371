/* prometheus.c - see prometheus.h. */
#include "server/ops/prometheus.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- names ---- */

struct base_unit {
  const char *suffix; /* of the family */
  const char *own;    /* what a row's name may end with in its place; NULL: nothing */
  double by;          /* what makes the base unit of the row's */
};
static const struct base_unit UNITS[] = {
    [METRIC_NO_UNIT] = {"", NULL, 1},
    [METRIC_BYTES] = {"_bytes", "_bytes", 1},
    [METRIC_SECONDS] = {"_seconds", "_seconds", 1},
    [METRIC_MILLISECONDS] = {"_seconds", "_ms", 1e-3},
    [METRIC_MICROSECONDS] = {"_seconds", "_us", 1e-6},
    [METRIC_RATIO] = {"_ratio", "_ratio", 1},
};

static int length_without(const char *name, const char *end) {
  size_t len = strlen(name), end_len = end != NULL ? strlen(end) : 0;
  bool ends = len > end_len && memcmp(name + len - end_len, end != NULL ? end : "", end_len) == 0;
  return (int)(ends ? len - end_len : len);
}

void prometheus_name(const struct metric *row, char name[PROMETHEUS_NAME_BYTES]) {
  const struct base_unit *unit = &UNITS[row->unit];
  const char *stem = row->family != NULL ? row->family : row->name;
  snprintf(name, PROMETHEUS_NAME_BYTES, "idem_%.*s%s%s", length_without(stem, unit->own), stem,
           unit->suffix, row->kind == METRIC_COUNTER ? "_total" : "");
}

/* ---- lines ---- */

void prometheus_put_head(struct metrics_text *text, const char *name, enum metric_kind kind,
                         const char *help) {
  static const char *const types[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge"};
  metrics_put(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, types[kind]);
}

static double real_value(const struct metric *row, const void *field) {
  if (row->type == METRIC_TYPE_REAL) return *(const double *)field;
  if (row->type == METRIC_TYPE_SIGNED) return (double)*(const int64_t *)field;
  return (double)*(const uint64_t *)field;
}

static void put_value(struct metrics_text *text, const struct metric *row, const void *field) {
  double by = UNITS[row->unit].by;
  if (by != 1 || row->type == METRIC_TYPE_REAL) {
    metrics_put(text, "%.15g\n", real_value(row, field) * by);
  } else if (row->type == METRIC_TYPE_SIGNED) {
    metrics_put(text, "%" PRId64 "\n", *(const int64_t *)field);
  } else {
    metrics_put(text, "%" PRIu64 "\n", *(const uint64_t *)field);
  }
}

static void put_sample(struct metrics_text *text, const char *name, const struct metric *row,
                       const void *field) {
  const char *labels = row->labels != NULL ? row->labels : "";
  bool any = *labels != '\0';
  metrics_put(text, "%s%s%s%s ", name, any ? "{" : "", labels, any ? "}" : "");
  put_value(text, row, field);
}

void prometheus_put_rows(struct metrics_text *text, const struct metric *rows,
                         const void *figures) {
  char last[PROMETHEUS_NAME_BYTES] = "", name[PROMETHEUS_NAME_BYTES];
  for (const struct metric *row = rows; row->name != NULL; row++) {
    if (row->kind == METRIC_TEXT) continue;
    prometheus_name(row, name);
    if (strcmp(name, last) != 0) prometheus_put_head(text, name, row->kind, row->help);
    memcpy(last, name, sizeof last);
    put_sample(text, name, row, (const char *)figures + row->offset);
  }
}
