/* index.c - see index.h. */
#include "server/engine/index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SEGMENTS 8u
#define SEGMENT_BYTES (INDEX_SEGMENT_BUCKETS * sizeof(struct index_bucket))
#define LAST (INDEX_BUCKET_WORDS - 1)

static bool is_link(uint64_t word) { return (word & INDEX_KIND_MASK) == INDEX_LINK; }

static struct index_bucket *next_of(const struct index_bucket *bucket) {
  return is_link(bucket->words[LAST]) ? index_address(bucket->words[LAST]) : NULL;
}

static uint64_t link_to(const struct index_bucket *bucket) {
  return index_word(0, bucket, INDEX_LINK);
}

static struct index_bucket *bucket_at(const struct index *index, size_t number) {
  return &index->segments[number / INDEX_SEGMENT_BUCKETS][number % INDEX_SEGMENT_BUCKETS];
}

static size_t number_of(const struct index *index, uint64_t hash) {
  size_t number = (size_t)hash & (2 * index->level - 1);
  return number < index->size ? number : number & (index->level - 1);
}

static struct index_bucket *bucket_of(const struct index *index, uint64_t hash) {
  return bucket_at(index, number_of(index, hash));
}

/* ---- memory ---- */

/* The list of segments, copied into room for so many. */
static bool list_segments(struct index *index, size_t room) {
  size_t had = index->segment_capacity;
  struct index_bucket **list = memory_take(index->memory, room * sizeof *list);
  if (list == NULL) return false;
  if (had != 0) memcpy(list, index->segments, index->segment_count * sizeof *list);
  memory_give(index->memory, index->segments, had * sizeof *list);
  index->segments = list;
  index->segment_capacity = room;
  return true;
}

static bool add_segment(struct index *index) {
  size_t had = index->segment_capacity, room = had != 0 ? had * 2 : FIRST_SEGMENTS;
  if (index->segment_count == had && !list_segments(index, room)) return false;
  struct index_bucket *segment =
      memory_take_aligned(index->memory, sizeof(struct index_bucket), SEGMENT_BYTES);
  if (segment == NULL) return false;
  memset(segment, 0, SEGMENT_BYTES);
  index->segments[index->segment_count++] = segment;
  return true;
}

static void drop_segment(struct index *index) {
  memory_give(index->memory, index->segments[--index->segment_count], SEGMENT_BYTES);
  size_t room = index->segment_capacity;
  if (room > FIRST_SEGMENTS && index->segment_count <= room / 4) list_segments(index, room / 2);
}

/* Buckets that are in no chain at the moment, linked like one. */
struct pool {
  struct index_bucket *first;
};

static bool pool_fill(struct index *index, struct pool *pool) {
  struct index_bucket *bucket = memory_take_aligned(index->memory, sizeof *bucket, sizeof *bucket);
  if (bucket == NULL) return false;
  *bucket = (struct index_bucket){.words = {[LAST] = pool->first ? link_to(pool->first) : 0}};
  pool->first = bucket;
  return true;
}

static struct index_bucket *pool_take(struct pool *pool) {
  struct index_bucket *bucket = pool->first;
  pool->first = next_of(bucket);
  *bucket = (struct index_bucket){{0}};
  return bucket;
}

static void pool_put(struct pool *pool, struct index_bucket *bucket) {
  bucket->words[LAST] = pool->first != NULL ? link_to(pool->first) : 0;
  pool->first = bucket;
}

static void give_bucket(struct index *index, struct index_bucket *bucket) {
  memory_give(index->memory, bucket, sizeof *bucket);
}

static void pool_empty(struct index *index, struct pool *pool) {
  while (pool->first != NULL) give_bucket(index, pool_take(pool));
}

/* ---- chains ---- */

/* Where words are added to a chain: kept over several additions, so that a long chain is not walked
 * for each of them. */
struct tail {
  struct index_bucket *bucket;
  unsigned used;
};

static struct tail tail_of(struct index_bucket *bucket) {
  for (struct index_bucket *next; (next = next_of(bucket)) != NULL;) bucket = next;
  unsigned used = 0;
  while (used < INDEX_BUCKET_WORDS && bucket->words[used] != 0) used++;
  return (struct tail){bucket, used};
}

/* The pool has a bucket when the tail is full. */
static void append(struct tail *tail, struct pool *pool, uint64_t word) {
  if (tail->used == INDEX_BUCKET_WORDS) {
    struct index_bucket *more = pool_take(pool);
    more->words[0] = tail->bucket->words[LAST];
    tail->bucket->words[LAST] = link_to(more);
    *tail = (struct tail){more, 1};
  }
  tail->bucket->words[tail->used++] = word;
}

