/*
 * test_regions.c - pieces overlap with no other and keep their bytes wherever they come from, a
 * little source has no regions, a large one no pages that are not used, and threads may share it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "server/engine/regions.h"
#include "server/engine/engine_options.h"

#define UNIT REGIONS_UNIT_BYTES
#define ORDERS 7u
#define PIECES 3000u
#define PLAIN_PIECES (REGIONS_PLAIN_BYTES / UNIT)
#define WAIT_STEPS 100000u
#define STEP_NS 100000
#define THREADS 4u
#define THREAD_PIECES 200u
#define THREAD_STEPS 20000u
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHADOWED true /* the sanitizer's own memory is most of what a limit would count */
#elif defined(__has_feature)
#define SHADOWED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SHADOWED false
#endif

struct piece {
  unsigned char *bytes;
  size_t size;
  uint64_t mark;
};

struct fixture {
  struct regions *regions;
  struct piece pieces[PIECES];
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
  if (f == NULL || (f->regions = regions_create()) == NULL) return -1;
  f->seed = 88172645463325252u;
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < PIECES; i++) { /* of a test that has failed */
    if (f->pieces[i].bytes != NULL) regions_give(f->regions, f->pieces[i].bytes, f->pieces[i].size);
  }
  regions_destroy(f->regions); /* which asserts that every piece is back */
  free(f);
  return 0;
}

/* In both ends and the middle, where another piece would overlap. */
static void mark(struct piece *piece, uint64_t value) {
  piece->mark = value;
  for (size_t at = 0; at < piece->size; at += piece->size / 4)
    memcpy(piece->bytes + at, &value, sizeof value);
  memcpy(piece->bytes + piece->size - sizeof value, &value, sizeof value);
}

static bool is_marked(const struct piece *piece) {
  bool same = memcmp(piece->bytes + piece->size - sizeof piece->mark, &piece->mark,
                     sizeof piece->mark) == 0;
  for (size_t at = 0; at < piece->size; at += piece->size / 4)
    same = same && memcmp(piece->bytes + at, &piece->mark, sizeof piece->mark) == 0;
  return same;
}

static bool take_as(struct regions *regions, struct piece *piece, size_t size, unsigned kin,
                    uint64_t value) {
  size_t alignment = size < 2 * UNIT ? 64 : 2 * UNIT;
  piece->size = size;
  piece->bytes = regions_take(regions, alignment, size, kin);
  if (piece->bytes == NULL) return false;
  assert_int_equal((uintptr_t)piece->bytes % alignment, 0);
  mark(piece, value);
  return true;
}

static void give(struct regions *regions, struct piece *piece) {
  if (piece->bytes == NULL) return;
  assert_true(is_marked(piece));
  regions_give(regions, piece->bytes, piece->size);
  piece->bytes = NULL;
}

static void give_all(struct fixture *f) {
  for (unsigned i = 0; i < PIECES; i++) give(f->regions, &f->pieces[i]);
}

/* What there is when the thread has done its work. */
static struct regions_stats settled(struct fixture *f) {
  struct regions_stats stats;
  for (unsigned step = 0; step < WAIT_STEPS; step++) {
    regions_stats(f->regions, &stats);
    if (!stats.busy) return stats;
    nanosleep(&(struct timespec){.tv_nsec = STEP_NS}, NULL);
  }
  fail_msg("the thread does not come to rest");
  return stats;
}

/* From where on pieces come out of regions. */
static unsigned fill_plain(struct fixture *f) {
  for (unsigned i = 0; i < PLAIN_PIECES; i++)
    assert_true(take_as(f->regions, &f->pieces[i], UNIT, 0, i));
  assert_int_equal(settled(f).ready, 1);
  return PLAIN_PIECES;
}

static bool is_resident(const void *at) {
  unsigned char resident = 0;
  uintptr_t page = (uintptr_t)at & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
  return mincore((void *)page, 1, &resident) == 0 && (resident & 1) != 0;
}

static void a_small_source_has_no_regions(void **state) {
  struct fixture *f = *state;
  for (unsigned round = 0; round < 3; round++) {
    for (unsigned i = 0; i < PLAIN_PIECES - 1; i++)
      assert_true(take_as(f->regions, &f->pieces[i], UNIT, i % REGIONS_KINS, i));
    struct regions_stats stats = settled(f);
    assert_int_equal(stats.regions, 0);
    assert_int_equal(stats.plain_bytes, (PLAIN_PIECES - 1) * UNIT);
    give_all(f);
  }
}

