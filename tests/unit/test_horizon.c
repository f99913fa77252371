/*
 * test_horizon.c - the horizon is never too early: over a million random lives of keys, in tables
 * of every size, on one and many shards, also while memory lacks. And where memory does not lack it
 * is as late as the ends in a slot, no later.
 *
 * malloc is wrapped by the linker: for a part of the tests some of its calls fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/engine/horizon.h"
#include "server/engine/keyspace.h"
#include "server/engine/name.h"

#define SEED UINT64_C(88172645463325252)
#define START INT64_C(1000000)
#define SECOND INT64_C(1000)
#define DAY (86400 * SECOND)
#define BITS_TRIED 17u /* 0 to 16 */
#define MOST_LOOPS 4u
#define LIVES 16000u /* of each table: a million over all sizes and shards */
#define KEYS (LIVES / 3)
#define LOOKS 8u /* at all that have ended, on the way through the lives */
#define FIXED_SLOTS 2048u

static const struct horizon_place WHOLE = {.bits = 11, .number = 0, .shards = 1};

/* ---- memory that lacks ---- */

static struct {
  unsigned fail_one_in; /* 0: none, 1: all */
  uint64_t seed, failed;
} allocator;

static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size) {
  if (allocator.fail_one_in != 0 && next_random(&allocator.seed) % allocator.fail_one_in == 0) {
    allocator.failed++;
    return NULL;
  }
  return __real_malloc(size);
}

static void *zeroed(size_t count, size_t size) {
  void *made = calloc(count, size);
  assert_non_null(made);
  return made;
}

/* ---- the horizons of a keyspace, beside a list of all that ended ---- */

struct end {
  uint64_t hash;
  int64_t since_ms;
};

struct life {
  struct end end;
  int64_t end_ms;
  bool by_time; /* not by DEL */
};

struct world {
  unsigned bits, loops;
  struct keyspace *keyspace; /* says which shard; holds no keys */
  struct memory memory;
  struct horizon *horizons; /* one a shard */
  struct end *ended;
  size_t ended_count;
  int64_t *latest;       /* of each shard and slot, from all that ended */
  int64_t *shard_latest; /* of each shard */
};

static unsigned shard_of(const struct world *w, uint64_t hash) {
  const struct name name = {.hash = hash};
  return shard_number(keyspace_find_name(w->keyspace, &name));
}

static struct horizon *horizon_of(const struct world *w, uint64_t hash) {
  return &w->horizons[shard_of(w, hash)];
}

static size_t slot_of(const struct world *w, uint64_t hash) {
  size_t slot = w->bits == 0 ? 0 : hash >> (64 - w->bits);
  return ((size_t)shard_of(w, hash) << w->bits) + slot;
}

static struct world *world_of(unsigned bits, unsigned loops) {
  const struct engine_options options = {.first_token = 1};
  struct world *w = zeroed(1, sizeof *w);
  w->bits = bits;
  w->loops = loops;
  w->keyspace = keyspace_create(&options, loops, START);
  assert_non_null(w->keyspace);
  unsigned shards = keyspace_shards(w->keyspace);
  w->horizons = zeroed(shards, sizeof *w->horizons);
  w->latest = zeroed((size_t)shards << bits, sizeof *w->latest);
  w->shard_latest = zeroed(shards, sizeof *w->shard_latest);
  w->ended = zeroed(LIVES, sizeof *w->ended);
  for (unsigned i = 0; i < shards; i++) {
    horizon_init(&w->horizons[i], &w->memory, &(struct horizon_place){bits, i, shards}, START);
  }
  return w;
}

static void end_world(struct world *w) {
  for (unsigned i = 0; i < keyspace_shards(w->keyspace); i++) horizon_deinit(&w->horizons[i]);
  assert_int_equal(w->memory.bytes, 0);
  keyspace_destroy(w->keyspace);
  free(w->horizons);
  free(w->latest);
  free(w->shard_latest);
  free(w->ended);
  free(w);
}

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

