/*
 * index.h - from the hash of a key to where its entry lies: linear hashing over buckets of one
 * cache line, which grows and shrinks one bucket at a time.
 *
 *     bucket   [word][word][word][word][word][word][word][word or link] --> bucket of 8 more
 *     word     63..48 the highest bits of the hash   47..2 address   1..0 kind of the entry
 *
 * A word of another key matches one time in 65,536, so a lookup reads one line here and one of the
 * entry. The hash itself is not kept: a bucket that is split asks for it again, entry by entry.
 * That is some seven entries for each seven insertions, all fetched ahead at once, and saves eight
 * bytes a key. Buckets 0 .. size-1 lie in segments; `level` is the largest power of two <= size; a
 * hash belongs to bucket h mod 2*level when there is one, else to h mod level. So no call touches
 * more than two buckets beside its own, and there is never a second table (see table.h, which does
 * the same with chains of nodes).
 *
 * Scans go in the order of the reversed bits of the hash: in it a bucket is an interval, which a
 * split cuts and a merge joins, so a cursor stays right however the index changes.
 *
 * Invariants: in a chain all words but the last bucket's are taken, from the front; the last bucket
 * of a chain of several has at least two. Addresses are below 2^48 and multiples of 4.
 */
#ifndef IDEM_SERVER_ENGINE_INDEX_H
#define IDEM_SERVER_ENGINE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/engine/memory.h"

#define INDEX_BUCKET_WORDS 8u
#define INDEX_SEGMENT_BUCKETS 256u /* 16 KiB */
#define INDEX_LOAD 6u              /* words per bucket, in the mean */
#define INDEX_CURSOR_BITS 48       /* below 2^53, for clients that keep cursors in doubles */

#define INDEX_KIND_MASK UINT64_C(3)
#define INDEX_LINK UINT64_C(3) /* the kind of a link; 0, 1 and 2 are the caller's */
#define INDEX_TAG_MASK (~UINT64_C(0) << 48)
#define INDEX_ADDRESS_MASK (~(INDEX_TAG_MASK | INDEX_KIND_MASK))

struct index_bucket {
  _Alignas(64) uint64_t words[INDEX_BUCKET_WORDS]; /* 0: free */
};

/* The hash of the entry behind a word. */
typedef uint64_t index_hash_of(const void *context, uint64_t word);

struct index {
  struct memory *memory;
  index_hash_of *hash_of;
  const void *context;
  struct index_bucket **segments;
  size_t segment_count, segment_capacity;
  size_t size, level, count;
};

/* false when memory is short. deinit gives back what the index itself took. */
bool index_init(struct index *index, struct memory *memory, index_hash_of *hash_of,
                const void *context);
void index_deinit(struct index *index);

static inline uint64_t index_word(uint64_t hash, const void *entry, uint64_t kind) {
  return (hash & INDEX_TAG_MASK) | (uint64_t)(uintptr_t)entry | kind;
}
static inline void *index_address(uint64_t word) {
  return (void *)(uintptr_t)(word & INDEX_ADDRESS_MASK);
}

/* false when memory is short: then nothing has changed. */
bool index_insert(struct index *index, uint64_t hash, uint64_t word);
/* These two take a word that is there. */
void index_remove(struct index *index, uint64_t hash, uint64_t word);
void index_replace(struct index *index, uint64_t hash, uint64_t word, uint64_t by);

/* The words of one bucket and what is chained to it, one by one; 0 behind the last. */
struct index_walk {
  const struct index_bucket *bucket;
  unsigned at;
};
struct index_walk index_walk(const struct index *index, uint64_t hash);
static inline uint64_t index_next(struct index_walk *walk) {
  if (walk->at == INDEX_BUCKET_WORDS) return 0;
  uint64_t word = walk->bucket->words[walk->at++];
  if ((word & INDEX_KIND_MASK) != INDEX_LINK) return word;
  walk->bucket = index_address(word);
  walk->at = 1;
  return walk->bucket->words[0];
}

/* Of these only the words that may be of the hash; 0 behind the last. */
static inline uint64_t index_next_of(struct index_walk *walk, uint64_t hash) {
  const uint64_t *words = walk->bucket->words;
  unsigned at = walk->at;
  for (;;) {
    uint64_t word = 0;
    while (at < INDEX_BUCKET_WORDS) {
      word = words[at++];
      if (((word ^ hash) & INDEX_TAG_MASK) == 0 && word != 0 &&
          (word & INDEX_KIND_MASK) != INDEX_LINK) {
        walk->at = at;
        return word;
      }
    }
    word = words[INDEX_BUCKET_WORDS - 1];
    if ((word & INDEX_KIND_MASK) != INDEX_LINK) break;
    walk->bucket = index_address(word);
    words = walk->bucket->words;
    at = 0;
  }
  walk->at = INDEX_BUCKET_WORDS;
  return 0;
}

/* Fetch the bucket ahead of its use, and, once it is there, what is chained to it. */
void index_prefetch(const struct index *index, uint64_t hash);
void index_prefetch_chain(const struct index *index, uint64_t hash);

/* The bucket under a scan cursor; sets *next to the cursor behind it, 0 at the end. */
struct index_walk index_scan(const struct index *index, uint64_t cursor, uint64_t *next);

#endif
