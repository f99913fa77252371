/*
 * log_format.h - one event as one line: as Redis' users know it, or as JSON.
 *
 *     4711 21 Nov 2026 10:00:00.123 +02:00 * text
 *     {"time":"2026-11-21T10:00:00.123+02:00","pid":4711,"level":"notice","text":"text"}
 *
 * Whatever the text has in it, the line has no control byte, is valid UTF-8, and ends. What cannot
 * stand in it is \xHH, the same in both forms: control bytes, bytes that are not UTF-8, and
 * characters that end a line or turn the direction of writing.
 */
#ifndef IDEM_SERVER_OPS_LOG_FORMAT_H
#define IDEM_SERVER_OPS_LOG_FORMAT_H

#include <stddef.h>
#include <time.h>

#define LOG_LINE_MAX 1024

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_VERBOSE, LOG_LEVEL_NOTICE, LOG_LEVEL_WARNING };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_event {
  struct timespec time; /* since 1970 */
  long pid;
  enum log_level level;
  const char *text;
};

/* Returns the length, with the newline. A text that is too long is cut, and ends with "...". */
size_t log_format_line(enum log_format format, const struct log_event *event,
                       char line[LOG_LINE_MAX]);

#endif
