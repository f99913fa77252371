/*
 * test_born.c - BORN and FORGOTTEN in unix time: what is after now, and how the two clocks are
 * converted when they have moved against each other.
 *
 * Who is told FORGOTTEN is test_forgotten.c's. Here the engine began at UNIX, with no allowance.
 */
#include "tests/unit/peers.h"

#define UNIX INT64_C(1700000000123) /* as in peers_setup, whose engine allows nothing */
#define SKEW 5000
/* A birth may be so much after now: the skew, and what unix time is late by at most. */
#define LATEST (SKEW + WALL_CLOCK_LATE_MS)

static const char *claim_born(struct peers *p, size_t who, int64_t born_ms, const char *more) {
  char line[96];
  snprintf(line, sizeof line, "CLAIM k BORN %lld%s", (long long)born_ms, more);
  return ask(p, who, line);
}

static void expect_forgotten(const char *reply, int64_t horizon_ms) {
  char expected[64];
  snprintf(expected, sizeof expected, "*2\r\n$9\r\nFORGOTTEN\r\n:%lld\r\n", (long long)horizon_ms);
  assert_string_equal(reply, expected);
}

static void expect_granted(struct peers *p, const char *reply) {
  static const char granted[] = "*5\r\n$7\r\nCLAIMED\r\n";
  assert_memory_equal(reply, granted, sizeof granted - 1);
  assert_string_equal(ask(p, 0, "DEL k"), ":1\r\n");
}

/* The wall clock is moved, and seen. */
static void set_wall(struct peers *p, int64_t by_ms) {
  int64_t unix_ms = worker_unix_ms(&p->worker) + by_ms;
  wall_clock_sample(&p->instance.wall, p->worker.monotonic_ms, unix_ms);
}

static void births_and_horizons_are_unix_times(void **state) {
  struct peers *p = *state;
  peers_pass_ms(p, 60000);
  expect_forgotten(claim_born(p, 0, 0, ""), UNIX);
  expect_forgotten(claim_born(p, 0, UNIX, ""), UNIX);
  expect_granted(p, claim_born(p, 0, UNIX + 1, ""));
}

static void who_waits_is_told_in_unix_time_too(void **state) {
  struct peers *p = *state;
  ask(p, 0, "CLAIM k");
  assert_string_equal(claim_born(p, 1, UNIX, " WAIT 500"), "");
  assert_string_equal(ask(p, 0, "RELEASE k 1"), ":1\r\n");
  end_turn(p, 0);
  expect_forgotten(heard(p, 1), UNIX);
}

static void a_birth_may_be_after_now_by_the_skew(void **state) {
  struct peers *p = *state;
  static const char *const later = "-ERR BORN is later than now plus born-skew\r\n";
  assert_int_equal(p->options.born_skew_ms, SKEW);
  expect_granted(p, claim_born(p, 0, UNIX + LATEST, ""));
  assert_string_equal(claim_born(p, 0, UNIX + LATEST + 1, ""), later);
  assert_string_equal(claim_born(p, 0, INT64_MAX, ""), later);
  assert_string_equal(ask(p, 0, "EXISTS k"), ":0\r\n");
  peers_pass_ms(p, 1);
  expect_granted(p, claim_born(p, 0, UNIX + LATEST + 1, ""));
}

/* Framing, size and syntax are judged before the record is looked at. */
static void it_is_refused_whatever_the_record(void **state) {
  struct peers *p = *state;
  ask(p, 0, "CLAIM k");
  assert_memory_equal(claim_born(p, 1, UNIX + LATEST + 1, ""), "-ERR BORN", 9);
  assert_memory_equal(claim_born(p, 1, UNIX + LATEST, ""), "*5\r\n$4\r\nBUSY", 12);
}

/* What was born before the clock was set back may have been born as late as the clock had said. */
static void after_a_step_back_past_times_are_the_latest_that_they_can_have_been(void **state) {
  struct peers *p = *state;
  peers_pass_ms(p, 60000);
  set_wall(p, -30000);
  expect_forgotten(claim_born(p, 0, UNIX, ""), UNIX);
  expect_granted(p, claim_born(p, 0, UNIX + 1, ""));
  /* Now is what the clock says. */
  expect_granted(p, claim_born(p, 0, UNIX + 30000 + LATEST, ""));
  assert_memory_equal(claim_born(p, 0, UNIX + 30000 + LATEST + 1, ""), "-ERR BORN", 9);
}

static void after_a_step_forward_too(void **state) {
  struct peers *p = *state;
  set_wall(p, 1000);
  expect_forgotten(claim_born(p, 0, UNIX + 1000, ""), UNIX + 1000);
  expect_granted(p, claim_born(p, 0, UNIX + 1001, ""));
}

/* The engines' clock stood still: what was before may have been as late as the end of that. */
static void what_the_engines_clock_did_not_count_makes_past_times_later(void **state) {
  struct peers *p = *state;
  p->worker.monotonic_ms += 7000;
  expect_forgotten(claim_born(p, 0, UNIX + 7000, ""), UNIX + 7000);
  expect_granted(p, claim_born(p, 0, UNIX + 7001, ""));
}

/* A clock that is before 1970 plus the time that the machine is up. */
static void a_wall_clock_that_is_not_set_refuses_late_births(void **state) {
  struct peers *p = *state;
  wall_clock_init(&p->instance.wall, 1000, 0);
  assert_memory_equal(claim_born(p, 0, INT64_MAX, ""), "-ERR BORN", 9);
  expect_forgotten(claim_born(p, 0, 0, ""), 0);
  expect_granted(p, claim_born(p, 0, 1, ""));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(births_and_horizons_are_unix_times),
      TEST(who_waits_is_told_in_unix_time_too),
      TEST(a_birth_may_be_after_now_by_the_skew),
      TEST(it_is_refused_whatever_the_record),
      TEST(after_a_step_back_past_times_are_the_latest_that_they_can_have_been),
      TEST(after_a_step_forward_too),
      TEST(what_the_engines_clock_did_not_count_makes_past_times_later),
      TEST(a_wall_clock_that_is_not_set_refuses_late_births),
  };
  return cmocka_run_group_tests_name("born", tests, NULL, NULL);
}
