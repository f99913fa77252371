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
  bool in;
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
      cmocka_unit_test_setup_teardown(equal_hashes_share_a_chain, setup, teardown),
  };
  return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