static void note(struct world *w, struct end end) {
  horizon_note(horizon_of(w, end.hash), end.hash, end.since_ms);
  w->ended[w->ended_count++] = end;
  int64_t *latest = &w->latest[slot_of(w, end.hash)];
  int64_t *shard_latest = &w->shard_latest[shard_of(w, end.hash)];
  *latest = later(*latest, end.since_ms);
  *shard_latest = later(*shard_latest, end.since_ms);
}

static void complain(const struct world *w, uint64_t hash, const char *what, int64_t than_ms) {
  fail_msg("%u bits, %u loops, after %zu ends: the horizon of hash %016" PRIx64 " is %" PRId64
           ", %s %" PRId64,
           w->bits, w->loops, w->ended_count, hash, horizon_ms(horizon_of(w, hash), hash), what,
           than_ms);
}

/* `exactly`: no memory has lacked so far. */
static void expect_horizon(const struct world *w, struct end end, bool exactly) {
  int64_t ms = horizon_ms(horizon_of(w, end.hash), end.hash);
  int64_t slot_ms = later(START, w->latest[slot_of(w, end.hash)]);
  int64_t shard_ms = later(START, w->shard_latest[shard_of(w, end.hash)]);
  if (ms < end.since_ms) complain(w, end.hash, "before its record of", end.since_ms);
  if (ms < START) complain(w, end.hash, "before the start,", START);
  if (exactly && ms != slot_ms) complain(w, end.hash, "not the latest of its slot,", slot_ms);
  if (ms > shard_ms) complain(w, end.hash, "after all that ended in its shard,", shard_ms);
}

static void expect_all(const struct world *w, bool exactly) {
  for (size_t i = 0; i < w->ended_count; i++) expect_horizon(w, w->ended[i], exactly);
}

/* ---- lives ---- */

static int by_end(const void *left, const void *right) {
  const struct life *a = left, *b = right;
  return (a->end_ms > b->end_ms) - (a->end_ms < b->end_ms);
}

/* Some keys live several times. Short TTLs among long ones, so a record that ends later is often an
 * older one; a few records are older than the start, as if they had been read from elsewhere. */
static struct life *lives_of(uint64_t *seed) {
  static const int64_t TTLS[] = {1, SECOND, 60 * SECOND, DAY};
  struct life *lives = zeroed(LIVES, sizeof *lives);
  uint64_t *keys = zeroed(KEYS, sizeof *keys);
  for (unsigned i = 0; i < KEYS; i++) keys[i] = next_random(seed);
  for (unsigned i = 0; i < LIVES; i++) {
    struct life *life = &lives[i];
    uint64_t random = next_random(seed);
    life->end.hash = keys[random % KEYS];
    life->end.since_ms = START - SECOND + (int64_t)(next_random(seed) % (uint64_t)(2 * DAY));
    life->end_ms = life->end.since_ms + TTLS[random >> 40 & 3];
    life->by_time = (random >> 50 & 7) != 0;
  }
  free(keys);
  qsort(lives, LIVES, sizeof *lives, by_end);
  return lives;
}

static void live(struct world *w, uint64_t *seed, unsigned fail_one_in) {
  struct life *lives = lives_of(seed);
  uint64_t failed_before = allocator.failed;
  for (unsigned i = 0; i < LIVES; i++) {
    if (lives[i].by_time) {
      allocator.fail_one_in = fail_one_in;
      note(w, lives[i].end);
      allocator.fail_one_in = 0;
    }
    expect_horizon(w, (struct end){lives[i].end.hash, START}, fail_one_in == 0);
    if (i % (LIVES / LOOKS) == 0) expect_all(w, fail_one_in == 0);
  }
  expect_all(w, allocator.failed == failed_before);
  free(lives);
}

/* Every size, with 1, 32, 48 and 64 shards: 48 have borders within a slot. */
static void live_everywhere(unsigned fail_one_in) {
  uint64_t seed = SEED, lives = 0;
  printf("seed %" PRIu64 "\n", seed);
  allocator.seed = SEED;
  allocator.failed = 0;
  for (unsigned bits = 0; bits < BITS_TRIED; bits++) {
    for (unsigned loops = 1; loops <= MOST_LOOPS; loops++) {
      struct world *w = world_of(bits, loops);
      live(w, &seed, fail_one_in);
      lives += LIVES;
      end_world(w);
    }
  }
  printf("%" PRIu64 " lives, %" PRIu64 " allocations failed\n", lives, allocator.failed);
  assert_true(lives >= 1000000);
  assert_int_equal(allocator.failed > 0, fail_one_in > 0);
}

