/* random.h - numbers that a seed repeats. */
#ifndef IDEM_TESTS_CRASH_RANDOM_H
#define IDEM_TESTS_CRASH_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
  uint64_t state;
};

static inline struct random random_begin(uint64_t seed, uint64_t stream) {
  uint64_t mixed =
      (seed + 1) * UINT64_C(0x9E3779B97F4A7C15) ^ (stream + 1) * UINT64_C(0xC2B2AE3D27D4EB4F);
  mixed ^= mixed >> 29;
  mixed *= UINT64_C(0xBF58476D1CE4E5B9);
  mixed ^= mixed >> 32;
  return (struct random){mixed != 0 ? mixed : 1};
}

static inline uint64_t random_next(struct random *random) {
  uint64_t x = random->state;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  random->state = x;
  return x * UINT64_C(0x2545F4914F6CDD1D) >> 1;
}

/* 0 to below - 1. */
static inline uint64_t random_below(struct random *random, uint64_t below) {
  return (random_next(random) >> 8) % below;
}
/* One time in `in`. */
static inline bool random_once(struct random *random, uint64_t in) {
  return random_below(random, in) == 0;
}

#endif
