/* test_measure.c - what the clock says of commands that are measured together. */
#include "server/commands/measure.h"

#include "tests/unit/peers.h"

#define MS UINT64_C(1000000)
#define AN_HOUR (UINT64_C(3600000) * MS) /* no machine is that busy */

static const struct command_stats *stats_of(const struct peers *p, const char *name) {
  const struct command *row = lookup_find(p->worker.commands, span_of(name));
  assert_non_null(row);
  return worker_stats(&p->worker, row);
}

/* As if the batch had begun so long ago. */
static void began_before(struct peers *p, uint64_t ns) {
  ask(p, 0, "INFO server"); /* is measured alone, and reads the clock */
  assert_true(p->stamp_ns > ns);
  p->stamp_ns -= ns;
}

static void time_of_a_run_is_its_commands(void **state) {
  struct peers *p = *state;
  began_before(p, 40 * MS);
  for (int i = 0; i < 5; i++) ask(p, 0, "PING");
  assert_int_equal(stats_of(p, "PING")->nanoseconds, 0);
  measure_end(&p->worker);
  assert_int_equal(stats_of(p, "PING")->calls, 5);
  assert_in_range(stats_of(p, "PING")->nanoseconds, 40 * MS, AN_HOUR);
  assert_int_equal(p->worker.timed_run.calls, 0);
}

/* The loop reads it before each batch. */
static void a_look_at_the_clock_in_the_middle_takes_nothing_away(void **state) {
  struct peers *p = *state;
  began_before(p, 40 * MS);
  ask(p, 0, "PING");
  p->stamp_ns += 40 * MS;
  ask(p, 0, "PING");
  measure_end(&p->worker);
  assert_int_equal(stats_of(p, "PING")->calls, 2);
  assert_in_range(stats_of(p, "PING")->nanoseconds, 40 * MS, AN_HOUR);
}

static void another_command_ends_it(void **state) {
  struct peers *p = *state;
  began_before(p, 40 * MS);
  ask(p, 0, "PING");
  ask(p, 0, "FETCH k");
  assert_in_range(stats_of(p, "PING")->nanoseconds, 40 * MS, AN_HOUR);
  p->worker.timed_run.start_ns -= 50 * MS;
  ask(p, 1, "FETCH k"); /* and another client */
  assert_in_range(stats_of(p, "FETCH")->nanoseconds, 50 * MS, AN_HOUR);
}

static void so_does_their_number(void **state) {
  struct peers *p = *state;
  began_before(p, 40 * MS);
  for (int i = 0; i < 100; i++) ask(p, 0, "PING");
  assert_in_range(stats_of(p, "PING")->nanoseconds, 40 * MS, AN_HOUR);
}

static void a_slow_run_is_in_the_slowlog(void **state) {
  struct peers *p = *state;
  began_before(p, 40 * MS);
  for (int i = 0; i < 3; i++) ask(p, 0, "PING");
  measure_end(&p->worker);
  const char *log = ask(p, 0, "SLOWLOG GET");
  assert_non_null(strstr(log, "$4\r\nPING\r\n$32\r\n... (one of 3 measured together)\r\n"));
}

static void low_thresholds_and_long_commands_are_measured_alone(void **state) {
  struct peers *p = *state;
  char large[5000];
  memset(large, 'x', sizeof large);
  const struct span echo[] = {SPAN_LITERAL("ECHO"), {large, sizeof large}};
  say_spans(p, 0, echo, 2);
  heard(p, 0);
  assert_true(stats_of(p, "ECHO")->nanoseconds > 0);
  p->options.slowlog_slower_us = 0;
  ask(p, 0, "PING");
  assert_true(stats_of(p, "PING")->nanoseconds > 0);
  assert_string_equal(ask(p, 0, "SLOWLOG LEN"), ":1\r\n");
}

static void exec_takes_as_long_as_what_it_runs(void **state) {
  struct peers *p = *state;
  p->options.enable_debug_command = true;
  ask(p, 0, "MULTI");
  ask(p, 0, "DEBUG SLEEP 0.002");
  ask(p, 0, "PING");
  ask(p, 0, "EXEC");
  assert_in_range(stats_of(p, "EXEC")->nanoseconds, 2 * MS, AN_HOUR);
}

/* What comes behind it must not act in the past. */
static void the_time_is_seen_anew_after_a_slow_command(void **state) {
  struct peers *p = *state;
  p->options.enable_debug_command = true;
  ask(p, 0, "DEBUG SLEEP 0.002");
  assert_true(p->times_seen > 0);
  p->times_seen = 0;
  ask(p, 0, "MULTI");
  ask(p, 0, "DEBUG SLEEP 0.002");
  ask(p, 0, "PING");
  assert_int_equal(p->times_seen, 0);
  ask(p, 0, "EXEC");
  assert_int_equal(p->times_seen, 1); /* its commands run at one time */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(time_of_a_run_is_its_commands),
      TEST(a_look_at_the_clock_in_the_middle_takes_nothing_away),
      TEST(another_command_ends_it),
      TEST(so_does_their_number),
      TEST(a_slow_run_is_in_the_slowlog),
      TEST(exec_takes_as_long_as_what_it_runs),
      TEST(the_time_is_seen_anew_after_a_slow_command),
      TEST(low_thresholds_and_long_commands_are_measured_alone),
  };
  return cmocka_run_group_tests_name("measure", tests, NULL, NULL);
}
