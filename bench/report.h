/* What a run found: named figures in order, printed as a table for people, as JSON or as CSV for
 * programs. It measures nothing. Names are the same in all three and end in their unit.
 */
#ifndef IDEM_BENCH_REPORT_H
#define IDEM_BENCH_REPORT_H

#include "bench/histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REPORT_FIELDS_MAX = 64, REPORT_NAME_BYTES = 48, REPORT_VALUE_BYTES = 64 };

enum report_format { REPORT_TABLE, REPORT_JSON, REPORT_CSV };

struct report_field {
  char name[REPORT_NAME_BYTES];
  char value[REPORT_VALUE_BYTES];
  bool is_text;
};

struct report {
  struct report_field fields[REPORT_FIELDS_MAX];
  size_t count;
};

/* Texts are names of scenarios: printable, without quotes and commas. */
void report_add_text(struct report *report, const char *name, const char *value);
void report_add_count(struct report *report, const char *name, uint64_t value);
void report_add_number(struct report *report, const char *name, double value, int decimals);

/* NAME_p50_us, _p90_us, _p99_us, _p999_us and _max_us of a histogram of nanoseconds. */
void report_add_latency(struct report *report, const char *name, const struct histogram *histogram);

/* On stdout. CSV is a line of names and a line of values. Returns 0, or -1 when it was not written.
 */
int report_print(const struct report *report, enum report_format format);

#endif
