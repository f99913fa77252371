/*
 * test_due.c - a deadline is over in the same millisecond wherever it is looked at: by a call on
 * its key, by a tick, by a scan, by what waits for it; and that is the one that the rules name, on
 * an exact clock and on a rounded one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/engine/binding.h"
#include "server/engine/engine.h"
#include "server/engine/keys.h"
#include "server/engine/stats.h"
#include "server/engine/tick.h"
#include "server/engine/waiter.h"

#define START INT64_C(1000000)
#define SPAN_MS 700 /* of a lease, a TTL, an end */
#define RETENTION_MS 5000
#define PLENTY 1000u

static const int64_t GRAINS[] = {0, 1, 8, 100};
#define GRAIN_COUNT (sizeof GRAINS / sizeof *GRAINS)

static const struct span KEY = {"key", 3};

struct fixture {
  struct engine *engine;
  int64_t now_ms;
  uint64_t token;
};

static struct fixture begin(int64_t grain_ms) {
  const struct engine_options options = {.first_token = 1,
                                         .retention_ms = RETENTION_MS,
                                         .unknown_retention_ms = RETENTION_MS,
                                         .clock_grain_ms = grain_ms,
                                         .waiters_per_key = 10,
                                         .waiters_total = 10};
  struct fixture f = {.engine = engine_create(&options, START), .now_ms = START};
  assert_non_null(f.engine);
  return f;
}

static void claim(struct fixture *f, bool hold) {
  const struct engine_claim claim = {.key = KEY, .lease_ms = SPAN_MS, .hold = hold};
  struct engine_answer answer;
  engine_claim(f->engine, &claim, f->now_ms, &answer);
  assert_int_equal(answer.status, ENGINE_CLAIMED);
  f->token = answer.token;
}

/* ---- what has a deadline; each says when it is ---- */

static int64_t make_held(struct fixture *f) {
  claim(f, false);
  return f->now_ms + SPAN_MS;
}

static int64_t make_held_with_hold(struct fixture *f) {
  claim(f, true);
  return f->now_ms + SPAN_MS;
}

static int64_t make_done(struct fixture *f) {
  claim(f, false);
  const struct engine_store store = {
      .key = KEY, .body = {"body", 4}, .token = f->token, .ttl_ms = SPAN_MS};
  struct engine_answer answer;
  engine_store(f->engine, &store, f->now_ms, &answer);
  assert_int_equal(answer.status, ENGINE_STORED);
  return f->now_ms + SPAN_MS;
}

static int64_t make_value(struct fixture *f) {
  const struct span value = {"value", 5};
  assert_int_equal(keys_set_value(f->engine, KEY, value, f->now_ms + SPAN_MS, f->now_ms),
                   ENGINE_STORED);
  return f->now_ms + SPAN_MS;
}

static int64_t after_lease(struct fixture *f, int64_t deadline_ms, enum rules_phase phase) {
  f->now_ms = deadline_ms + GRAINS[GRAIN_COUNT - 1];
  struct keys_entry entry;
  keys_look(f->engine, KEY, f->now_ms, &entry);
  assert_int_equal(entry.phase, phase);
  return deadline_ms + RETENTION_MS;
}

static int64_t make_lapsed(struct fixture *f) { return after_lease(f, make_held(f), RULES_LAPSED); }

static int64_t make_unknown(struct fixture *f) {
  return after_lease(f, make_held_with_hold(f), RULES_UNKNOWN);
}

/* ---- what looks; each says whether it was over ---- */

static bool call_finds_it_over(struct fixture *f) {
  struct keys_entry entry;
  struct stats before, after;
  stats_read(f->engine, &before);
  keys_look(f->engine, KEY, f->now_ms, &entry);
  stats_read(f->engine, &after);
  return after.expired + after.lapsed > before.expired + before.lapsed;
}

static bool tick_finds_it_over(struct fixture *f) {
  struct stats before, after;
  stats_read(f->engine, &before);
  tick_run(f->engine, f->now_ms, PLENTY);
  stats_read(f->engine, &after);
  return after.expired + after.lapsed > before.expired + before.lapsed;
}

static void count(void *context, struct span key, const struct keys_entry *entry) {
  (void)key;
  (void)entry;
  ++*(unsigned *)context;
}

