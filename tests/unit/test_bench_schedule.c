/* test_bench_schedule.c - the clock of an open loop: what is due and when agree to the nanosecond,
 * and no rate drifts. */
#include "bench/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000000)

static void the_first_is_due_at_once(void **state) {
  (void)state;
  struct schedule schedule = {.begin_ns = 77, .per_second = 5};
  assert_int_equal(schedule_at_ns(&schedule, 0), 77);
  assert_int_equal(schedule_due(&schedule, 76), 0);
  assert_int_equal(schedule_due(&schedule, 77), 1);
}

static void operations_are_spread_evenly(void **state) {
  (void)state;
  struct schedule schedule = {.begin_ns = 1000, .per_second = 4};
  assert_int_equal(schedule_at_ns(&schedule, 1), 1000 + SECOND / 4);
  assert_int_equal(schedule_at_ns(&schedule, 4), 1000 + SECOND);
  assert_int_equal(schedule_due(&schedule, 1000 + SECOND / 4 - 1), 1);
  assert_int_equal(schedule_due(&schedule, 1000 + SECOND / 4), 2);
  assert_int_equal(schedule_due(&schedule, 1000 + SECOND), 5);
}

static void a_day_at_an_odd_rate_does_not_drift(void **state) {
  (void)state;
  struct schedule schedule = {.begin_ns = 3, .per_second = 99991};
  uint64_t day = 86400;
  assert_int_equal(schedule_at_ns(&schedule, day * schedule.per_second), 3 + day * SECOND);
  assert_int_equal(schedule_due(&schedule, 3 + day * SECOND), day * schedule.per_second + 1);
}

/* For every rate: an operation is due from its own nanosecond on, and not one before. */
static void due_and_at_agree(void **state) {
  (void)state;
  static const uint64_t rates[] = {1, 3, 7, 1000, 12345, 999999, 3000000, 100000000};
  static const uint64_t indexes[] = {1, 2, 3, 10, 999, 123456, 99999999, UINT64_C(1) << 39};
  for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
    struct schedule schedule = {.begin_ns = 11, .per_second = rates[i]};
    for (size_t j = 0; j < sizeof indexes / sizeof indexes[0]; j++) {
      if (indexes[j] / rates[i] > 4000000000u) continue; /* a century: past 64 bits of ns later */
      uint64_t at = schedule_at_ns(&schedule, indexes[j]);
      assert_int_equal(schedule_due(&schedule, at), indexes[j] + 1);
      assert_int_equal(schedule_due(&schedule, at - 1), indexes[j]);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_first_is_due_at_once),
      cmocka_unit_test(operations_are_spread_evenly),
      cmocka_unit_test(a_day_at_an_odd_rate_does_not_drift),
      cmocka_unit_test(due_and_at_agree),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
