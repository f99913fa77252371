/*
 * figures.h - how long syncs take: a histogram of durations that needs no memory per value.
 *
 * Buckets are of equal width within a power of two (8 each), so that a percentile is at most an
 * eighth too large. Not thread-safe.
 */
#ifndef IDEM_SERVER_JOURNAL_FIGURES_H
#define IDEM_SERVER_JOURNAL_FIGURES_H

#include <stdint.h>

#define FIGURES_SUB_BITS 3u
#define FIGURES_BUCKETS \
  ((40u - FIGURES_SUB_BITS) << FIGURES_SUB_BITS) /* up to 2^39, then the last */

struct figures {
  uint64_t count, max;
  uint64_t buckets[FIGURES_BUCKETS];
};

void figures_note(struct figures *figures, uint64_t value);
/* The value that this share of all values does not exceed, in per cent; 0: there are none. */
uint64_t figures_percentile(const struct figures *figures, unsigned per_cent);

#endif