/* So many that a first look after a second may still see growth. */
#define REST_STEPS (3 * REGIONS_REST_MS * (1000000 / STEP_NS) + 10 * WAIT_STEPS)

static void expect_rest(struct fixture *f) {
  for (unsigned step = 0; step < REST_STEPS; step++) {
    if (settled(f).ready == 0) return;
    nanosleep(&(struct timespec){.tv_nsec = STEP_NS}, NULL);
  }
  fail_msg("at rest a region is still kept ready");
}

static void at_rest_none_is_kept_ready_until_it_grows_again(void **state) {
  struct fixture *f = *state;
  unsigned from = fill_plain(f);
  expect_rest(f);
  assert_int_equal(settled(f).regions, 0);
  assert_true(take_as(f->regions, &f->pieces[from], UNIT, 0, from)); /* the allocator's */
  assert_in_range(settled(f).ready, 1, REGIONS_AHEAD + 1);
  give_all(f);
}

static void a_large_one_takes_them_from_there_ready_for_use(void **state) {
  struct fixture *f = *state;
  unsigned from = fill_plain(f);
  for (unsigned i = from; i < PIECES / 2; i++) {
    assert_true(take_as(f->regions, &f->pieces[i], 2 * UNIT, 0, i));
    struct regions_stats stats = settled(f);
    assert_int_equal(stats.plain_bytes, REGIONS_PLAIN_BYTES);
    assert_int_equal(stats.units, 2 * (i + 1 - from));
    assert_in_range(stats.ready, 1, REGIONS_AHEAD + 1);
    assert_true(stats.slack < REGIONS_REGION_UNITS);
  }
  unsigned char *next = regions_take(f->regions, UNIT, REGIONS_REGION_BYTES, 0);
  assert_int_equal((uintptr_t)next % REGIONS_REGION_BYTES, 0);
  assert_true(is_resident(next) && is_resident(next + REGIONS_REGION_BYTES - 1));
  regions_give(f->regions, next, REGIONS_REGION_BYTES);
  give_all(f);
}

static void all_of_it_comes_back(void **state) {
  struct fixture *f = *state;
  for (unsigned round = 0; round < 2; round++) {
    for (unsigned i = fill_plain(f); i < PIECES; i++) {
      size_t size = UNIT << (i % 8 < ORDERS ? i % 8 % 4 : ORDERS - 1);
      assert_true(take_as(f->regions, &f->pieces[i], size, i % REGIONS_KINS, i));
      if (i % 8 == 0) settled(f);
    }
    assert_true(settled(f).regions > 50);
    give_all(f);
    struct regions_stats stats = settled(f);
    assert_int_equal(stats.regions, 0);
    assert_int_equal(stats.plain_bytes, 0);
  }
}

static void pieces_of_every_size_keep_their_bytes(void **state) {
  struct fixture *f = *state;
  for (unsigned step = 0; step < 60000; step++) {
    uint64_t random = next_random(&f->seed);
    struct piece *piece = &f->pieces[random % (PIECES / 2)];
    unsigned order = (unsigned)__builtin_ctzll(random >> 32 | 1u << (ORDERS - 1));
    give(f->regions, piece);
    assert_true(take_as(f->regions, piece, UNIT << order, random >> 20 & 7, step));
    if (step % 10000 == 0) settled(f);
  }
  struct regions_stats stats = settled(f);
  assert_true(stats.regions > 10);
  assert_int_equal(stats.units + stats.slack + stats.cold + stats.ready * REGIONS_REGION_UNITS,
                   stats.regions * REGIONS_REGION_UNITS);
  give_all(f);
  assert_int_equal(settled(f).regions, 0);
}

/* One piece stays in each region. */
static void what_is_free_in_part_is_given_back_and_taken_again(void **state) {
  struct fixture *f = *state;
  unsigned from = fill_plain(f), each = REGIONS_REGION_UNITS / 2;
  for (unsigned i = from; i < PIECES; i++) {
    assert_true(take_as(f->regions, &f->pieces[i], 2 * UNIT, 0, i));
    if (i % each == 0) settled(f);
  }
  struct regions_stats full = settled(f);
  const unsigned char *given[PIECES];
  unsigned count = 0, resident = 0;
  for (unsigned i = from; i < PIECES; i++) {
    if ((i - from) % each == each / 2) continue;
    given[count++] = f->pieces[i].bytes;
    give(f->regions, &f->pieces[i]);
  }
  struct regions_stats sparse = settled(f);
  assert_true(sparse.slack <= REGIONS_SLACK_UNITS);
  assert_true(sparse.cold > (full.units - sparse.units) / 2);
  for (unsigned i = 0; i < count; i++) resident += is_resident(given[i]);
  assert_true(resident < count / 4);
  for (unsigned i = from; i < PIECES; i++) {
    if (f->pieces[i].bytes == NULL) assert_true(take_as(f->regions, &f->pieces[i], 2 * UNIT, 0, i));
  }
  assert_true(settled(f).regions <= full.regions + 1);
  give_all(f);
  assert_int_equal(settled(f).regions, 0);
}

