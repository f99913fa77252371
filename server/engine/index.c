/* index.c - see index.h. */
#include "server/engine/index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LAST (INDEX_BUCKET_WORDS - 1)
#define MAX_BUCKETS ((size_t)1 << INDEX_MOST_BITS)

_Static_assert(sizeof(struct index_bucket) == 64, "a bucket is a cache line");
_Static_assert(INDEX_FIRST_BUCKETS == 256, "bits 7..0 of a hash are the same within a bucket");

static uint64_t link_to(const struct index_bucket *bucket) {
  return index_word(0, bucket, INDEX_LINK);
}

/* Without the link; they come first in the bucket. Without a branch, which could not be predicted.
 */
static unsigned items_in(const struct index_bucket *bucket) {
  return bucket->used - (unsigned)index_is_link(bucket->words[LAST]);
}

static bool is_full(const struct index_bucket *bucket) {
  return bucket->used == INDEX_BUCKET_WORDS;
}

/* ---- memory ---- */

static size_t segment_bytes(unsigned bits) { return sizeof(struct index_bucket) << bits; }

/* A bucket is cleared when it is first used, so that no call writes more than it needs. */
static bool add_segment(struct index *index) {
  unsigned bits = index_segment_bits(index->capacity);
  struct index_bucket *segment =
      memory_take_aligned(index->memory, sizeof *segment, segment_bytes(bits), MEMORY_KIN_INDEX);
  if (segment == NULL) return false;
  INDEX_PUBLISH(index->segments[index_segment_at(index->capacity, bits)], segment);
  index->capacity += (size_t)1 << bits;
  return true;
}

static size_t last_segment_buckets(const struct index *index) {
  return (size_t)1 << index_segment_bits(index->capacity - 1);
}

static void drop_segment(struct index *index) {
  unsigned bits = index_segment_bits(index->capacity - 1);
  index->capacity -= (size_t)1 << bits;
  struct index_bucket **segment = &index->segments[index_segment_at(index->capacity, bits)];
  memory_give_aligned(index->memory, *segment, segment_bytes(bits));
  INDEX_PUBLISH(*segment, NULL);
}

/* Buckets that are in no chain at the moment, linked like one. */
struct pool {
  struct index_bucket *first;
};

static bool pool_fill(struct index *index, struct pool *pool) {
  struct index_bucket *bucket =
      memory_take_aligned(index->memory, sizeof *bucket, sizeof *bucket, MEMORY_KIN_INDEX);
  if (bucket == NULL) return false;
  bucket->words[LAST] = pool->first != NULL ? link_to(pool->first) : 0;
  pool->first = bucket;
  return true;
}

static struct index_bucket *pool_take(struct pool *pool) {
  struct index_bucket *bucket = pool->first;
  pool->first = index_behind(bucket);
  *bucket = (struct index_bucket){.used = 0};
  return bucket;
}

static void pool_put(struct pool *pool, struct index_bucket *bucket) {
  bucket->words[LAST] = pool->first != NULL ? link_to(pool->first) : 0;
  pool->first = bucket;
}

static void give_bucket(struct index *index, struct index_bucket *bucket) {
  memory_give_aligned(index->memory, bucket, sizeof *bucket);
}

static void pool_empty(struct index *index, struct pool *pool) {
  while (pool->first != NULL) give_bucket(index, pool_take(pool));
}

/* ---- chains ---- */

/* A word with its byte of hash. */
struct item {
  uint64_t word;
  uint8_t hash;
};

static struct item item_of(uint64_t hash, uint64_t word) {
  return (struct item){word, (uint8_t)(hash >> 8)};
}

/* The known bits of an item's hash: all of the low half except bits 7..0. */
static uint64_t hash_of(struct item item) {
  return (item.word & INDEX_TAG_MASK) >> 32 | (uint64_t)item.hash << 8;
}

static struct index_bucket *tail_of(struct index_bucket *bucket) {
  for (struct index_bucket *next; (next = index_behind(bucket)) != NULL;) bucket = next;
  return bucket;
}

static void put(struct index_bucket *bucket, struct item item) {
  unsigned at = items_in(bucket);
  bucket->words[at] = item.word;
  bucket->hashes[at] = item.hash;
  bucket->used++;
}

/* Chains one more bucket to a full tail, and moves the item there whose place the link takes. */
static __attribute__((noinline)) struct index_bucket *lengthen(struct index_bucket *tail,
                                                               struct pool *pool) {
  struct index_bucket *more = pool_take(pool);
  put(more, (struct item){tail->words[LAST], tail->hashes[LAST]});
  tail->words[LAST] = link_to(more);
  return more;
}

