/* test_log.c - a line of the log: its form, its level, hostile text, and a reader that has stalled.
 */
#include "server/ops/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct pipe_log {
  struct log log;
  int reader;
  char text[4 * LOG_LINE_MAX];
};

static void open_pipe(struct pipe_log *pair, enum log_level level) {
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  pair->reader = ends[0];
  pair->log = (struct log){.fd = ends[1], .level = level};
}

static void close_pipe(struct pipe_log *pair) {
  log_close(&pair->log);
  close(pair->reader);
}

/* What has been logged since the last call, "" for nothing. */
static const char *logged(struct pipe_log *pair) {
  ssize_t got = read(pair->reader, pair->text, sizeof(pair->text) - 1);
  pair->text[got > 0 ? got : 0] = '\0';
  return pair->text;
}

/* The text after "PID day month year time mark ". */
static const char *message_of(const char *line) {
  for (int blank = 0; blank < 6; blank++) {
    line = strchr(line, ' ');
    assert_non_null(line);
    line++;
  }
  return line;
}

static void test_line_is_as_redis_prints_it(void **state) {
  (void)state;
  struct pipe_log pair;
  open_pipe(&pair, LOG_LEVEL_DEBUG);
  log_line(&pair.log, LOG_LEVEL_NOTICE, "ready on port %d", 4336);
  const char *line = logged(&pair);
  int day, year, hour, minute, second, millisecond, end = 0;
  long pid;
  char month[4], mark;
  int fields = sscanf(line, "%ld %2d %3s %4d %2d:%2d:%2d.%3d %c %n", &pid, &day, month, &year,
                      &hour, &minute, &second, &millisecond, &mark, &end);
  assert_int_equal(fields, 9);
  assert_int_equal(pid, getpid());
  assert_true(year >= 2024 && day >= 1 && day <= 31 && hour < 24 && minute < 60 && second <= 60);
  assert_int_equal(mark, '*');
  assert_string_equal(line + end, "ready on port 4336\n");
  close_pipe(&pair);
}

static void test_each_level_has_its_mark(void **state) {
  (void)state;
  static const char *const marks[] = {" . x\n", " - x\n", " * x\n", " # x\n"};
  struct pipe_log pair;
  open_pipe(&pair, LOG_LEVEL_DEBUG);
  for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_WARNING; level++) {
    log_line(&pair.log, (enum log_level)level, "x");
    const char *line = logged(&pair);
    assert_string_equal(line + strlen(line) - strlen(marks[level]), marks[level]);
  }
  close_pipe(&pair);
}

static void test_lines_below_the_level_are_dropped(void **state) {
  (void)state;
  struct pipe_log pair;
  open_pipe(&pair, LOG_LEVEL_NOTICE);
  log_line(&pair.log, LOG_LEVEL_DEBUG, "no");
  log_line(&pair.log, LOG_LEVEL_VERBOSE, "no");
  assert_string_equal(logged(&pair), "");
  log_line(&pair.log, LOG_LEVEL_NOTICE, "yes");
  assert_string_equal(message_of(logged(&pair)), "yes\n");
  close_pipe(&pair);
}

static void test_control_bytes_cannot_forge_a_line(void **state) {
  (void)state;
  struct pipe_log pair;
  open_pipe(&pair, LOG_LEVEL_DEBUG);
  log_line(&pair.log, LOG_LEVEL_NOTICE, "a%sb", "\n1 # forged\r\x1b[2J\x7f\t");
  assert_string_equal(message_of(logged(&pair)), "a\\x0a1 # forged\\x0d\\x1b[2J\\x7f\\x09b\n");
  log_line(&pair.log, LOG_LEVEL_NOTICE, "gr\xc3\xbc\xc3\x9f");
  assert_string_equal(message_of(logged(&pair)), "gr\xc3\xbc\xc3\x9f\n");
  close_pipe(&pair);
}

