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

struct histogram {
  uint64_t count, sum, max;
  uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* The same value so many times. */
void histogram_add(struct histogram *histogram, uint64_t value, uint64_t times);
/* Adds up all that is counted; max is the larger one. */
void histogram_merge(struct histogram *to, const struct histogram *from);
/* The value that this share of all values does not exceed, in per cent; 0: there are none. */
uint64_t histogram_percentile(const struct histogram *histogram, double per_cent);
/* How many values are less than 2^bits; bits up to HISTOGRAM_BITS. */
uint64_t histogram_below(const struct histogram *histogram, unsigned bits);

#endif