/* Adds to a chain whose last bucket is *tail. The pool has a bucket when that is full. */
static inline void append(struct index_bucket **tail, struct pool *pool, struct item item) {
  if (is_full(*tail)) *tail = lengthen(*tail, pool);
  struct index_bucket *bucket = *tail;
  unsigned at = bucket->used; /* a tail has no link */
  bucket->words[at] = item.word;
  bucket->hashes[at] = item.hash;
  bucket->used = (uint8_t)(at + 1);
}

/* Takes the items of a chain out, bucket by bucket, so that the chained buckets can be reused where
 * the items go: that never needs more buckets than were taken out before. */
struct drain {
  struct index_bucket from;
  unsigned items, at;
};

static void drain_bucket(struct drain *drain, struct index_bucket *bucket) {
  drain->from = *bucket;
  drain->items = items_in(bucket);
  drain->at = 0;
}

static bool drain_behind(struct drain *drain, struct pool *pool) {
  struct index_bucket *more = index_behind(&drain->from);
  if (more == NULL) return false;
  drain_bucket(drain, more);
  pool_put(pool, more);
  return true;
}

static inline bool drain_next(struct drain *drain, struct pool *pool, struct item *item) {
  if (drain->at == drain->items && !drain_behind(drain, pool)) return false;
  *item = (struct item){drain->from.words[drain->at], drain->from.hashes[drain->at]};
  drain->at++;
  return true;
}

struct chain {
  struct index_bucket *tail;
  size_t items, behind; /* behind: buckets after the first */
};

static struct chain chain_of(struct index_bucket *bucket) {
  struct chain chain = {bucket, items_in(bucket), 0};
  for (struct index_bucket *next; (next = index_behind(chain.tail)) != NULL; chain.behind++) {
    chain.tail = next;
    chain.items += items_in(next);
  }
  return chain;
}

/* How many buckets after the first so many words need. */
static size_t buckets_behind(size_t words) {
  return words <= INDEX_BUCKET_WORDS ? 0 : (words - 1 + LAST - 1) / LAST - 1;
}

/* ---- growing and shrinking ---- */

/* Adds one bucket and moves to it the words that belong there, all from the bucket that is
 * split. */
static __attribute__((noinline)) void grow(struct index *index) {
  size_t added = index->size;
  if (added == MAX_BUCKETS) return;
  if (added == index->capacity && !add_segment(index)) return;
  struct index_bucket *from = index_bucket_at(index, added & (index->level - 1));
  unsigned bit = (unsigned)__builtin_ctzll(index->level);
  INDEX_PUBLISH(index->size, added + 1);
  if (index->size == 2 * index->level) INDEX_PUBLISH(index->level, index->size);
  struct index_bucket *go = index_bucket_at(index, added);
  *go = (struct index_bucket){.used = 0};
  /* Indexed rather than branched on: which of the two it is cannot be predicted. */
  struct index_bucket *tails[] = {from, go};
  struct pool pool = {NULL};
  struct drain drain;
  drain_bucket(&drain, from);
  *from = (struct index_bucket){.used = 0};
  for (struct item item; drain_next(&drain, &pool, &item);)
    append(&tails[hash_of(item) >> bit & 1], &pool, item);
  pool_empty(index, &pool);
}

/* Removes the last bucket: its words go back to the bucket that it was split from. */
static void shrink(struct index *index) {
  if (index->size == INDEX_FIRST_BUCKETS) return;
  size_t level = index->size == index->level ? index->level / 2 : index->level;
  size_t dropped = index->size - 1;
  struct index_bucket *from = index_bucket_at(index, dropped),
                      *to = index_bucket_at(index, dropped & (level - 1));
  struct chain gone = chain_of(from), stays = chain_of(to);
  size_t needed = buckets_behind(gone.items + stays.items), freed = gone.behind;
  size_t more = needed > stays.behind ? needed - stays.behind : 0;
  /* At least one, if any is needed: it may be needed before the first one is freed. */
  size_t fill = more > freed ? more - freed : more > 0 ? 1 : 0;
  struct pool pool = {NULL};
  for (; fill > 0; fill--) {
    if (!pool_fill(index, &pool)) { /* no memory: the index keeps its size */
      pool_empty(index, &pool);
      return;
    }
  }
  INDEX_PUBLISH(index->level, level);
  INDEX_PUBLISH(index->size, dropped);
  struct drain drain;
  drain_bucket(&drain, from);
  *from = (struct index_bucket){.used = 0};
  for (struct item item; drain_next(&drain, &pool, &item);) {
    if (is_full(to)) {
      append(&stays.tail, &pool, item);
    } else {
      put(to, item);
    }
  }
  pool_empty(index, &pool);
  /* Not directly at the last segment's edge, so that an index whose size varies there does not
   * allocate each time. */
  if (index->capacity - last_segment_buckets(index) >= dropped + INDEX_FIRST_BUCKETS)
    drop_segment(index);
}