static void it_is_never_too_early_and_as_late_as_the_latest_end(void **state) {
  (void)state;
  live_everywhere(0);
}

static void it_is_never_too_early_while_half_of_the_allocations_fail(void **state) {
  (void)state;
  live_everywhere(2);
}

static void it_is_never_too_early_without_any_memory(void **state) {
  (void)state;
  live_everywhere(1);
}

/* ---- one engine, by slots ---- */

static uint64_t in_slot(uint32_t slot) { return (uint64_t)slot << (64 - WHOLE.bits) | 12345; }

static void it_begins_with_the_start_and_takes_no_memory_for_what_is_older(void **state) {
  struct memory memory = {0};
  struct horizon h;
  horizon_init(&h, &memory, &WHOLE, START);
  assert_int_equal(horizon_start_ms(&h), START);
  horizon_note(&h, in_slot(3), START - 1);
  horizon_note(&h, in_slot(3), START);
  assert_int_equal(horizon_ms(&h, in_slot(3)), START);
  assert_int_equal(memory.bytes, 0);
  horizon_note(&h, in_slot(3), START + 1);
  assert_int_equal(horizon_ms(&h, in_slot(3)), START + 1);
  assert_int_equal(horizon_start_ms(&h), START);
  assert_int_equal(memory.bytes, HORIZON_SEGMENT * sizeof(int64_t) + 4 * sizeof(int64_t *));
  horizon_deinit(&h);
  assert_int_equal(memory.bytes, 0);
  (void)state;
}

/* The slots of the hash's top bits, and the neighbours on both sides of a segment's border. */
static void an_end_moves_its_own_slot_alone(void **state) {
  static const uint32_t SLOTS[] = {0, 511, 512, 1535, 2047};
  struct memory memory = {0};
  struct horizon h;
  horizon_init(&h, &memory, &WHOLE, START);
  for (unsigned i = 0; i < 5; i++) horizon_note(&h, in_slot(SLOTS[i]), START + 10 + i);
  for (uint32_t slot = 0; slot < FIXED_SLOTS; slot++) {
    int64_t expected = START;
    for (unsigned i = 0; i < 5; i++) {
      if (SLOTS[i] == slot) expected = START + 10 + i;
    }
    assert_int_equal(horizon_ms(&h, in_slot(slot)), expected);
    assert_int_equal(horizon_slot_ms(&h, slot), expected);
  }
  horizon_deinit(&h);
  (void)state;
}

/* Slot 0 is in a segment that was touched, the others are not. */
static void without_memory_what_is_untouched_moves_together(void **state) {
  struct memory memory = {0};
  struct horizon h;
  horizon_init(&h, &memory, &WHOLE, START);
  horizon_note(&h, in_slot(0), START + 5);
  size_t bytes = memory.bytes;
  allocator.fail_one_in = 1;
  horizon_note(&h, in_slot(600), START + 100);
  horizon_note(&h, in_slot(1), START + 200);
  allocator.fail_one_in = 0;
  assert_int_equal(memory.bytes, bytes);
  assert_int_equal(horizon_ms(&h, in_slot(0)), START + 5);
  assert_int_equal(horizon_ms(&h, in_slot(1)), START + 200);
  assert_int_equal(horizon_ms(&h, in_slot(600)), START + 100);
  assert_int_equal(horizon_ms(&h, in_slot(2000)), START + 100);
  horizon_note(&h, in_slot(601), START + 300); /* there is memory again */
  assert_int_equal(horizon_ms(&h, in_slot(600)), START + 100);
  assert_int_equal(horizon_ms(&h, in_slot(601)), START + 300);
  assert_int_equal(horizon_ms(&h, in_slot(2000)), START + 100);
  horizon_deinit(&h);
  (void)state;
}

