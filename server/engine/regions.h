/*
 * regions.h - pieces of 32 KiB to 2 MiB out of huge pages, for what is read at random in a large
 * keyspace: segments of the index and chunks of responses. A lookup among ten million keys misses
 * the TLB for a bucket, a chunk's head and a response; with huge pages it does not.
 *
 *     region   [unit][unit]...[unit]     64 units of 32 KiB, 2 MiB, aligned to that: one huge page
 *     piece    1, 2, 4 ... 64 units, aligned to its size
 *
 * A caller that takes a piece never waits for a huge page: the helper of base/hugepages.h maps
 * regions ahead of their use and unmaps free ones; this file decides how many. When none is ready,
 * the piece comes from the allocator, as all do until REGIONS_PLAIN_BYTES are taken: a small server
 * has no huge page.
 *
 * Of free memory the source keeps little (REGIONS_AHEAD, REGIONS_SLACK_UNITS). A free region is
 * unmapped. So that regions become free, pieces that end at about the same time are kept together
 * (`kin`), and a piece is taken from the fullest region. When too much is free in part, those parts
 * are given back, which costs their huge page. The system counts that as free at once, but takes
 * the bytes only when it is short of memory; to split the page by force (MADV_FREE) took 0.8 ms a
 * region instead of 0.09, and stops its readers.
 *
 * One source serves the engines of all loops: take and give are thread-safe. Knows nothing of what
 * lies in a piece.
 */
#ifndef IDEM_SERVER_ENGINE_REGIONS_H
#define IDEM_SERVER_ENGINE_REGIONS_H

#include <stdbool.h>
#include <stddef.h>

#define REGIONS_UNIT_BYTES ((size_t)32 << 10)
#define REGIONS_REGION_UNITS 64u /* as many as a word has bits */
#define REGIONS_REGION_BYTES (REGIONS_REGION_UNITS * REGIONS_UNIT_BYTES)
/* A TLB covers 8 MiB and more with small pages, so huge ones are of little use below this. */
#define REGIONS_PLAIN_BYTES ((size_t)16 << 20)
/* At most 1 + in_use / REGIONS_AHEAD_PART regions are kept ready, and never more than
 * REGIONS_AHEAD: a loop at full speed fills 50 a second, and to make one takes 0.3 to 6 ms. None
 * is when none has been taken for REGIONS_REST_MS: a server at rest has no use for them. */
#define REGIONS_AHEAD 4u
#define REGIONS_AHEAD_PART 32u
#define REGIONS_REST_MS 2000u
/* Units that may be free in regions that are in use: the larger of REGIONS_SLACK_UNITS and
 * taken / REGIONS_SLACK_PART. */
#define REGIONS_SLACK_UNITS 128u
#define REGIONS_SLACK_PART 32u
#define REGIONS_KINS 9u

struct regions;

/* NULL when memory is short. Every piece has to be given back before destroy, which takes NULL. */
struct regions *regions_create(void);
void regions_destroy(struct regions *regions);

/* Whether pieces of so many bytes come from a source. */
static inline bool regions_fit(size_t size) {
  return size >= REGIONS_UNIT_BYTES && size <= REGIONS_REGION_BYTES && (size & (size - 1)) == 0;
}

/* A piece that fits, aligned to at least `alignment`, a power of two up to its size; its bytes are
 * undefined. kin: below REGIONS_KINS, the same for pieces that are likely to be given back
 * together. NULL when memory is short. */
void *regions_take(struct regions *regions, size_t alignment, size_t size, unsigned kin);
/* size as it was taken. */
void regions_give(struct regions *regions, void *piece, size_t size);

struct regions_stats {
  size_t plain_bytes;           /* taken from the allocator */
  size_t regions, ready, units; /* mapped; of them wholly free; units taken */
  size_t slack, cold;           /* free units of the others: resident; given back */
  bool busy;                    /* the helper has something to do, or is doing it */
};
void regions_stats(struct regions *regions, struct regions_stats *stats);

#endif