/* ---- use ---- */

bool index_init(struct index *index, struct memory *memory) {
  *index = (struct index){
      .memory = memory,
      .size = INDEX_FIRST_BUCKETS,
      .level = INDEX_FIRST_BUCKETS,
  };
  if (!add_segment(index)) return false;
  memset(index_bucket_at(index, 0), 0, segment_bytes(INDEX_FIRST_BITS));
  return true;
}

void index_deinit(struct index *index) {
  for (size_t i = 0; index->capacity > 0 && i < index->size; i++) {
    for (struct index_bucket *b = index_behind(index_bucket_at(index, i)), *next; b != NULL;
         b = next) {
      next = index_behind(b);
      give_bucket(index, b);
    }
  }
  while (index->capacity > 0) drop_segment(index);
  *index = (struct index){0};
}

bool index_insert(struct index *index, uint64_t hash, uint64_t word) {
  assert(word != 0 && !index_is_link(word));
  struct index_bucket *bucket = index_bucket_of(index, hash);
  if (!is_full(bucket)) {
    put(bucket, item_of(hash, word));
  } else {
    struct index_bucket *tail = tail_of(bucket);
    struct pool pool = {NULL};
    if (is_full(tail) && !pool_fill(index, &pool)) return false;
    append(&tail, &pool, item_of(hash, word));
  }
  if (++index->count > index->size * INDEX_LOAD) grow(index);
  return true;
}

#define NOWHERE INDEX_BUCKET_WORDS

/* The place of a word in a bucket, or NOWHERE. Another word rarely has the same tag. */
static inline unsigned place_in(const struct index_bucket *bucket, uint64_t word) {
  for (unsigned same = index_same(bucket, word >> 32); same != 0; same &= same - 1) {
    unsigned at = (unsigned)__builtin_ctz(same);
    if (bucket->words[at] == word) return at;
  }
  return NOWHERE;
}

static struct index_bucket *bucket_with(struct index_bucket *bucket, uint64_t word, unsigned *at) {
  while ((*at = place_in(bucket, word)) == NOWHERE) {
    bucket = index_behind(bucket);
    assert(bucket != NULL);
  }
  return bucket;
}

/* Takes one word out; the last one moves to its place. */
static inline void take_at(struct index_bucket *bucket, unsigned at) {
  unsigned last = items_in(bucket) - 1;
  bucket->words[at] = bucket->words[last];
  bucket->hashes[at] = bucket->hashes[last];
  bucket->words[last] = 0;
  bucket->used--;
}

/* The last two buckets of a chain of several. */
struct end {
  struct index_bucket *before, *tail;
};

static struct end end_of(struct index_bucket *first) {
  struct end end = {first, index_behind(first)};
  for (struct index_bucket *next; (next = index_behind(end.tail)) != NULL; end.tail = next)
    end.before = end.tail;
  return end;
}

/* A single word in the last bucket takes the place of the link to it. */
static void close_up(struct index *index, struct end end) {
  if (end.tail->used > 1) return;
  end.before->words[LAST] = 0;
  end.before->used--;
  put(end.before, (struct item){end.tail->words[0], end.tail->hashes[0]});
  give_bucket(index, end.tail);
}

static struct item take_last(struct index *index, struct end end) {
  unsigned last = end.tail->used - 1u;
  struct item item = {end.tail->words[last], end.tail->hashes[last]};
  take_at(end.tail, last);
  close_up(index, end);
  return item;
}

/* A bucket with a link and no more than so many words is filled up from its chain. */
#define FEW 3u
static inline bool has_few(const struct index_bucket *bucket, unsigned few) {
  return (bucket->used <= few + 1) & index_is_link(bucket->words[LAST]);
}

static void fill_up(struct index *index, struct index_bucket *first) {
  while (!is_full(first) && index_behind(first) != NULL)
    put(first, take_last(index, end_of(first)));
}

static void take_behind(struct index *index, struct index_bucket *first, uint64_t word) {
  assert(index_behind(first) != NULL);
  struct end end = end_of(first);
  unsigned at = place_in(end.tail, word);
  if (at != NOWHERE) {
    take_at(end.tail, at);
    close_up(index, end);
    return;
  }
  struct index_bucket *bucket = bucket_with(index_behind(first), word, &at);
  struct item last = take_last(index, end);
  bucket->words[at] = last.word;
  bucket->hashes[at] = last.hash;
}

