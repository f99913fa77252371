/* test_served_clock.c - what the engines' clock shows, for turns that end when the test says, and
 * the same with random schedules of several loops, and with threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "server/base/clock.h"
#include "server/base/served_clock.h"

#define START INT64_C(1000000)
#define MOST SERVED_CLOCK_MOST_MS
#define TICK 100 /* a loop turns at least so often */

static struct served_clock clock_with(unsigned loops) {
  struct served_clock clock;
  served_clock_init(&clock);
  for (unsigned i = 0; i < loops; i++) assert_int_equal(served_clock_add(&clock, START), i);
  return clock;
}

/* What it shows so long after the start. */
static int64_t at(const struct served_clock *clock, int64_t ms) {
  return served_clock_at(served_clock_look(clock), START + ms) - START;
}

static void turn(struct served_clock *clock, unsigned loop, int64_t ms) {
  served_clock_end_turn(clock, loop, START + ms);
}

/* xorshift64: the test's own numbers, the same on every machine. */
static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

/* ---- one loop ---- */

static void without_loops_it_is_the_monotonic_clock(void **state) {
  (void)state;
  struct served_clock clock = clock_with(0);
  served_clock_pause(&clock, START, START + 1000);
  assert_int_equal(at(&clock, 5000), 5000);
  assert_int_equal(at(&clock, 1 << 30), 1 << 30);
}

static void a_loop_that_turns_in_time_loses_nothing(void **state) {
  (void)state;
  struct served_clock clock = clock_with(1);
  for (int64_t ms = 0; ms < 100000; ms += TICK) {
    assert_int_equal(at(&clock, ms), ms);
    turn(&clock, 0, ms);
    assert_int_equal(at(&clock, ms + TICK - 1), ms + TICK - 1);
    assert_false(served_clock_stands(&clock, START + ms));
  }
}

static void of_a_stall_so_much_counts_and_it_goes_on_from_there(void **state) {
  (void)state;
  struct served_clock clock = clock_with(1);
  turn(&clock, 0, 100);
  assert_int_equal(at(&clock, 100 + MOST), 100 + MOST);
  assert_int_equal(at(&clock, 101 + MOST), 100 + MOST);
  assert_int_equal(at(&clock, 5000), 100 + MOST);
  assert_true(served_clock_stands(&clock, START + at(&clock, 5000)));
  turn(&clock, 0, 5000);
  assert_false(served_clock_stands(&clock, START + at(&clock, 5000)));
  assert_int_equal(at(&clock, 5000), 100 + MOST);
  assert_int_equal(at(&clock, 5070), 170 + MOST);
  turn(&clock, 0, 5100);
  turn(&clock, 0, 9000);
  assert_int_equal(at(&clock, 9000), 200 + 2 * MOST);
}

/* The end of a turn between two renewals is not noted: a stall after it counts less. */
static void never_more_counts_whatever_was_renewed(void **state) {
  (void)state;
  for (int64_t last = 0; last <= 2 * SERVED_CLOCK_RENEW_MS; last++) {
    struct served_clock clock = clock_with(1);
    turn(&clock, 0, last);
    assert_in_range(at(&clock, 10000), MOST, last + MOST);
    turn(&clock, 0, 10000);
    assert_in_range(at(&clock, 10000), MOST, last + MOST);
  }
}

/* ---- several loops ---- */

static void one_loop_that_is_stuck_stops_it_for_all(void **state) {
  (void)state;
  struct served_clock clock = clock_with(3);
  for (unsigned loop = 0; loop < 3; loop++) turn(&clock, loop, 60);
  for (int64_t ms = 70; ms < 3000; ms += 10) {
    turn(&clock, (unsigned)(ms / 10) % 2, ms);
    assert_int_equal(at(&clock, ms), ms < 60 + MOST ? ms : 60 + MOST);
  }
  turn(&clock, 2, 3000);
  assert_int_equal(at(&clock, 3000), 60 + MOST);
  assert_int_equal(at(&clock, 3100), 160 + MOST);
}

static void all_loops_return_from_one_stall_at_different_times(void **state) {
  (void)state;
  struct served_clock clock = clock_with(2);
  turn(&clock, 0, 2000); /* the other one has not turned yet */
  assert_int_equal(at(&clock, 2050), MOST);
  turn(&clock, 1, 2060);
  assert_int_equal(at(&clock, 2060), MOST);
  assert_int_equal(at(&clock, 2160), MOST + 100);
}

static void nobody_waits_for_a_loop_that_has_left(void **state) {
  (void)state;
  struct served_clock clock = clock_with(2);
  served_clock_leave(&clock, 1);
  for (int64_t ms = TICK; ms < 5000; ms += TICK) {
    turn(&clock, 0, ms);
    assert_int_equal(at(&clock, ms), ms);
  }
}

