/* test_bench_histogram.c - percentiles are never too low, at most 1/128 too high, and the maximum
 * is exact. */
#include "bench/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SAMPLES = 20000 };

static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

static int compare(const void *left, const void *right) {
  uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return (a > b) - (a < b);
}

static void nothing_recorded_is_zero(void **state) {
  (void)state;
  static struct histogram histogram;
  histogram_init(&histogram);
  assert_int_equal(histogram_percentile(&histogram, 500), 0);
  assert_int_equal(histogram_percentile(&histogram, 1000), 0);
}

static void small_values_are_exact(void **state) {
  (void)state;
  static struct histogram histogram;
  histogram_init(&histogram);
  for (uint64_t value = 1; value <= 200; value++) histogram_record(&histogram, value, 1);
  assert_int_equal(histogram_percentile(&histogram, 0), 1);
  assert_int_equal(histogram_percentile(&histogram, 500), 100);
  assert_int_equal(histogram_percentile(&histogram, 990), 198);
  assert_int_equal(histogram_percentile(&histogram, 999), 200);
  assert_int_equal(histogram_percentile(&histogram, 1000), 200);
}

static void no_percentile_passes_the_maximum(void **state) {
  (void)state;
  static struct histogram histogram;
  histogram_init(&histogram);
  histogram_record(&histogram, 1000001, 3);
  assert_int_equal(histogram_percentile(&histogram, 500), 1000001);
  assert_int_equal(histogram_percentile(&histogram, 999), 1000001);
}

static void counts_weigh(void **state) {
  (void)state;
  static struct histogram histogram;
  histogram_init(&histogram);
  histogram_record(&histogram, 10, 990);
  histogram_record(&histogram, 90, 10);
  histogram_record(&histogram, 70000, 0);
  assert_int_equal(histogram.total, 1000);
  assert_int_equal(histogram_percentile(&histogram, 990), 10);
  assert_int_equal(histogram_percentile(&histogram, 991), 90);
  assert_int_equal(histogram_percentile(&histogram, 1000), 90);
}

/* Values of every magnitude, against the sorted list. */
static void percentiles_stay_within_their_bound(void **state) {
  (void)state;
  static struct histogram histogram;
  static uint64_t values[SAMPLES];
  uint64_t seed = 88172645463325252u;
  histogram_init(&histogram);
  for (size_t i = 0; i < SAMPLES; i++) {
    uint64_t shift = 24 + next_random(&seed) % 40;
    values[i] = next_random(&seed) >> shift;
    histogram_record(&histogram, values[i], 1);
  }
  qsort(values, SAMPLES, sizeof values[0], compare);
  for (unsigned per_mille = 1; per_mille <= 1000; per_mille++) {
    uint64_t exact = values[(SAMPLES * (size_t)per_mille + 999) / 1000 - 1];
    uint64_t found = histogram_percentile(&histogram, per_mille);
    assert_true(found >= exact);
    assert_true(found - exact <= exact / 128);
  }
  assert_int_equal(histogram_percentile(&histogram, 1000), values[SAMPLES - 1]);
}

static void values_beyond_the_range_fall_into_the_last_bucket(void **state) {
  (void)state;
  static struct histogram histogram;
  histogram_init(&histogram);
  histogram_record(&histogram, UINT64_MAX, 1);
  histogram_record(&histogram, UINT64_C(1) << HISTOGRAM_VALUE_BITS, 1);
  histogram_record(&histogram, (UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1, 1);
  assert_int_equal(histogram.counts[HISTOGRAM_BUCKETS - 1], 3);
  assert_true(histogram_percentile(&histogram, 1000) == UINT64_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_recorded_is_zero),
      cmocka_unit_test(small_values_are_exact),
      cmocka_unit_test(no_percentile_passes_the_maximum),
      cmocka_unit_test(counts_weigh),
      cmocka_unit_test(percentiles_stay_within_their_bound),
      cmocka_unit_test(values_beyond_the_range_fall_into_the_last_bucket),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
