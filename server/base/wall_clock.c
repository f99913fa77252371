/* wall_clock.c - see wall_clock.h. */
#include "server/base/wall_clock.h"

void wall_clock_init(struct wall_clock *clock, int64_t monotonic_ms, int64_t unix_ms) {
  clock->sampled_ms = unix_ms - monotonic_ms;
  atomic_init(&clock->offset_ms, clock->sampled_ms);
  atomic_init(&clock->largest_ms, clock->sampled_ms);
}

void wall_clock_raise_largest(struct wall_clock *clock, int64_t offset_ms) {
  if (offset_ms > wall_clock_largest_ms(clock)) atomic_store(&clock->largest_ms, offset_ms);
}

static bool is_step(int64_t by_ms) {
  return by_ms > WALL_CLOCK_STEP_MS || by_ms < -WALL_CLOCK_STEP_MS;
}

int64_t wall_clock_sample(struct wall_clock *clock, int64_t monotonic_ms, int64_t unix_ms) {
  int64_t offset_ms = unix_ms - monotonic_ms;
  int64_t step_ms = offset_ms - clock->sampled_ms;
  clock->sampled_ms = offset_ms;
  if (is_step(offset_ms - wall_clock_offset_ms(clock))) atomic_store(&clock->offset_ms, offset_ms);
  if (offset_ms > wall_clock_largest_ms(clock)) atomic_store(&clock->largest_ms, offset_ms);
  return is_step(step_ms) ? step_ms : 0;
}