static void test_a_long_line_is_cut_and_still_ends(void **state) {
  (void)state;
  struct pipe_log pair;
  char text[2 * LOG_LINE_MAX];
  open_pipe(&pair, LOG_LEVEL_DEBUG);
  for (int control = 0; control < 2; control++) {
    memset(text, control ? '\1' : 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_line(&pair.log, LOG_LEVEL_NOTICE, "%s", text);
    const char *line = logged(&pair);
    size_t len = strlen(line);
    assert_true(len <= LOG_LINE_MAX);
    assert_true(len > LOG_LINE_MAX - 16);
    assert_string_equal(line + len - 4, "...\n");
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
  }
  close_pipe(&pair);
}

/* The pipe blocks here, as standard output of a service does: a blocking write would hang the test.
 */
static void test_a_stalled_reader_does_not_stop_the_server(void **state) {
  (void)state;
  struct pipe_log pair;
  char text[512];
  memset(text, 'x', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  open_pipe(&pair, LOG_LEVEL_DEBUG);
  assert_int_equal(fcntl(pair.log.fd, F_SETFL, 0), 0);
  for (int i = 0; i < 1000; i++) log_line(&pair.log, LOG_LEVEL_NOTICE, "%s", text);
  while (logged(&pair)[0] != '\0') continue;
  log_line(&pair.log, LOG_LEVEL_NOTICE, "drained");
  assert_string_equal(message_of(logged(&pair)), "drained\n");
  close_pipe(&pair);
}

static void test_a_file_is_appended_to(void **state) {
  (void)state;
  char path[] = "/tmp/idem-log-XXXXXX", line[LOG_LINE_MAX];
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  struct log log;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(log_open(&log, path, LOG_LEVEL_NOTICE), 0);
    log_line(&log, LOG_LEVEL_NOTICE, "run %d", i);
    log_close(&log);
  }
  FILE *file = fdopen(fd, "r");
  assert_non_null(file);
  for (int i = 0; i < 2; i++) {
    char expected[32];
    snprintf(expected, sizeof(expected), "run %d\n", i);
    assert_non_null(fgets(line, sizeof(line), file));
    assert_string_equal(message_of(line), expected);
  }
  assert_null(fgets(line, sizeof(line), file));
  fclose(file);
  unlink(path);
}

static void test_open_tells_why_it_failed(void **state) {
  (void)state;
  struct log log;
  assert_int_equal(log_open(&log, "/tmp/no-such-directory-of-idem/log", LOG_LEVEL_NOTICE), -ENOENT);
  assert_int_equal(log_open(&log, "/tmp", LOG_LEVEL_NOTICE), -EISDIR);
}

static void test_no_path_is_standard_output_and_stays_open(void **state) {
  (void)state;
  struct log log;
  assert_int_equal(log_open(&log, NULL, LOG_LEVEL_WARNING), 0);
  assert_int_equal(log.fd, STDOUT_FILENO);
  assert_int_equal(log_open(&log, "", LOG_LEVEL_WARNING), 0);
  assert_int_equal(log.fd, STDOUT_FILENO);
  log_close(&log);
  assert_true(fcntl(STDOUT_FILENO, F_GETFD) >= 0);
  log_line(&log, LOG_LEVEL_WARNING, "into nothing");
}

static void test_errno_survives(void **state) {
  (void)state;
  struct log log = {.fd = -1, .level = LOG_LEVEL_DEBUG};
  log.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
  assert_true(log.fd >= 0);
  errno = EXDEV;
  log_line(&log, LOG_LEVEL_WARNING, "no room");
  assert_int_equal(errno, EXDEV);
  log_close(&log);
}

#define HTTP "client closed: it speaks HTTP "
#define INPUT "client closed: half-received commands reach client-input-total "

static void assert_logged(struct pipe_log *pair, const char *expected) {
  const char *line = logged(pair);
  assert_string_equal(line[0] != '\0' ? message_of(line) : "", expected);
}

static void test_events_that_clients_cause_are_logged_once_a_minute(void **state) {
  (void)state;
  struct pipe_log pair;
  open_pipe(&pair, LOG_LEVEL_WARNING);
  log_happened(&pair.log, LOG_HTTP, 17, 1000);
  assert_logged(&pair, HTTP "(client 17)\n");
  for (unsigned client = 18; client < 118; client++) {
    log_happened(&pair.log, LOG_HTTP, client, 1000);
    log_counts(&pair.log, 1000 + LOG_QUIET_MS - 1);
  }
  assert_logged(&pair, "");
  log_happened(&pair.log, LOG_INPUT_TOTAL, 5, 2000); /* each kind has its own minute */
  assert_logged(&pair, INPUT "(client 5)\n");
  log_counts(&pair.log, 1000 + LOG_QUIET_MS);
  assert_logged(&pair, HTTP "(100 more)\n");
  log_counts(&pair.log, 1000 + 2 * LOG_QUIET_MS); /* no event since */
  assert_logged(&pair, "");
  close_pipe(&pair);
}

static void test_a_count_does_not_wait_for_the_next_event(void **state) {
  (void)state;
  struct pipe_log pair;
  open_pipe(&pair, LOG_LEVEL_WARNING);
  log_happened(&pair.log, LOG_HTTP, 1, 0);
  log_happened(&pair.log, LOG_HTTP, 2, 1);
  log_happened(&pair.log, LOG_HTTP, 3, LOG_QUIET_MS); /* before log_counts was called */
  const char *lines = logged(&pair);
  assert_non_null(strstr(lines, HTTP "(client 3)\n"));
  log_counts(&pair.log, 2 * LOG_QUIET_MS - 1);
  assert_logged(&pair, "");
  log_counts(&pair.log, 2 * LOG_QUIET_MS);
  assert_logged(&pair, HTTP "(1 more)\n");
  log_happened(&pair.log, LOG_HTTP, 4, 2 * LOG_QUIET_MS + 1);
  assert_logged(&pair, "");
  int reader = pair.reader;
  log_close(&pair.log);
  log_close(&pair.log); /* closed: nothing more is written */
  assert_logged(&pair, HTTP "(1 more)\n");
  close(reader);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_line_is_as_redis_prints_it),
      cmocka_unit_test(test_each_level_has_its_mark),
      cmocka_unit_test(test_lines_below_the_level_are_dropped),
      cmocka_unit_test(test_control_bytes_cannot_forge_a_line),
      cmocka_unit_test(test_a_long_line_is_cut_and_still_ends),
      cmocka_unit_test(test_a_stalled_reader_does_not_stop_the_server),
      cmocka_unit_test(test_a_file_is_appended_to),
      cmocka_unit_test(test_open_tells_why_it_failed),
      cmocka_unit_test(test_no_path_is_standard_output_and_stays_open),
      cmocka_unit_test(test_errno_survives),
      cmocka_unit_test(test_events_that_clients_cause_are_logged_once_a_minute),
      cmocka_unit_test(test_a_count_does_not_wait_for_the_next_event),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