/* A loop that ends a turn with a time that it read before another one renewed. */
static void a_late_turn_with_an_early_time_changes_nothing(void **state) {
  (void)state;
  struct served_clock clock = clock_with(2);
  turn(&clock, 0, 1000);
  turn(&clock, 1, 1000);
  int64_t shown_ms = at(&clock, 1000);
  turn(&clock, 0, 700);
  assert_int_equal(at(&clock, 1000), shown_ms);
  turn(&clock, 0, 1001);
  assert_int_equal(at(&clock, 1001), shown_ms + 1);
}

/* ---- the pause ---- */

static void nothing_counts_while_it_is_paused(void **state) {
  (void)state;
  struct served_clock clock = clock_with(2);
  served_clock_pause(&clock, START + 10, START + 60000);
  for (int64_t ms = 20; ms < 60000; ms += 20) {
    turn(&clock, (unsigned)(ms / 20) % 2, ms);
    assert_int_equal(at(&clock, ms), 10);
  }
  turn(&clock, 0, 60000);
  turn(&clock, 1, 60000);
  assert_int_equal(at(&clock, 60000), 10);
  assert_int_equal(at(&clock, 60100), 110);
}

static void a_pause_can_be_replaced_and_ended(void **state) {
  (void)state;
  struct served_clock clock = clock_with(1);
  served_clock_pause(&clock, START, START + 1000);
  turn(&clock, 0, 500);
  served_clock_pause(&clock, START + 500, START + 5000);
  turn(&clock, 0, 3000);
  assert_int_equal(at(&clock, 3000), 0);
  served_clock_resume(&clock);
  turn(&clock, 0, 3001);
  assert_int_equal(at(&clock, 3051), 50);
}

static void a_pause_that_begins_while_it_stands_does_not_set_it_back(void **state) {
  (void)state;
  struct served_clock clock = clock_with(1);
  assert_int_equal(at(&clock, 3000), MOST);
  served_clock_pause(&clock, START + 3000, START + 3000);
  assert_int_equal(at(&clock, 3000), MOST);
  turn(&clock, 0, 3000);
  assert_int_equal(at(&clock, 3010), MOST + 10);
}

/* ---- random schedules ---- */

#define LOOPS_MOST 5u
#define SCHEDULES 2000
#define STEPS 400

struct schedule {
  struct served_clock clock;
  uint64_t seed;
  unsigned loops;
  int64_t now_ms, shown_ms, paused_until_ms;
  int64_t turn_ms[LOOPS_MOST], counted_ms[LOOPS_MOST]; /* of the last turns: when, what it showed */
};

static unsigned below(struct schedule *s, unsigned bound) {
  return (unsigned)(next_random(&s->seed) % bound);
}

/* A reading, after so much time, and what holds for every reading. */
static void read_after(struct schedule *s, int64_t ms) {
  s->now_ms += ms;
  int64_t shown_ms = at(&s->clock, s->now_ms);
  assert_true(shown_ms >= s->shown_ms);
  assert_true(shown_ms - s->shown_ms <= ms);
  if (s->now_ms < s->paused_until_ms) assert_int_equal(shown_ms, s->shown_ms);
  for (unsigned i = 0; i < s->loops; i++) assert_true(shown_ms - s->counted_ms[i] <= MOST);
  s->shown_ms = shown_ms;
}

static void end_turn(struct schedule *s, unsigned loop) {
  turn(&s->clock, loop, s->now_ms);
  int64_t shown_ms = at(&s->clock, s->now_ms);
  assert_int_equal(shown_ms, s->shown_ms); /* a cut is no jump */
  s->counted_ms[loop] = shown_ms;
  s->turn_ms[loop] = s->now_ms;
}

static void pause_it(struct schedule *s) {
  s->paused_until_ms = s->now_ms + below(s, 2000);
  served_clock_pause(&s->clock, START + s->now_ms, START + s->paused_until_ms);
}

static void step(struct schedule *s) {
  bool stall = below(s, 40) == 0;
  read_after(s, stall ? below(s, 4000) : below(s, 60));
  if (below(s, 100) == 0) pause_it(s);
  /* The last loop is often stuck. */
  unsigned loop = below(s, s->loops + (s->loops > 1 && below(s, 4) != 0 ? 0 : 1));
  if (loop < s->loops && (loop != s->loops - 1 || below(s, 3) == 0)) end_turn(s, loop);
}

static void never_backwards_never_faster_never_more_than_the_limit_of_a_stall(void **state) {
  (void)state;
  int64_t passed_ms = 0, counted_ms = 0;
  for (uint64_t n = 1; n <= SCHEDULES; n++) {
    struct schedule s = {.seed = n * UINT64_C(0x9e3779b97f4a7c15), .paused_until_ms = INT64_MIN};
    s.loops = 1 + below(&s, LOOPS_MOST);
    s.clock = clock_with(s.loops);
    for (unsigned i = 0; i < STEPS; i++) step(&s);
    passed_ms += s.now_ms;
    counted_ms += s.shown_ms;
  }
  assert_true(counted_ms > passed_ms / 10 &&
              counted_ms < passed_ms); /* there were stalls, and not only */
}

