/* hanging.c - a unit test program for test_runners.py: one test hangs, others die or fail, and the
 * last one passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

static void hangs(void **state) {
  (void)state;
  for (;;) pause();
}

static void dies(void **state) {
  (void)state;
  abort();
}

static void leaves(void **state) {
  (void)state;
  _exit(3);
}

static void fails(void **state) {
  (void)state;
  fail();
}

static int breaks(void **state) {
  (void)state;
  abort();
}

static void passes(void **state) { (void)state; }

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hangs),
      cmocka_unit_test(dies),
      cmocka_unit_test(leaves),
      cmocka_unit_test(fails),
      {"its_teardown_breaks", passes, NULL, breaks, NULL},
      cmocka_unit_test(passes),
  };
  return cmocka_run_group_tests_name("hanging", tests, NULL, NULL);
}
