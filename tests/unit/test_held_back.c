/*
 * test_held_back.c - the journal has no room: nobody is granted, those that claim wait on at a
 * claim that has lapsed, and owners go on. What becomes of those who wait meanwhile; and who is
 * granted when there is room again.
 */
#include "tests/unit/one_engine.h"

#include "server/engine/state.h"

static void no_room(struct fixture *f) { f->engine->no_room = true; }
static void room(struct fixture *f) { f->engine->no_room = false; }

/* "k" has lapsed as attempt 1 of "a", whose token this is; "b" and then "c" wait on. */
static uint64_t held_back(struct fixture *f, struct waiter *waiters[2]) {
  uint64_t token = claimed(f, as("k", "a"));
  waiters[0] = queued(f, waiting("k", "b"));
  waiters[1] = queued(f, waiting("k", "c"));
  no_room(f);
  f->now += 100;
  tick_until_done(f);
  expect_none_ready(f);
  assert_int_equal(look(f, "k").phase, RULES_LAPSED);
  return token;
}

static void expect_none_waits(struct fixture *f) {
  expect_none_ready(f);
  assert_int_equal(stats_of(f).waiters, 0);
}

/* ---- who comes meanwhile ---- */

static void a_claim_that_would_be_granted_is_told(void **state) {
  struct fixture *f = *state;
  uint64_t unknown = claimed(f, holding("unknown", "a"));
  claimed(f, as("lapsed", "a"));
  f->now += 100;
  no_room(f);
  assert_int_equal(claim(f, as("absent", "a")), ENGINE_NO_ROOM);
  assert_int_equal(claim(f, waiting("absent", "a")), ENGINE_NO_ROOM); /* it does not wait either */
  assert_int_equal(claim(f, as("lapsed", "b")), ENGINE_NO_ROOM);
  assert_int_equal(claim(f, waiting("lapsed", "b")), ENGINE_NO_ROOM);
  assert_int_equal(claim(f, as("lapsed", "a")), ENGINE_NO_ROOM);
  assert_int_equal(claim(f, taking_over(as("unknown", "b"), unknown)), ENGINE_NO_ROOM);
  assert_int_equal(look(f, "absent").kind, KEYS_ABSENT);
  assert_int_equal(look(f, "lapsed").phase, RULES_LAPSED);
  room(f);
  assert_int_equal(claim(f, as("lapsed", "b")), ENGINE_CLAIMED);
  assert_int_equal(f->answer.attempt, 2);
  assert_true(f->answer.token == unknown + 2); /* no token was used up */
}

static void other_answers_are_as_ever(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("held", "a"));
  assert_int_equal(store(f, "done", claimed(f, as("done", "a")), "x"), ENGINE_STORED);
  uint64_t unknown = claimed(f, holding("unknown", "a"));
  assert_int_equal(release_with(f, "unknown", unknown, RULES_UNSURE), ENGINE_RELEASED);
  no_room(f);
  struct engine_claim other = as("held", "b");
  other.fingerprint = span_of("fp");
  assert_int_equal(claim(f, other), ENGINE_MISMATCH);
  assert_int_equal(claim(f, as("done", "b")), ENGINE_DONE);
  assert_int_equal(claim(f, as("held", "b")), ENGINE_BUSY);
  assert_int_equal(claim(f, as("unknown", "b")), ENGINE_UNKNOWN);
  assert_int_equal(claim(f, born(as("absent", "b"), START)), ENGINE_FORGOTTEN);
  assert_true(claimed(f, as("held", "a")) == token); /* the same OWNER */
  struct waiter *b = queued(f, waiting("held", "b"));
  assert_int_equal(store(f, "held", token, "x"), ENGINE_STORED);
  expect_settled(f, b, ENGINE_DONE);
}

/* ---- a grant ends ---- */

static void readers_are_told_and_claims_wait_on(void **state) {
  struct fixture *f = *state;
  claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b")), *reads = reader(f, "k");
  no_room(f);
  f->now += 100;
  tick_until_done(f);
  expect_settled(f, reads, ENGINE_LAPSED);
  expect_none_ready(f);
  assert_int_equal(stats_of(f).waiters, 1);
  assert_true(tick_next_due(f->engine) > f->now); /* there is nothing to do */
  assert_int_equal(fetch(f, "k"), ENGINE_LAPSED);
  room(f);
  tick_until_done(f);
  expect_settled(f, b, ENGINE_CLAIMED);
}