/* Those of the other kin are in between: with one kin no region would become free. */
static void kin_leave_whole_regions_behind(void **state) {
  struct fixture *f = *state;
  for (unsigned i = fill_plain(f); i < PIECES; i++) {
    assert_true(take_as(f->regions, &f->pieces[i], 2 * UNIT, 1 + i % 2, i));
    if (i % 16 == 0) settled(f);
  }
  struct regions_stats full = settled(f);
  for (unsigned i = 0; i < PIECES; i++) {
    if (i % 2 == 0) give(f->regions, &f->pieces[i]);
  }
  struct regions_stats half = settled(f);
  assert_true(half.regions < full.regions / 2 + REGIONS_AHEAD + 2);
  assert_int_equal(half.cold, 0);
  give_all(f);
}

static void without_memory_there_is_none_and_later_there_is(void **state) {
  struct fixture *f = *state;
  if (SHADOWED) skip();
  struct rlimit limit, tight;
  unsigned taken = 0, from = fill_plain(f);
  assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
  tight = limit;
  tight.rlim_cur = 1; /* less than there is already: nothing more can be mapped */
  assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
  while (from + taken < PIECES / 2 &&
         take_as(f->regions, &f->pieces[from + taken], REGIONS_REGION_BYTES, 0, taken))
    taken++;
  assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
  assert_true(from + taken < PIECES / 2);
  struct regions_stats stats = settled(f);
  assert_int_equal(stats.plain_bytes + stats.units * UNIT,
                   from * UNIT + taken * REGIONS_REGION_BYTES);
  for (unsigned i = from + taken; i < PIECES; i++) {
    assert_true(take_as(f->regions, &f->pieces[i], UNIT, 0, i));
    if (i % 16 == 0) settled(f);
  }
  assert_true(settled(f).regions > stats.regions + 10);
  give_all(f);
}

/* ---- threads ---- */

static void *hammer(void *argument) {
  struct regions *regions = argument;
  struct piece *pieces = calloc(THREAD_PIECES, sizeof *pieces);
  uint64_t seed = (uint64_t)(uintptr_t)pieces | 1, wrong = pieces == NULL;
  for (unsigned step = 0; wrong == 0 && step < THREAD_STEPS; step++) {
    uint64_t random = next_random(&seed);
    struct piece *piece = &pieces[random % THREAD_PIECES];
    if (piece->bytes != NULL) {
      wrong += !is_marked(piece);
      regions_give(regions, piece->bytes, piece->size);
      piece->bytes = NULL;
    } else {
      piece->size = UNIT << (random >> 32) % 4;
      piece->bytes = regions_take(regions, 64, piece->size, random >> 40 & 7);
      wrong += piece->bytes == NULL;
      if (piece->bytes != NULL) mark(piece, random);
    }
  }
  for (unsigned i = 0; pieces != NULL && i < THREAD_PIECES; i++) {
    if (pieces[i].bytes != NULL) regions_give(regions, pieces[i].bytes, pieces[i].size);
  }
  free(pieces);
  return (void *)(uintptr_t)wrong;
}

static void threads_may_share_it(void **state) {
  struct fixture *f = *state;
  pthread_t threads[THREADS];
  void *wrong;
  for (unsigned i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, hammer, f->regions), 0);
  for (unsigned i = 0; i < THREADS; i++) {
    assert_int_equal(pthread_join(threads[i], &wrong), 0);
    assert_null(wrong);
  }
  assert_int_equal(settled(f).regions, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(a_small_source_has_no_regions),
      CASE(at_rest_none_is_kept_ready_until_it_grows_again),
      CASE(a_large_one_takes_them_from_there_ready_for_use),
      CASE(all_of_it_comes_back),
      CASE(pieces_of_every_size_keep_their_bytes),
      CASE(what_is_free_in_part_is_given_back_and_taken_again),
      CASE(kin_leave_whole_regions_behind),
      CASE(without_memory_there_is_none_and_later_there_is),
      CASE(threads_may_share_it),
  };
  return cmocka_run_group_tests_name("regions", tests, NULL, NULL);
}
