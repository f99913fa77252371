/* Latency histogram: log-linear buckets, as in HdrHistogram. It knows no clock.
 *
 * Every power of two is cut into 128 equal buckets, so a reported percentile is never below the
 * true one and at most 1/128 (0.8 %) above it. Values under 256 are exact. Recording never
 * allocates.
 */
#ifndef IDEM_BENCH_HISTOGRAM_H
#define IDEM_BENCH_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
  HISTOGRAM_SUB_BITS = 7,
  HISTOGRAM_VALUE_BITS = 40, /* 2^40 ns are 18 minutes; larger values fall into the last bucket */
  HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS
};

struct histogram {
  uint64_t counts[HISTOGRAM_BUCKETS];
  uint64_t total;
  uint64_t max;
};

void histogram_init(struct histogram *histogram);

/* Counts `value` `count` times. */
void histogram_record(struct histogram *histogram, uint64_t value, uint64_t count);

/* The smallest value that at least `per_mille` / 1000 of the recorded ones do not exceed: 500 is
 * the median, 999 the 99.9th percentile, 1000 the exact maximum. 0 when nothing was recorded. */
uint64_t histogram_percentile(const struct histogram *histogram, unsigned per_mille);

/* The whole distribution as HdrHistogram's tools print it (and its plotter reads it): value,
 * percentile, count up to here, 1/(1-percentile); a line per used bucket. Values are divided by
 * `unit`. */
void histogram_print(const struct histogram *histogram, double unit, FILE *stream);

#endif
