/* test_index.c - the index finds what it holds, moves a bucket at a time, keeps the promise of its
 * scans and gives its memory back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "server/engine/index.h"

#define MANY 40000u

struct entry {
  uint64_t hash;
  bool in, always;
  unsigned visits;
};

struct fixture {
  struct memory memory;
  struct index index;
  struct entry *entries;
  uint64_t seed;
  size_t empty_bytes;
};

static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  if (f == NULL || !index_init(&f->index, &f->memory)) return -1;
  f->empty_bytes = f->memory.bytes;
  f->seed = UINT64_C(0x1234567887654321);
  f->entries = calloc(MANY, sizeof *f->entries);
  if (f->entries == NULL) return -1;
  for (unsigned i = 0; i < MANY; i++) f->entries[i].hash = next_random(&f->seed);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  index_deinit(&f->index);
  assert_int_equal(f->memory.bytes, 0);
  free(f->entries);
  free(f);
  return 0;
}

static uint64_t word_of(const struct entry *e, uint64_t kind) {
  return index_word(e->hash, e, kind);
}

static bool found_under(const struct fixture *f, uint64_t hash, uint64_t sought) {
  struct index_search search = index_search(&f->index, hash);
  for (uint64_t word; (word = index_next_of(&search)) != 0;) {
    if (word == sought) return true;
  }
  return false;
}

static bool found(const struct fixture *f, const struct entry *e, uint64_t kind) {
  return found_under(f, e->hash, word_of(e, kind));
}

static void put(struct fixture *f, struct entry *e) {
  assert_true(index_insert(&f->index, e->hash, word_of(e, 0)));
  e->in = true;
}

static void take(struct fixture *f, struct entry *e) {
  index_remove(&f->index, e->hash, word_of(e, 0));
  e->in = false;
}

static void expect_all_found(const struct fixture *f) {
  size_t in = 0;
  for (unsigned i = 0; i < MANY; i++) {
    assert_int_equal(found(f, &f->entries[i], 0), f->entries[i].in);
    in += f->entries[i].in;
  }
  assert_int_equal(f->index.count, in);
}

static void everything_is_found_while_it_grows_and_shrinks(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < MANY; i++) {
    put(f, &f->entries[i]);
    if (i % 8001 == 0) expect_all_found(f);
  }
  expect_all_found(f);
  for (unsigned i = 0; i < MANY; i++) {
    take(f, &f->entries[i * 7919 % MANY]); /* in another order */
    if (i % 8001 == 0) expect_all_found(f);
  }
  expect_all_found(f);
}

/* Every third leaves, by groups; the index may change its size after a group was fetched. */
static void take_every_third(struct fixture *f, unsigned first) {
  for (unsigned from = first, n; from < MANY; from += 3 * n) {
    struct index_group group = {0};
    for (n = 0; n < INDEX_GROUP && from + 3 * n < MANY; n++) {
      struct entry *e = &f->entries[from + 3 * n];
      group.hashes[n] = e->hash;
      group.words[n] = word_of(e, 0);
      e->in = false;
    }
    group.count = n;
    index_fetch_group(&f->index, &group);
    for (unsigned i = from; i < from + 40 && i + 4 < MANY; i += 3) {
      if (!f->entries[i + 1].in) continue; /* those after it leave one by one */
      take(f, &f->entries[i + 1]);
      if (first == 0) put(f, &f->entries[i + 1]);
    }
    index_remove_group(&f->index, &group);
  }
}

static void what_leaves_by_groups_leaves_the_rest(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < MANY; i++) put(f, &f->entries[i]);
  size_t full_bytes = f->memory.bytes;
  take_every_third(f, 0);
  expect_all_found(f);
  for (unsigned i = 0; i < MANY; i += 3) put(f, &f->entries[i]); /* where the others were */
  expect_all_found(f);
  assert_true(f->memory.bytes < full_bytes + full_bytes / 20);
  for (unsigned first = 0; first < 3; first++) {
    for (unsigned i = first; i < MANY; i += 3) {
      if (!f->entries[i].in) put(f, &f->entries[i]);
    }
    take_every_third(f, first);
    expect_all_found(f);
  }
  for (unsigned i = 0; i < MANY; i++) {
    if (f->entries[i].in) take(f, &f->entries[i]);
  }
  assert_int_equal(f->memory.bytes, f->empty_bytes);
}

