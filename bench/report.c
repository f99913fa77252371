/* The three renderings of a report. */
#include "bench/report.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct report_field *add(struct report *report, const char *name) {
  assert(report->count < REPORT_FIELDS_MAX);
  struct report_field *field = &report->fields[report->count++];
  int bytes = snprintf(field->name, sizeof field->name, "%s", name);
  assert(bytes > 0 && (size_t)bytes < sizeof field->name);
  field->is_text = false;
  return field;
}

void report_add_text(struct report *report, const char *name, const char *value) {
  struct report_field *field = add(report, name);
  field->is_text = true;
  snprintf(field->value, sizeof field->value, "%s", value);
}

void report_add_count(struct report *report, const char *name, uint64_t value) {
  struct report_field *field = add(report, name);
  snprintf(field->value, sizeof field->value, "%" PRIu64, value);
}

void report_add_number(struct report *report, const char *name, double value, int decimals) {
  struct report_field *field = add(report, name);
  snprintf(field->value, sizeof field->value, "%.*f", decimals, value);
}

void report_add_latency(struct report *report, const char *name,
                        const struct histogram *histogram) {
  static const struct {
    const char *name;
    unsigned per_mille;
  } rows[] = {{"p50", 500}, {"p90", 900}, {"p99", 990}, {"p999", 999}, {"max", 1000}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char full[REPORT_NAME_BYTES];
    snprintf(full, sizeof full, "%s_%s_us", name, rows[i].name);
    double value_ns = (double)histogram_percentile(histogram, rows[i].per_mille);
    report_add_number(report, full, value_ns / 1000, 2);
  }
}

static void print_json(const struct report *report) {
  for (size_t i = 0; i < report->count; i++) {
    const struct report_field *field = &report->fields[i];
    const char *quote = field->is_text ? "\"" : "";
    printf("%s\"%s\":%s%s%s", i == 0 ? "{" : ",", field->name, quote, field->value, quote);
  }
  printf("}\n");
}

static void print_csv(const struct report *report) {
  for (size_t i = 0; i < report->count; i++)
    printf("%s%s", i == 0 ? "" : ",", report->fields[i].name);
  printf("\n");
  for (size_t i = 0; i < report->count; i++)
    printf("%s%s", i == 0 ? "" : ",", report->fields[i].value);
  printf("\n");
}

int report_print(const struct report *report, enum report_format format) {
  switch (format) {
    case REPORT_JSON: print_json(report); break;
    case REPORT_CSV: print_csv(report); break;
    case REPORT_TABLE:
      for (size_t i = 0; i < report->count; i++)
        printf("%-32s %14s\n", report->fields[i].name, report->fields[i].value);
      break;
  }
  return fflush(stdout) == 0 ? 0 : -1;
}
