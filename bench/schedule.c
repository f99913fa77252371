/* Whole seconds and the rest are computed separately, so that no product passes 64 bits. */
#include "bench/schedule.h"

#define SECOND_NS UINT64_C(1000000000)

uint64_t schedule_at_ns(const struct schedule *schedule, uint64_t index) {
  uint64_t seconds = index / schedule->per_second, rest = index % schedule->per_second;
  /* Rounded up, so that schedule_due agrees: an operation is due from this nanosecond on. */
  uint64_t part_ns = (rest * SECOND_NS + schedule->per_second - 1) / schedule->per_second;
  return schedule->begin_ns + seconds * SECOND_NS + part_ns;
}

uint64_t schedule_due(const struct schedule *schedule, uint64_t now_ns) {
  if (now_ns < schedule->begin_ns) return 0;
  uint64_t passed_ns = now_ns - schedule->begin_ns;
  uint64_t whole = passed_ns / SECOND_NS * schedule->per_second;
  return whole + passed_ns % SECOND_NS * schedule->per_second / SECOND_NS + 1;
}
