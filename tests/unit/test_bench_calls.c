/* test_bench_calls.c - what a process asked of the kernel is counted once, of all its threads. */
#include "bench/calls.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

enum { EXCHANGES = 1000 };

static void *read_all(void *descriptor) {
  char byte;
  for (int i = 0; i < EXCHANGES && read(*(int *)descriptor, &byte, 1) == 1;) i++;
  return NULL;
}

static void reads_and_writes_of_all_threads_are_counted(void **state) {
  (void)state;
  int ends[2];
  pthread_t thread;
  struct calls before, after;
  assert_int_equal(pipe(ends), 0);
  calls_read(getpid(), &before);
  assert_int_equal(pthread_create(&thread, NULL, read_all, &ends[0]), 0);
  for (int i = 0; i < EXCHANGES / 2; i++) assert_int_equal(write(ends[1], "xy", 2), 2);
  assert_int_equal(pthread_join(thread, NULL), 0);
  calls_read(getpid(), &after);
  assert_int_equal(after.writes - before.writes, EXCHANGES / 2);
  /* Reading /proc is a handful of reads too. */
  assert_in_range(after.reads - before.reads, EXCHANGES, EXCHANGES + 50);
  close(ends[0]);
  close(ends[1]);
}

static void a_sleep_is_counted(void **state) {
  (void)state;
  struct calls before, after;
  calls_read(getpid(), &before);
  usleep(1000);
  calls_read(getpid(), &after);
  assert_in_range(after.sleeps - before.sleeps, 1, 20);
}

static void a_process_that_is_none_has_no_calls(void **state) {
  (void)state;
  struct calls calls = {.reads = 1};
  calls_read(-1, &calls);
  assert_int_equal(calls.reads + calls.writes + calls.sleeps, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_and_writes_of_all_threads_are_counted),
      cmocka_unit_test(a_sleep_is_counted),
      cmocka_unit_test(a_process_that_is_none_has_no_calls),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