static void a_small_table_takes_no_whole_segment(void **state) {
  struct memory memory = {0};
  struct horizon h;
  horizon_init(&h, &memory, &(struct horizon_place){.bits = 10, .number = 63, .shards = 64}, START);
  horizon_note(&h, UINT64_MAX, START + 1);
  assert_int_equal(horizon_slots(&h), 16);
  assert_int_equal(memory.bytes, 16 * sizeof(int64_t) + sizeof(int64_t *));
  horizon_deinit(&h);
  (void)state;
}

/* ---- a table that is written out and read back ---- */

static bool has_slot(const struct horizon *h, uint32_t slot) {
  return slot - horizon_first_slot(h) < horizon_slots(h);
}

static void copy_table(const struct world *from, struct world *to) {
  for (unsigned i = 0; i < keyspace_shards(from->keyspace); i++) {
    const struct horizon *h = &from->horizons[i];
    for (uint32_t at = 0; at < horizon_slots(h); at++) {
      uint32_t slot = horizon_first_slot(h) + at;
      for (unsigned j = 0; j < keyspace_shards(to->keyspace); j++) {
        struct horizon *g = &to->horizons[j];
        if (has_slot(g, slot)) horizon_raise(g, slot, horizon_slot_ms(h, slot));
      }
    }
  }
}

/* As written out: the latest of all shards that have the slot. */
static int64_t written_ms(const struct world *w, uint64_t hash) {
  int64_t ms = INT64_MIN;
  uint32_t slot = horizon_slot_of(&w->horizons[0], hash);
  for (unsigned i = 0; i < keyspace_shards(w->keyspace); i++) {
    const struct horizon *h = &w->horizons[i];
    if (!has_slot(h, slot)) continue;
    ms = later(ms, horizon_slot_ms(h, slot));
  }
  return ms;
}

static void a_table_can_be_read_back_by_another_number_of_shards(void **state) {
  static const unsigned BITS[] = {0, 5, 12};
  uint64_t seed = SEED;
  for (unsigned each = 0; each < 3 * MOST_LOOPS * MOST_LOOPS; each++) {
    unsigned bits = BITS[each / (MOST_LOOPS * MOST_LOOPS)];
    struct world *from = world_of(bits, 1 + each % MOST_LOOPS);
    struct world *to = world_of(bits, 1 + each / MOST_LOOPS % MOST_LOOPS);
    live(from, &seed, each % 2 == 0 ? 0 : 2);
    copy_table(from, to);
    for (size_t i = 0; i < from->ended_count; i++) {
      struct end end = from->ended[i];
      int64_t ms = horizon_ms(horizon_of(to, end.hash), end.hash);
      int64_t expected_ms = written_ms(from, end.hash);
      if (ms < end.since_ms) complain(to, end.hash, "before its record of", end.since_ms);
      if (ms != expected_ms) complain(to, end.hash, "not as it was written,", expected_ms);
    }
    end_world(from);
    end_world(to);
  }
  (void)state;
}

/* All shards together have each slot, and hardly more: a border within a slot gives it to both. */
static void shards_share_the_slots(void **state) {
  for (unsigned loops = 1; loops <= MOST_LOOPS; loops++) {
    struct world *w = world_of(16, loops);
    unsigned shards = keyspace_shards(w->keyspace);
    uint32_t slots = 0;
    for (unsigned i = 0; i < shards; i++) slots += horizon_slots(&w->horizons[i]);
    assert_in_range(slots, 65536, 65536 + (loops == 3 ? shards : 0));
    end_world(w);
  }
  (void)state;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_is_never_too_early_and_as_late_as_the_latest_end),
      cmocka_unit_test(it_is_never_too_early_while_half_of_the_allocations_fail),
      cmocka_unit_test(it_is_never_too_early_without_any_memory),
      cmocka_unit_test(it_begins_with_the_start_and_takes_no_memory_for_what_is_older),
      cmocka_unit_test(an_end_moves_its_own_slot_alone),
      cmocka_unit_test(without_memory_what_is_untouched_moves_together),
      cmocka_unit_test(a_small_table_takes_no_whole_segment),
      cmocka_unit_test(a_table_can_be_read_back_by_another_number_of_shards),
      cmocka_unit_test(shards_share_the_slots),
  };
  return cmocka_run_group_tests_name("horizon", tests, NULL, NULL);
}
