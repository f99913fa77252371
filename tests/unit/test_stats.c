/*
 * test_stats.c - each thing that happens is counted once: a hand-over that is undone, however often
 * and on whichever loop, counts nothing of what ended before it a second time, and no counter
 * falls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/engine/binding.h"
#include "server/engine/engine.h"
#include "server/engine/stats.h"
#include "server/engine/tick.h"
#include "server/engine/waiter.h"

#define START INT64_C(1000000)
#define LEASE_MS 100
#define RETENTION_MS 5000
#define FOREVER INT64_C(1000000000)
#define PLENTY 1000u
#define MOST_WAITERS 8u

static const struct span KEY = {"key", 3};

struct fixture {
  struct engine *engine;
  int64_t now_ms;
};

static int set_up(void **state) {
  const struct engine_options options = {.first_token = 1,
                                         .retention_ms = RETENTION_MS,
                                         .waiters_per_key = MOST_WAITERS,
                                         .waiters_total = MOST_WAITERS};
  struct fixture *f = malloc(sizeof *f);
  assert_non_null(f);
  *f = (struct fixture){.engine = engine_create(&options, START), .now_ms = START};
  assert_non_null(f->engine);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  engine_destroy(f->engine);
  free(f);
  return 0;
}

/* ---- short ---- */

static struct stats stats_of(struct fixture *f) {
  struct stats stats;
  stats_read(f->engine, &stats);
  return stats;
}

static struct engine_answer claim(struct fixture *f, struct engine_claim as) {
  struct engine_answer answer;
  as.key = KEY;
  as.lease_ms = LEASE_MS;
  engine_claim(f->engine, &as, f->now_ms, &answer);
  return answer;
}

static uint64_t claimed(struct fixture *f, struct engine_claim as) {
  struct engine_answer answer = claim(f, as);
  assert_int_equal(answer.status, ENGINE_CLAIMED);
  return answer.token;
}

static struct waiter *queued(struct fixture *f, int64_t wait_ms, unsigned loop_id) {
  struct engine_claim as = {.wait_ms = wait_ms, .loop_id = loop_id};
  struct engine_answer answer = claim(f, as);
  assert_int_equal(answer.status, ENGINE_QUEUED);
  return answer.waiter;
}

static enum engine_status release(struct fixture *f, uint64_t token) {
  const struct engine_release release = {.key = KEY, .token = token};
  struct engine_answer answer;
  engine_release(f->engine, &release, f->now_ms, &answer);
  return answer.status;
}

static enum engine_status store(struct fixture *f, uint64_t token) {
  const struct engine_store store = {
      .key = KEY, .token = token, .body = KEY, .meta = SPAN_ABSENT, .ttl_ms = FOREVER};
  struct engine_answer answer;
  engine_store(f->engine, &store, f->now_ms, &answer);
  return answer.status;
}

static void pass(struct fixture *f, int64_t ms) {
  f->now_ms += ms;
  while (tick_run(f->engine, f->now_ms, PLENTY)) continue;
}

/* The loop's next waiter is this one, and it was granted the claim. Returns its token. */
static uint64_t granted(struct fixture *f, struct waiter *waiter, unsigned loop_id) {
  assert_ptr_equal(waiter_next_ready(f->engine, loop_id), waiter);
  assert_int_equal(waiter_answer(waiter)->status, ENGINE_CLAIMED);
  return waiter_answer(waiter)->token;
}

/* ---- each end of a grant, and as many waiters as may be, all of them taken back ---- */

static void end_lease(struct fixture *f, uint64_t token, struct binding *binding) {
  (void)token;
  pass(f, LEASE_MS);
  binding_close(f->engine, binding, f->now_ms);
}

static void end_by_release(struct fixture *f, uint64_t token, struct binding *binding) {
  assert_int_equal(release(f, token), ENGINE_RELEASED);
  binding_close(f->engine, binding, f->now_ms);
}

static void end_connection(struct fixture *f, uint64_t token, struct binding *binding) {
  (void)token;
  binding_close(f->engine, binding, f->now_ms);
  pass(f, 1);
}

typedef void end_function(struct fixture *f, uint64_t token, struct binding *binding);

static struct stats after_taking_back(struct fixture *f, end_function *end, unsigned loops) {
  struct waiter *waiters[MOST_WAITERS];
  struct binding *binding = binding_create(f->engine);
  assert_non_null(binding);
  stats_reset(f->engine);
  uint64_t token = claimed(f, (struct engine_claim){.binding = binding});
  for (unsigned i = 0; i < MOST_WAITERS; i++) waiters[i] = queued(f, FOREVER, i % loops);
  end(f, token, binding);
  for (unsigned i = 0; i < MOST_WAITERS; i++) {
    granted(f, waiters[i], i % loops);
    waiter_take_back(f->engine, waiters[i], f->now_ms);
  }
  struct stats stats = stats_of(f);
  assert_int_equal(stats.granted, 1);
  assert_int_equal(stats.handed_over, 0);
  assert_int_equal(stats.taken_back, MOST_WAITERS);
  assert_int_equal(stats.expired + stats.waits_timed_out + stats.waiters, 0);
  return stats;
}

