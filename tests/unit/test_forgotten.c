/*
 * test_forgotten.c - what an engine admits to have forgotten: which ends of records move the
 * horizon of their key, which do not, and who is told. All keys share one slot here; which key has
 * which slot is test_horizon.c's.
 */
#include "tests/unit/one_engine.h"

#define LONG_AGO (-FOREVER)

/* What a request that is older than everything is told, which changes nothing. */
static int64_t horizon(struct fixture *f) {
  assert_int_equal(claim(f, born(as("any", NULL), LONG_AGO)), ENGINE_FORGOTTEN);
  return f->answer.horizon_ms;
}

/* ---- which ends move it ---- */

static void it_begins_with_the_engine(void **state) {
  struct fixture *f = *state;
  f->now += 500;
  assert_int_equal(horizon(f), START);
  assert_int_equal(engine_horizon_start_ms(f->engine), START);
}

static void nobody_looks(struct fixture *f) { (void)f; }
static void a_call_looks(struct fixture *f) { assert_int_equal(look(f, "k").kind, KEYS_ABSENT); }

typedef void look_first(struct fixture *f);
static look_first *const LOOKS[] = {a_call_looks, nobody_looks};
#define EACH_LOOK(i) (size_t i = 0; i < sizeof LOOKS / sizeof *LOOKS; i++)

/* One millisecond before its end nothing has moved; then it is the record's time, whoever notices
 * the end: a call on the key or a tick. */
static void expect_moved(struct fixture *f, look_first *looks, int64_t end_ms, int64_t since_ms) {
  int64_t before_ms = horizon(f);
  f->now = end_ms - 1;
  tick_until_done(f);
  assert_int_equal(horizon(f), before_ms);
  f->now = end_ms;
  looks(f);
  tick_until_done(f);
  assert_int_equal(horizon(f), since_ms);
}

static void a_response_that_ends_moves_it_to_its_store(void **state) {
  struct fixture *f = *state;
  for
    EACH_LOOK(i) {
      uint64_t token = claimed(f, as("k", "a"));
      f->now += 20;
      assert_int_equal(store_for(f, "k", token, "x", 300), ENGINE_STORED);
      expect_moved(f, LOOKS[i], f->now + 300, f->now);
    }
}

static void a_lapsed_claim_that_ends_moves_it_to_its_grant(void **state) {
  struct fixture *f = *state;
  for
    EACH_LOOK(i) {
      f->now += 7;
      claimed(f, as("k", "a"));
      expect_moved(f, LOOKS[i], f->now + 100 + RETENTION, f->now);
    }
}

static void an_unknown_claim_that_ends_moves_it_to_its_grant(void **state) {
  struct fixture *f = *state;
  struct engine_options options = OPTIONS;
  options.unknown_retention_ms = 5000;
  reconfigure(f, options);
  for
    EACH_LOOK(i) {
      f->now += 7;
      claimed(f, holding("k", "a"));
      expect_moved(f, LOOKS[i], f->now + 100 + 5000, f->now);
    }
}

static void a_struck_out_claim_that_ends_moves_it_to_its_release(void **state) {
  struct fixture *f = *state;
  claimed(f, as("k", "a"));
  f->now += 100;
  uint64_t token = claimed(f, as("k", "b"));
  f->now += 30;
  assert_int_equal(release(f, "k", token), ENGINE_RELEASED);
  expect_moved(f, nobody_looks, f->now + RETENTION, f->now);
}

/* The lease and the retention have both ended when the first call comes. */
static void an_end_that_is_noticed_late_moves_it_too(void **state) {
  struct fixture *f = *state;
  for
    EACH_LOOK(i) {
      f->now += 7;
      int64_t granted_ms = f->now;
      claimed(f, as("k", "a"));
      f->now += 100 + RETENTION;
      LOOKS[i](f);
      tick_until_done(f);
      assert_int_equal(horizon(f), granted_ms);
    }
}