/* Takes the words of a chain out, bucket by bucket, so that those behind the first can serve where
 * the words go: a chain never needs more buckets than it gave up before. */
struct drain {
  struct index_bucket words;
  unsigned at;
};

static void drain_bucket(struct drain *drain, const struct index_bucket *bucket) {
  drain->words = *bucket;
  drain->at = 0;
}

static uint64_t drain_next(struct drain *drain, struct pool *pool) {
  if (drain->at == INDEX_BUCKET_WORDS) return 0;
  uint64_t word = drain->words.words[drain->at++];
  if (!is_link(word)) return word;
  struct index_bucket *more = index_address(word);
  drain_bucket(drain, more);
  pool_put(pool, more);
  return drain->words.words[drain->at++];
}

static size_t chain_words(struct index_bucket *bucket) {
  size_t words = 0;
  for (struct index_bucket *next; (next = next_of(bucket)) != NULL; bucket = next) words += LAST;
  return words + tail_of(bucket).used;
}

/* The buckets behind the first that a chain of so many words has. */
static size_t buckets_behind(size_t words) {
  return words <= INDEX_BUCKET_WORDS ? 0 : (words - 1 + LAST - 1) / LAST - 1;
}

/* ---- growing and shrinking ---- */

/* Fetches the entries of a chain: a split reads them all. */
static void prefetch_entries(const struct index_bucket *bucket) {
  struct index_walk walk = {bucket, 0};
  for (uint64_t word; (word = index_next(&walk)) != 0;) __builtin_prefetch(index_address(word));
}

/* Adds one bucket and moves to it what belongs there from the one that it is split off. */
static void grow(struct index *index) {
  size_t added = index->size;
  if (added == index->segment_count * INDEX_SEGMENT_BUCKETS && !add_segment(index)) return;
  struct index_bucket *from = bucket_at(index, added & (index->level - 1));
  uint64_t bit = index->level;
  index->size++;
  if (index->size == 2 * index->level) index->level = index->size;
  struct tail stay = {from, 0}, go = {bucket_at(index, added), 0};
  struct pool pool = {NULL};
  struct drain drain;
  drain_bucket(&drain, from);
  *from = (struct index_bucket){{0}};
  for (uint64_t word; (word = drain_next(&drain, &pool)) != 0;) {
    bool goes = (index->hash_of(index->context, word) & bit) != 0;
    append(goes ? &go : &stay, &pool, word);
  }
  pool_empty(index, &pool);
}

/* Takes away the last bucket: its words go back to the bucket that it was split off. */
static void shrink(struct index *index) {
  if (index->size == INDEX_SEGMENT_BUCKETS) return;
  size_t level = index->size == index->level ? index->level / 2 : index->level;
  size_t dropped = index->size - 1;
  struct index_bucket *from = bucket_at(index, dropped),
                      *to = bucket_at(index, dropped & (level - 1));
  size_t have = chain_words(from), joined = have + chain_words(to);
  size_t more = buckets_behind(joined) - buckets_behind(joined - have);
  size_t freed = buckets_behind(have);
  /* One at least, if any is needed: it may be needed before the first is free. */
  size_t fill = more > freed ? more - freed : more > 0 ? 1 : 0;
  struct pool pool = {NULL};
  for (; fill > 0; fill--) {
    if (!pool_fill(index, &pool)) { /* it stays as large as it is */
      pool_empty(index, &pool);
      return;
    }
  }
  index->level = level;
  index->size = dropped;
  struct tail tail = tail_of(to);
  struct drain drain;
  drain_bucket(&drain, from);
  *from = (struct index_bucket){{0}};
  for (uint64_t word; (word = drain_next(&drain, &pool)) != 0;) append(&tail, &pool, word);
  pool_empty(index, &pool);
  /* One empty segment is kept, so that an index that breathes at its edge does not allocate at
   * every breath. */
  if (index->segment_count * INDEX_SEGMENT_BUCKETS >= dropped + 2 * INDEX_SEGMENT_BUCKETS)
    drop_segment(index);
}

/* A split reads one bucket and every entry in it, none of which anybody has asked for: they are
 * fetched some insertions before, the bucket first. */
static void prefetch_split(const struct index *index) {
  size_t until = index->size * INDEX_LOAD - index->count;
  const struct index_bucket *from = bucket_at(index, index->size & (index->level - 1));
  if (until == INDEX_LOAD - 1) __builtin_prefetch(from);
  if (until == INDEX_LOAD / 2) prefetch_entries(from);
}

/* ---- use ---- */

bool index_init(struct index *index, struct memory *memory, index_hash_of *hash_of,
                const void *context) {
  *index = (struct index){
      .memory = memory,
      .hash_of = hash_of,
      .context = context,
      .size = INDEX_SEGMENT_BUCKETS,
      .level = INDEX_SEGMENT_BUCKETS,
  };
  if (add_segment(index)) return true;
  index_deinit(index);
  return false;
}

