/* test_table.c - the hash table finds what it holds, moves a bucket at a time, and keeps the
 * promise of its scans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "server/base/table.h"

#define MANY 20000u

struct entry {
  struct table_node node; /* first: a node is its entry */
  bool in, always;
  unsigned visits;
};

struct fixture {
  struct table table;
  struct entry *entries;
  uint64_t seed;
};

static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  if (f == NULL || !table_init(&f->table)) return -1;
  f->seed = UINT64_C(0x1234567887654321);
  f->entries = calloc(MANY, sizeof *f->entries);
  if (f->entries == NULL) return -1;
  for (unsigned i = 0; i < MANY; i++) f->entries[i].node.hash = next_random(&f->seed);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  table_deinit(&f->table);
  free(f->entries);
  free(f);
  return 0;
}

static struct table_node **link_of(struct fixture *f, const struct entry *e) {
  struct table_node **link = table_bucket(&f->table, e->node.hash);
  while (*link != NULL && *link != &e->node) link = &(*link)->next;
  return link;
}

static void put(struct fixture *f, struct entry *e) {
  table_insert(&f->table, &e->node);
  e->in = true;
}

static void take(struct fixture *f, struct entry *e) {
  struct table_node **link = link_of(f, e);
  assert_ptr_equal(*link, &e->node);
  table_remove(&f->table, link);
  e->in = false;
}

static void expect_all_found(struct fixture *f) {
  size_t in = 0;
  for (unsigned i = 0; i < MANY; i++) {
    assert_int_equal(*link_of(f, &f->entries[i]) != NULL, f->entries[i].in);
    in += f->entries[i].in;
  }
  assert_int_equal(f->table.count, in);
}

static void everything_is_found_while_it_grows_and_shrinks(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < MANY; i++) {
    put(f, &f->entries[i]);
    if (i % 4001 == 0) expect_all_found(f);
  }
  expect_all_found(f);
  for (unsigned i = 0; i < MANY; i++) {
    take(f, &f->entries[i]);
    if (i % 4001 == 0) expect_all_found(f);
  }
  expect_all_found(f);
}

static void chains_stay_short_and_memory_follows_the_count(void **state) {
  struct fixture *f = *state;
  size_t empty_bytes = f->table.memory_bytes;
  for (unsigned i = 0; i < MANY; i++) put(f, &f->entries[i]);
  assert_true(f->table.memory_bytes < MANY * 16);
  size_t longest = 0;
  for (unsigned i = 0; i < MANY; i++) {
    size_t length = 0;
    for (struct table_node *n = *table_bucket(&f->table, f->entries[i].node.hash); n != NULL;
         n = n->next)
      length++;
    if (length > longest) longest = length;
  }
  assert_true(longest < 20);
  for (unsigned i = 0; i < MANY; i++) take(f, &f->entries[i]);
  assert_true(f->table.memory_bytes <= empty_bytes + 16384);
}

static void no_call_moves_more_than_two_buckets(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 2 * MANY; i++) {
    size_t before = f->table.size;
    i < MANY ? put(f, &f->entries[i]) : take(f, &f->entries[i - MANY]);
    size_t after = f->table.size;
    assert_true((after > before ? after - before : before - after) <= 2);
  }
}

static uint64_t visit(struct fixture *f, uint64_t cursor) {
  uint64_t next;
  for (struct table_node *n = table_scan(&f->table, cursor, &next); n != NULL; n = n->next)
    ((struct entry *)(void *)n)->visits++;
  assert_true(next == 0 || next > cursor); /* so that every scan ends */
  assert_int_equal(next >> TABLE_CURSOR_BITS, 0);
  return next;
}

static void a_scan_of_a_table_at_rest_visits_everything_exactly_once(void **state) {
  struct fixture *f = *state;
  static const unsigned SIZES[] = {0, 1, 511, 512, 513, 700, 1023, 1024, 1025, 3000, MANY};
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

/* Everything that is in the whole time is visited at least once, whatever the table does meanwhile.
 */
static void scan_while(struct fixture *f, unsigned churn_from, unsigned churn_until, bool insert) {
  for (unsigned i = 0; i < MANY; i++) {
    f->entries[i].visits = 0;
    f->entries[i].always = f->entries[i].in && !(i >= churn_from && i < churn_until);
  }
  uint64_t cursor = 0;
  unsigned at = churn_from;
  do {
    cursor = visit(f, cursor);
    for (uint64_t n = next_random(&f->seed) % 40; n > 0 && at < churn_until; n--, at++) {
      struct entry *e = &f->entries[at];
      if (insert && !e->in) put(f, e);
      if (!insert && e->in) take(f, e);
    }
  } while (cursor != 0);
  for (unsigned i = 0; i < MANY; i++) {
    if (f->entries[i].always) assert_true(f->entries[i].visits >= 1);
  }
}

static void a_scan_misses_nothing_while_the_table_grows_or_shrinks(void **state) {
  struct fixture *f = *state;
  for (unsigned round = 0; round < 6; round++) {
    unsigned keep = 100u << (round % 4); /* starts at sizes on both sides of a doubling */
    for (unsigned i = 0; i < keep; i++) {
      if (!f->entries[i].in) put(f, &f->entries[i]);
    }
    scan_while(f, keep, MANY, true);
    scan_while(f, keep, MANY, false);
    for (unsigned i = keep; i < MANY; i++) {
      if (f->entries[i].in) take(f, &f->entries[i]);
    }
  }
}

static void a_cursor_from_anywhere_leads_to_the_end(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 3000; i++) put(f, &f->entries[i]);
  for (unsigned i = 0; i < 100; i++) {
    uint64_t cursor = i == 0 ? (UINT64_C(1) << TABLE_CURSOR_BITS) - 1
                             : next_random(&f->seed) >> (64 - TABLE_CURSOR_BITS);
    unsigned steps = 0;
    do cursor = visit(f, cursor);
    while (cursor != 0 && ++steps < 10000);
    assert_true(steps < 10000);
  }
  uint64_t next;
  table_scan(&f->table, UINT64_MAX, &next); /* a client may send any number */
  assert_int_equal(next, 0);
}

static void equal_hashes_share_a_chain(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 2000; i++) {
    f->entries[i].node.hash = 42;
    put(f, &f->entries[i]);
  }
  for (unsigned i = 0; i < 2000; i += 2) take(f, &f->entries[i]);
  for (unsigned i = 0; i < 2000; i++) assert_int_equal(*link_of(f, &f->entries[i]) != NULL, i % 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(everything_is_found_while_it_grows_and_shrinks, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(chains_stay_short_and_memory_follows_the_count, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(no_call_moves_more_than_two_buckets, setup, teardown),
      cmocka_unit_test_setup_teardown(a_scan_of_a_table_at_rest_visits_everything_exactly_once,
                                      setup, teardown),
      cmocka_unit_test_setup_teardown(a_scan_misses_nothing_while_the_table_grows_or_shrinks, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(a_cursor_from_anywhere_leads_to_the_end, setup, teardown),
      cmocka_unit_test_setup_teardown(equal_hashes_share_a_chain, setup, teardown),
  };
  return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
