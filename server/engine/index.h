/*
 * index.h - maps the hash of a key to the address of its entry: linear hashing over buckets of one
 * cache line, which grows and shrinks one bucket at a time.
 *
 *     bucket   [word][word][word][word][word][word][word or link] [7 bytes of hashes] [used]
 *     word     63..48 bits 31..16 of the hash   47..2 address   1..0 kind of the entry
 *     link     --> a bucket of 7 more
 *
 * The bytes beside the words hold bits 15..8 of their hashes, and bits 7..0 never differ within a
 * bucket. So the low half of every hash is known here, and a split or a merge reads no entry: that
 * would be six misses for each insertion, which cost more than the rest of the insertion. The price
 * is one byte per key. The more buckets there are, the more bits of a tag they share: with 10
 * million keys 11 bits are left to tell keys apart, so that one lookup in 300 reads an entry in
 * vain.
 *
 * Buckets 0 .. size-1 lie in segments; `level` is the largest power of two <= size; a hash belongs
 * to bucket h mod 2*level when there is one, else to h mod level. So no call touches more than two
 * buckets besides its own, and there is never a second table (see table.h, which does the same with
 * chains of nodes). Nothing that grows with the index is ever copied or cleared at once: each
 * doubling comes in 2^INDEX_STEP_BITS segments, and a bucket is cleared when it is first used.
 *
 *     64 segments of 256 buckets, 32 of 512, 32 of 1024, ... and from there on of 2 MiB each
 *
 * The segments' addresses are in one array of fixed length, so that finding a bucket takes a few
 * instructions and two loads: each command does it four times.
 *
 * Scans go in the order of the reversed bits of the hash: in it a bucket is an interval, which a
 * split cuts and a merge joins, so a cursor stays right however the index changes.
 *
 * A word in the first bucket of a chain is removed without a look at the rest of the chain. So that
 * bucket may have free places: the next insertions fill them, or words from the chain do when few
 * are left.
 *
 * The load is what decides between bytes and chains. Over all sizes, with 5 words a bucket a word
 * takes 15.2 bytes and a lookup 1.12 buckets (at worst 15.5 and 1.14), with 6 it is 13.9 bytes and
 * 1.19 (14.2 and 1.21). Of the words that end in groups 23 in 100 need more than the first bucket
 * instead of 31, and mass expiry took 44 to 48 instead of 50 to 52 ns a key; replay hardly gains,
 * since chains are prefetched.
 *
 * Invariants: the words of a bucket are at its front; in a chain all buckets but the first and the
 * last are full; the last bucket of a chain of several has at least two words. Addresses are below
 * 2^48 and multiples of 4. Only the low 32 bits of a hash are used (scans: CURSOR_BITS), so the
 * others may choose between several indexes.
 */
#ifndef IDEM_SERVER_ENGINE_INDEX_H
#define IDEM_SERVER_ENGINE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/engine/cursor.h"
#include "server/engine/memory.h"

#define INDEX_BUCKET_WORDS 7u
#define INDEX_FIRST_BITS 8
#define INDEX_FIRST_BUCKETS (1u << INDEX_FIRST_BITS) /* 16 KiB */
#define INDEX_STEP_BITS 5
#define INDEX_LARGEST_BITS 15 /* of a segment: 2 MiB, a huge page, see regions.h */
#define INDEX_MOST_BITS 26    /* of the index: 400 million words; with more, the chains grow */
#define INDEX_LOAD 5u         /* words per bucket, on average */
#define INDEX_LEAST_LOAD 4u   /* buckets are given back below it */
/* The large ones, and 2^STEP for each doubling before. */
#define INDEX_SEGMENTS                              \
  ((1u << (INDEX_MOST_BITS - INDEX_LARGEST_BITS)) + \
   ((INDEX_LARGEST_BITS - INDEX_FIRST_BITS) << INDEX_STEP_BITS))

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
  size_t size, level, count;
  size_t capacity; /* buckets that the segments have */
  struct index_bucket *segments[INDEX_SEGMENTS];
};

/* false when memory is short. deinit frees what the index itself took. */
bool index_init(struct index *index, struct memory *memory);
void index_deinit(struct index *index);

static inline uint64_t index_word(uint64_t hash, const void *entry, uint64_t kind) {
  return (hash << 32 & INDEX_TAG_MASK) | (uint64_t)(uintptr_t)entry | kind;
}
static inline void *index_address(uint64_t word) {
  return (void *)(uintptr_t)(word & INDEX_ADDRESS_MASK);
}

/* false when memory is short: then nothing has changed. */
bool index_insert(struct index *index, uint64_t hash, uint64_t word);
/* The word has to be in the index. */
void index_remove(struct index *index, uint64_t hash, uint64_t word);
void index_replace(struct index *index, uint64_t hash, uint64_t word, uint64_t by);

/* Words that are removed together: first their buckets are fetched, then, once they are cached, the
 * words are removed. */
#define INDEX_GROUP 64u
struct index_group {
  size_t count, size; /* size: of the index as `buckets` were found */
  uint64_t hashes[INDEX_GROUP], words[INDEX_GROUP];
  struct index_bucket *buckets[INDEX_GROUP]; /* index_fetch_group's */
};
void index_fetch_group(const struct index *index, struct index_group *group);
void index_remove_group(struct index *index, struct index_group *group);

/* ---- where a bucket lies ---- */

/* Segments of 2^bits buckets begin at 2^(bits + STEP) buckets; the first ones have the size of the
 * next. */