static const unsigned LOOPS[] = {1, 4};
#define LOOP_COUNTS (sizeof LOOPS / sizeof *LOOPS)

static void a_lease_that_ended_is_counted_once_however_often_its_hand_over_is_undone(void **state) {
  struct fixture *f = *state;
  for (size_t i = 0; i < LOOP_COUNTS; i++) {
    struct stats stats = after_taking_back(f, end_lease, LOOPS[i]);
    assert_int_equal(stats.lapsed, 1);
    assert_int_equal(stats.released, 0);
    pass(f, RETENTION_MS);
    assert_int_equal(stats_of(f).lapsed, 1);
    assert_int_equal(stats_of(f).expired, 1);
  }
}

static void a_release_is_counted_once_however_often_its_hand_over_is_undone(void **state) {
  struct fixture *f = *state;
  for (size_t i = 0; i < LOOP_COUNTS; i++) {
    struct stats stats = after_taking_back(f, end_by_release, LOOPS[i]);
    assert_int_equal(stats.released, 1);
    assert_int_equal(stats.lapsed, 0);
  }
}

static void the_end_of_a_connection_is_no_lease_that_ended(void **state) {
  struct fixture *f = *state;
  for (size_t i = 0; i < LOOP_COUNTS; i++) {
    struct stats stats = after_taking_back(f, end_connection, LOOPS[i]);
    assert_int_equal(stats.lapsed + stats.released, 0);
  }
}

/* ---- hand-overs ---- */

static void a_hand_over_counts_when_it_can_no_longer_be_undone(void **state) {
  struct fixture *f = *state;
  uint64_t first = claimed(f, (struct engine_claim){0});
  struct waiter *b = queued(f, FOREVER, 0), *c = queued(f, FOREVER, 0), *d = queued(f, FOREVER, 0);
  assert_int_equal(release(f, first), ENGINE_RELEASED);
  granted(f, b, 0);
  waiter_settle(f->engine, b);
  assert_int_equal(stats_of(f).handed_over, 1);
  pass(f, LEASE_MS);
  granted(f, c, 0);
  pass(f, LEASE_MS); /* the lease of c, too late to be taken back */
  waiter_take_back(f->engine, c, f->now_ms);
  assert_int_equal(stats_of(f).handed_over, 2);
  assert_int_equal(store(f, granted(f, d, 0)), ENGINE_STORED); /* acted on */
  waiter_take_back(f->engine, d, f->now_ms);
  assert_int_equal(stats_of(f).handed_over, 3);
  assert_int_equal(stats_of(f).taken_back, 0);
  assert_int_equal(stats_of(f).lapsed, 2);
}

static void a_reset_between_a_hand_over_and_its_undo_leaves_no_counter_below_zero(void **state) {
  struct fixture *f = *state;
  uint64_t first = claimed(f, (struct engine_claim){0});
  struct waiter *b = queued(f, FOREVER, 0);
  assert_int_equal(release(f, first), ENGINE_RELEASED);
  granted(f, b, 0);
  stats_reset(f->engine);
  waiter_take_back(f->engine, b, f->now_ms);
  assert_int_equal(stats_of(f).handed_over, 0);
  assert_int_equal(stats_of(f).taken_back, 1);
}

/* ---- waits ---- */

static void a_wait_that_ended_is_counted_once(void **state) {
  struct fixture *f = *state;
  claimed(f, (struct engine_claim){0});
  struct waiter *b = queued(f, 10, 0), *c = queued(f, FOREVER, 3);
  pass(f, 20);
  assert_int_equal(claim(f, (struct engine_claim){0}).status, ENGINE_BUSY); /* looks once more */
  waiter_expire(f->engine, b, f->now_ms); /* it is ready already */
  waiter_expire(f->engine, c, f->now_ms);
  waiter_take_back(f->engine, b, f->now_ms);
  waiter_cancel(f->engine, c, f->now_ms);
  assert_int_equal(stats_of(f).waits_timed_out, 2);
  assert_int_equal(stats_of(f).taken_back + stats_of(f).handed_over, 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(a_lease_that_ended_is_counted_once_however_often_its_hand_over_is_undone),
      CASE(a_release_is_counted_once_however_often_its_hand_over_is_undone),
      CASE(the_end_of_a_connection_is_no_lease_that_ended),
      CASE(a_hand_over_counts_when_it_can_no_longer_be_undone),
      CASE(a_reset_between_a_hand_over_and_its_undo_leaves_no_counter_below_zero),
      CASE(a_wait_that_ended_is_counted_once),
  };
  return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
