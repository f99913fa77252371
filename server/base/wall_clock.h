/*
 * wall_clock.h - unix time beside the monotonic clock: how far apart they are, as seen by regular
 * samples of both.
 *
 * It must not know how the system is asked for the time. All times are milliseconds.
 *
 * Invariants: the offset that is shown follows the wall clock within one sample, but not by
 * differences of WALL_CLOCK_STEP_MS and less, so that a time that was converted comes back as the
 * same number; `largest_ms` never falls.
 *
 * One thread samples; any thread reads.
 */
#ifndef IDEM_SERVER_BASE_WALL_CLOCK_H
#define IDEM_SERVER_BASE_WALL_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define WALL_CLOCK_STEP_MS 50
/* Unix time by the offset is late by at most this, unless the clock was set since the last sample:
 * the difference that is not followed, and two readings that are rounded. */
#define WALL_CLOCK_LATE_MS (WALL_CLOCK_STEP_MS + 2)

struct wall_clock {
  _Atomic int64_t offset_ms;  /* unix time = monotonic + this */
  _Atomic int64_t largest_ms; /* that it ever was */
  int64_t sampled_ms;         /* at the last sample; the sampling thread's */
};

/* The first sample. */
void wall_clock_init(struct wall_clock *clock, int64_t monotonic_ms, int64_t unix_ms);
/* Both clocks at one moment. Returns how far the wall clock was moved since the last sample,
 * negative when it was set back: each step is returned once. Two readings in whole milliseconds
 * differ a little by themselves: what is not more than WALL_CLOCK_STEP_MS is no step, and 0. */
int64_t wall_clock_sample(struct wall_clock *clock, int64_t monotonic_ms, int64_t unix_ms);

/* Before this start it was as large as this. */
void wall_clock_raise_largest(struct wall_clock *clock, int64_t offset_ms);

static inline int64_t wall_clock_offset_ms(const struct wall_clock *clock) {
  return atomic_load_explicit(&clock->offset_ms, memory_order_relaxed);
}
static inline int64_t wall_clock_largest_ms(const struct wall_clock *clock) {
  return atomic_load_explicit(&clock->largest_ms, memory_order_relaxed);
}

#endif