static void a_closed_connection_is_alike(void **state) {
  struct fixture *f = *state;
  struct binding *connection = binding_create(f->engine);
  claimed(f, bound("k", "a", connection));
  struct waiter *b = queued(f, waiting("k", "b"));
  no_room(f);
  binding_close(f->engine, connection, f->now);
  tick_until_done(f);
  expect_none_ready(f);
  assert_int_equal(look(f, "k").phase, RULES_LAPSED);
  room(f);
  tick_until_done(f);
  assert_int_equal(expect_ready(f, b, ENGINE_CLAIMED)->attempt, 2);
  waiter_settle(f->engine, b);
}

static void with_hold_all_are_told_unknown(void **state) {
  struct fixture *f = *state;
  claimed(f, holding("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b")), *reads = reader(f, "k");
  no_room(f);
  f->now += 100;
  tick_until_done(f);
  expect_settled(f, b, ENGINE_UNKNOWN);
  expect_settled(f, reads, ENGINE_UNKNOWN);
  expect_none_waits(f);
}

/* ---- what may happen to them meanwhile ---- */

static void a_store_answers_them(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  uint64_t token = held_back(f, waiters);
  assert_int_equal(store(f, "k", token, "late"), ENGINE_STORED);
  assert_int_equal(f->answer.count, 2);
  expect_bytes(expect_ready(f, waiters[0], ENGINE_DONE)->body, "late");
  waiter_settle(f->engine, waiters[0]);
  expect_settled(f, waiters[1], ENGINE_DONE);
  expect_none_waits(f);
}

static void a_shared_response_answers_them_too(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  uint64_t token = held_back(f, waiters);
  assert_int_equal(share(f, "k", token, RULES_UNSURE), ENGINE_STORED);
  expect_settled(f, waiters[0], ENGINE_DONE);
  expect_settled(f, waiters[1], ENGINE_DONE);
  expect_none_waits(f);
  assert_int_equal(fetch(f, "k"), ENGINE_LAPSED);
}

static void a_renewed_claim_is_held_again(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  uint64_t token = held_back(f, waiters);
  assert_int_equal(renew(f, "k", token, NULL), ENGINE_RENEWED);
  room(f);
  tick_until_done(f);
  expect_none_ready(f); /* it runs: nobody is granted */
  assert_int_equal(release(f, "k", token), ENGINE_RELEASED);
  assert_int_equal(expect_ready(f, waiters[0], ENGINE_CLAIMED)->attempt, 1);
  assert_int_equal(release(f, "k", waiter_answer(waiters[0])->token), ENGINE_RELEASED);
  waiter_settle(f->engine, waiters[0]);
  expect_settled(f, waiters[1], ENGINE_CLAIMED);
}

static void their_time_ends(void **state) {
  struct fixture *f = *state;
  claimed(f, as("k", "a"));
  struct engine_claim c = as("k", "b");
  c.wait_ms = 150;
  struct waiter *b = queued(f, c), *later = queued(f, waiting("k", "c"));
  no_room(f);
  f->now += 149;
  tick_until_done(f);
  expect_none_ready(f);
  f->now += 10;
  tick_until_done(f);
  const struct engine_answer *busy = expect_ready(f, b, ENGINE_BUSY);
  assert_int_equal(busy->age_ms, 150); /* as of then */
  assert_int_equal(busy->left_ms, 1);
  waiter_settle(f->engine, b);
  expect_none_ready(f);
  waiter_cancel(f->engine, later, f->now);
  expect_none_waits(f);
}

/* The lease and a wait have ended by the time of the same look. */
static void a_wait_that_ended_after_the_lease_is_told_at_once(void **state) {
  struct fixture *f = *state;
  claimed(f, as("k", "a"));
  struct engine_claim c = as("k", "b");
  c.wait_ms = 120;
  struct waiter *b = queued(f, c);
  no_room(f);
  f->now += 130;
  assert_int_equal(fetch(f, "k"), ENGINE_LAPSED);
  expect_settled(f, b, ENGINE_BUSY);
  expect_none_waits(f);
}

static void the_retention_ends(void **state) {
  struct fixture *f = *state;
  struct engine_options options = OPTIONS;
  options.retention_ms = 500;
  reconfigure(f, options);
  struct waiter *waiters[2];
  held_back(f, waiters);
  f->now += 500;
  tick_until_done(f);
  expect_settled(f, waiters[0], ENGINE_BUSY);
  expect_settled(f, waiters[1], ENGINE_BUSY);
  expect_none_waits(f);
  room(f);
  expect_empty(f);
}

