/*
 * clock.h - milliseconds that the wall clock cannot move. The only place of the library that asks
 * the time.
 *
 * CLOCK_BOOTTIME, because a lease runs on while this machine is suspended: CLOCK_MONOTONIC stands
 * still then, and a claim would look held after it was lost.
 */
#ifndef IDEM_CLIENT_CLOCK_H
#define IDEM_CLIENT_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Farther than any deadline; sums of it and a duration do not overflow. */
#define CLOCK_NEVER (INT64_MAX / 4)
/* No duration is longer than this (68 years), so that sums of a few do not overflow. */
#define CLOCK_SPAN_MAX_MS ((int64_t)INT32_MAX * 1000)
/* Sleepers are woken by CLOCK_MONOTONIC, which stands still while the machine is suspended. So no
 * sleep is longer than this before clock_ms is read again. */
#define CLOCK_SLEEP_MAX_MS 1000

static inline int64_t clock_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ms from now, on the clock that wakes sleepers: CLOCK_MONOTONIC. */
static inline struct timespec clock_alarm(int64_t ms) {
  struct timespec alarm;
  clock_gettime(CLOCK_MONOTONIC, &alarm);
  int64_t ns = alarm.tv_nsec + ms % 1000 * 1000000;
  alarm.tv_sec += (time_t)(ms / 1000 + ns / 1000000000);
  alarm.tv_nsec = (long)(ns % 1000000000);
  return alarm;
}

static inline int64_t clock_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t clock_max(int64_t a, int64_t b) { return a > b ? a : b; }

#endif
