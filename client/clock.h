/* clock.h - the monotonic clock in milliseconds. The only place of the library that asks the time.
 */
#ifndef IDEM_CLIENT_CLOCK_H
#define IDEM_CLIENT_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Farther than any deadline; sums of it and a duration do not overflow. */
#define CLOCK_NEVER (INT64_MAX / 4)

static inline int64_t clock_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline int64_t clock_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t clock_max(int64_t a, int64_t b) { return a > b ? a : b; }

#endif
