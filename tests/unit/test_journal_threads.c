/* test_journal_threads.c - several loops append and commit, the helper makes room, syncs and
 * removes files, one thread trims and beats: nothing committed is lost, and nothing is out of
 * order. */
#include "tests/unit/journal_rig.h"

#include <pthread.h>
#include <sched.h>

#include "server/base/clock.h"

#define THREADS 4u
#define EACH 1500u
/* Of the last loop, which commits the most records at once; each of its commits waits for a sync of
 * its own. */
#define FEWEST_COMMITS ((int)(EACH / THREADS))

static int make(void **state) {
  struct rig *rig = calloc(1, sizeof *rig);
  rig_make(rig);
  rig->options.helper = true;
  *state = rig;
  return 0;
}

static int clean(void **state) {
  rig_clean(*state);
  free(*state);
  return 0;
}

struct loop {
  struct rig *rig;
  uint32_t number;
  pthread_t thread;
  uint32_t committed; /* of its records */
};

/* Record i of a loop is i * THREADS + number. Sometimes several are committed at once. */
static void *run(void *argument) {
  struct loop *loop = argument;
  struct rig *rig = loop->rig;
  for (uint32_t i = 0; i < EACH; i++) {
    while (journal_room(rig->journal, RIG_RECORD) != JOURNAL_ROOM_ENOUGH && !rig->times_failed) {
      sched_yield();
    }
    rig_append_sized(rig, i * THREADS + loop->number, RIG_RECORD,
                     (struct journal_ends){.last_ms = INT64_MAX});
    if (i % (loop->number + 1) != 0) continue;
    if (!journal_commit(rig->journal, NULL)) break;
    loop->committed = i + 1;
  }
  if (journal_commit(rig->journal, NULL)) loop->committed = EACH;
  return NULL;
}

static void run_loops(struct rig *rig, struct loop loops[THREADS],
                      void (*beside)(struct rig *rig)) {
  for (unsigned i = 0; i < THREADS; i++) {
    loops[i] = (struct loop){.rig = rig, .number = i};
    assert_int_equal(pthread_create(&loops[i].thread, NULL, run, &loops[i]), 0);
  }
  if (beside != NULL) beside(rig);
  for (unsigned i = 0; i < THREADS; i++) pthread_join(loops[i].thread, NULL);
}

/* Of each loop as many as it committed came back, in its order, and perhaps some more. */
static void expect_of_each(const struct rig *rig, const struct loop loops[THREADS]) {
  uint32_t next[THREADS] = {0};
  for (size_t i = 0; i < rig->got_count; i++) {
    uint32_t loop = rig->got[i] % THREADS;
    assert_int_equal(rig->got[i] / THREADS, next[loop]);
    next[loop]++;
  }
  for (unsigned i = 0; i < THREADS; i++) assert_true(next[i] >= loops[i].committed);
}

static void followers_are_covered_by_their_leader(void **state) {
  struct rig *rig = *state;
  struct loop loops[THREADS];
  rig_start(rig);
  run_loops(rig, loops, NULL);
  for (unsigned i = 0; i < THREADS; i++) assert_int_equal(loops[i].committed, EACH);
  struct journal_figures figures = rig_figures(rig);
  assert_int_equal(figures.records, THREADS * EACH);
  assert_true(figures.segments > 5);
  rig_crash(rig);
  rig_start(rig);
  expect_of_each(rig, loops);
  assert_int_equal(rig->got_count, THREADS * EACH);
}

static void everysec_too(void **state) {
  struct rig *rig = *state;
  struct loop loops[THREADS];
  rig->options.sync = JOURNAL_SYNC_EVERYSEC;
  rig_start(rig);
  run_loops(rig, loops, NULL);
  rig_crash(rig);
  rig_start(rig);
  expect_of_each(rig, loops);
}

static void nobody_is_told_that_it_is_committed_after_a_failure(void **state) {
  struct rig *rig = *state;
  struct loop loops[THREADS];
  rig_start(rig);
  rig->after = FEWEST_COMMITS - 1;
  rig->error = EIO;
  rig->fails = RIG_SYNC;
  run_loops(rig, loops, NULL);
  while (rig->times_failed == 0) sched_yield(); /* it may be the helper that says so */
  assert_int_equal(rig->times_failed, 1);
  for (unsigned i = 0; i < THREADS; i++) assert_true(loops[i].committed < EACH);
  rig->fails = RIG_NONE;
  rig_crash(rig);
  rig_start(rig);
  expect_of_each(rig, loops);
}

static bool drop(void *caller, uint64_t segment, struct span record) {
  (void)caller;
  (void)segment;
  (void)record;
  return true;
}

static void trim_and_beat(struct rig *rig) {
  struct journal_moment moment = rig->moment;
  for (;;) {
    struct journal_figures figures = rig_figures(rig);
    if (figures.records >= THREADS * EACH) return;
    journal_trim(rig->journal, 0, drop, rig);
    journal_beat(rig->journal, NULL, &moment, true, (int64_t)clock_monotonic_ns());
    journal_delay_ends(rig->journal, 1);
    sched_yield();
  }
}

static void it_is_trimmed_meanwhile(void **state) {
  struct rig *rig = *state;
  struct loop loops[THREADS];
  rig_start(rig);
  run_loops(rig, loops, trim_and_beat);
  rig_put(rig, THREADS * EACH);
  rig_crash(rig);
  rig_start(rig);
  assert_int_equal(rig->got[rig->got_count - 1], THREADS * EACH);
}

static void await_syncs(struct rig *rig, int syncs) {
  while (rig->syncs < syncs) sched_yield();
}

/* The helper does it unasked, after a second. */
static void everysec_the_helper_syncs_a_tail_that_rests(void **state) {
  struct rig *rig = *state;
  rig->options.sync = JOURNAL_SYNC_EVERYSEC;
  rig_start(rig);
  rig_put(rig, 0);
  int syncs = rig->syncs;
  rig_put(rig, 1);
  await_syncs(rig, syncs + 1);
}

static void await_room(struct rig *rig, uint64_t bytes) {
  while (rig_figures(rig).room_bytes < bytes) sched_yield();
}

static void the_helper_makes_room_again_by_itself(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  await_room(rig, RIG_SEGMENT / 2);
  rig->error = ENOSPC;
  rig->fails = RIG_ALLOCATE;
  uint32_t number = 0;
  while (journal_room(rig->journal, RIG_RECORD) != JOURNAL_ROOM_NONE) {
    rig_append(rig, number++);
    rig_commit(rig);
  }
  rig->fails = RIG_NONE;
  while (journal_room(rig->journal, RIG_RECORD) != JOURNAL_ROOM_ENOUGH) sched_yield();
  rig_put(rig, number++);
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, number);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, clean)
  const struct CMUnitTest tests[] = {
      TEST(followers_are_covered_by_their_leader),
      TEST(everysec_too),
      TEST(nobody_is_told_that_it_is_committed_after_a_failure),
      TEST(it_is_trimmed_meanwhile),
      TEST(everysec_the_helper_syncs_a_tail_that_rests),
      TEST(the_helper_makes_room_again_by_itself),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