static void a_response_whose_end_was_moved_keeps_its_time(void **state) {
  struct fixture *f = *state;
  int64_t stored_ms = f->now;
  assert_int_equal(store_for(f, "k", claimed(f, as("k", "a")), "x", 300), ENGINE_STORED);
  f->now += 10;
  assert_true(keys_set_deadline(f->engine, span_of("k"), f->now + 50, f->now));
  f->now += 50;
  tick_until_done(f);
  assert_int_equal(horizon(f), stored_ms);
}

static void it_never_goes_back(void **state) {
  struct fixture *f = *state;
  f->now += 40;
  uint64_t first = claimed(f, as("first", "a")), second = claimed(f, as("second", "a"));
  assert_int_equal(store_for(f, "first", first, "x", 900), ENGINE_STORED);
  f->now += 40;
  assert_int_equal(store_for(f, "second", second, "x", 100), ENGINE_STORED);
  f->now += 2000;
  tick_until_done(f); /* the one that was stored later has ended first */
  assert_int_equal(horizon(f), START + 80);
}

/* ---- which do not ---- */

static void store_in_ms(struct fixture *f, const char *key, int64_t ttl_ms) {
  assert_int_equal(store_for(f, key, claimed(f, as(key, "a")), "x", ttl_ms), ENGINE_STORED);
}

static void lapse(struct fixture *f, const char *key) {
  claimed(f, as(key, "a"));
  f->now += 100;
  tick_until_done(f);
}

static void what_is_forgotten_on_purpose_moves_nothing(void **state) {
  struct fixture *f = *state;
  f->now += 50;
  store_in_ms(f, "k", 300);
  assert_true(keys_delete(f->engine, span_of("k"), f->now));
  lapse(f, "k");
  assert_true(keys_delete(f->engine, span_of("k"), f->now));
  claimed(f, as("k", "a"));
  assert_true(keys_delete(f->engine, span_of("k"), f->now));
  store_in_ms(f, "k", 300);
  assert_true(keys_set_deadline(f->engine, span_of("k"), f->now, f->now));
  assert_int_equal(share(f, "k", claimed(f, as("k", "a")), RULES_DID_NOTHING), ENGINE_STORED);
  assert_int_equal(release(f, "k", claimed(f, as("k", "a"))), ENGINE_RELEASED);
  lapse(f, "k");
  assert_int_equal(fetch(f, "k"), ENGINE_LAPSED);
  assert_int_equal(release_with(f, "k", f->answer.token, RULES_CLEAR), ENGINE_RELEASED);
  keys_set_value(f->engine, span_of("v"), span_of("x"), f->now + 50, f->now);
  f->now += 2 * RETENTION;
  assert_int_equal(stats_of(f).records, 0);
  expect_empty(f);
  assert_int_equal(horizon(f), START);
}

/* They end while they still lie there. */
static void what_was_flushed_moves_nothing_when_it_ends(void **state) {
  struct fixture *f = *state;
  for (int called = 0; called < 2; called++) {
    f->now += 50;
    lapse(f, "lapsed");
    store_in_ms(f, "done", RETENTION);
    keys_flush(f->engine, f->now);
    f->now += 2 * RETENTION;
    if (called) assert_int_equal(look(f, "lapsed").kind, KEYS_ABSENT);
    if (called) assert_int_equal(look(f, "done").kind, KEYS_ABSENT);
    tick_until_done(f);
    assert_int_equal(horizon(f), START);
  }
}

static void of_a_batch_only_the_flushed_ones_do_not_count(void **state) {
  struct fixture *f = *state;
  f->now += 50;
  store_in_ms(f, "flushed", 1000);
  keys_flush(f->engine, f->now);
  f->now += 10;
  store_in_ms(f, "alive", 990); /* ends at the same time */
  f->now += 990;
  tick_until_done(f);
  assert_int_equal(horizon(f), START + 60);
  assert_int_equal(stats_of(f).expired, 1);
}

/* ---- who is told ---- */

