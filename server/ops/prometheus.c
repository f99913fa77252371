/* prometheus.c - see prometheus.h. */
#include "server/ops/prometheus.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/base/utf8.h"

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
    [METRIC_NANOSECONDS] = {"_seconds", "_ns", 1e-9},
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

void prometheus_put_head(struct metrics_text *text, const struct metric *row) {
  static const char *const types[] = {
      [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
  char name[PROMETHEUS_NAME_BYTES];
  prometheus_name(row, name);
  metrics_put(text, "# HELP %s %s\n# TYPE %s %s\n", name, row->help, name, types[row->kind]);
}

static void put_real(struct metrics_text *text, double value) {
  metrics_put(text, "%.15g\n", value);
}

static double real_value(const struct metric *row, const void *field) {
  if (row->type == METRIC_TYPE_REAL) return *(const double *)field;
  if (row->type == METRIC_TYPE_SIGNED) return (double)*(const int64_t *)field;
  return (double)*(const uint64_t *)field;
}

static void put_value(struct metrics_text *text, const struct metric *row, const void *field) {
  double by = UNITS[row->unit].by;
  if (by != 1 || row->type == METRIC_TYPE_REAL) {
    put_real(text, real_value(row, field) * by);
  } else if (row->type == METRIC_TYPE_SIGNED) {
    metrics_put(text, "%" PRId64 "\n", *(const int64_t *)field);
  } else {
    metrics_put(text, "%" PRIu64 "\n", *(const uint64_t *)field);
  }
}

static void put_row(struct metrics_text *text, const char *name, const struct metric *row,
                    const void *field) {
  if (row->labels == NULL) {
    metrics_put(text, "%s ", name);
  } else {
    metrics_put(text, "%s{%s} ", name, row->labels);
  }
  put_value(text, row, field);
}

void prometheus_put_rows(struct metrics_text *text, const struct metric *rows,
                         const void *figures) {
  char last[PROMETHEUS_NAME_BYTES] = "", name[PROMETHEUS_NAME_BYTES];
  for (const struct metric *row = rows; row->name != NULL; row++) {
    if (row->kind == METRIC_TEXT) continue;
    prometheus_name(row, name);
    if (strcmp(name, last) != 0) prometheus_put_head(text, row);
    snprintf(last, sizeof last, "%s", name);
    put_row(text, name, row, (const char *)figures + row->offset);
  }
}

/* ---- tables ---- */

#define ESCAPED_BYTES 5 /* \\xHH */
#define LABEL_BYTES (PROMETHEUS_NAME_BYTES + ESCAPED_BYTES * PROMETHEUS_LABEL_MAX)

/* A character of a label's value: one byte that is not UTF-8, with which the whole page would be
 * refused, is shown as \xHH. So is a backslash, or two users might have one label. Returns how many
 * bytes were written. */
static size_t put_character(char *to, const char *from, size_t len) {
  static const char escaped[] = "\"\n", as[] = "\"n";
  if (len == 0 || from[0] == '\\') return (size_t)sprintf(to, "\\\\x%02x", (unsigned char)from[0]);
  const char *known = strchr(escaped, from[0]);
  if (known != NULL) return (size_t)sprintf(to, "\\%c", as[known - escaped]);
  memcpy(to, from, len);
  return len;
}

/* `name="value"`, or nothing. */
static void label_text(const struct metric *row, const char *value, char text[LABEL_BYTES]) {
  text[0] = '\0';
  if (value == NULL) return;
  size_t at = (size_t)snprintf(text, PROMETHEUS_NAME_BYTES, "%s=\"", row->labels);
  const char *end = value + strnlen(value, PROMETHEUS_LABEL_MAX);
  while (value < end) {
    uint32_t code;
    size_t len = utf8_read(value, &code);
    if (len > (size_t)(end - value)) break;
    at += put_character(text + at, value, len);
    value += len > 0 ? len : 1;
  }
  text[at++] = '"';
  text[at] = '\0';
}

void prometheus_put_sample(struct metrics_text *text, const struct metric *row,
                           const char *label_value, uint64_t value) {
  char name[PROMETHEUS_NAME_BYTES], label[LABEL_BYTES];
  prometheus_name(row, name);
  label_text(row, label_value, label);
  metrics_put(text, label_value != NULL ? "%s{%s} " : "%s%s ", name, label);
  put_value(text, row, &value);
}

void prometheus_put_histogram(struct metrics_text *text, const struct metric *row,
                              const char *label_value, const struct histogram *histogram,
                              const struct prometheus_buckets *buckets) {
  double by = UNITS[row->unit].by;
  char name[PROMETHEUS_NAME_BYTES], label[LABEL_BYTES];
  prometheus_name(row, name);
  label_text(row, label_value, label);
  const char *comma = label[0] != '\0' ? "," : "";
  const char *open = label[0] != '\0' ? "{" : "", *close = label[0] != '\0' ? "}" : "";
  for (unsigned bits = buckets->first; bits <= buckets->last; bits += buckets->step)
    metrics_put(text, "%s_bucket{%s%sle=\"%.12g\"} %" PRIu64 "\n", name, label, comma,
                (double)(UINT64_C(1) << bits) * by, histogram_below(histogram, bits));
  metrics_put(text, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, label, comma,
              histogram->count);
  metrics_put(text, "%s_sum%s%s%s ", name, open, label, close);
  put_real(text, (double)histogram->sum * by);
  metrics_put(text, "%s_count%s%s%s %" PRIu64 "\n", name, open, label, close, histogram->count);
}
