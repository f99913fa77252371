/* test_options_percentiles.c - the list of latency-tracking-info-percentiles: what is one, what
 * not, and that its numbers are read back. */
#include "server/ops/options_percentiles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void only_numbers_up_to_100(void **state) {
  (void)state;
  static const char *const bad[] = {"x",   "-1",      "100.1", "1e1",    "5%",
                                    ".5",  "50.",     "1..2",  "+5",     "nan",
                                    "inf", "50 99,9", "50,99", "50 0x1", "1.00000000000000001"};
  static const char *const good[] = {"",      "  ",         "0",      "100",
                                     "100.0", "50 99 99.9", " 1\t2 ", "99.99999999"};
  char error[REFUSAL_BYTES];
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    if (options_percentiles_check(bad[i], error)) fail_msg("'%s' passes", bad[i]);
    if (strstr(error, "bad percentile '") == NULL) fail_msg("'%s': %s", bad[i], error);
  }
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    if (!options_percentiles_check(good[i], error)) fail_msg("'%s': %s", good[i], error);
}

static void at_most_16(void **state) {
  (void)state;
  char error[REFUSAL_BYTES];
  assert_true(options_percentiles_check("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", error));
  assert_false(options_percentiles_check("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", error));
  assert_string_equal(error, "more than 16 percentiles");
}

static void they_are_read_one_by_one(void **state) {
  (void)state;
  const char *list = " 50 99.9  0";
  double number;
  assert_true(options_percentiles_next(&list, &number) && number == 50);
  assert_true(options_percentiles_next(&list, &number) && number == 99.9);
  assert_true(options_percentiles_next(&list, &number) && number == 0);
  assert_false(options_percentiles_next(&list, &number));
  assert_false(options_percentiles_next(&list, &number));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_numbers_up_to_100),
      cmocka_unit_test(at_most_16),
      cmocka_unit_test(they_are_read_one_by_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