static bool scan_leaves_it_out(struct fixture *f) {
  unsigned listed = 0;
  uint64_t cursor = 0;
  do cursor = keys_scan(f->engine, cursor, f->now_ms, count, &listed);
  while (cursor != 0);
  assert_int_equal(span_present(keys_random(f->engine, 17, f->now_ms)), listed != 0);
  return listed == 0;
}

typedef int64_t maker(struct fixture *f);
typedef bool looker(struct fixture *f);

/* In a new engine each: what was looked at has changed. */
static void expect_over(maker *make, looker *look, int64_t grain_ms) {
  for (int64_t early_ms = -2; early_ms <= 1; early_ms++) {
    struct fixture f = begin(grain_ms);
    f.now_ms = rules_over_at_ms(make(&f), grain_ms) + early_ms;
    assert_int_equal(look(&f), early_ms >= 0);
    engine_destroy(f.engine);
  }
}

static void a_deadline_is_over_in_one_millisecond_for_all_that_look(void **state) {
  (void)state;
  maker *const makers[] = {make_held,  make_held_with_hold, make_done,
                           make_value, make_lapsed,         make_unknown};
  looker *const lookers[] = {call_finds_it_over, tick_finds_it_over};
  for (size_t m = 0; m < sizeof makers / sizeof *makers; m++) {
    for (size_t l = 0; l < sizeof lookers / sizeof *lookers; l++) {
      for (size_t g = 0; g < GRAIN_COUNT; g++) expect_over(makers[m], lookers[l], GRAINS[g]);
    }
  }
}

/* A lease that is over leaves its key listed, as LAPSED or UNKNOWN. */
static void what_is_gone_is_not_listed_before_it_is_noticed(void **state) {
  (void)state;
  maker *const makers[] = {make_done, make_value, make_lapsed, make_unknown};
  for (size_t m = 0; m < sizeof makers / sizeof *makers; m++) {
    for (size_t g = 0; g < GRAIN_COUNT; g++) expect_over(makers[m], scan_leaves_it_out, GRAINS[g]);
  }
}

/* One millisecond before, after a tick has laid the nodes out, it is exact. */
static void the_next_due_time_is_when_the_deadline_is_over(void **state) {
  (void)state;
  maker *const makers[] = {make_held, make_done, make_value};
  for (size_t m = 0; m < sizeof makers / sizeof *makers; m++) {
    for (size_t g = 0; g < GRAIN_COUNT; g++) {
      struct fixture f = begin(GRAINS[g]);
      int64_t over_ms = rules_over_at_ms(makers[m](&f), GRAINS[g]);
      f.now_ms = over_ms - 1;
      tick_run(f.engine, f.now_ms, PLENTY);
      assert_int_equal(tick_next_due(f.engine), over_ms);
      assert_int_equal(tick_next_due_hint(f.engine), over_ms);
      engine_destroy(f.engine);
    }
  }
}

/* ---- waits ---- */

static int64_t make_wait(struct fixture *f) {
  claim(f, false);
  const struct engine_read read = {.key = KEY, .wait_ms = SPAN_MS / 2};
  struct engine_answer answer;
  engine_read(f->engine, &read, f->now_ms, &answer);
  assert_int_equal(answer.status, ENGINE_QUEUED);
  return f->now_ms + SPAN_MS / 2;
}

static bool answered(struct fixture *f) {
  struct waiter *waiter = waiter_next_ready(f->engine, 0);
  if (waiter == NULL) return false;
  assert_int_equal(waiter_answer(waiter)->status, ENGINE_BUSY);
  waiter_settle(f->engine, waiter);
  return true;
}

static void end_wait(struct fixture *f) {
  f->now_ms += 10 * SPAN_MS;
  tick_run(f->engine, f->now_ms, PLENTY);
  struct waiter *waiter = waiter_next_ready(f->engine, 0);
  if (waiter != NULL) waiter_settle(f->engine, waiter);
}

static bool call_ends_the_wait(struct fixture *f) {
  struct keys_entry entry;
  keys_look(f->engine, KEY, f->now_ms, &entry);
  bool over = answered(f);
  end_wait(f);
  return over;
}

static bool tick_ends_the_wait(struct fixture *f) {
  tick_run(f->engine, f->now_ms, PLENTY);
  bool over = answered(f);
  end_wait(f);
  return over;
}