static void take_out(struct index *index, struct index_bucket *first, uint64_t word) {
  unsigned at = place_in(first, word);
  if (at == NOWHERE) {
    take_behind(index, first, word);
  } else {
    take_at(first, at);
    if (has_few(first, FEW)) fill_up(index, first);
  }
}

/* Below its least load the index gives back up to two buckets for each word that leaves, so that it
 * empties with its entries; when it is empty it is as it was at first. With half of the load as the
 * limit, which costs a tenth less for each of a million that end, a third of the words left without
 * giving back a bucket. */
static void words_left(struct index *index, size_t count) {
  index->count -= count;
  for (size_t i = 0; i < 2 * count && index->count < index->size * INDEX_LEAST_LOAD; i++)
    shrink(index);
  if (index->count == 0 && index->capacity > index->size) drop_segment(index);
}

void index_remove(struct index *index, uint64_t hash, uint64_t word) {
  take_out(index, index_bucket_of(index, hash), word);
  words_left(index, 1);
}

static void find_group(const struct index *index, struct index_group *group) {
  for (size_t i = 0; i < group->count; i++)
    group->buckets[i] = index_bucket_of(index, group->hashes[i]);
  group->size = index->size;
}

/* The prefetches have a loop of their own: one that misses the TLB stalls later instructions until
 * its page is found, and in this loop those are the other prefetches, which overlap. */
void index_fetch_group(const struct index *index, struct index_group *group) {
  assert(group->count <= INDEX_GROUP);
  find_group(index, group);
  for (size_t i = 0; i < group->count; i++) __builtin_prefetch(group->buckets[i]);
}

/* Takes the word out if it stands in the first bucket, which keeps enough; else nothing changes.
 * Without a branch: a quarter of the words lie behind, and which cannot be predicted. */
static inline unsigned take_here(struct index_bucket *bucket, uint64_t word) {
  assert(items_in(bucket) > 0);
  unsigned same = index_same(bucket, word >> 32);
  unsigned at = (unsigned)__builtin_ctz(same | 1u << LAST), last = items_in(bucket) - 1;
  unsigned here = (bucket->words[at] == word) & !has_few(bucket, FEW + 1);
  at = last ^ ((at ^ last) & (0 - here));
  bucket->words[at] = bucket->words[last];
  bucket->hashes[at] = bucket->hashes[last];
  bucket->words[last] &= (uint64_t)here - 1;
  bucket->used = (uint8_t)(bucket->used - here);
  return here;
}

void index_remove_group(struct index *index, struct index_group *group) {
  unsigned char later[INDEX_GROUP];
  size_t late = 0;
  if (group->size != index->size) find_group(index, group);
  for (size_t i = 0; i < group->count; i++) {
    later[late] = (unsigned char)i;
    late += !take_here(group->buckets[i], group->words[i]);
  }
  for (size_t i = 0; i < late; i++)
    __builtin_prefetch(index_address(group->buckets[later[i]]->words[LAST]));
  for (size_t i = 0; i < late; i++)
    take_out(index, group->buckets[later[i]], group->words[later[i]]);
  words_left(index, group->count);
}

void index_replace(struct index *index, uint64_t hash, uint64_t word, uint64_t by) {
  unsigned at;
  struct index_bucket *bucket = bucket_with(index_bucket_of(index, hash), word, &at);
  bucket->words[at] = by;
}

/* ---- scans ---- */

static uint64_t reverse_bits(uint64_t v) {
  v = (v >> 1 & UINT64_C(0x5555555555555555)) | (v & UINT64_C(0x5555555555555555)) << 1;
  v = (v >> 2 & UINT64_C(0x3333333333333333)) | (v & UINT64_C(0x3333333333333333)) << 2;
  v = (v >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f)) | (v & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4;
  return __builtin_bswap64(v);
}

struct index_walk index_scan(const struct index *index, uint64_t cursor, uint64_t *next) {
  uint64_t hash = reverse_bits(cursor << (64 - CURSOR_BITS));
  size_t number = index_number_of(index, hash);
  /* A bucket that has been split, and its other half, are addressed modulo 2*level, the others
   * modulo level. */
  bool split = number >= index->level || (number | index->level) < index->size;
  unsigned bits = (unsigned)__builtin_ctzll(index->level) + (split ? 1 : 0);
  uint64_t interval = UINT64_C(1) << (CURSOR_BITS - bits);
  uint64_t behind = (cursor & ~(interval - 1)) + interval;
  *next = behind >> CURSOR_BITS != 0 ? 0 : behind;
  return (struct index_walk){index_bucket_at(index, number), 0};
}
