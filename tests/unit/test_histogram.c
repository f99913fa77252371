/* test_histogram.c - counts of durations: percentiles, exact counts below powers of two, sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/base/histogram.h"

static void empty_says_nothing(void **state) {
  (void)state;
  struct histogram h = {0};
  assert_int_equal(histogram_percentile(&h, 50), 0);
  assert_int_equal(histogram_below(&h, HISTOGRAM_BITS), 0);
}

static void one_value_is_every_percentile(void **state) {
  (void)state;
  static const uint64_t values[] = {
      0, 1, 7, 8, 9, 1000, 123456789, (UINT64_C(1) << 40) - 1, UINT64_MAX / 2};
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    struct histogram h = {0};
    histogram_add(&h, values[i], 1);
    assert_int_equal(histogram_percentile(&h, 0), values[i]);
    assert_int_equal(histogram_percentile(&h, 50), values[i]);
    assert_int_equal(histogram_percentile(&h, 100), values[i]);
  }
}

/* A percentile is never too small, and at most an eighth too large. */
static void percentiles_of_1_to_n(void **state) {
  (void)state;
  struct histogram h = {0};
  const uint64_t n = 100000;
  for (uint64_t value = 1; value <= n; value++) histogram_add(&h, value, 1);
  static const double per_cents[] = {0.1, 1, 25, 50, 90, 99, 99.9, 100};
  for (size_t i = 0; i < sizeof per_cents / sizeof per_cents[0]; i++) {
    uint64_t exact = (uint64_t)(per_cents[i] * (double)n / 100);
    assert_in_range(histogram_percentile(&h, per_cents[i]), exact, exact + exact / 8);
  }
}

static void below_powers_of_two_is_exact(void **state) {
  (void)state;
  struct histogram h = {0};
  for (uint64_t value = 0; value < 5000; value++) histogram_add(&h, value, 2);
  for (unsigned bits = 0; bits <= HISTOGRAM_BITS; bits++) {
    uint64_t bound = UINT64_C(1) << bits;
    assert_int_equal(histogram_below(&h, bits), 2 * (bound < 5000 ? bound : 5000));
  }
}

static void too_large_a_value_is_counted_last(void **state) {
  (void)state;
  struct histogram h = {0};
  histogram_add(&h, UINT64_C(1) << HISTOGRAM_BITS, 1);
  histogram_add(&h, UINT64_MAX, 1);
  assert_int_equal(h.buckets[HISTOGRAM_BUCKETS - 1], 2);
  assert_int_equal(h.count, 2);
  assert_int_equal(histogram_percentile(&h, 1), UINT64_MAX);
}

static void merging_adds_up(void **state) {
  (void)state;
  struct histogram a = {0}, b = {0};
  histogram_add(&a, 10, 3);
  histogram_add(&b, 1000, 1);
  histogram_merge(&a, &b);
  assert_int_equal(a.count, 4);
  assert_int_equal(a.sum, 1030);
  assert_int_equal(a.max, 1000);
  assert_int_equal(histogram_percentile(&a, 75), 10);
  assert_int_equal(histogram_below(&a, 4), 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(empty_says_nothing),
      cmocka_unit_test(one_value_is_every_percentile),
      cmocka_unit_test(percentiles_of_1_to_n),
      cmocka_unit_test(below_powers_of_two_is_exact),
      cmocka_unit_test(too_large_a_value_is_counted_last),
      cmocka_unit_test(merging_adds_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