/* Each loop turns at least every TICK, and whenever else it likes. */
static void without_a_stall_nothing_is_cut(void **state) {
  (void)state;
  for (uint64_t n = 1; n <= SCHEDULES; n++) {
    struct schedule s = {.seed = n * UINT64_C(0x9e3779b97f4a7c15), .paused_until_ms = INT64_MIN};
    s.loops = 1 + below(&s, LOOPS_MOST);
    s.clock = clock_with(s.loops);
    for (unsigned i = 0; i < STEPS; i++) {
      read_after(&s, below(&s, 30));
      assert_int_equal(s.shown_ms, s.now_ms);
      for (unsigned loop = 0; loop < s.loops; loop++) {
        if (s.now_ms - s.turn_ms[loop] >= TICK - 30 || below(&s, 20) == 0) end_turn(&s, loop);
      }
    }
  }
}

/* ---- threads ---- */

#define THREADS 4u
#define THREAD_TURNS 3000

/* An engine's lock: what a thread reads within it is later than what others have read in it. */
struct shared {
  struct served_clock clock;
  pthread_mutex_t lock;
  int64_t latest_ms;
  _Atomic unsigned backwards;
};
struct thread_of {
  struct shared *shared;
  unsigned loop;
};

static int64_t monotonic_ms(void) { return (int64_t)(clock_monotonic_ns() / 1000000); }

static int64_t read_now(struct shared *shared, int64_t *now_ms) {
  struct served_clock_view view = served_clock_look(&shared->clock);
  *now_ms = monotonic_ms();
  return served_clock_at(view, *now_ms);
}

static void *turn_often(void *context) {
  struct thread_of *me = context;
  struct shared *shared = me->shared;
  for (unsigned i = 0; i < THREAD_TURNS; i++) {
    int64_t now_ms = 0;
    pthread_mutex_lock(&shared->lock);
    int64_t shown_ms = read_now(shared, &now_ms);
    if (shown_ms < shared->latest_ms) atomic_fetch_add(&shared->backwards, 1);
    shared->latest_ms = shown_ms;
    pthread_mutex_unlock(&shared->lock);
    served_clock_end_turn(&shared->clock, me->loop, now_ms - (i % 7 == 0 ? 300 : 0));
  }
  served_clock_leave(&shared->clock, me->loop);
  return NULL;
}

/* Turns that count as long past make it stand and be cut all the time. */
static void it_never_runs_backwards_between_threads(void **state) {
  (void)state;
  struct shared *shared = calloc(1, sizeof *shared);
  assert_non_null(shared);
  pthread_mutex_init(&shared->lock, NULL);
  served_clock_init(&shared->clock);
  pthread_t threads[THREADS];
  struct thread_of each[THREADS];
  for (unsigned i = 0; i < THREADS; i++) served_clock_add(&shared->clock, monotonic_ms() - 300);
  for (unsigned i = 0; i < THREADS; i++) {
    each[i] = (struct thread_of){shared, i};
    assert_int_equal(pthread_create(&threads[i], NULL, turn_often, &each[i]), 0);
  }
  for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  assert_int_equal(shared->backwards, 0);
  assert_true(atomic_load(&shared->clock.cut_ms) > 0);
  pthread_mutex_destroy(&shared->lock);
  free(shared);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_loops_it_is_the_monotonic_clock),
      cmocka_unit_test(a_loop_that_turns_in_time_loses_nothing),
      cmocka_unit_test(of_a_stall_so_much_counts_and_it_goes_on_from_there),
      cmocka_unit_test(never_more_counts_whatever_was_renewed),
      cmocka_unit_test(one_loop_that_is_stuck_stops_it_for_all),
      cmocka_unit_test(all_loops_return_from_one_stall_at_different_times),
      cmocka_unit_test(nobody_waits_for_a_loop_that_has_left),
      cmocka_unit_test(a_late_turn_with_an_early_time_changes_nothing),
      cmocka_unit_test(nothing_counts_while_it_is_paused),
      cmocka_unit_test(a_pause_can_be_replaced_and_ended),
      cmocka_unit_test(a_pause_that_begins_while_it_stands_does_not_set_it_back),
      cmocka_unit_test(never_backwards_never_faster_never_more_than_the_limit_of_a_stall),
      cmocka_unit_test(without_a_stall_nothing_is_cut),
      cmocka_unit_test(it_never_runs_backwards_between_threads),
  };
  return cmocka_run_group_tests_name("served_clock", tests, NULL, NULL);
}
