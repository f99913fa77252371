/*
 * number_clock.h - the clocks of the process are a number that the test sets: this program's
 * clock_gettime stands before the C library's, also for libuv. Included by one file of a program.
 */
#ifndef IDEM_TESTS_UNIT_NUMBER_CLOCK_H
#define IDEM_TESTS_UNIT_NUMBER_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NUMBER_CLOCK_WALL_S 1700000000 /* when the number was 0 */

static struct {
  uint64_t now_ns;
  uint64_t step_ns; /* every look takes so long */
} number_clock = {.now_ns = UINT64_C(1000000000)};

int clock_gettime(clockid_t clock, struct timespec *now) {
  uint64_t ns = number_clock.now_ns += number_clock.step_ns;
  now->tv_sec = (time_t)(ns / 1000000000u) + (clock == CLOCK_REALTIME ? NUMBER_CLOCK_WALL_S : 0);
  now->tv_nsec = (long)(ns % 1000000000u);
  return 0;
}

static inline void number_clock_pass_ms(uint64_t ms) { number_clock.now_ns += ms * 1000000u; }

#endif
