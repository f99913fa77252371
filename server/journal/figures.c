/* figures.c - see figures.h. */
#include "server/journal/figures.h"

#define SUB (1u << FIGURES_SUB_BITS)

/* Small values have a bucket each; of larger ones the highest bits count. */
static unsigned bucket_of(uint64_t value) {
  if (value < SUB) return (unsigned)value;
  unsigned shift = 63u - (unsigned)__builtin_clzll(value) - FIGURES_SUB_BITS;
  unsigned bucket = ((shift + 1) << FIGURES_SUB_BITS) + (unsigned)(value >> shift) - SUB;
  return bucket < FIGURES_BUCKETS ? bucket : FIGURES_BUCKETS - 1;
}

static uint64_t largest_in(unsigned bucket) {
  if (bucket < SUB) return bucket;
  unsigned shift = (bucket >> FIGURES_SUB_BITS) - 1;
  return (((uint64_t)SUB + bucket % SUB + 1) << shift) - 1;
}

void figures_note(struct figures *figures, uint64_t value) {
  figures->count++;
  figures->buckets[bucket_of(value)]++;
  if (value > figures->max) figures->max = value;
}

uint64_t figures_percentile(const struct figures *figures, unsigned per_cent) {
  uint64_t wanted = (figures->count * per_cent + 99) / 100, seen = 0;
  if (figures->count == 0) return 0;
  for (unsigned bucket = 0; bucket < FIGURES_BUCKETS; bucket++) {
    seen += figures->buckets[bucket];
    if (seen < wanted) continue;
    uint64_t most = largest_in(bucket);
    return bucket + 1 < FIGURES_BUCKETS && most < figures->max ? most : figures->max;
  }
  return figures->max;
}
