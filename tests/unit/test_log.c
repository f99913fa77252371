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
#include <sys/stat.h>
#include <time.h>
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

/* The text after "PID day month year time offset mark ". */
static const char *message_of(const char *line) {
  for (int blank = 0; blank < 7; blank++) {
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
  int day, year, hour, minute, second, millisecond, east, minutes, end = 0;
  long pid;
  char month[4], sign, mark;
  int fields =
      sscanf(line, "%ld %2d %3s %4d %2d:%2d:%2d.%3d %c%2d:%2d %c %n", &pid, &day, month, &year,
             &hour, &minute, &second, &millisecond, &sign, &east, &minutes, &mark, &end);
  assert_int_equal(fields, 12);
  assert_true(sign == '+' || sign == '-');
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

/* The instant of the example in log_format.h, in a zone that is ahead of UTC and one behind it. */
static void test_the_time_has_its_distance_from_utc(void **state) {
  (void)state;
  static const struct {
    const char *zone, *text, *json;
  } cases[] = {
      {"UTC0", "7 21 Nov 2026 08:00:00.123 +00:00 * x\n",
       "{\"time\":\"2026-11-21T08:00:00.123+00:00\",\"pid\":7,\"level\":\"notice\",\"text\":\"x\"}"
       "\n"},
      {"IST-5:30", "7 21 Nov 2026 13:30:00.123 +05:30 * x\n",
       "{\"time\":\"2026-11-21T13:30:00.123+05:30\",\"pid\":7,\"level\":\"notice\",\"text\":\"x\"}"
       "\n"},
      {"NST3:30", "7 21 Nov 2026 04:30:00.123 -03:30 * x\n",
       "{\"time\":\"2026-11-21T04:30:00.123-03:30\",\"pid\":7,\"level\":\"notice\",\"text\":\"x\"}"
       "\n"},
  };
  const struct log_event event = {{1795248000, 123999999}, 7, LOG_LEVEL_NOTICE, "x"};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char line[LOG_LINE_MAX + 1];
    setenv("TZ", cases[i].zone, 1);
    tzset();
    line[log_format_line(LOG_FORMAT_TEXT, &event, line)] = '\0';
    assert_string_equal(line, cases[i].text);
    line[log_format_line(LOG_FORMAT_JSON, &event, line)] = '\0';
    assert_string_equal(line, cases[i].json);
  }
}

/* The text after "text": in a line of JSON, with its end. */
static const char *json_of(const char *text, char line[LOG_LINE_MAX + 1]) {
  const struct log_event event = {.text = text};
  line[log_format_line(LOG_FORMAT_JSON, &event, line)] = '\0';
  const char *at = strstr(line, "\"text\":");
  assert_non_null(at);
  return at + strlen("\"text\":");
}

static void test_json_holds_any_text(void **state) {
  (void)state;
  char line[LOG_LINE_MAX + 1];
  assert_string_equal(json_of("a \"b\" c\\d", line), "\"a \\\"b\\\" c\\\\d\"}\n");
  assert_string_equal(json_of("a\nb\x7f", line), "\"a\\\\x0ab\\\\x7f\"}\n");
  assert_string_equal(json_of("gr\xc3\xbc\xc3\x9f", line), "\"gr\xc3\xbc\xc3\x9f\"}\n");
  assert_string_equal(json_of("\xff\xc3", line), "\"\\\\xff\\\\xc3\"}\n");
}

/* Bytes that are no UTF-8, ends of lines that only some readers know, and what turns the text
 * round. */
static void test_what_misleads_a_reader_is_escaped(void **state) {
  (void)state;
  static const char *const hostile[] = {
      "\x80",     "\xc0\xaf",     "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8",
      "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xae", "\xe2\x81\xa6", "\xef\xbb\xbf",     "\xe2\x82"};
  struct pipe_log pair;
  open_pipe(&pair, LOG_LEVEL_DEBUG);
  for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
    log_line(&pair.log, LOG_LEVEL_NOTICE, "%s", hostile[i]);
    const char *message = message_of(logged(&pair));
    assert_int_equal(strlen(message), 4 * strlen(hostile[i]) + 1);
    for (const char *at = message; *at != '\0'; at++) assert_true((unsigned char)*at < 0x80);
  }
  log_line(&pair.log, LOG_LEVEL_NOTICE, "\xe2\x82\xac \xf0\x9f\x94\x91");
  assert_string_equal(message_of(logged(&pair)), "\xe2\x82\xac \xf0\x9f\x94\x91\n");
  close_pipe(&pair);
}

