/* test_eras.c - unix times of a clock that stood while the process was away. */
#include "tests/unit/peers.h"

#include "server/base/eras.h"

/* Unix 1000 is 0 on the clock; away for 100 at 50, and for 1000 at 80. */
#define FIRST 1000
#define SECOND 1100
#define THIRD 2100

static struct eras three(void) {
  struct eras eras = {0};
  eras_begin(&eras, 0, 0);
  eras_begin(&eras, 50, FIRST);
  eras_begin(&eras, 80, SECOND);
  return eras;
}

static void without_eras_all_is_the_present_one(void **state) {
  (void)state;
  const struct eras none = {0};
  assert_int_equal(eras_unix_ms(&none, FIRST, 7), FIRST + 7);
  assert_int_equal(eras_clock_ms(&none, FIRST, FIRST - 7), -7);
}

static void a_time_keeps_its_unix_time(void **state) {
  (void)state;
  const struct eras eras = three();
  assert_int_equal(eras_unix_ms(&eras, THIRD, 10), FIRST + 10);
  assert_int_equal(eras_unix_ms(&eras, THIRD, 49), FIRST + 49);
  assert_int_equal(eras_unix_ms(&eras, THIRD, 50), SECOND + 50);
  assert_int_equal(eras_unix_ms(&eras, THIRD, 79), SECOND + 79);
  assert_int_equal(eras_unix_ms(&eras, THIRD, 80), THIRD + 80);
}

static void a_unix_time_is_the_earliest_that_it_can_be(void **state) {
  (void)state;
  const struct eras eras = three();
  assert_int_equal(eras_clock_ms(&eras, THIRD, FIRST - 5), -5);
  assert_int_equal(eras_clock_ms(&eras, THIRD, FIRST + 49), 49);
  assert_int_equal(eras_clock_ms(&eras, THIRD, FIRST + 50), 50); /* away from here on, */
  assert_int_equal(eras_clock_ms(&eras, THIRD, SECOND + 49), 50);
  assert_int_equal(eras_clock_ms(&eras, THIRD, SECOND + 50), 50); /* to here */
  assert_int_equal(eras_clock_ms(&eras, THIRD, SECOND + 79), 79);
  assert_int_equal(eras_clock_ms(&eras, THIRD, THIRD + 79), 80);
  assert_int_equal(eras_clock_ms(&eras, THIRD, THIRD + 81), 81);
}

/* What BORN asks: born at or before a horizon. The same whichever clock it is asked on. */
static void both_clocks_compare_alike(void **state) {
  (void)state;
  const struct eras eras = three();
  for (int64_t ms = -10; ms < 120; ms++) {
    int64_t unix_ms = eras_unix_ms(&eras, THIRD, ms);
    for (int64_t born = FIRST - 20; born < THIRD + 200; born++) {
      bool before = born <= unix_ms, clock = eras_clock_ms(&eras, THIRD, born) <= ms;
      if (before != clock) fail_msg("%lld born %lld", (long long)ms, (long long)born);
    }
  }
}

static void too_many_become_later_never_earlier(void **state) {
  (void)state;
  struct eras eras = {0};
  for (int i = 0; i < 100; i++) eras_begin(&eras, i * 10, i * 1000);
  assert_int_equal(eras.count, ERAS_MOST);
  for (int i = 0; i < 99; i++)
    assert_true(eras_unix_ms(&eras, 100000, i * 10) >= i * 10 + (i + 1) * 1000);
  assert_int_equal(eras_unix_ms(&eras, 100000, 975), 975 + 98000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_eras_all_is_the_present_one),
      cmocka_unit_test(a_time_keeps_its_unix_time),
      cmocka_unit_test(a_unix_time_is_the_earliest_that_it_can_be),
      cmocka_unit_test(both_clocks_compare_alike),
      cmocka_unit_test(too_many_become_later_never_earlier),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
