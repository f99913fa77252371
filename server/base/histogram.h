/*
 * histogram.h - how long things take: counts of durations in buckets, which need no memory for each
 * value.
 *
 * Buckets are of equal width within a power of two (8 each), so that a percentile is at most an
 * eighth too large, and what lies below a power of two is exact. The unit is the caller's. Of fixed
 * size, 2.4 KB; zero-filled it is empty. Not thread-safe.
 */
#ifndef IDEM_SERVER_BASE_HISTOGRAM_H
#define IDEM_SERVER_BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 3u
#define HISTOGRAM_BITS 40u /* values up to 2^40 - 1; larger ones are in the last bucket */
#define HISTOGRAM_BUCKETS ((HISTOGRAM_BITS + 1 - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS)

/* Of `sum` and `count` as neighbours gcc makes one addition, of six instructions. */
struct histogram {
  uint64_t count, max, sum;
  uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Of larger values the highest bits count; each of the smallest has a bucket of its own. */
static inline unsigned histogram_bucket(uint64_t value) {
  unsigned highest = 63u ^ (unsigned)__builtin_clzll(value | 1u << HISTOGRAM_SUB_BITS);
  unsigned shift = highest - HISTOGRAM_SUB_BITS;
  unsigned bucket = (shift << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
  return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The same value so many times. */
static inline void histogram_add(struct histogram *histogram, uint64_t value, uint64_t times) {
  histogram->count += times;
  histogram->sum += value * times;
  histogram->buckets[histogram_bucket(value)] += times;
  if (value > histogram->max) histogram->max = value;
}
/* Adds up all that is counted; max is the larger one. */
void histogram_merge(struct histogram *to, const struct histogram *from);
/* The value that this share of all values does not exceed, in per cent; 0: there are none. */
uint64_t histogram_percentile(const struct histogram *histogram, double per_cent);
/* How many values are less than 2^bits; bits up to HISTOGRAM_BITS. */
uint64_t histogram_below(const struct histogram *histogram, unsigned bits);

#endif
