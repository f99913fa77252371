/* clock.h - the clocks of the system. The engine knows neither: time is its argument. */
#ifndef IDEM_SERVER_BASE_CLOCK_H
#define IDEM_SERVER_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Monotonic, and not affected by setting the time of day. Used for all deadlines and durations. */
static inline uint64_t clock_monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What the calling thread has had of a processor: a wait, or another thread in its place, does not
 * count. */
static inline uint64_t clock_thread_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Unix time. It may jump. */
static inline int64_t clock_wall_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
