/* histogram.c - see histogram.h. */
#include "server/base/histogram.h"

#include <assert.h>
#include <math.h>

#define SUB (1u << HISTOGRAM_SUB_BITS)

static uint64_t largest_in(unsigned bucket) {
  if (bucket < SUB) return bucket;
  unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
  return (((uint64_t)SUB + bucket % SUB + 1) << shift) - 1;
}

void histogram_merge(struct histogram *to, const struct histogram *from) {
  to->count += from->count;
  to->sum += from->sum;
  if (from->max > to->max) to->max = from->max;
  for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) to->buckets[i] += from->buckets[i];
}

uint64_t histogram_percentile(const struct histogram *histogram, double per_cent) {
  double wanted = ceil((double)histogram->count * per_cent / 100);
  uint64_t seen = 0;
  if (histogram->count == 0) return 0;
  for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
    seen += histogram->buckets[bucket];
    if (seen == 0 || (double)seen < wanted) continue;
    uint64_t most = largest_in(bucket);
    return bucket + 1 < HISTOGRAM_BUCKETS && most < histogram->max ? most : histogram->max;
  }
  return histogram->max;
}

uint64_t histogram_below(const struct histogram *histogram, unsigned bits) {
  assert(bits <= HISTOGRAM_BITS);
  unsigned end = bits <= HISTOGRAM_SUB_BITS ? 1u << bits
                                            : (bits - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS;
  uint64_t below = 0;
  for (unsigned i = 0; i < end; i++) below += histogram->buckets[i];
  return below;
}