static void a_request_born_up_to_the_horizon_is_told_and_nothing_changes(void **state) {
  struct fixture *f = *state;
  f->now += 100;
  assert_int_equal(claim(f, born(as("k", "a"), START)), ENGINE_FORGOTTEN);
  assert_int_equal(f->answer.horizon_ms, START);
  assert_int_equal(claim(f, born(waiting("k", "a"), START)), ENGINE_FORGOTTEN);
  assert_int_equal(look(f, "k").kind, KEYS_ABSENT);
  assert_int_equal(stats_of(f).forgotten, 2);
  assert_int_equal(stats_of(f).granted, 0);
  assert_int_equal(claimed(f, born(as("k", "a"), START + 1)), FIRST_TOKEN);
  claimed(f, as("without", "a"));
  assert_int_equal(f->answer.attempt, 1);
}

static void the_clocks_of_callers_may_differ(void **state) {
  struct fixture *f = *state;
  struct engine_options options = OPTIONS;
  options.born_skew_ms = 5000;
  reconfigure(f, options);
  assert_int_equal(horizon(f), START + 5000);
  assert_int_equal(claim(f, born(as("k", "a"), START + 5000)), ENGINE_FORGOTTEN);
  claimed(f, born(as("k", "a"), START + 5001));
}

static void only_a_grant_that_would_be_the_first_is_refused(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  assert_int_equal(claim(f, born(as("k", "b"), LONG_AGO)), ENGINE_BUSY);
  assert_int_equal(claimed(f, born(as("k", "a"), LONG_AGO)), token);
  f->now += 100;
  struct engine_claim other = born(as("k", "b"), LONG_AGO);
  other.fingerprint = SPAN_LITERAL("other");
  assert_int_equal(claim(f, other), ENGINE_MISMATCH);
  token = claimed(f, born(as("k", "b"), LONG_AGO)); /* LAPSED: it is told of the attempt before */
  assert_int_equal(f->answer.attempt, 2);
  assert_int_equal(store(f, "k", token, "x"), ENGINE_STORED);
  assert_int_equal(claim(f, born(as("k", "c"), LONG_AGO)), ENGINE_DONE);
  assert_int_equal(stats_of(f).forgotten, 0);
}

static void of_those_who_wait_the_next_one_is_tried(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  struct waiter *r = reader(f, "k"), *b = queued(f, born(waiting("k", "b"), START)),
                *c = queued(f, born(waiting("k", NULL), LONG_AGO)),
                *d = queued(f, born(waiting("k", "d"), START + 1)),
                *e = queued(f, waiting("k", "e"));
  assert_int_equal(release(f, "k", token), ENGINE_RELEASED);
  assert_int_equal(expect_ready(f, b, ENGINE_FORGOTTEN)->horizon_ms, START);
  waiter_settle(f->engine, b);
  expect_settled(f, c, ENGINE_FORGOTTEN);
  const struct engine_answer *grant = expect_ready(f, d, ENGINE_CLAIMED);
  assert_int_equal(grant->attempt, 1);
  uint64_t second = grant->token;
  waiter_settle(f->engine, d);
  expect_none_ready(f);
  assert_int_equal(second, token + 1); /* no token was used up by those who were refused */
  assert_int_equal(store(f, "k", second, "x"), ENGINE_STORED);
  expect_settled(f, e, ENGINE_DONE);
  expect_settled(f, r, ENGINE_DONE);
  assert_int_equal(stats_of(f).forgotten, 2);
}

static void when_nobody_is_left_the_key_is_absent(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  struct waiter *r = reader(f, "k"), *b = queued(f, born(waiting("k", "b"), START));
  assert_int_equal(release(f, "k", token), ENGINE_RELEASED);
  expect_settled(f, b, ENGINE_FORGOTTEN);
  expect_settled(f, r, ENGINE_NOTHING);
  assert_int_equal(look(f, "k").kind, KEYS_ABSENT);
}

