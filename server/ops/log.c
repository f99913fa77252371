/*
 * log.c - formats a line on the stack (log_format.h) and hands it to the kernel with one write(2).
 *
 * Knows no options, no engine and no loop. Keeps: one event is one line, however hostile its text,
 * and a reader of the log that has stalled never stalls the server.
 */
#include "server/ops/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* A named pipe that nobody reads is an error, not something to wait for. */
static int open_file(const char *path) {
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0644);
  return fd >= 0 ? fd : -errno;
}

int log_open(struct log *log, const char *path, enum log_level level) {
  *log = (struct log){.fd = STDOUT_FILENO, .level = level};
  if (path == NULL || path[0] == '\0') return 0;
  int fd = open_file(path);
  if (fd < 0) return fd;
  log->fd = fd;
  log->path = path;
  return 0;
}

/* The descriptor keeps its number, so that other threads may write meanwhile, to one file or the
 * other. */
int log_reopen(struct log *log) {
  if (log->path == NULL) return 0;
  int fd = open_file(log->path);
  if (fd < 0) return fd;
  int error = dup3(fd, log->fd, O_CLOEXEC) < 0 ? -errno : 0;
  close(fd);
  return error;
}

/*
 * Standard output may be a pipe whose reader has stopped; a blocking write would then stop the
 * loop. Other processes share it, so it is not ours to make non-blocking; a pipe that polls
 * writable takes PIPE_BUF (4096) bytes, more than a line, without blocking.
 */
static void write_line(int fd, const char *line, size_t len) {
  struct pollfd writable = {.fd = fd, .events = POLLOUT};
  if (poll(&writable, 1, 0) != 1 || (writable.revents & POLLOUT) == 0) return;
  ssize_t written = write(fd, line, len);
  (void)written; /* there is nowhere to report a failure */
}

void log_line(struct log *log, enum log_level level, const char *format, ...) {
  if (level < log->level || log->fd < 0) return;
  int saved_errno = errno;
  char line[LOG_LINE_MAX], text[LOG_LINE_MAX];
  struct log_event event = {.pid = (long)getpid(), .level = level, .text = text};
  va_list arguments;
  va_start(arguments, format);
  if (vsnprintf(text, sizeof(text), format, arguments) < 0) text[0] = '\0';
  va_end(arguments);
  clock_gettime(CLOCK_REALTIME, &event.time);
  write_line(log->fd, line, log_format_line(log->format, &event, line));
  errno = saved_errno;
}

/* ---- events that clients cause ---- */

static const struct {
  const char *text;
  int64_t quiet_ms;
} kinds[] = {
    [LOG_HTTP] = {"client closed: it speaks HTTP", LOG_QUIET_MS},
    [LOG_INPUT_TOTAL] = {"client closed: half-received commands reach client-input-total",
                         LOG_QUIET_MS},
    [LOG_INPUT_MEMORY] = {"client closed: no memory for what it sends", LOG_QUIET_MS},
    [LOG_REQUEST_LATE] = {"client closed: its command did not arrive in time", LOG_QUIET_MS},
    [LOG_AUTH_FAILED] = {"wrong password", LOG_SHORTLY_QUIET_MS},
    [LOG_REFUSED] = {"connection refused", LOG_SHORTLY_QUIET_MS},
    [LOG_PROXY] = {"load balancer's connection closed: no PROXY header", LOG_QUIET_MS},
    [LOG_FLUSHED] = {"FLUSHALL", LOG_SHORTLY_QUIET_MS},
    [LOG_CLEARED] = {"CLEAR of a key", LOG_SHORTLY_QUIET_MS},
    [LOG_PLAIN] = {"client closed: it does not speak TLS on the port for TLS", LOG_QUIET_MS},
    [LOG_HELLO] = {"client closed: it speaks TLS on a port without", LOG_QUIET_MS},
    [LOG_HANDSHAKE] = {"TLS handshake failed", LOG_SHORTLY_QUIET_MS},
};
_Static_assert(sizeof kinds / sizeof kinds[0] == LOG_KINDS, "a row for each kind");

/* Whether the caller may write a line of the kind: of several threads that ask at once, only
 * one. */
static bool may_write(struct log *log, enum log_kind kind, int64_t now_ms) {
  struct log_quiet *quiet = &log->quiet[kind];
  int64_t until_ms = atomic_load(&quiet->until_ms), quiet_ms = kinds[kind].quiet_ms;
  if (now_ms < until_ms) return false;
  int64_t next_ms = now_ms < INT64_MAX - quiet_ms ? now_ms + quiet_ms : INT64_MAX;
  return atomic_compare_exchange_strong(&quiet->until_ms, &until_ms, next_ms);
}

bool log_wants(struct log *log, enum log_kind kind, int64_t now_ms) {
  if (may_write(log, kind, now_ms)) return true;
  atomic_fetch_add(&log->quiet[kind].unreported, 1);
  return false;
}

void log_happened(struct log *log, enum log_kind kind, uint64_t client_id, int64_t now_ms) {
  if (log_wants(log, kind, now_ms))
    log_line(log, LOG_LEVEL_WARNING, "%s (client %llu)", kinds[kind].text,
             (unsigned long long)client_id);
}

void log_counts(struct log *log, int64_t now_ms) {
  for (unsigned kind = 0; kind < LOG_KINDS; kind++) {
    struct log_quiet *quiet = &log->quiet[kind];
    if (atomic_load(&quiet->unreported) == 0 || !may_write(log, kind, now_ms)) continue;
    log_line(log, LOG_LEVEL_WARNING, "%s (%llu more)", kinds[kind].text,
             (unsigned long long)atomic_exchange(&quiet->unreported, 0));
  }
}

void log_close(struct log *log) {
  log_counts(log, INT64_MAX);
  if (log->fd > STDERR_FILENO) close(log->fd);
  log->fd = -1;
}