/* The figure that the memory of a key rests on, at every size, and all of it comes back. */
static void a_word_takes_less_than_16_bytes_whatever_the_size(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < MANY; i++) {
    put(f, &f->entries[i]);
    if (i > MANY / 4) assert_true(f->memory.bytes < (i + 1) * 16 + 2 * 16384);
  }
  for (unsigned i = 0; i < MANY; i++) take(f, &f->entries[i]);
  assert_int_equal(f->index.size, INDEX_FIRST_BUCKETS);
  assert_int_equal(f->memory.bytes, f->empty_bytes);
}

static void no_call_moves_more_than_two_buckets(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 2 * MANY; i++) {
    size_t before = f->index.size;
    i < MANY ? put(f, &f->entries[i]) : take(f, &f->entries[i - MANY]);
    size_t after = f->index.size;
    assert_true((after > before ? after - before : before - after) <= 2);
  }
}

static void a_word_can_be_replaced_by_one_of_another_kind(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 3000; i++) put(f, &f->entries[i]);
  for (unsigned i = 0; i < 3000; i++)
    index_replace(&f->index, f->entries[i].hash, word_of(&f->entries[i], 0),
                  word_of(&f->entries[i], 1));
  for (unsigned i = 0; i < 3000; i++) {
    assert_true(found(f, &f->entries[i], 1));
    assert_false(found(f, &f->entries[i], 0));
  }
}

static uint64_t visit(struct fixture *f, uint64_t cursor) {
  uint64_t next;
  struct index_walk walk = index_scan(&f->index, cursor, &next);
  for (uint64_t word; (word = index_next(&walk)) != 0;)
    ((struct entry *)index_address(word))->visits++;
  assert_true(next == 0 || next > cursor); /* so that every scan ends */
  assert_int_equal(next >> CURSOR_BITS, 0);
  return next;
}

static void a_scan_of_an_index_at_rest_visits_everything_exactly_once(void **state) {
  struct fixture *f = *state;
  static const unsigned SIZES[] = {0, 1, 1535, 1536, 1537, 2000, 3071, 3072, 3073, 9000, MANY};
  unsigned filled = 0;
  for (size_t s = 0; s < sizeof SIZES / sizeof *SIZES; s++) {
    while (filled < SIZES[s]) put(f, &f->entries[filled++]);
    for (unsigned i = 0; i < MANY; i++) f->entries[i].visits = 0;
    uint64_t cursor = 0;
    do cursor = visit(f, cursor);
    while (cursor != 0);
    for (unsigned i = 0; i < MANY; i++) assert_int_equal(f->entries[i].visits, f->entries[i].in);
  }
}

/* Everything that is in the whole time is visited at least once, whatever the index does meanwhile.
 */
static void scan_while(struct fixture *f, unsigned from, bool insert) {
  for (unsigned i = 0; i < MANY; i++) {
    f->entries[i].visits = 0;
    f->entries[i].always = f->entries[i].in && i < from;
  }
  uint64_t cursor = 0;
  unsigned at = from;
  do {
    cursor = visit(f, cursor);
    for (uint64_t n = next_random(&f->seed) % 200; n > 0 && at < MANY; n--, at++) {
      struct entry *e = &f->entries[at];
      if (insert && !e->in) put(f, e);
      if (!insert && e->in) take(f, e);
    }
  } while (cursor != 0);
  for (unsigned i = 0; i < MANY; i++) {
    if (f->entries[i].always) assert_true(f->entries[i].visits >= 1);
  }
}