static void a_wait_is_over_in_the_same_millisecond(void **state) {
  (void)state;
  for (size_t g = 0; g < GRAIN_COUNT; g++) {
    expect_over(make_wait, call_ends_the_wait, GRAINS[g]);
    expect_over(make_wait, tick_ends_the_wait, GRAINS[g]);
  }
}

static struct waiter *queued(struct fixture *f, int64_t wait_ms) {
  const struct engine_claim claim = {.key = KEY, .lease_ms = SPAN_MS, .wait_ms = wait_ms};
  struct engine_answer answer;
  engine_claim(f->engine, &claim, f->now_ms, &answer);
  assert_int_equal(answer.status, ENGINE_QUEUED);
  return answer.waiter;
}

/* The lease has certainly ended, and its hand-over is undone: which answer does the next waiter get
 * whose wait ends so long after the lease? */
static enum engine_status next_after_undo(int64_t wait_after_ms, int64_t grain_ms) {
  struct fixture f = begin(grain_ms);
  claim(&f, false);
  struct waiter *first = queued(&f, 2 * SPAN_MS), *next = queued(&f, SPAN_MS + wait_after_ms);
  f.now_ms += SPAN_MS + grain_ms;
  while (tick_run(f.engine, f.now_ms, PLENTY)) continue;
  assert_ptr_equal(waiter_next_ready(f.engine, 0), first);
  waiter_take_back(f.engine, first, f.now_ms);
  assert_ptr_equal(waiter_next_ready(f.engine, 0), next);
  enum engine_status status = waiter_answer(next)->status;
  waiter_settle(f.engine, next);
  engine_destroy(f.engine);
  return status;
}

static void an_undo_ends_no_wait_before_it_is_certainly_over(void **state) {
  (void)state;
  for (size_t g = 0; g < GRAIN_COUNT; g++) {
    for (int64_t after_ms = 1; after_ms <= GRAINS[g] + 1; after_ms++)
      assert_int_equal(next_after_undo(after_ms, GRAINS[g]), ENGINE_CLAIMED);
  }
}

/* ---- BIND ---- */

/* Until when the claim that has ended is kept, which tells when it ended. */
static int64_t kept_until_ms(int64_t closed_ms, int64_t asked_ms, int64_t grain_ms,
                             uint64_t leases_over) {
  struct fixture f = begin(grain_ms);
  struct binding *binding = binding_create(f.engine);
  const struct engine_claim claim = {.key = KEY, .lease_ms = SPAN_MS, .binding = binding};
  struct engine_answer answer;
  engine_claim(f.engine, &claim, f.now_ms, &answer);
  assert_int_equal(answer.status, ENGINE_CLAIMED);
  binding_close(f.engine, binding, START + closed_ms);
  struct keys_entry entry;
  keys_look(f.engine, KEY, START + asked_ms, &entry);
  struct stats stats;
  stats_read(f.engine, &stats);
  engine_destroy(f.engine);
  assert_int_equal(entry.phase, RULES_LAPSED);
  assert_int_equal(stats.lapsed, leases_over);
  return asked_ms + entry.left_ms;
}

/* A lease that was over first ended then; a connection that was closed first ended the claim. */
static void of_lease_and_connection_the_first_counts_whenever_the_key_is_asked_for(void **state) {
  (void)state;
  for (size_t g = 0; g < GRAIN_COUNT; g++) {
    int64_t sure_ms = SPAN_MS + GRAINS[g];
    for (int64_t asked_ms = sure_ms; asked_ms < sure_ms + 3; asked_ms++) {
      assert_int_equal(kept_until_ms(sure_ms - 1, asked_ms, GRAINS[g], 0),
                       sure_ms - 1 + RETENTION_MS);
      assert_int_equal(kept_until_ms(sure_ms, asked_ms, GRAINS[g], 1), SPAN_MS + RETENTION_MS);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_deadline_is_over_in_one_millisecond_for_all_that_look),
      cmocka_unit_test(what_is_gone_is_not_listed_before_it_is_noticed),
      cmocka_unit_test(the_next_due_time_is_when_the_deadline_is_over),
      cmocka_unit_test(a_wait_is_over_in_the_same_millisecond),
      cmocka_unit_test(an_undo_ends_no_wait_before_it_is_certainly_over),
      cmocka_unit_test(of_lease_and_connection_the_first_counts_whenever_the_key_is_asked_for),
  };
  return cmocka_run_group_tests_name("due", tests, NULL, NULL);
}
