/* Log-linear buckets. Bucket numbers, with SUB = 128:
 *
 *   value      0 .. 127      128 .. 255     256 .. 511 by 2     512 .. 1023 by 4   ...
 *   bucket     0 .. 127      128 .. 255     256 .. 383          384 .. 511         ...
 *
 * Invariant: total is the sum of counts; max is exact.
 */
#include "bench/histogram.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

enum { SUB = 1 << HISTOGRAM_SUB_BITS };

static size_t bucket_of(uint64_t value) {
  if (value >> HISTOGRAM_VALUE_BITS) return HISTOGRAM_BUCKETS - 1;
  if (value < SUB) return (size_t)value;
  unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
  return ((size_t)shift << HISTOGRAM_SUB_BITS) + (size_t)(value >> shift);
}

static uint64_t bucket_last_value(size_t bucket) {
  if (bucket < 2 * SUB) return bucket;
  unsigned shift = (unsigned)(bucket >> HISTOGRAM_SUB_BITS) - 1;
  uint64_t first = (uint64_t)(bucket - ((size_t)shift << HISTOGRAM_SUB_BITS)) << shift;
  return first + (UINT64_C(1) << shift) - 1;
}

void histogram_init(struct histogram *histogram) { memset(histogram, 0, sizeof *histogram); }

void histogram_record(struct histogram *histogram, uint64_t value, uint64_t count) {
  histogram->counts[bucket_of(value)] += count;
  histogram->total += count;
  if (count > 0 && value > histogram->max) histogram->max = value;
}

uint64_t histogram_percentile(const struct histogram *histogram, unsigned per_mille) {
  assert(per_mille <= 1000);
  if (per_mille == 1000 || histogram->total == 0) return histogram->max;

  /* Rounded up: the 99.9th percentile of 10 values is the tenth, not the ninth. Split so that the
   * product cannot overflow. */
  uint64_t whole = histogram->total / 1000 * per_mille;
  uint64_t rest = (histogram->total % 1000 * per_mille + 999) / 1000;
  uint64_t rank = whole + rest > 0 ? whole + rest : 1;

  uint64_t seen = 0;
  size_t bucket = 0;
  for (; bucket < HISTOGRAM_BUCKETS - 1; bucket++) {
    seen += histogram->counts[bucket];
    if (seen >= rank) break;
  }
  uint64_t value = bucket_last_value(bucket);
  /* The last bucket has no end, and no percentile may pass the maximum. */
  return bucket == HISTOGRAM_BUCKETS - 1 || value > histogram->max ? histogram->max : value;
}

void histogram_print(const struct histogram *histogram, double unit, FILE *stream) {
  fprintf(stream, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
          "1/(1-Percentile)");
  uint64_t seen = 0;
  for (size_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
    if (histogram->counts[bucket] == 0) continue;
    seen += histogram->counts[bucket];
    uint64_t last = bucket_last_value(bucket);
    bool whole = seen == histogram->total;
    double value = (double)(whole || last > histogram->max ? histogram->max : last) / unit;
    double share = (double)seen / (double)histogram->total;
    fprintf(stream, "%12.3f %2.12f %10" PRIu64, value, share, seen);
    if (whole) {
      fprintf(stream, "\n");
    } else {
      fprintf(stream, " %14.2f\n", 1 / (1 - share));
    }
  }
  fprintf(stream, "#[Max     = %12.3f, Total count    = %12" PRIu64 "]\n",
          (double)histogram->max / unit, histogram->total);
}