static void a_scan_misses_nothing_while_the_index_grows_or_shrinks(void **state) {
  struct fixture *f = *state;
  for (unsigned round = 0; round < 6; round++) {
    unsigned keep = 500u << (round % 4); /* starts at sizes on both sides of a doubling */
    for (unsigned i = 0; i < keep; i++) {
      if (!f->entries[i].in) put(f, &f->entries[i]);
    }
    scan_while(f, keep, true);
    scan_while(f, keep, false);
    for (unsigned i = keep; i < MANY; i++) {
      if (f->entries[i].in) take(f, &f->entries[i]);
    }
  }
}

static void a_cursor_from_anywhere_leads_to_the_end(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 9000; i++) put(f, &f->entries[i]);
  for (unsigned i = 0; i < 100; i++) {
    uint64_t cursor =
        i == 0 ? (UINT64_C(1) << CURSOR_BITS) - 1 : next_random(&f->seed) >> (64 - CURSOR_BITS);
    unsigned steps = 0;
    do cursor = visit(f, cursor);
    while (cursor != 0 && ++steps < 10000);
    assert_true(steps < 10000);
  }
  uint64_t next;
  index_scan(&f->index, UINT64_MAX, &next); /* a client may send any number */
  assert_int_equal(next, 0);
}

/* The words alone tell where they go: their entries lie where no memory is. */
static void no_entry_is_read_while_the_index_grows_and_shrinks(void **state) {
  struct fixture *f = *state;
  for (uintptr_t i = 0; i < MANY; i++) {
    uint64_t hash = f->entries[i].hash;
    assert_true(index_insert(&f->index, hash, index_word(hash, (void *)(4 * (i + 1)), 1)));
  }
  for (uintptr_t i = 0; i < MANY; i++) {
    uint64_t hash = f->entries[i].hash, word = index_word(hash, (void *)(4 * (i + 1)), 1);
    struct index_search search = index_search(&f->index, hash);
    for (uint64_t at; (at = index_next_of(&search)) != word;) assert_int_not_equal(at, 0);
    index_remove(&f->index, hash, word);
  }
  assert_int_equal(f->memory.bytes, f->empty_bytes);
}

/* Neither in memory that is taken nor in a list that is copied is there a step that grows with the
 * index faster than a sixteenth of it. */
static void memory_is_taken_and_given_back_in_small_steps(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 2 * MANY; i++) {
    size_t before = f->memory.bytes;
    i < MANY ? put(f, &f->entries[i]) : take(f, &f->entries[2 * MANY - 1 - i]);
    size_t after = f->memory.bytes, step = after > before ? after - before : before - after;
    assert_true(step <= 16384 + 1024 || step <= before / 16);
  }
}

/* Beside twice as many that stay, what leaves takes nearly all its memory with it. */
static void memory_leaves_with_a_part_of_the_words(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < MANY; i++) put(f, &f->entries[i]);
  size_t full = f->memory.bytes;
  for (unsigned i = 0; i < MANY; i += 3) take(f, &f->entries[i]);
  assert_in_range(f->memory.bytes, full / 2, full / 8 * 7);
}

/* Where buckets lie: each directly after the one before, or at the start of the next segment. */
static void segments_are_full_and_follow_each_other(void **state) {
  (void)state;
  unsigned bits = 0;
  size_t segment = SIZE_MAX, within = 0;
  for (size_t number = 0; number < 1u << 23; number++) {
    within = (within + 1) & (((size_t)1 << bits) - 1);
    if (within == 0) {
      segment++;
      bits = index_segment_bits(number);
      assert_in_range(bits, INDEX_FIRST_BITS, INDEX_LARGEST_BITS);
    }
    if (index_segment_bits(number) != bits || index_segment_at(number, bits) != segment ||
        (number & (((size_t)1 << bits) - 1)) != within)
      fail_msg("bucket %zu", number);
  }
  size_t last = ((size_t)1 << INDEX_MOST_BITS) - 1;
  assert_int_equal(index_segment_at(last, index_segment_bits(last)), INDEX_SEGMENTS - 1);
}

