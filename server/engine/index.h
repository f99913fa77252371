/*
 * index.h - from the hash of a key to where its entry lies: linear hashing over buckets of one
 * cache line, which grows and shrinks one bucket at a time.
 *
 *     bucket   [word][word][word][word][word][word][word or link] [7 bytes of hashes] [used]
 *     word     63..48 bits 31..16 of the hash   47..2 address   1..0 kind of the entry
 *     link     --> a bucket of 7 more
 *
 * The bytes beside the words hold bits 15..8 of their hashes, and bits 7..0 never differ within a
 * bucket. So the low half of every hash is known here, and a split or a merge reads no entry: that
 * would be six misses for each insertion, which cost more than all the rest of it. The price is one
 * byte a key. The more buckets there are, the more bits of a tag they share: with 10 million keys
 * 11 bits are left to tell keys apart, so that one lookup in 300 reads an entry in vain.
 *
 * Buckets 0 .. size-1 lie in segments; `level` is the largest power of two <= size; a hash belongs
 * to bucket h mod 2*level when there is one, else to h mod level. So no call touches more than two
 * buckets beside its own, and there is never a second table (see table.h, which does the same with
 * chains of nodes). Nothing that grows with the index is ever copied or cleared at once: a row has
 * as many buckets as all before it together, in at most 2^INDEX_ROW_BITS segments until those have
 * 2^INDEX_SEGMENT_BITS buckets, and a bucket is cleared when it is first used:
 *
 *     row 0 [256 buckets]   row 1 [256]   row 2 [256][256] ...   row 7 [512][512]... 32 of them
 *
 * Scans go in the order of the reversed bits of the hash: in it a bucket is an interval, which a
 * split cuts and a merge joins, so a cursor stays right however the index changes.
 *
 * A word leaves without a look at what is chained to its bucket, if it stands in the bucket itself:
 * so the first bucket of a chain may have free places, which the next insertions fill, or else the
 * chain when few words are left in front.
 *
 * Invariants: the words of a bucket are in front; in a chain all but the first bucket and the last
 * are full; the last bucket of a chain of several has at least two words. Addresses are below 2^48
 * and multiples of 4. Only the low INDEX_HASH_BITS of a hash are looked at (scans:
 * INDEX_CURSOR_BITS), so the others may choose between several indexes.
 */
#ifndef IDEM_SERVER_ENGINE_INDEX_H
#define IDEM_SERVER_ENGINE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/engine/memory.h"

#define INDEX_BUCKET_WORDS 7u
#define INDEX_FIRST_BITS 8
#define INDEX_FIRST_BUCKETS (1u << INDEX_FIRST_BITS) /* 16 KiB */
#define INDEX_ROW_BITS 5
#define INDEX_SEGMENT_BITS 15 /* at most 2 MiB, which is a huge page: see regions.h */
#define INDEX_LOAD 6u         /* words per bucket, in the mean */
/* With six above that choose a shard 53 bits: clients may keep cursors in doubles. */
#define INDEX_CURSOR_BITS 47
#define INDEX_HASH_BITS 32
#define INDEX_ROWS (INDEX_HASH_BITS - INDEX_FIRST_BITS + 1) /* 2^32 buckets in all */

#define INDEX_KIND_MASK UINT64_C(3)
#define INDEX_LINK UINT64_C(3) /* the kind of a link; 0, 1 and 2 are the caller's */
#define INDEX_TAG_MASK (~UINT64_C(0) << 48)
#define INDEX_ADDRESS_MASK (~(INDEX_TAG_MASK | INDEX_KIND_MASK))

struct index_bucket {
  _Alignas(64) uint64_t words[INDEX_BUCKET_WORDS]; /* 0: free */
  uint8_t hashes[INDEX_BUCKET_WORDS];
  uint8_t used; /* words, a link among them */
};

struct index {
  struct memory *memory;
  struct index_bucket **rows[INDEX_ROWS]; /* of segments */
  size_t capacity;                        /* buckets that there is memory for */
  size_t size, level, count;
};

/* false when memory is short. deinit gives back what the index itself took. */
bool index_init(struct index *index, struct memory *memory);
void index_deinit(struct index *index);

static inline uint64_t index_word(uint64_t hash, const void *entry, uint64_t kind) {
  return (hash << 32 & INDEX_TAG_MASK) | (uint64_t)(uintptr_t)entry | kind;
}
/* Whether a word of the hash's bucket may be the hash's. */
static inline bool index_matches(uint64_t word, uint64_t hash) {
  return ((word ^ hash << 32) & INDEX_TAG_MASK) == 0;
}
static inline void *index_address(uint64_t word) {
  return (void *)(uintptr_t)(word & INDEX_ADDRESS_MASK);
}

/* false when memory is short: then nothing has changed. */
bool index_insert(struct index *index, uint64_t hash, uint64_t word);
/* These two take a word that is there. */
void index_remove(struct index *index, uint64_t hash, uint64_t word);
void index_replace(struct index *index, uint64_t hash, uint64_t word, uint64_t by);

/* Words that leave together: first fetched, then, when they are there, removed. */
#define INDEX_GROUP 64u
struct index_group {
  size_t count, size; /* size: of the index as `buckets` were found */
  uint64_t hashes[INDEX_GROUP], words[INDEX_GROUP];
  struct index_bucket *buckets[INDEX_GROUP]; /* index_fetch_group's */
};
void index_fetch_group(const struct index *index, struct index_group *group);
void index_remove_group(struct index *index, struct index_group *group);

/* The words of one bucket and what is chained to it, one by one; 0 behind the last. */
struct index_walk {
  const struct index_bucket *bucket;
  unsigned at;
};
struct index_walk index_walk(const struct index *index, uint64_t hash);
static inline uint64_t index_next(struct index_walk *walk) {
  while (walk->at < INDEX_BUCKET_WORDS) {
    uint64_t word = walk->bucket->words[walk->at++];
    if ((word & INDEX_KIND_MASK) == INDEX_LINK) {
      *walk = (struct index_walk){index_address(word), 0};
    } else if (word != 0) {
      return word;
    }
  }
  return 0;
}

/* Of these only the words that may be of the hash; 0 behind the last. */
static inline uint64_t index_next_of(struct index_walk *walk, uint64_t hash) {
  const uint64_t *words = walk->bucket->words;
  unsigned at = walk->at;
  for (;;) {
    uint64_t word = 0;
    while (at < INDEX_BUCKET_WORDS) {
      word = words[at++];
      if (index_matches(word, hash) && word != 0 && (word & INDEX_KIND_MASK) != INDEX_LINK) {
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

/* Fetches the bucket ahead of its use. */
void index_prefetch(const struct index *index, uint64_t hash);

/* The bucket under a scan cursor; sets *next to the cursor behind it, 0 at the end. */
struct index_walk index_scan(const struct index *index, uint64_t cursor, uint64_t *next);

#endif
