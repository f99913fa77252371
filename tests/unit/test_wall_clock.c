/* test_wall_clock.c - unix times beside a monotonic clock, when the wall clock is set; and what a
 * worker makes of them for times on the engines' clock. */
#include "tests/unit/peers.h"

#define UNIX INT64_C(1700000000000)

static struct wall_clock clock_at_start(void) {
  struct wall_clock clock;
  wall_clock_init(&clock, 1000, UNIX + 1000);
  return clock;
}

static void small_differences_are_not_shown(void **state) {
  (void)state;
  struct wall_clock clock = clock_at_start();
  wall_clock_sample(&clock, 1100, UNIX + 1100 + WALL_CLOCK_STEP_MS);
  assert_true(wall_clock_offset_ms(&clock) == UNIX);
  wall_clock_sample(&clock, 1200, UNIX + 1200 - WALL_CLOCK_STEP_MS);
  assert_true(wall_clock_offset_ms(&clock) == UNIX);
  wall_clock_sample(&clock, 1300, UNIX + 1300 + WALL_CLOCK_STEP_MS + 1);
  assert_true(wall_clock_offset_ms(&clock) == UNIX + WALL_CLOCK_STEP_MS + 1);
}

/* Many small steps in one direction are followed together. */
static void a_drift_is_followed(void **state) {
  (void)state;
  struct wall_clock clock = clock_at_start();
  for (int64_t ms = 1; ms <= 1000; ms++) {
    wall_clock_sample(&clock, 1000 + ms * 100, UNIX + 1000 + ms * 100 - ms);
    assert_in_range(UNIX - ms + WALL_CLOCK_STEP_MS - wall_clock_offset_ms(&clock), 0,
                    2 * WALL_CLOCK_STEP_MS);
  }
}

static void the_largest_offset_never_falls(void **state) {
  (void)state;
  struct wall_clock clock = clock_at_start();
  assert_true(wall_clock_largest_ms(&clock) == UNIX);
  wall_clock_sample(&clock, 1100, UNIX + 1100 + 3);
  assert_true(wall_clock_largest_ms(&clock) == UNIX + 3);
  wall_clock_sample(&clock, 1200, UNIX + 1200 - 3600000);
  assert_true(wall_clock_largest_ms(&clock) == UNIX + 3);
  assert_true(wall_clock_offset_ms(&clock) == UNIX - 3600000);
  wall_clock_sample(&clock, 1300, UNIX + 1300 + 3600000);
  assert_true(wall_clock_largest_ms(&clock) == UNIX + 3600000);
}

static void each_step_is_returned_once(void **state) {
  (void)state;
  struct wall_clock clock = clock_at_start();
  assert_int_equal(wall_clock_sample(&clock, 1100, UNIX + 1100), 0);
  assert_int_equal(wall_clock_sample(&clock, 1200, UNIX + 1200 - 6000), -6000);
  assert_int_equal(wall_clock_sample(&clock, 1300, UNIX + 1300 - 6000), 0);
  assert_int_equal(wall_clock_sample(&clock, 1400, UNIX + 1400), 6000);
}

/* Both readings are whole milliseconds, taken one after the other. */
static void small_differences_are_no_step(void **state) {
  (void)state;
  struct wall_clock clock = clock_at_start();
  assert_int_equal(wall_clock_sample(&clock, 1100, UNIX + 1100 - 1), 0);
  assert_int_equal(wall_clock_sample(&clock, 1200, UNIX + 1200), 0);
  assert_int_equal(wall_clock_sample(&clock, 1300, UNIX + 1300 - WALL_CLOCK_STEP_MS), 0);
  int64_t offset_ms = -2 * WALL_CLOCK_STEP_MS - 1;
  assert_int_equal(wall_clock_sample(&clock, 1400, UNIX + 1400 + offset_ms),
                   -WALL_CLOCK_STEP_MS - 1);
}

/* ---- of a worker ---- */

/* The engines' clock was cut by a second: what is to come is later by the wall clock. */
static void unix_times_follow_what_was_cut(void **state) {
  struct peers *p = *state;
  struct worker *worker = &p->worker;
  int64_t before_ms = worker_unix_ms(worker), deadline_ms = worker->now_ms + 5000;
  assert_true(deadline_ms + worker_wall_offset_ms(worker) == before_ms + 5000);
  worker->monotonic_ms += 1000;
  assert_true(worker_unix_ms(worker) == before_ms + 1000);
  assert_true(deadline_ms + worker_wall_offset_ms(worker) == before_ms + 6000);
}

static void a_past_time_is_the_latest_that_it_can_have_been(void **state) {
  struct peers *p = *state;
  struct worker *worker = &p->worker;
  int64_t then_ms = worker->now_ms, unix_ms = worker_unix_ms(worker);
  peers_pass_ms(p, 1000);
  assert_true(then_ms + worker_largest_offset_ms(worker) == unix_ms);
  assert_true(unix_ms - worker_largest_offset_ms(worker) == then_ms);
  wall_clock_sample(&p->instance.wall, 2000,
                    unix_ms - 3600000); /* set back by an hour and a second */
  assert_true(then_ms + worker_largest_offset_ms(worker) == unix_ms);
  wall_clock_sample(&p->instance.wall, 2000, unix_ms + 1000 + 60000);
  assert_true(then_ms + worker_largest_offset_ms(worker) == unix_ms + 60000);
  assert_true(unix_ms - worker_largest_offset_ms(worker) == then_ms - 60000);
  worker->monotonic_ms += 500; /* was cut: perhaps before then */
  assert_true(then_ms + worker_largest_offset_ms(worker) == unix_ms + 60500);
}

static void expiretime_is_a_time_of_the_wall_clock_after_a_stall_too(void **state) {
  struct peers *p = *state;
  char expected[64];
  int64_t end_ms = worker_unix_ms(&p->worker) + 60000;
  snprintf(expected, sizeof expected, ":%lld\r\n", (long long)end_ms);
  ask(p, 0, "SET k v PX 60000");
  assert_string_equal(ask(p, 0, "PEXPIRETIME k"), expected);
  p->worker.monotonic_ms += 1250;
  snprintf(expected, sizeof expected, ":%lld\r\n", (long long)end_ms + 1250);
  assert_string_equal(ask(p, 0, "PEXPIRETIME k"), expected);
  assert_string_equal(ask(p, 0, "PTTL k"), ":60000\r\n");
  char line[64];
  snprintf(line, sizeof line, "PEXPIREAT k %lld", (long long)end_ms);
  assert_string_equal(ask(p, 0, line), ":1\r\n");
  assert_string_equal(ask(p, 0, "PTTL k"), ":58750\r\n");
}

#define WORKER_TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(small_differences_are_not_shown),
      cmocka_unit_test(a_drift_is_followed),
      cmocka_unit_test(the_largest_offset_never_falls),
      cmocka_unit_test(each_step_is_returned_once),
      cmocka_unit_test(small_differences_are_no_step),
      WORKER_TEST(unix_times_follow_what_was_cut),
      WORKER_TEST(a_past_time_is_the_latest_that_it_can_have_been),
      WORKER_TEST(expiretime_is_a_time_of_the_wall_clock_after_a_stall_too),
  };
  return cmocka_run_group_tests_name("wall_clock", tests, NULL, NULL);
}