static inline unsigned index_segment_bits(size_t number) {
  const uint64_t first_doubling = (UINT64_C(2) << (INDEX_FIRST_BITS + INDEX_STEP_BITS)) - 1;
  unsigned bits = (63u ^ (unsigned)__builtin_clzll(number | first_doubling)) - INDEX_STEP_BITS;
  return bits < INDEX_LARGEST_BITS ? bits : INDEX_LARGEST_BITS;
}

static inline size_t index_segment_at(size_t number, unsigned bits) {
  return (number >> bits) + ((size_t)(bits - INDEX_FIRST_BITS) << INDEX_STEP_BITS);
}

static inline struct index_bucket *index_bucket_at(const struct index *index, size_t number) {
  unsigned bits = index_segment_bits(number);
  size_t within = number & (((size_t)1 << bits) - 1);
  return index->segments[index_segment_at(number, bits)] + within;
}

/* Less than the size or less than the level. */
static inline size_t index_number_in(size_t size, size_t level, uint64_t hash) {
  size_t number = (size_t)hash & (2 * level - 1);
  /* Written without a branch, which would be mispredicted half the time. */
  size_t there = 0 - (size_t)(number < size);
  return number & ((level - 1) | there);
}

static inline size_t index_number_of(const struct index *index, uint64_t hash) {
  return index_number_in(index->size, index->level, hash);
}

static inline struct index_bucket *index_bucket_of(const struct index *index, uint64_t hash) {
  return index_bucket_at(index, index_number_of(index, hash));
}

/* ---- for a thread that does not hold the index, while another one changes it ---- */

/*
 * Only where a bucket lies is read, not the bucket, and an address is fetched that may be none any
 * more, which does nothing. What is read is a size, a level and the address of a segment, each of
 * some moment; whatever they are, the number of the bucket is less than one of both and the segment
 * is one of those in the array. They are changed with INDEX_PUBLISH.
 */
#define INDEX_SEEN(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define INDEX_PUBLISH(field, value) __atomic_store_n(&(field), value, __ATOMIC_RELAXED)

static inline size_t index_size_seen(const struct index *index) { return INDEX_SEEN(index->size); }

/* Prefetches the bucket. */
static inline void index_prefetch(const struct index *index, uint64_t hash) {
  size_t number = index_number_in(INDEX_SEEN(index->size), INDEX_SEEN(index->level), hash);
  unsigned bits = index_segment_bits(number);
  struct index_bucket *segment = INDEX_SEEN(index->segments[index_segment_at(number, bits)]);
  uintptr_t within = number & (((size_t)1 << bits) - 1);
  __builtin_prefetch((const void *)((uintptr_t)segment + within * sizeof *segment));
}

/* ---- what stands in it ---- */

static inline bool index_is_link(uint64_t word) { return (word & INDEX_KIND_MASK) == INDEX_LINK; }

static inline struct index_bucket *index_behind(const struct index_bucket *bucket) {
  uint64_t last = bucket->words[INDEX_BUCKET_WORDS - 1];
  return index_is_link(last) ? index_address(last) : NULL;
}

/* The words of one bucket and what is chained to it, one by one; 0 after the last. */
struct index_walk {
  const struct index_bucket *bucket;
  unsigned at;
};
static inline uint64_t index_next(struct index_walk *walk) {
  while (walk->at < INDEX_BUCKET_WORDS) {
    uint64_t word = walk->bucket->words[walk->at++];
    if (index_is_link(word)) {
      *walk = (struct index_walk){index_address(word), 0};
    } else if (word != 0) {
      return word;
    }
  }
  return 0;
}

/* Like it, but only the words that may be of the hash; 0 after the last. */
struct index_search {
  const struct index_bucket *bucket;
  uint64_t hash;
  unsigned same; /* a bit for each word of the bucket with the hash's tag that is still to come */
};

typedef uint16_t index_lanes __attribute__((vector_size(16), may_alias));

/* All are compared, because where the word stands cannot be predicted: in the compiler's vectors,
 * two words at a time, of which the last 16 bits are the tag. The place of an eighth word has the
 * bytes of hashes. */
static inline unsigned index_same(const struct index_bucket *bucket, uint64_t hash) {
  const index_lanes *pairs = (const void *)bucket;
  const index_lanes bits = {0, 0, 0, 1, 0, 0, 0, 2};
  uint16_t tag = (uint16_t)(hash >> 16);
  index_lanes same = ((pairs[0] == tag) & bits) | ((pairs[1] == tag) & (bits << 2)) |
                     ((pairs[2] == tag) & (bits << 4)) | ((pairs[3] == tag) & (bits << 6));
  return (same[3] | same[7]) & ((1u << INDEX_BUCKET_WORDS) - 1);
}

static inline struct index_search index_search(const struct index *index, uint64_t hash) {
  const struct index_bucket *bucket = index_bucket_of(index, hash);
  return (struct index_search){bucket, hash, index_same(bucket, hash)};
}

/* In the bucket itself. */
static inline uint64_t index_next_here(struct index_search *search) {
  while (search->same != 0) {
    uint64_t word = search->bucket->words[__builtin_ctz(search->same)];
    search->same &= search->same - 1;
    if (word != 0 && !index_is_link(word)) return word; /* those have the tag 0 */
  }
  return 0;
}

static inline uint64_t index_next_of(struct index_search *search) {
  for (;;) {
    uint64_t word = index_next_here(search);
    if (word != 0) return word;
    search->bucket = index_behind(search->bucket);
    if (search->bucket == NULL) return 0;
    search->same = index_same(search->bucket, search->hash);
  }
}

/* ---- scans ---- */

/* The bucket under a scan cursor; sets *next to the cursor after it, 0 at the end. */
struct index_walk index_scan(const struct index *index, uint64_t cursor, uint64_t *next);

#endif