static void it_is_deleted(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  held_back(f, waiters);
  assert_true(keys_delete(f->engine, span_of("k"), f->now));
  expect_settled(f, waiters[0],
                 ENGINE_BUSY); /* nobody is granted, and there is nothing to wait for */
  expect_settled(f, waiters[1], ENGINE_BUSY);
  expect_none_waits(f);
  room(f);
  expect_empty(f);
}

static void all_is_flushed(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  held_back(f, waiters);
  keys_flush(f->engine, f->now);
  tick_until_done(f);
  expect_settled(f, waiters[0], ENGINE_BUSY);
  expect_settled(f, waiters[1], ENGINE_BUSY);
  expect_none_waits(f);
  room(f);
  expect_empty(f);
}

/* Room comes before anybody has looked: the flush leads to a first attempt, as of one that is HELD.
 */
static void all_is_flushed_and_there_is_room(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  held_back(f, waiters);
  keys_flush(f->engine, f->now);
  room(f);
  tick_until_done(f);
  assert_int_equal(expect_ready(f, waiters[0], ENGINE_CLAIMED)->attempt, 1);
  waiter_settle(f->engine, waiters[0]);
  expect_none_ready(f);
}

static void it_is_released(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  uint64_t token = held_back(f, waiters);
  assert_int_equal(release_with(f, "k", token, RULES_UNSURE), ENGINE_RELEASED);
  expect_none_ready(f);                                      /* it is as it was */
  assert_int_equal(release(f, "k", token), ENGINE_RELEASED); /* nothing is left to wait for */
  expect_settled(f, waiters[0], ENGINE_BUSY);
  expect_settled(f, waiters[1], ENGINE_BUSY);
  expect_none_waits(f);
  assert_int_equal(look(f, "k").kind, KEYS_ABSENT);
}

static void it_is_cleared(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  uint64_t token = held_back(f, waiters);
  assert_int_equal(release_with(f, "k", token, RULES_CLEAR), ENGINE_RELEASED);
  expect_settled(f, waiters[0], ENGINE_BUSY);
  expect_settled(f, waiters[1], ENGINE_BUSY);
  assert_int_equal(look(f, "k").kind, KEYS_ABSENT);
}

static void a_later_attempt_is_struck_out_and_they_wait_on(void **state) {
  struct fixture *f = *state;
  claimed(f, as("k", "a"));
  f->now += 100;
  uint64_t second = claimed(f, as("k", "a2"));
  struct waiter *b = queued(f, waiting("k", "b"));
  no_room(f);
  assert_int_equal(release(f, "k", second), ENGINE_RELEASED);
  expect_none_ready(f);
  assert_int_equal(fetch(f, "k"), ENGINE_LAPSED);
  uint64_t nobodys = f->answer.token;
  assert_int_equal(f->answer.attempt, 1);
  room(f);
  tick_until_done(f);
  const struct engine_answer *grant = expect_ready(f, b, ENGINE_CLAIMED);
  assert_int_equal(grant->attempt, 2); /* that of the one that did nothing */
  waiter_take_back(f->engine, b, f->now);
  assert_int_equal(fetch(f, "k"), ENGINE_LAPSED);
  assert_int_equal(f->answer.attempt, 1);
  assert_true(f->answer.token == nobodys); /* as if it had not been granted */
  assert_int_equal(renew(f, "k", nobodys, NULL), ENGINE_STALE_OVERTAKEN);
}

static void one_of_them_hangs_up(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  held_back(f, waiters);
  waiter_cancel(f->engine, waiters[0], f->now);
  room(f);
  tick_until_done(f);
  expect_settled(f, waiters[1], ENGINE_CLAIMED);
  expect_none_waits(f);
}

static void the_last_of_them_hangs_up(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  held_back(f, waiters);
  waiter_cancel(f->engine, waiters[1], f->now);
  waiter_cancel(f->engine, waiters[0], f->now);
  room(f);
  tick_until_done(f);
  expect_none_waits(f);
  assert_int_equal(claim(f, as("k", "d")), ENGINE_CLAIMED);
  assert_int_equal(f->answer.attempt, 2);
}

static void the_server_leaves(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  held_back(f, waiters);
  engine_stop_grants(f->engine, f->now);
  expect_settled(f, waiters[0], ENGINE_BUSY);
  expect_settled(f, waiters[1], ENGINE_BUSY);
  expect_none_waits(f);
  assert_int_equal(claim(f, as("k", "d")), ENGINE_DRAINING); /* that is why */
  room(f);
  assert_true(tick_next_due(f->engine) > f->now);
  tick_until_done(f);
}

/* ---- there is room again ---- */

