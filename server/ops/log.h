/*
 * log.h - log lines: one line per event, `PID 21 Nov 2026 10:00:00.123 * text`, as Redis' users
 * know them.
 *
 * A log is a struct that the host owns; nothing here is process-wide. Control bytes in the text are
 * escaped, a line is cut at LOG_MAX_LINE; what clients make happen fills no disk. Writing a line is
 * one write(2); a line that cannot be written at once (a full pipe, a full disk) is dropped:
 * logging never stops the server.
 */
#ifndef IDEM_SERVER_OPS_LOG_H
#define IDEM_SERVER_OPS_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LOG_MAX_LINE 1024

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_VERBOSE, LOG_LEVEL_NOTICE, LOG_LEVEL_WARNING };

/* What any client can make happen, as often as it likes. The texts are in log.c. */
enum log_kind { LOG_HTTP, LOG_INPUT_TOTAL, LOG_INPUT_MEMORY, LOG_KINDS };
/* Of a kind there is one line in so long. */
#define LOG_QUIET_MS 60000

struct log_quiet {
  _Atomic int64_t until_ms;
  _Atomic uint64_t untold; /* happened meanwhile */
};

struct log {
  int fd;
  enum log_level level; /* lines below it are dropped */
  struct log_quiet quiet[LOG_KINDS];
};

/* path "" or NULL: standard output. Returns 0 or a negative errno. */
int log_open(struct log *log, const char *path, enum log_level level);
void log_close(struct log *log);
/* It happened, from any thread: a warning with the client's number, or, within LOG_QUIET_MS of the
 * last line of its kind, no line but a count. */
void log_happened(struct log *log, enum log_kind kind, uint64_t client_id, int64_t now_ms);
/* Writes the counts whose time has come; to be called now and then. log_close writes the rest. */
void log_counts(struct log *log, int64_t now_ms);
void log_line(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
