/*
 * log.h - log lines: one line per event, as text or JSON (log_format.h).
 *
 * A log is a struct that its caller owns; nothing here is process-wide. Hostile text is escaped, a
 * line is cut at LOG_LINE_MAX, and events that clients cause cannot fill the disk. Writing a line
 * is one write(2); a line that cannot be written at once (a full pipe, a full disk) is dropped:
 * logging never stops the server. All functions but log_open and log_close may be called from any
 * thread.
 */
#ifndef IDEM_SERVER_OPS_LOG_H
#define IDEM_SERVER_OPS_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/ops/log_format.h"

/* Events that any client can cause, as often as it likes. After a line of a kind, further events
 * are counted for a minute; or for a second, where an operator wants to see them as they come
 * (log.c). */
#define LOG_QUIET_MS 60000
#define LOG_SHORTLY_QUIET_MS 1000
enum log_kind {
  LOG_HTTP,
  LOG_INPUT_TOTAL,
  LOG_INPUT_MEMORY,
  LOG_REQUEST_LATE,
  LOG_AUTH_FAILED,
  LOG_REFUSED,
  LOG_PROXY,
  LOG_FLUSHED,
  LOG_CLEARED,
  LOG_PLAIN,
  LOG_HELLO,
  LOG_HANDSHAKE,
  LOG_KINDS
};

struct log_quiet {
  _Atomic int64_t until_ms;
  _Atomic uint64_t unreported; /* events since the last line */
};

struct log {
  int fd;
  const char *path;       /* NULL: standard output */
  enum log_level level;   /* lines below it are dropped */
  enum log_format format; /* the caller may set it after log_open */
  struct log_quiet quiet[LOG_KINDS];
};

/* path "" or NULL: standard output; else it is borrowed. Returns 0 or a negative errno. */
int log_open(struct log *log, const char *path, enum log_level level);
/* Opens the file by its path again, which has been renamed since. Returns 0 or a negative errno,
 * and then writes to the former on. Standard output stays. */
int log_reopen(struct log *log);
void log_close(struct log *log);
/* Notes an event. True: the caller may write a line about it; false: a line of its kind was written
 * lately, and the event is counted. */
bool log_wants(struct log *log, enum log_kind kind, int64_t now_ms);
/* The same, and writes the line: a warning with the client's number. */
void log_happened(struct log *log, enum log_kind kind, uint64_t client_id, int64_t now_ms);
/* Writes the counts that are due; call it about once a second. log_close writes the rest. */
void log_counts(struct log *log, int64_t now_ms);
/* Writes a line, unless its level is below the log's. Keeps errno. */
void log_line(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
