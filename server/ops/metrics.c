/* metrics.c - see metrics.h. */
#include "server/ops/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define HUMAN_BYTES 32

void metrics_text_deinit(struct metrics_text *text) {
  free(text->bytes);
  *text = (struct metrics_text){0};
}

static bool has_room(struct metrics_text *text) {
  if (text->capacity - text->len >= METRICS_LINE_MAX) return true;
  size_t capacity = text->capacity * 2 + 2 * METRICS_LINE_MAX;
  char *grown = realloc(text->bytes, capacity);
  if (grown == NULL) {
    text->failed = true;
    return false;
  }
  text->bytes = grown;
  text->capacity = capacity;
  return true;
}

void metrics_put(struct metrics_text *text, const char *format, ...) {
  if (!has_room(text)) return;
  va_list arguments;
  va_start(arguments, format);
  int len = vsnprintf(text->bytes + text->len, METRICS_LINE_MAX, format, arguments);
  va_end(arguments);
  if (len > 0) text->len += (size_t)(len < METRICS_LINE_MAX ? len : METRICS_LINE_MAX - 1);
}

void metrics_put_heading(struct metrics_text *text, const char *title) {
  metrics_put(text, "%s# %s\r\n", text->len > 0 ? "\r\n" : "", title);
}

static const char *human(uint64_t bytes, char text[HUMAN_BYTES]) {
  static const char suffixes[] = "BKMGT";
  double value = (double)bytes;
  size_t i = 0;
  for (; value >= 1024 && i < sizeof suffixes - 2; i++) value /= 1024;
  if (i == 0) {
    snprintf(text, HUMAN_BYTES, "%" PRIu64 "B", bytes);
  } else {
    snprintf(text, HUMAN_BYTES, "%.2f%c", value, suffixes[i]);
  }
  return text;
}

static void put_row(struct metrics_text *text, const struct metric *row, const void *figures) {
  const void *field = (const char *)figures + row->offset;
  char buffer[HUMAN_BYTES];
  switch (row->type) {
    case METRIC_TYPE_UNSIGNED:
      metrics_put(text, "%s:%" PRIu64 "\r\n", row->name, *(const uint64_t *)field);
      break;
    case METRIC_TYPE_SIGNED:
      metrics_put(text, "%s:%" PRId64 "\r\n", row->name, *(const int64_t *)field);
      break;
    case METRIC_TYPE_REAL:
      metrics_put(text, "%s:%.*f\r\n", row->name, row->unit == METRIC_SECONDS ? 6 : 2,
                  *(const double *)field);
      break;
    case METRIC_TYPE_STRING:
      metrics_put(text, "%s:%s\r\n", row->name, *(const char *const *)field);
      break;
    case METRIC_TYPE_HUMAN:
      metrics_put(text, "%s:%s\r\n", row->name, human(*(const uint64_t *)field, buffer));
      break;
    case METRIC_TYPE_FIXED:
    default: metrics_put(text, "%s:%s\r\n", row->name, row->fixed);
  }
}

void metrics_put_rows(struct metrics_text *text, const struct metric *rows, const void *figures) {
  for (const struct metric *row = rows; row->name != NULL; row++) put_row(text, row, figures);
}

bool metrics_section_wanted(const struct metrics_section *section, const struct span *names,
                            size_t count) {
  if (count == 0) return section->by_default;
  for (size_t i = 0; i < count; i++) {
    struct span name = names[i];
    if (span_is(name, "all") || span_is(name, "everything") || span_is(name, section->title))
      return true;
    if (span_is(name, "default") && section->by_default) return true;
  }
  return false;
}