static void the_oldest_is_granted_by_a_tick(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  uint64_t token = held_back(f, waiters);
  f->now += 50;
  assert_true(tick_next_due(f->engine) > f->now);
  room(f);
  assert_true(tick_next_due(f->engine) <= f->now); /* at once */
  tick_until_done(f);
  const struct engine_answer *grant = expect_ready(f, waiters[0], ENGINE_CLAIMED);
  assert_int_equal(grant->attempt, 2);
  assert_true(grant->token > token);
  expect_none_ready(f);
  assert_int_equal(grant->lease_ms, 100);
  assert_int_equal(fetch(f, "k"), ENGINE_BUSY);
  assert_int_equal(f->answer.left_ms, 100); /* its lease runs from now */
  uint64_t second = grant->token;
  waiter_settle(f->engine, waiters[0]);
  assert_int_equal(release(f, "k", second), ENGINE_RELEASED);
  assert_int_equal(expect_ready(f, waiters[1], ENGINE_CLAIMED)->attempt, 2); /* in order */
  waiter_settle(f->engine, waiters[1]);
}

static void the_oldest_is_granted_by_the_next_call_on_the_key(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  uint64_t token = held_back(f, waiters);
  room(f);
  assert_int_equal(store(f, "k", token, "late"), ENGINE_STALE_OVERTAKEN);
  expect_settled(f, waiters[0], ENGINE_CLAIMED);
  assert_int_equal(claim(f, as("k", "d")), ENGINE_BUSY);
  tick_until_done(f);
  expect_none_ready(f);
  waiter_cancel(f->engine, waiters[1], f->now);
}

static void each_key_has_its_oldest_granted(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[4];
  static const char *const KEYS[] = {"a", "b", "c", "d"};
  for (unsigned i = 0; i < 4; i++) {
    claimed(f, as(KEYS[i], "x"));
    waiters[i] = queued(f, waiting(KEYS[i], "y"));
  }
  no_room(f);
  f->now += 100;
  tick_until_done(f);
  room(f);
  assert_true(tick_run(f->engine, f->now, 2)); /* in steps */
  tick_until_done(f);
  for (unsigned i = 0; i < 4; i++) {
    expect_settled(f, waiters[i], ENGINE_CLAIMED);
    assert_int_equal(look(f, KEYS[i]).phase, RULES_HELD);
  }
  expect_none_waits(f);
}

static void a_grant_that_is_taken_back_goes_to_the_next(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[2];
  held_back(f, waiters);
  room(f);
  tick_until_done(f);
  expect_ready(f, waiters[0], ENGINE_CLAIMED);
  waiter_take_back(f->engine, waiters[0], f->now);
  assert_int_equal(expect_ready(f, waiters[1], ENGINE_CLAIMED)->attempt, 2);
  waiter_settle(f->engine, waiters[1]);
}

static void a_grant_that_is_taken_back_without_room_is_held_back(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b")), *c = queued(f, waiting("k", "c"));
  f->now += 100;
  tick_until_done(f);
  expect_ready(f, b, ENGINE_CLAIMED);
  no_room(f);
  waiter_take_back(f->engine, b, f->now);
  expect_none_ready(f);
  assert_int_equal(fetch(f, "k"), ENGINE_LAPSED);
  assert_true(f->answer.token == token);
  room(f);
  tick_until_done(f);
  assert_int_equal(expect_ready(f, c, ENGINE_CLAIMED)->attempt, 2);
  waiter_settle(f->engine, c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_claim_that_would_be_granted_is_told),
      TEST(other_answers_are_as_ever),
      TEST(readers_are_told_and_claims_wait_on),
      TEST(a_closed_connection_is_alike),
      TEST(with_hold_all_are_told_unknown),
      TEST(a_store_answers_them),
      TEST(a_shared_response_answers_them_too),
      TEST(a_renewed_claim_is_held_again),
      TEST(their_time_ends),
      TEST(a_wait_that_ended_after_the_lease_is_told_at_once),
      TEST(the_retention_ends),
      TEST(it_is_deleted),
      TEST(all_is_flushed),
      TEST(all_is_flushed_and_there_is_room),
      TEST(it_is_released),
      TEST(it_is_cleared),
      TEST(a_later_attempt_is_struck_out_and_they_wait_on),
      TEST(one_of_them_hangs_up),
      TEST(the_last_of_them_hangs_up),
      TEST(the_server_leaves),
      TEST(the_oldest_is_granted_by_a_tick),
      TEST(the_oldest_is_granted_by_the_next_call_on_the_key),
      TEST(each_key_has_its_oldest_granted),
      TEST(a_grant_that_is_taken_back_goes_to_the_next),
      TEST(a_grant_that_is_taken_back_without_room_is_held_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