static void a_later_attempt_is_handed_over_whatever_its_birth(void **state) {
  struct fixture *f = *state;
  claimed(f, as("k", "a"));
  struct waiter *b = queued(f, born(waiting("k", "b"), LONG_AGO)),
                *c = queued(f, born(waiting("k", "c"), LONG_AGO));
  f->now += 100;
  tick_until_done(f);
  const struct engine_answer *grant = expect_ready(f, b, ENGINE_CLAIMED);
  assert_int_equal(grant->attempt, 2);
  uint64_t second = grant->token;
  waiter_settle(f->engine, b);
  assert_int_equal(release(f, "k", second), ENGINE_RELEASED); /* it is struck out */
  assert_int_equal(expect_ready(f, c, ENGINE_CLAIMED)->attempt, 2);
  waiter_settle(f->engine, c);
  assert_int_equal(stats_of(f).forgotten, 0);
}

static void who_is_granted_a_cleared_or_deleted_record_is_judged(void **state) {
  struct fixture *f = *state;
  for (int deleted = 0; deleted < 2; deleted++) {
    const char *key = deleted ? "deleted" : "cleared";
    claimed(f, as(key, "a"));
    f->now += 100;
    uint64_t second = claimed(f, as(key, "b"));
    struct waiter *c = queued(f, born(waiting(key, "c"), START));
    if (deleted) assert_true(keys_delete(f->engine, span_of(key), f->now));
    if (!deleted) assert_int_equal(release_with(f, key, second, RULES_CLEAR), ENGINE_RELEASED);
    expect_settled(f, c, ENGINE_FORGOTTEN);
    assert_int_equal(look(f, key).kind, KEYS_ABSENT);
  }
}

/* The horizon of the moment counts, not the one of when the wait began. */
static void the_horizon_may_move_while_somebody_waits(void **state) {
  struct fixture *f = *state;
  f->now += 50;
  store_in_ms(f, "other", 20);
  uint64_t token = claimed(f, as("k", "a"));
  struct waiter *b = queued(f, born(waiting("k", "b"), START + 50));
  f->now += 20;
  tick_until_done(f);
  assert_int_equal(release(f, "k", token), ENGINE_RELEASED);
  assert_int_equal(expect_ready(f, b, ENGINE_FORGOTTEN)->horizon_ms, START + 50);
  waiter_settle(f->engine, b);
}

static void who_gets_a_grant_that_was_taken_back_is_judged(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b")), *c = queued(f, born(waiting("k", "c"), START)),
                *d = queued(f, waiting("k", "d"));
  assert_int_equal(release(f, "k", token), ENGINE_RELEASED);
  expect_ready(f, b, ENGINE_CLAIMED);
  waiter_take_back(f->engine, b, f->now);
  expect_settled(f, c, ENGINE_FORGOTTEN);
  assert_int_equal(expect_ready(f, d, ENGINE_CLAIMED)->attempt, 1);
  waiter_settle(f->engine, d);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(it_begins_with_the_engine),
      CASE(a_response_that_ends_moves_it_to_its_store),
      CASE(a_lapsed_claim_that_ends_moves_it_to_its_grant),
      CASE(an_unknown_claim_that_ends_moves_it_to_its_grant),
      CASE(a_struck_out_claim_that_ends_moves_it_to_its_release),
      CASE(an_end_that_is_noticed_late_moves_it_too),
      CASE(a_response_whose_end_was_moved_keeps_its_time),
      CASE(it_never_goes_back),
      CASE(what_is_forgotten_on_purpose_moves_nothing),
      CASE(what_was_flushed_moves_nothing_when_it_ends),
      CASE(of_a_batch_only_the_flushed_ones_do_not_count),
      CASE(a_request_born_up_to_the_horizon_is_told_and_nothing_changes),
      CASE(the_clocks_of_callers_may_differ),
      CASE(only_a_grant_that_would_be_the_first_is_refused),
      CASE(of_those_who_wait_the_next_one_is_tried),
      CASE(when_nobody_is_left_the_key_is_absent),
      CASE(a_later_attempt_is_handed_over_whatever_its_birth),
      CASE(who_is_granted_a_cleared_or_deleted_record_is_judged),
      CASE(the_horizon_may_move_while_somebody_waits),
      CASE(who_gets_a_grant_that_was_taken_back_is_judged),
  };
#undef CASE
  return cmocka_run_group_tests_name("forgotten", tests, NULL, NULL);
}