/* Seen while the index changes, the size and the level may be those of different moments. */
static void whatever_is_seen_leads_to_a_segment(void **state) {
  struct fixture *f = *state;
  for (unsigned bits = INDEX_FIRST_BITS; bits <= INDEX_MOST_BITS; bits++) {
    for (unsigned i = 0; i < 3000; i++) {
      size_t level = (size_t)1 << bits, hash = f->entries[i].hash;
      size_t size = INDEX_FIRST_BUCKETS + (size_t)i * 22360; /* up to 2^26 */
      size_t number = index_number_in(size, level, hash);
      unsigned segment_bits = index_segment_bits(number);
      assert_in_range(index_segment_at(number, segment_bits), 0, INDEX_SEGMENTS - 1);
    }
  }
}

/* Only the low half of a hash is looked at, so that the rest can choose between indexes. */
static void hashes_that_differ_in_high_bits_only_are_one(void **state) {
  struct fixture *f = *state;
  const uint64_t high = UINT64_C(0xabcdef) << 40;
  for (unsigned i = 0; i < 3000; i++) put(f, &f->entries[i]);
  for (unsigned i = 0; i < 3000; i++) {
    uint64_t hash = f->entries[i].hash, word = word_of(&f->entries[i], 0);
    assert_true(found_under(f, hash ^ high, word));
  }
}

/* Words of the same bucket that differ in one bit of their tags; the first word may have the tag of
 * what is free. */
static void only_words_of_the_same_tag_are_found(void **state) {
  struct fixture *f = *state;
  for (uint64_t tag = 0; tag < 40; tag++) {
    uint64_t hash = 77 | tag << 16;
    assert_false(found_under(f, hash, index_word(hash, &f->entries[tag], 0)));
    assert_true(index_insert(&f->index, hash, index_word(hash, &f->entries[tag], 0)));
    for (uint64_t other = 0; other <= tag; other++) {
      uint64_t word = index_word(77 | other << 16, &f->entries[other], 0);
      for (uint64_t asked = 0; asked < 48; asked++)
        assert_int_equal(found_under(f, 77 | asked << 16, word), asked == other);
    }
  }
  for (uint64_t tag = 0; tag < 40; tag++) {
    uint64_t hash = 77 | tag << 16;
    index_remove(&f->index, hash, index_word(hash, &f->entries[tag], 0));
  }
}

/* Long chains, that splits and merges have to carry: equal hashes cannot be told apart, and those
 * that differ only in high bits meet again when the index shrinks. */
static void equal_hashes_share_a_chain(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 4000; i++) {
    f->entries[i].hash = i % 3 == 0 ? 42 : 42 + ((uint64_t)(i % 5) << (8 + i % 4));
    put(f, &f->entries[i]);
  }
  expect_all_found(f);
  for (unsigned i = 0; i < 4000; i += 2) take(f, &f->entries[i]);
  expect_all_found(f);
  for (unsigned i = 1; i < 4000; i += 2) take(f, &f->entries[i]);
  expect_all_found(f);
  assert_int_equal(f->index.size, INDEX_FIRST_BUCKETS);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(everything_is_found_while_it_grows_and_shrinks),
      CASE(what_leaves_by_groups_leaves_the_rest),
      CASE(a_word_takes_less_than_16_bytes_whatever_the_size),
      CASE(no_call_moves_more_than_two_buckets),
      CASE(a_word_can_be_replaced_by_one_of_another_kind),
      CASE(a_scan_of_an_index_at_rest_visits_everything_exactly_once),
      CASE(a_scan_misses_nothing_while_the_index_grows_or_shrinks),
      CASE(a_cursor_from_anywhere_leads_to_the_end),
      CASE(no_entry_is_read_while_the_index_grows_and_shrinks),
      CASE(memory_is_taken_and_given_back_in_small_steps),
      CASE(only_words_of_the_same_tag_are_found),
      CASE(memory_leaves_with_a_part_of_the_words),
      CASE(segments_are_full_and_follow_each_other),
      CASE(whatever_is_seen_leads_to_a_segment),
      CASE(hashes_that_differ_in_high_bits_only_are_one),
      CASE(equal_hashes_share_a_chain),
  };
#undef CASE
  return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