void index_deinit(struct index *index) {
  for (size_t i = 0; index->segment_count > 0 && i < index->size; i++) {
    for (struct index_bucket *b = next_of(bucket_at(index, i)), *next; b != NULL; b = next) {
      next = next_of(b);
      give_bucket(index, b);
    }
  }
  while (index->segment_count > 0) drop_segment(index);
  memory_give(index->memory, index->segments, index->segment_capacity * sizeof *index->segments);
  *index = (struct index){0};
}

bool index_insert(struct index *index, uint64_t hash, uint64_t word) {
  assert(word != 0 && !is_link(word));
  struct tail tail = tail_of(bucket_of(index, hash));
  struct pool pool = {NULL};
  if (tail.used == INDEX_BUCKET_WORDS && !pool_fill(index, &pool)) return false;
  append(&tail, &pool, word);
  if (++index->count > index->size * INDEX_LOAD) {
    grow(index);
  } else {
    prefetch_split(index);
  }
  return true;
}

/* Where the word stands. *before: the bucket that leads to that bucket, NULL when it is the first.
 */
static uint64_t *place_of(struct index_bucket *bucket, uint64_t word) {
  for (;;) {
    for (unsigned i = 0; i < INDEX_BUCKET_WORDS; i++) {
      if (bucket->words[i] == word) return &bucket->words[i];
    }
    bucket = next_of(bucket);
    assert(bucket != NULL);
  }
}

/* Takes the last word of a chain out. */
static uint64_t take_last(struct index *index, struct index_bucket *bucket) {
  struct index_bucket *before = NULL;
  for (struct index_bucket *next; (next = next_of(bucket)) != NULL; bucket = next) before = bucket;
  unsigned used = tail_of(bucket).used;
  uint64_t word = bucket->words[used - 1];
  bucket->words[used - 1] = 0;
  if (before != NULL && used == 2) { /* the one that is left fits where the link is */
    before->words[LAST] = bucket->words[0];
    give_bucket(index, bucket);
  }
  return word;
}

/* Below half load the index gives back two buckets for each word that leaves, so that it empties
 * with its entries; when it is empty it is as it was at first. */
void index_remove(struct index *index, uint64_t hash, uint64_t word) {
  struct index_bucket *bucket = bucket_of(index, hash);
  uint64_t last = take_last(index, bucket);
  if (last != word) *place_of(bucket, word) = last;
  --index->count;
  for (int i = 0; i < 2 && index->count < index->size * INDEX_LOAD / 2; i++) shrink(index);
  bool spare = index->size <= (index->segment_count - 1) * INDEX_SEGMENT_BUCKETS;
  if (index->count == 0 && spare) drop_segment(index);
}

void index_replace(struct index *index, uint64_t hash, uint64_t word, uint64_t by) {
  *place_of(bucket_of(index, hash), word) = by;
}

struct index_walk index_walk(const struct index *index, uint64_t hash) {
  return (struct index_walk){bucket_of(index, hash), 0};
}

void index_prefetch(const struct index *index, uint64_t hash) {
  __builtin_prefetch(bucket_of(index, hash));
}

void index_prefetch_chain(const struct index *index, uint64_t hash) {
  uint64_t last = bucket_of(index, hash)->words[LAST];
  if (is_link(last)) __builtin_prefetch(index_address(last));
}

/* ---- scans ---- */

static uint64_t reverse_bits(uint64_t v) {
  v = (v >> 1 & UINT64_C(0x5555555555555555)) | (v & UINT64_C(0x5555555555555555)) << 1;
  v = (v >> 2 & UINT64_C(0x3333333333333333)) | (v & UINT64_C(0x3333333333333333)) << 2;
  v = (v >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f)) | (v & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4;
  return __builtin_bswap64(v);
}

struct index_walk index_scan(const struct index *index, uint64_t cursor, uint64_t *next) {
  uint64_t hash = reverse_bits(cursor << (64 - INDEX_CURSOR_BITS));
  size_t number = number_of(index, hash);
  /* A bucket that is split already, and its other half, stand for twice level buckets; the rest for
   * level. */
  bool split = number >= index->level || (number | index->level) < index->size;
  unsigned bits = (unsigned)__builtin_ctzll(index->level) + (split ? 1 : 0);
  uint64_t interval = UINT64_C(1) << (INDEX_CURSOR_BITS - bits);
  uint64_t behind = (cursor & ~(interval - 1)) + interval;
  *next = behind >> INDEX_CURSOR_BITS != 0 ? 0 : behind;
  return (struct index_walk){bucket_at(index, number), 0};
}
