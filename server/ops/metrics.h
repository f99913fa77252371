/*
 * metrics.h - metrics as the text of INFO: sections with a heading, a line `name:value` for each
 * row, and which sections a caller asked for.
 *
 * Knows the form of a row (base/metric.h) and no figure. Not thread-safe.
 */
#ifndef IDEM_SERVER_OPS_METRICS_H
#define IDEM_SERVER_OPS_METRICS_H

#include <stdbool.h>

#include "proto/span.h"
#include "server/base/metric.h"

/* A text that grows; zero-filled at first. `failed`: memory was short, and a line is missing. */
struct metrics_text {
  char *bytes; /* owned, not terminated; NULL while empty */
  size_t len, capacity;
  bool failed;
};

/* Longest line, with its end; a longer one is cut. */
#define METRICS_LINE_MAX 2048

void metrics_text_deinit(struct metrics_text *text);

/* A line of a table whose lines are not rows, such as one for each command; with its "\r\n". */
void metrics_put(struct metrics_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "# TITLE", after an empty line unless it is the first. */
void metrics_put_heading(struct metrics_text *text, const char *title);
/* A line for each row, up to METRIC_END. `figures` is the struct that the rows are about. */
void metrics_put_rows(struct metrics_text *text, const struct metric *rows, const void *figures);

struct metrics_section {
  const char *title; /* its name too, in any case */
  bool by_default;   /* shown when no section is named */
};

/* Whether the names that a caller gave ask for the section: its own, "all", "everything", or
 * "default", which is what no name at all means. Case does not matter. */
bool metrics_section_wanted(const struct metrics_section *section, const struct span *names,
                            size_t count);

#endif