static void test_json_that_is_cut_is_json(void **state) {
  (void)state;
  static const char *const units[] = {"x", "\"", "\1", "\xf0\x9f\x94\x91"};
  char text[2 * LOG_LINE_MAX], line[LOG_LINE_MAX + 1];
  for (size_t unit = 0; unit < sizeof units / sizeof units[0]; unit++) {
    for (size_t shift = 0; shift < 8; shift++) {
      size_t len = shift, more = strlen(units[unit]);
      memset(text, 'x', shift);
      for (; len + more < sizeof text; len += more) memcpy(text + len, units[unit], more);
      text[len] = '\0';
      const char *end = json_of(text, line);
      size_t bytes = strlen(line);
      assert_true(bytes <= LOG_LINE_MAX && bytes > LOG_LINE_MAX - 16);
      assert_string_equal(end + strlen(end) - 6, "...\"}\n");
    }
  }
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

static size_t size_of(const char *path) {
  struct stat file;
  return stat(path, &file) == 0 ? (size_t)file.st_size : 0;
}

static void test_after_a_rename_it_is_opened_again(void **state) {
  (void)state;
  char path[] = "/tmp/idem-test-log-XXXXXX", former[64];
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  snprintf(former, sizeof former, "%s.1", path);
  struct log log;
  assert_int_equal(log_open(&log, path, LOG_LEVEL_NOTICE), 0);
  log_line(&log, LOG_LEVEL_NOTICE, "former");
  assert_int_equal(rename(path, former), 0);
  log_line(&log, LOG_LEVEL_NOTICE, "former, too");
  size_t before = size_of(former);
  assert_int_equal(log_reopen(&log), 0);
  log_line(&log, LOG_LEVEL_NOTICE, "new");
  assert_int_equal(size_of(former), before);
  assert_true(size_of(path) > 0);
  assert_int_equal(fcntl(log.fd, F_GETFD), FD_CLOEXEC);
  /* A directory stands there now: the log goes on where it was. */
  before = size_of(path);
  assert_int_equal(rename(path, former), 0);
  assert_int_equal(mkdir(path, 0700), 0);
  assert_int_equal(log_reopen(&log), -EISDIR);
  log_line(&log, LOG_LEVEL_NOTICE, "kept");
  assert_true(size_of(former) > before);
  log_close(&log);
  rmdir(path);
  unlink(former);
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
      cmocka_unit_test(test_the_time_has_its_distance_from_utc),
      cmocka_unit_test(test_json_holds_any_text),
      cmocka_unit_test(test_what_misleads_a_reader_is_escaped),
      cmocka_unit_test(test_json_that_is_cut_is_json),
      cmocka_unit_test(test_a_long_line_is_cut_and_still_ends),
      cmocka_unit_test(test_a_stalled_reader_does_not_stop_the_server),
      cmocka_unit_test(test_a_file_is_appended_to),
      cmocka_unit_test(test_after_a_rename_it_is_opened_again),
      cmocka_unit_test(test_open_tells_why_it_failed),
      cmocka_unit_test(test_no_path_is_standard_output_and_stays_open),
      cmocka_unit_test(test_errno_survives),
      cmocka_unit_test(test_events_that_clients_cause_are_logged_once_a_minute),
      cmocka_unit_test(test_a_count_does_not_wait_for_the_next_event),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
