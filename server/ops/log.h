/*
 * log.h - log lines: one line per event, `PID 21 Nov 2026 10:00:00.123 * text`, as Redis' users
 * know them.
 *
 * A log is a struct that the host owns; nothing here is process-wide. Control bytes in the text are
 * escaped, a line is cut at LOG_MAX_LINE. Writing a line is one write(2); a line that cannot be
 * written at once (a full pipe, a full disk) is dropped: logging never stops the server.
 */
#ifndef IDEM_SERVER_OPS_LOG_H
#define IDEM_SERVER_OPS_LOG_H

#include <stdbool.h>

#define LOG_MAX_LINE 1024

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_VERBOSE, LOG_LEVEL_NOTICE, LOG_LEVEL_WARNING };

struct log {
  int fd;
  enum log_level level; /* lines below it are dropped */
};

/* path "" or NULL: standard output. Returns 0 or a negative errno. */
int log_open(struct log *log, const char *path, enum log_level level);
void log_close(struct log *log);
void log_line(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
