/*
 * test_engine.c - what the engine promises beyond single answers: hand-over and its undoing,
 * connections that end, limits, memory, listing, and work in small steps. Each case reads as a
 * story; now is a number.
 *
 * Which command gives which answer in which state is proven on the rules (test_rules.c) and by
 * random operations against a model (tests/model).
 */
#include "tests/unit/one_engine.h"

#include <stdio.h>

#include "server/engine/adopted_body.h"
#include "server/engine/effect.h"
#include "server/engine/memory_limit.h"

/* ---- hand-over ---- */

static void one_runs_the_others_get_its_response(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  assert_int_equal(token, FIRST_TOKEN);
  struct waiter *b = queued(f, waiting("k", "b")), *r = reader(f, "k");
  f->now += 10;
  assert_int_equal(store_for(f, "k", token, "body", 300), ENGINE_STORED);
  assert_int_equal(f->answer.count, 2);
  const struct engine_answer *done = expect_ready(f, b, ENGINE_DONE);
  expect_bytes(done->body, "body");
  assert_null(done->meta);
  assert_int_equal(done->age_ms, 0);
  assert_int_equal(done->left_ms, 300);
  waiter_settle(f->engine, b);
  expect_settled(f, r, ENGINE_DONE);
  f->now += 299;
  assert_int_equal(claim(f, as("k", "c")), ENGINE_DONE);
  assert_int_equal(f->answer.left_ms, 1);
  f->now += 1;
  assert_int_equal(fetch(f, "k"), ENGINE_NOTHING);
}

static void a_lease_that_is_over_goes_to_the_oldest_waiter(void **state) {
  struct fixture *f = *state;
  uint64_t first = claimed(f, as("k", "a"));
  assert_int_equal(renew(f, "k", first, "half way"), ENGINE_RENEWED);
  struct waiter *r = reader(f, "k"), *b = queued(f, waiting("k", "b")),
                *c = queued(f, waiting("k", "c"));
  f->now = START + 99;
  tick_until_done(f);
  expect_none_ready(f);
  f->now = START + 100;
  tick_until_done(f);
  const struct engine_answer *grant = expect_ready(f, b, ENGINE_CLAIMED);
  assert_true(grant->token > first);
  assert_int_equal(grant->attempt, 2);
  assert_int_equal(grant->lease_ms, 100);
  expect_bytes(grant->stage, "half way");
  uint64_t second = grant->token;
  waiter_settle(f->engine, b);
  expect_none_ready(f); /* the reader and the other claim wait on */
  assert_int_equal(store(f, "k", first, "late"), ENGINE_STALE_OVERTAKEN);
  assert_int_equal(store(f, "k", second, "good"), ENGINE_STORED);
  assert_int_equal(f->answer.count, 2);
  expect_settled(f, c, ENGINE_DONE);
  expect_settled(f, r, ENGINE_DONE);
}

static void whoever_asks_first_makes_the_hand_over_happen_without_a_tick(void **state) {
  struct fixture *f = *state;
  claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b"));
  f->now += 5000;
  assert_int_equal(claim(f, as("k", "fresh")), ENGINE_BUSY); /* never ahead of the queue */
  assert_int_equal(f->answer.age_ms, 0);
  assert_int_equal(f->answer.left_ms, 100); /* its lease runs from the hand-over */
  expect_bytes(f->answer.owner, "b");
  expect_settled(f, b, ENGINE_CLAIMED);
}

static void a_waiter_in_time_for_the_lease_is_granted_one_a_millisecond_short_is_not(void **state) {
  struct fixture *f = *state;
  claimed(f, as("k", "a"));
  struct engine_claim late = as("k", "late"), equal = as("k", "equal");
  late.wait_ms = 99;
  equal.wait_ms = 100;
  struct waiter *l = queued(f, late), *e = queued(f, equal);
  f->now += 100;
  assert_int_equal(fetch(f, "k"), ENGINE_BUSY);
  const struct engine_answer *busy = expect_ready(f, l, ENGINE_BUSY);
  assert_int_equal(busy->left_ms, 1);
  assert_int_equal(busy->age_ms, 99);
  expect_bytes(busy->owner, "a");
  waiter_settle(f->engine, l);
  expect_settled(f, e, ENGINE_CLAIMED);
}

static void long_after_everything_the_order_of_the_deadlines_still_counts(void **state) {
  struct fixture *f = *state;
  claimed(f, as("k", "a"));
  struct engine_claim c = as("k", "b");
  c.wait_ms = 150;
  struct waiter *b = queued(f, c);
  f->now += 7000; /* the lease at 100, the waiter at 150, no call came */
  assert_int_equal(fetch(f, "k"), ENGINE_BUSY);
  expect_settled(f, b, ENGINE_CLAIMED);
}

static void readers_are_told_of_a_lapse_when_no_claim_takes_over(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  struct waiter *r = reader(f, "k");
  f->now += 100;
  tick_until_done(f);
  const struct engine_answer *lapsed = expect_ready(f, r, ENGINE_LAPSED);
  assert_int_equal(lapsed->token, token);
  assert_int_equal(lapsed->age_ms, 100);
  assert_int_equal(lapsed->attempt, 1);
  expect_bytes(lapsed->owner, "a");
  assert_null(lapsed->stage);
  waiter_settle(f->engine, r);
  assert_int_equal(stats_of(f).phases[RULES_LAPSED], 1);
  assert_int_equal(store(f, "k", token, "late but first"), ENGINE_STORED);
}

static void release_grants_the_oldest_as_if_it_were_the_first(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  assert_int_equal(renew(f, "k", token, "half way"), ENGINE_RENEWED);
  struct waiter *w[100];
  for (int i = 0; i < 100; i++) w[i] = queued(f, waiting("k", NULL));
  struct waiter *r = reader(f, "k");
  assert_int_equal(release(f, "k", token), ENGINE_RELEASED);
  const struct engine_answer *grant = expect_ready(f, w[0], ENGINE_CLAIMED);
  assert_int_equal(grant->attempt, 1);
  assert_null(grant->stage);
  expect_none_ready(f);
  assert_int_equal(store(f, "k", grant->token, "x"), ENGINE_STORED);
  assert_int_equal(f->answer.count, 100);
  waiter_settle(f->engine, w[0]);
  for (int i = 1; i < 100; i++) expect_settled(f, w[i], ENGINE_DONE);
  expect_settled(f, r, ENGINE_DONE);
}

static void a_waiter_that_left_is_never_granted(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  struct waiter *gone = queued(f, waiting("k", "gone")), *b = queued(f, waiting("k", "b"));
  waiter_cancel(f->engine, gone, f->now);
  assert_int_equal(stats_of(f).waiters, 1);
  assert_int_equal(release(f, "k", token), ENGINE_RELEASED);
  expect_settled(f, b, ENGINE_CLAIMED);
}

static void the_caller_can_end_a_wait(void **state) {
  struct fixture *f = *state;
  claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b"));
  waiter_expire(f->engine, b, f->now + 30);
  const struct engine_answer *busy = expect_ready(f, b, ENGINE_BUSY);
  assert_int_equal(busy->left_ms, 70);
  waiter_expire(f->engine, b, f->now + 40); /* it has its answer */
  expect_none_ready(f);
  waiter_settle(f->engine, b);
}

static void the_next_deadline_is_never_slept_over(void **state) {
  struct fixture *f = *state;
  struct engine_claim c = as("k", "a");
  c.lease_ms = 123457;
  claimed(f, c);
  struct waiter *b = queued(f, waiting("k", "b"));
  for (int wakes = 0;; wakes++) {
    assert_true(wakes < 20);
    f->now = tick_next_due(f->engine);
    while (tick_run(f->engine, f->now, 3)) continue;
    struct waiter *ready = waiter_next_ready(f->engine, 0);
    if (ready == NULL) continue;
    assert_ptr_equal(ready, b);
    break;
  }
  assert_int_equal(f->now, START + 123457);
  waiter_settle(f->engine, b);
}

/* ---- taking back ---- */

static void a_grant_that_reached_no_caller_goes_to_the_next_and_was_never_an_attempt(void **state) {
  struct fixture *f = *state;
  uint64_t first = claimed(f, as("k", "a"));
  assert_int_equal(renew(f, "k", first, "half way"), ENGINE_RENEWED);
  struct waiter *w[3];
  for (int i = 0; i < 3; i++) w[i] = queued(f, waiting("k", NULL));
  f->now += 100;
  tick_until_done(f);
  uint64_t second = expect_ready(f, w[0], ENGINE_CLAIMED)->token;
  waiter_take_back(f->engine, w[0], f->now);
  uint64_t third = expect_ready(f, w[1], ENGINE_CLAIMED)->token;
  waiter_take_back(f->engine, w[1], f->now);
  const struct engine_answer *grant = expect_ready(f, w[2], ENGINE_CLAIMED);
  uint64_t fourth = grant->token;
  assert_true(first < second && second < third && third < fourth);
  assert_int_equal(grant->attempt, 2);
  expect_bytes(grant->stage, "half way");
  waiter_settle(f->engine, w[2]);
  assert_int_equal(store(f, "k", first, "x"), ENGINE_STALE_OVERTAKEN);
  assert_int_equal(store(f, "k", second, "x"), ENGINE_STALE_OVERTAKEN);
  assert_int_equal(store(f, "k", third, "x"), ENGINE_STALE_OVERTAKEN);
  assert_int_equal(store(f, "k", fourth, "x"), ENGINE_STORED);
  assert_int_equal(stats_of(f).taken_back, 2);
}

static void a_grant_that_is_not_fetched_yet_is_taken_back_by_cancelling(void **state) {
  struct fixture *f = *state;
  uint64_t first = claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b"));
  assert_int_equal(release(f, "k", first), ENGINE_RELEASED);
  waiter_cancel(f->engine, b, f->now);
  expect_none_ready(f);
  assert_int_equal(look(f, "k").kind, KEYS_ABSENT); /* as if released without waiters */
}

static void with_no_other_waiter_the_claim_is_lapsed_again_as_it_was(void **state) {
  struct fixture *f = *state;
  uint64_t first = claimed(f, as("k", "a"));
  assert_int_equal(renew(f, "k", first, "half way"), ENGINE_RENEWED);
  struct waiter *b = queued(f, waiting("k", "b")), *r = reader(f, "k");
  f->now += 100;
  tick_until_done(f);
  f->now += 20;
  expect_ready(f, b, ENGINE_CLAIMED);
  waiter_take_back(f->engine, b, f->now);
  expect_settled(f, r, ENGINE_LAPSED);
  assert_int_equal(look(f, "k").phase, RULES_LAPSED);
  assert_int_equal(look(f, "k").left_ms, RETENTION);
  assert_int_equal(renew(f, "k", first, NULL), ENGINE_RENEWED); /* the former token is good again */
  f->now += 100;
  assert_int_equal(claim(f, as("k", "c")), ENGINE_CLAIMED);
  assert_int_equal(f->answer.attempt, 2);
  expect_bytes(f->answer.stage, "half way");
}

static void a_grant_that_its_owner_knows_is_not_taken_back(void **state) {
  struct fixture *f = *state;
  uint64_t first = claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b")), *c = queued(f, waiting("k", "c"));
  assert_int_equal(release(f, "k", first), ENGINE_RELEASED);
  uint64_t second = expect_ready(f, b, ENGINE_CLAIMED)->token;
  assert_int_equal(claimed(f, as("k", "b")),
                   second); /* asked again on another connection, and was told */
  waiter_take_back(f->engine, b, f->now);
  expect_none_ready(f);
  assert_int_equal(store(f, "k", second, "x"), ENGINE_STORED);
  expect_settled(f, c, ENGINE_DONE);
}

static void taking_back_what_is_over_does_nothing(void **state) {
  struct fixture *f = *state;
  uint64_t first = claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b")), *c = queued(f, waiting("k", "c"));
  assert_int_equal(release(f, "k", first), ENGINE_RELEASED);
  expect_ready(f, b, ENGINE_CLAIMED);
  f->now += 100;
  tick_until_done(f);
  uint64_t third = expect_ready(f, c, ENGINE_CLAIMED)->token;
  waiter_take_back(f->engine, b, f->now);
  waiter_settle(f->engine, c);
  assert_int_equal(store(f, "k", third, "x"), ENGINE_STORED);
}

static void an_answer_outlives_its_record_until_it_is_settled(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b"));
  assert_int_equal(store_for(f, "k", token, "shared error", 0), ENGINE_STORED);
  assert_int_equal(f->answer.count, 1);
  assert_int_equal(look(f, "k").kind, KEYS_ABSENT);
  const struct engine_answer *done = expect_ready(f, b, ENGINE_DONE);
  struct blob *kept = pin_take(done->body);
  keys_flush(f->engine, f->now);
  tick_until_done(f);
  expect_bytes(done->body, "shared error");
  waiter_settle(f->engine, b);
  expect_bytes(kept, "shared error");
  pin_release(f->engine, kept);
  expect_empty(f);
}

/* ---- BIND ---- */

#define BOUND 10000u

static void closing_a_connection_costs_nothing_and_is_seen_at_once(void **state) {
  struct fixture *f = *state;
  struct binding *connection = binding_create(f->engine);
  char key[16];
  for (unsigned i = 0; i < BOUND; i++) {
    snprintf(key, sizeof key, "k%u", i);
    struct engine_claim c = as(key, "a");
    c.lease_ms = FOREVER;
    c.binding = connection;
    claimed(f, c);
  }
  binding_close(f->engine, connection, f->now);
  assert_int_equal(stats_of(f).phases[RULES_HELD], BOUND); /* none was touched */
  assert_int_equal(fetch(f, "k0"), ENGINE_LAPSED);
  assert_int_equal(fetch(f, "k9999"), ENGINE_LAPSED);
  assert_int_equal(claim(f, as("k77", "b")), ENGINE_CLAIMED);
  assert_int_equal(f->answer.attempt, 2);
  bool more = true;
  for (unsigned calls = 0; more; calls++) {
    uint64_t before = stats_of(f).phases[RULES_HELD];
    assert_true(calls <= BOUND / 100 + 10);
    more = tick_run(f->engine, f->now, 100);
    assert_true(before - stats_of(f).phases[RULES_HELD] <= 100);
  }
  assert_int_equal(stats_of(f).phases[RULES_HELD], 1);
  assert_int_equal(stats_of(f).phases[RULES_LAPSED], BOUND - 1);
}

static void a_bound_claim_goes_to_a_waiter_when_its_connection_closes(void **state) {
  struct fixture *f = *state;
  struct binding *connection = binding_create(f->engine);
  struct engine_claim c = as("k", "a");
  c.binding = connection;
  uint64_t first = claimed(f, c);
  assert_int_equal(renew(f, "k", first, "half way"), ENGINE_RENEWED);
  struct waiter *b = queued(f, waiting("k", "b"));
  binding_close(f->engine, connection, f->now);
  tick_until_done(f);
  const struct engine_answer *grant = expect_ready(f, b, ENGINE_CLAIMED);
  assert_int_equal(grant->attempt, 2);
  expect_bytes(grant->stage, "half way");
  waiter_take_back(f->engine, b, f->now);
  assert_int_equal(fetch(f, "k"), ENGINE_LAPSED); /* as the connection's end without a waiter */
  assert_int_equal(f->answer.token, first);
  assert_int_equal(f->answer.attempt, 1);
}

static size_t lapsed_after_taking_back(struct fixture *f, const char *key, bool bound) {
  size_t before = memory_of(f);
  struct binding *connection = bound ? binding_create(f->engine) : NULL;
  struct engine_claim c = as(key, "a");
  c.binding = connection;
  claimed(f, c);
  struct waiter *b = queued(f, waiting(key, "b"));
  f->now += 100;
  tick_until_done(f);
  expect_ready(f, b, ENGINE_CLAIMED);
  binding_close(f->engine, connection, f->now);
  waiter_take_back(f->engine, b, f->now);
  tick_until_done(f);
  assert_int_equal(look(f, key).phase, RULES_LAPSED);
  return memory_of(f) - before;
}

static void a_grant_that_was_taken_back_keeps_no_closed_connection(void **state) {
  struct fixture *f = *state;
  lapsed_after_taking_back(f, "warm", true); /* its wheels are there now */
  size_t unbound = lapsed_after_taking_back(f, "k1", false);
  assert_int_equal(lapsed_after_taking_back(f, "k2", true), unbound);
}

static void a_grant_that_was_taken_back_leaves_the_former_one_bound(void **state) {
  struct fixture *f = *state;
  struct binding *connection = binding_create(f->engine);
  struct engine_claim c = as("k", "a");
  c.binding = connection;
  uint64_t first = claimed(f, c);
  struct waiter *b = queued(f, waiting("k", "b"));
  f->now += 100;
  tick_until_done(f);
  expect_ready(f, b, ENGINE_CLAIMED);
  waiter_take_back(f->engine, b, f->now);
  assert_int_equal(renew(f, "k", first, NULL), ENGINE_RENEWED);
  binding_close(f->engine, connection, f->now);
  assert_int_equal(look(f, "k").phase, RULES_LAPSED);
}

static void whoever_was_in_time_when_the_connection_closed_is_granted_later(void **state) {
  struct fixture *f = *state;
  struct binding *connection = binding_create(f->engine);
  struct engine_claim c = as("k", "a"), short_wait = as("k", "b"), longer = as("k", "c");
  c.binding = connection;
  short_wait.wait_ms = 10;
  longer.wait_ms = 11;
  claimed(f, c);
  struct waiter *b = queued(f, short_wait), *w = queued(f, longer);
  binding_close(f->engine, connection, f->now + 10);
  f->now += 50;
  assert_int_equal(fetch(f, "k"), ENGINE_BUSY);
  expect_settled(f, b, ENGINE_BUSY);
  expect_settled(f, w, ENGINE_CLAIMED);
}

/* A tick that is late sees both: what came first counts first. */
static void a_claim_that_ended_before_a_wait_was_over_goes_to_its_waiter(void **state) {
  struct fixture *f = *state;
  for (int flushed = 0; flushed < 2; flushed++) {
    const char *key = flushed ? "flushed" : "closed";
    struct binding *connection = binding_create(f->engine);
    struct engine_claim c = as(key, "a"), w = waiting(key, "b");
    c.lease_ms = FOREVER;
    c.binding = connection;
    w.wait_ms = 50;
    claimed(f, c);
    struct waiter *b = queued(f, w);
    f->now += 20;
    if (flushed) keys_flush(f->engine, f->now);
    if (!flushed) binding_close(f->engine, connection, f->now);
    f->now += 40;
    tick_until_done(f);
    const struct engine_answer *grant = expect_ready(f, b, ENGINE_CLAIMED);
    assert_int_equal(grant->attempt, flushed ? 1 : 2);
    waiter_settle(f->engine, b);
    if (flushed) binding_close(f->engine, connection, f->now);
  }
}

static void bind_moves_with_the_claim_that_is_sent_again(void **state) {
  struct fixture *f = *state;
  struct binding *old = binding_create(f->engine), *new = binding_create(f->engine);
  struct engine_claim c = as("k", "a");
  c.binding = old;
  uint64_t token = claimed(f, c);
  c.binding = new;
  assert_int_equal(claimed(f, c), token);
  binding_close(f->engine, old, f->now);
  tick_until_done(f);
  assert_int_equal(fetch(f, "k"), ENGINE_BUSY);
  binding_close(f->engine, new, f->now);
  assert_int_equal(fetch(f, "k"), ENGINE_LAPSED);
}

static void a_connection_ends_only_what_is_held_when_it_closes(void **state) {
  struct fixture *f = *state;
  struct binding *connection = binding_create(f->engine);
  struct engine_claim c = as("k", "a");
  c.binding = connection;
  uint64_t token = claimed(f, c);
  f->now += 200; /* the lease has expired, though no call noticed */
  binding_close(f->engine, connection, f->now);
  assert_int_equal(look(f, "k").phase, RULES_LAPSED);
  assert_int_equal(renew(f, "k", token, NULL), ENGINE_RENEWED);
  tick_until_done(f);
  assert_int_equal(fetch(f, "k"), ENGINE_BUSY); /* the connection does not close a second time */
}

static void a_bound_claim_that_stored_does_not_end_with_its_connection(void **state) {
  struct fixture *f = *state;
  struct binding *connection = binding_create(f->engine);
  struct engine_claim c = as("k", "a");
  c.binding = connection;
  assert_int_equal(store(f, "k", claimed(f, c), "x"), ENGINE_STORED);
  binding_close(f->engine, connection, f->now);
  tick_until_done(f);
  assert_int_equal(fetch(f, "k"), ENGINE_DONE);
}

/* ---- DEL, FLUSHALL ---- */

/* A record of it is alone (slab.h). */
static void long_text(char key[601]) {
  memset(key, 'k', 600);
  key[600] = '\0';
}

static void a_record_that_is_alone_outlives_its_connection(void **state) {
  struct fixture *f = *state;
  char key[601];
  long_text(key);
  for (int how = 0; how < 3; how++) {
    struct binding *connection = binding_create(f->engine);
    claimed(f, bound(key, "a", connection));
    binding_close(f->engine, connection, f->now);
    tick_until_done(f);
    uint64_t token = claimed(f, as(key, "b"));
    if (how == 0) assert_int_equal(store_for(f, key, token, "response", 1000), ENGINE_STORED);
    if (how == 1) assert_true(keys_delete(f->engine, span_of(key), f->now));
    f->now += RETENTION + 1000; /* 2: it is left */
    tick_until_done(f);
    assert_int_equal(fetch(f, key), ENGINE_NOTHING);
  }
  expect_empty(f);
}

static void and_an_engine_that_no_longer_knows_it(void **state) {
  struct fixture *f = *state;
  char key[601];
  long_text(key);
  struct binding *connection = binding_create(f->engine);
  uint64_t token = claimed(f, bound(key, "a", connection));
  binding_forget(f->engine, connection);
  assert_int_equal(store_for(f, key, token, "response", 1000), ENGINE_STORED);
  binding_close(f->engine, connection, f->now);
}

static void deleting_a_held_record_serves_its_waiters(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b")), *r = reader(f, "k");
  assert_true(keys_delete(f->engine, span_of("k"), f->now));
  assert_int_equal(expect_ready(f, b, ENGINE_CLAIMED)->attempt, 1);
  waiter_settle(f->engine, b);
  expect_none_ready(f);
  assert_int_equal(store(f, "k", token, "x"), ENGINE_STALE_OVERTAKEN);
  assert_true(keys_delete(f->engine, span_of("k"), f->now));
  expect_settled(f, r, ENGINE_NOTHING);
  assert_false(keys_delete(f->engine, span_of("k"), f->now));
}

static void fill(struct fixture *f, const char *prefix, unsigned count, int64_t ttl_ms) {
  char key[32];
  for (unsigned i = 0; i < count; i++) {
    snprintf(key, sizeof key, "%s%u", prefix, i);
    assert_int_equal(store_for(f, key, claimed(f, as(key, NULL)), "response", ttl_ms),
                     ENGINE_STORED);
  }
}

static void a_flush_is_seen_at_once_and_its_memory_comes_back_in_steps(void **state) {
  struct fixture *f = *state;
  fill(f, "k", 20000, FOREVER);
  uint64_t token = claimed(f, as("held", "a"));
  struct waiter *b = queued(f, waiting("held", "b")), *r = reader(f, "held");
  claimed(f, as("alone", "a"));
  size_t full = memory_of(f);
  keys_flush(f->engine, f->now);
  assert_int_equal(stats_of(f).records, 0);
  assert_int_equal(fetch(f, "k7"), ENGINE_NOTHING);
  assert_int_equal(fetch(f, "alone"), ENGINE_NOTHING);
  assert_int_equal(claim(f, as("k8", "new")), ENGINE_CLAIMED);
  assert_true(memory_of(f) > full / 2);
  assert_true(tick_next_due(f->engine) <= f->now);
  assert_true(tick_run(f->engine, f->now, 10)); /* waiters come first */
  assert_int_equal(expect_ready(f, b, ENGINE_CLAIMED)->attempt, 1);
  waiter_settle(f->engine, b);
  assert_int_equal(store(f, "held", token, "x"), ENGINE_STALE_OVERTAKEN);
  unsigned calls = 0;
  for (; tick_run(f->engine, f->now, 1000); calls++) assert_true(calls < 100);
  assert_true(calls >= 20);
  assert_int_equal(stats_of(f).records, 2);
  assert_true(keys_delete(f->engine, span_of("held"), f->now));
  expect_settled(f, r, ENGINE_NOTHING);
  assert_true(keys_delete(f->engine, span_of("k8"), f->now));
  expect_empty(f);
}

/* ---- limits ---- */

static void limit_memory(struct fixture *f, size_t more_bytes, size_t reserve) {
  struct engine_options options = OPTIONS;
  options.memory_limit = memory_of(f) + more_bytes;
  options.store_reserve = reserve;
  engine_reconfigure(f->engine, &options);
}

static void at_the_memory_limit_claims_are_refused_and_granted_ones_still_store(void **state) {
  struct fixture *f = *state;
  char key[32];
  char body[4001] = {0}, value[8001] = {0};
  memset(body, 'b', 4000);
  memset(value, 'v', 8000);
  limit_memory(f, 1000000, 4096);
  uint64_t tokens[1000];
  unsigned granted = 0;
  while (snprintf(key, sizeof key, "k%u", granted), claim(f, as(key, "a")) == ENGINE_CLAIMED) {
    tokens[granted++] = f->answer.token;
    assert_true(granted < 1000);
  }
  assert_int_equal(f->answer.status, ENGINE_OOM);
  assert_true(granted > 100);
  assert_int_equal(look(f, key).kind, KEYS_ABSENT);
  assert_int_equal(keys_set_value(f->engine, span_of("v"), span_of(value), RULES_NEVER, f->now),
                   ENGINE_OOM);
  assert_int_equal(claim(f, as("k3", "a")), ENGINE_CLAIMED); /* adds nothing */
  assert_int_equal(claim(f, as("k3", "b")), ENGINE_BUSY);
  for (unsigned i = 0; i < granted; i++) {
    snprintf(key, sizeof key, "k%u", i);
    assert_int_equal(store(f, key, tokens[i], body), ENGINE_STORED);
  }
  struct stats stats = stats_of(f);
  assert_int_equal(stats.records, granted); /* nothing was evicted */
  assert_int_equal(stats.refused_memory, 2);
  for (unsigned i = 0; i < 10; i++) {
    snprintf(key, sizeof key, "k%u", i);
    assert_true(keys_delete(f->engine, span_of(key), f->now));
  }
  assert_int_equal(claim(f, as("again", "a")), ENGINE_CLAIMED);
}

/* Each response would open a chunk of its own, with room for others that never come. */
static void responses_within_the_reserve_stay_within_the_limit(void **state) {
  struct fixture *f = *state;
  static const size_t sizes[] = {0, 20, 500, 1000, 2000, 3500, 4000, 4096};
  char key[32];
  char body[4097];
  limit_memory(f, 4000000, 4096);
  uint64_t tokens[1000];
  unsigned granted = 0;
  while (snprintf(key, sizeof key, "k%u", granted), claim(f, as(key, "a")) == ENGINE_CLAIMED) {
    tokens[granted++] = f->answer.token;
    assert_true(granted < 1000);
  }
  assert_true(granted > 500);
  size_t limit = memory_of(f) + granted * memory_limit_reserve(4096);
  for (unsigned i = 0; i < granted; i++) {
    size_t size = sizes[i % (sizeof sizes / sizeof *sizes)];
    memset(body, 'b', size);
    body[size] = 0;
    snprintf(key, sizeof key, "k%u", i);
    assert_int_equal(store_for(f, key, tokens[i], body, (1 + i) * INT64_C(7000000)), ENGINE_STORED);
    assert_true(memory_of(f) + (granted - i - 1) * memory_limit_reserve(4096) <= limit);
  }
}

static void what_a_flush_will_free_does_not_count_against_the_limit(void **state) {
  struct fixture *f = *state;
  fill(f, "k", 1000, FOREVER);
  limit_memory(f, 10000, 0);
  keys_flush(f->engine, f->now);
  fill(f, "n", 1000, FOREVER);
  assert_int_equal(stats_of(f).records, 1000);
}

static void waiters_are_limited_on_a_key_and_in_all(void **state) {
  struct fixture *f = *state;
  struct engine_options options = OPTIONS;
  options.waiters_per_key = 3;
  options.waiters_total = 5;
  engine_reconfigure(f->engine, &options);
  uint64_t tokens[] = {claimed(f, as("k", "a")), claimed(f, as("l", "a"))};
  struct waiter *w[] = {queued(f, waiting("k", NULL)), reader(f, "k"),
                        queued(f, waiting("k", NULL))};
  assert_int_equal(claim(f, waiting("k", NULL)), ENGINE_BUSYKEY);
  struct waiter *v[] = {queued(f, waiting("l", NULL)), queued(f, waiting("l", NULL))};
  assert_int_equal(claim(f, waiting("l", NULL)), ENGINE_BUSYKEY);
  struct engine_read read = {.key = SPAN_LITERAL("l"), .wait_ms = 10};
  engine_read(f->engine, &read, f->now, &f->answer);
  assert_int_equal(f->answer.status, ENGINE_BUSYKEY);
  waiter_cancel(f->engine, v[0], f->now);
  v[0] = queued(f, waiting("l", NULL)); /* there is room again */
  assert_int_equal(store(f, "k", tokens[0], "x"), ENGINE_STORED);
  assert_int_equal(store(f, "l", tokens[1], "x"), ENGINE_STORED);
  expect_settled(f, w[0], ENGINE_DONE);
  expect_settled(f, w[2], ENGINE_DONE);
  expect_settled(f, w[1], ENGINE_DONE);
  expect_settled(f, v[1], ENGINE_DONE);
  expect_settled(f, v[0], ENGINE_DONE);
}

/* ---- memory ---- */

#define WAITERS 10000u
#define LARGE 65536u

static void one_response_is_shared_by_all_who_waited(void **state) {
  struct fixture *f = *state;
  char *body = calloc(1, LARGE + 1);
  assert_non_null(body);
  memset(body, 'b', LARGE);
  uint64_t token = claimed(f, as("k", "a"));
  for (unsigned i = 0; i < WAITERS; i++) queued(f, waiting("k", NULL));
  size_t before = memory_of(f);
  assert_int_equal(store(f, "k", token, body), ENGINE_STORED);
  assert_int_equal(f->answer.count, WAITERS);
  assert_true(memory_of(f) < before + 2 * LARGE);
  const struct blob *shared = NULL;
  for (unsigned i = 0; i < WAITERS; i++) {
    struct waiter *waiter = waiter_next_ready(f->engine, 0);
    assert_non_null(waiter);
    const struct blob *got = waiter_answer(waiter)->body;
    assert_true(i == 0 || got == shared);
    shared = got;
    waiter_settle(f->engine, waiter);
  }
  expect_none_ready(f);
  free(body);
  assert_true(keys_delete(f->engine, span_of("k"), f->now));
  expect_empty(f);
}

/* What an engine keeps once it has had it: the table of the owners who wait, and of the horizon the
 * segments in which a time has moved. Without that it is empty. */
static void have_what_is_kept(struct fixture *f) {
  claimed(f, as("k", "a"));
  queued(f, waiting("k", "b"));
  f->now += 100;
  tick_until_done(f);
  settle_ready(f);
  f->now += RETENTION + 100;
  tick_until_done(f);
  assert_int_equal(stats_of(f).records, 0);
  f->empty_bytes = memory_of(f);
}

static void everything_that_ends_gives_its_memory_back(void **state) {
  struct fixture *f = *state;
  struct engine_options options = OPTIONS;
  options.unknown_retention_ms = RETENTION;
  engine_reconfigure(f->engine, &options);
  have_what_is_kept(f);
  struct binding *connection = binding_create(f->engine);
  struct engine_claim bound = as("bound", "a"), hold = as("hold", "a"), fp = as("fp", "a");
  bound.binding = connection;
  hold.hold = true;
  fp.fingerprint = SPAN_LITERAL("print");
  claimed(f, bound);
  claimed(f, hold);
  assert_int_equal(renew(f, "fp", claimed(f, fp), "stage"), ENGINE_RENEWED);
  assert_int_equal(renew(f, "fp", f->answer.token, "stage"), ENGINE_STALE_OVERTAKEN);
  keys_set_value(f->engine, span_of("v"), span_of("value"), f->now + 50, f->now);
  keys_set_value(f->engine, span_of("v"), span_of("another value"), f->now + 60, f->now);
  struct engine_store stored = {.key = SPAN_LITERAL("done"),
                                .body = SPAN_LITERAL("b"),
                                .meta = SPAN_LITERAL("m"),
                                .ttl_ms = 70};
  stored.token = claimed(f, as("done", NULL));
  engine_store(f->engine, &stored, f->now, &f->answer);
  assert_int_equal(f->answer.status, ENGINE_STORED);
  binding_close(f->engine, connection, f->now);
  f->now += 100;
  tick_until_done(f);
  assert_int_equal(stats_of(f).phases[RULES_LAPSED], 2);
  assert_int_equal(stats_of(f).phases[RULES_UNKNOWN], 1);
  assert_int_equal(stats_of(f).records, 3);
  f->now += RETENTION;
  tick_until_done(f);
  assert_int_equal(memory_of(f), f->empty_bytes);
  expect_empty(f);
}

/* A body as a caller receives it, with room for the head. */
static struct adopted_body adopted_of(size_t len, char fill) {
  struct adopted_body body = {.bytes = malloc(ADOPTED_BODY_HEAD_BYTES + len)};
  assert_non_null(body.bytes);
  memset(body.bytes + ADOPTED_BODY_HEAD_BYTES, fill, len);
  return body;
}

static enum engine_status store_adopted(struct fixture *f, const char *key, uint64_t token,
                                        struct adopted_body *body, size_t len, int64_t ttl_ms) {
  struct engine_store store = {.key = span_of(key),
                               .token = token,
                               .body = {body->bytes + ADOPTED_BODY_HEAD_BYTES, len},
                               .ttl_ms = ttl_ms,
                               .adopted = body};
  engine_store(f->engine, &store, f->now, &f->answer);
  return f->answer.status;
}

static void an_adopted_body_is_kept_where_it_is(void **state) {
  struct fixture *f = *state;
  enum { LEN = 100000 };
  have_what_is_kept(f);
  struct adopted_body first = adopted_of(LEN, 'a'), again = adopted_of(LEN, 'a');
  struct adopted_body other = adopted_of(LEN, 'b');
  uint64_t token = claimed(f, as("k", "a"));
  assert_int_equal(store_adopted(f, "k", token + 1, &other, LEN, FOREVER), ENGINE_STALE_OVERTAKEN);
  assert_int_equal(store_adopted(f, "nosuch", token, &other, LEN, FOREVER), ENGINE_STALE_ABSENT);
  assert_null(other.taken);
  size_t before = memory_of(f);
  assert_int_equal(store_adopted(f, "k", token, &first, LEN, FOREVER), ENGINE_STORED);
  assert_non_null(first.taken);
  size_t grown = memory_of(f) - before; /* 112 KiB is the allocator's size for it */
  assert_in_range(grown, 100 << 10, 116 << 10);
  assert_int_equal(store_adopted(f, "k", token, &again, LEN, FOREVER), ENGINE_STORED);
  assert_int_equal(store_adopted(f, "k", token, &other, LEN, FOREVER), ENGINE_CONFLICT);
  assert_true(again.taken == NULL && other.taken == NULL);

  assert_int_equal(claim(f, as("k", NULL)), ENGINE_DONE);
  assert_ptr_equal(pin_bytes(f->answer.body).data, first.bytes + ADOPTED_BODY_HEAD_BYTES);
  assert_int_equal(pin_bytes(f->answer.body).len, LEN);
  /* The caller still has it when the record is gone. */
  f->now += FOREVER;
  tick_until_done(f);
  assert_int_equal(first.bytes[ADOPTED_BODY_HEAD_BYTES + LEN - 1], 'a');
  pin_release(f->engine, first.taken);
  assert_int_equal(memory_of(f), f->empty_bytes);
  expect_empty(f);
  free(again.bytes);
  free(other.bytes);
}

static void a_body_that_no_caller_reads_is_not_taken(void **state) {
  struct fixture *f = *state;
  enum { LEN = ADOPTED_BODY_LEAST_BYTES };
  have_what_is_kept(f);
  struct adopted_body body = adopted_of(LEN, 'a');
  uint64_t token = claimed(f, as("k", "a"));
  assert_int_equal(store_adopted(f, "k", token, &body, LEN, 0), ENGINE_STORED);
  assert_null(body.taken);
  token = claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b"));
  assert_int_equal(store_adopted(f, "k", token, &body, LEN, 0), ENGINE_STORED);
  pin_release(f->engine, body.taken);
  assert_ptr_equal(waiter_next_ready(f->engine, 0), b);
  assert_ptr_equal(waiter_answer(b)->body_bytes.data, body.bytes + ADOPTED_BODY_HEAD_BYTES);
  waiter_settle(f->engine, b);
  assert_int_equal(memory_of(f), f->empty_bytes);
}

/* Every eighth response is left, the others are deleted: what is left is written anew, in steps,
 * and only the memory shows it. */
#define HOLES 24000u

static void holes_are_closed_in_small_steps(void **state) {
  struct fixture *f = *state;
  fill(f, "k", HOLES, FOREVER);
  size_t full = memory_of(f) - f->empty_bytes;
  struct blob *kept = pin_take(look(f, "k16000").body);
  char key[32];
  for (unsigned i = 0; i < HOLES; i++) {
    snprintf(key, sizeof key, "k%u", i);
    if (i % 8 != 0) assert_true(keys_delete(f->engine, span_of(key), f->now));
  }
  assert_true(tick_next_due(f->engine) <= f->now);
  unsigned calls = 0;
  while (tick_run(f->engine, f->now, 100)) assert_true(++calls < HOLES / 100);
  assert_true(calls >= HOLES / 8 / 100 / 2);
  assert_true(memory_of(f) - f->empty_bytes < full / 2);
  f->now += 10;
  for (unsigned i = 0; i < HOLES; i += 8) {
    snprintf(key, sizeof key, "k%u", i);
    assert_int_equal(fetch(f, key), ENGINE_DONE);
    expect_bytes(f->answer.body, "response");
    assert_int_equal(f->answer.age_ms, 10);
    assert_int_equal(f->answer.left_ms, FOREVER - 10);
  }
  expect_bytes(kept, "response"); /* its response lies elsewhere now */
  pin_release(f->engine, kept);
  assert_int_equal(stats_of(f).records, HOLES / 8);
  f->now += FOREVER;
  expect_empty(f);
}

/* ---- listing ---- */

#define LISTED 3000u
#define CHURNED 12000u

struct listing {
  unsigned seen[LISTED];
  unsigned others;
};

static void note_key(void *context, struct span key, const struct keys_entry *entry) {
  struct listing *listing = context;
  assert_int_equal(entry->kind, KEYS_RECORD);
  assert_int_equal(entry->phase, RULES_DONE);
  unsigned number = 0;
  if (key.data[0] != 'k') {
    listing->others++;
    return;
  }
  for (size_t i = 1; i < key.len; i++) number = number * 10 + (unsigned)(key.data[i] - '0');
  assert_true(number < LISTED);
  listing->seen[number]++;
}

/* While the scan goes on, `churn` other records come or go at each step. */
static void list_while(struct fixture *f, bool come, unsigned churn) {
  struct listing listing = {0};
  uint64_t cursor = 0;
  unsigned number = 0;
  char key[32];
  do {
    cursor = keys_scan(f->engine, cursor, f->now, note_key, &listing);
    assert_int_equal(cursor >> 48, 0);
    for (unsigned i = 0; i < churn && number < CHURNED; i++, number++) {
      snprintf(key, sizeof key, "x%u", number);
      if (come) store(f, key, claimed(f, as(key, NULL)), "x");
      if (!come) keys_delete(f->engine, span_of(key), f->now);
    }
  } while (cursor != 0);
  for (unsigned i = 0; i < LISTED; i++) assert_true(listing.seen[i] >= 1);
  if (churn != 0) return;
  assert_int_equal(listing.others, 0);
  for (unsigned i = 0; i < LISTED; i++) assert_int_equal(listing.seen[i], 1);
}

static void a_scan_shows_every_key_that_is_there_all_the_time(void **state) {
  struct fixture *f = *state;
  fill(f, "k", LISTED, FOREVER);
  list_while(f, true, 0);
  list_while(f, true, 11);
  list_while(f, false, 17);
  list_while(f, true, 5);
}

static void what_has_expired_is_not_listed_though_no_call_has_noticed(void **state) {
  struct fixture *f = *state;
  fill(f, "k", 100, 50);
  f->now += 50;
  struct listing listing = {0};
  uint64_t cursor = 0;
  do cursor = keys_scan(f->engine, cursor, f->now, note_key, &listing);
  while (cursor != 0);
  for (unsigned i = 0; i < 100; i++) assert_int_equal(listing.seen[i], 0);
  assert_false(span_present(keys_random(f->engine, 12345, f->now)));
}

static void a_random_key_is_any_key(void **state) {
  struct fixture *f = *state;
  assert_false(span_present(keys_random(f->engine, 1, f->now)));
  fill(f, "k", 10, FOREVER);
  unsigned seen[10] = {0};
  uint64_t random = 1;
  for (unsigned i = 0; i < 3000; i++) {
    random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    struct span key = keys_random(f->engine, random >> 8, f->now);
    assert_int_equal(key.len, 2);
    seen[key.data[1] - '0']++;
  }
  for (unsigned i = 0; i < 10; i++) assert_true(seen[i] > 0);
}

/* ---- small steps ---- */

#define CROWD 100000u

static void a_crowd_that_ends_together_is_worked_off_in_small_steps(void **state) {
  struct fixture *f = *state;
  fill(f, "k", CROWD, 1000);
  f->now += 999;
  tick_until_done(f);
  assert_int_equal(stats_of(f).records, CROWD);
  f->now += 1;
  unsigned calls = 0;
  for (bool more = true; more; calls++) {
    uint64_t before = stats_of(f).expired;
    more = tick_run(f->engine, f->now, 1000);
    assert_true(stats_of(f).expired - before <= 1000);
    assert_true(calls < CROWD / 1000 * 4);
    if (calls == 3)
      assert_int_equal(fetch(f, "k99999"),
                       ENGINE_NOTHING); /* exact, however far the work has come */
  }
  assert_true(calls >= CROWD / 1000);
  expect_empty(f);
}

/* Half of CROWD ends 1000 ms after START, half of it 2000 ms. */
static void expect_past_behind_what_is_left(struct fixture *f) {
  f->now += 5000;
  for (bool more = true; more;) {
    more = tick_run(f->engine, f->now, 100);
    uint64_t gone = stats_of(f).expired;
    int64_t past_ms = tick_past_ms(f->engine, f->now);
    if (gone < CROWD / 2) assert_true(past_ms < START + 1000);
    if (gone < CROWD) assert_true(past_ms < START + 2000);
  }
  assert_int_equal(tick_past_ms(f->engine, f->now), f->now);
}

static void what_is_past_is_behind_each_key_that_is_left(void **state) {
  struct fixture *f = *state;
  fill(f, "a", CROWD / 2, 1000);
  fill(f, "b", CROWD / 2, 2000);
  expect_past_behind_what_is_left(f);
}

static void also_in_chunks_that_are_mixed(void **state) {
  struct fixture *f = *state;
  char prefix[16];
  for (unsigned i = 0; i < CROWD; i++) {
    snprintf(prefix, sizeof prefix, "%u-", i);
    fill(f, prefix, 1, i % 2 == 0 ? 2000 : 1000);
  }
  expect_past_behind_what_is_left(f);
}

static void a_crowd_of_waiters_times_out_in_small_steps(void **state) {
  struct fixture *f = *state;
  struct engine_claim c = as("k", "a"), w = as("k", NULL);
  c.lease_ms = FOREVER;
  w.wait_ms = 500;
  claimed(f, c);
  for (unsigned i = 0; i < WAITERS; i++) queued(f, w);
  f->now += 500;
  unsigned came = 0;
  for (bool more = true; more;) {
    more = tick_run(f->engine, f->now, 100);
    unsigned now = 0;
    for (struct waiter *waiter; (waiter = waiter_next_ready(f->engine, 0)) != NULL; now++) {
      assert_int_equal(waiter_answer(waiter)->status, ENGINE_BUSY);
      assert_int_equal(waiter_answer(waiter)->age_ms, 500);
      waiter_settle(f->engine, waiter);
    }
    assert_true(now <= 100);
    came += now;
  }
  assert_int_equal(came, WAITERS);
  assert_int_equal(stats_of(f).waits_timed_out, WAITERS);
}

static void a_tick_without_anything_due_does_nothing(void **state) {
  struct fixture *f = *state;
  assert_true(tick_next_due(f->engine) == INT64_MAX);
  assert_false(tick_run(f->engine, f->now, 0));
  claimed(f, as("k", "a"));
  assert_false(tick_run(f->engine, f->now + 99, 1000));
  assert_true(tick_next_due(f->engine) == START + 100);
}

/* ---- plain values ---- */

static enum engine_status set(struct fixture *f, const char *key, const char *value,
                              int64_t deadline_ms) {
  return keys_set_value(f->engine, span_of(key), span_of(value), deadline_ms, f->now);
}

static void values_and_records_do_not_mix(void **state) {
  struct fixture *f = *state;
  assert_int_equal(set(f, "v", "value", RULES_NEVER), ENGINE_STORED);
  assert_int_equal(claim(f, as("v", "a")), ENGINE_WRONGTYPE);
  assert_int_equal(claim(f, waiting("v", "a")), ENGINE_WRONGTYPE);
  assert_int_equal(store(f, "v", 1, "x"), ENGINE_WRONGTYPE);
  assert_int_equal(renew(f, "v", 1, NULL), ENGINE_WRONGTYPE);
  assert_int_equal(release(f, "v", 1), ENGINE_WRONGTYPE);
  assert_int_equal(fetch(f, "v"), ENGINE_WRONGTYPE);
  struct keys_entry entry = look(f, "v");
  assert_int_equal(entry.kind, KEYS_VALUE);
  expect_bytes(entry.body, "value");
  assert_int_equal(entry.left_ms, -1);

  uint64_t token = claimed(f, as("r", "a"));
  assert_int_equal(set(f, "r", "value", RULES_NEVER), ENGINE_WRONGTYPE);
  assert_null(look(f, "r").body);
  assert_int_equal(store(f, "r", token, "response"), ENGINE_STORED);
  assert_int_equal(set(f, "r", "value", RULES_NEVER), ENGINE_WRONGTYPE);
  expect_bytes(look(f, "r").body, "response");
  assert_int_equal(stats_of(f).values, 1);
  assert_int_equal(stats_of(f).records, 1);
  assert_true(keys_delete(f->engine, span_of("v"), f->now));
  assert_int_equal(claim(f, as("v", "a")), ENGINE_CLAIMED);
}

static void values_end_exactly(void **state) {
  struct fixture *f = *state;
  assert_int_equal(set(f, "v", "one", f->now + 10), ENGINE_STORED);
  assert_int_equal(set(f, "v", "two", f->now + 20), ENGINE_STORED); /* replaces value and end */
  f->now += 19;
  expect_bytes(look(f, "v").body, "two");
  assert_int_equal(look(f, "v").left_ms, 1);
  f->now += 1;
  assert_int_equal(look(f, "v").kind, KEYS_ABSENT);
  assert_int_equal(set(f, "v", "three", f->now), ENGINE_STORED); /* over already */
  assert_int_equal(look(f, "v").kind, KEYS_ABSENT);
  expect_empty(f);
}

static void ends_can_be_moved_where_that_means_something(void **state) {
  struct fixture *f = *state;
  assert_false(keys_set_deadline(f->engine, span_of("k"), f->now + 5, f->now));
  uint64_t token = claimed(f, as("k", "a"));
  assert_false(
      keys_set_deadline(f->engine, span_of("k"), f->now + 5, f->now)); /* a lease is no TTL */
  assert_int_equal(store(f, "k", token, "x"), ENGINE_STORED);
  assert_false(keys_set_deadline(f->engine, span_of("k"), RULES_NEVER, f->now)); /* responses end */
  assert_true(keys_set_deadline(f->engine, span_of("k"), f->now + 5, f->now));
  assert_int_equal(fetch(f, "k"), ENGINE_DONE);
  assert_int_equal(f->answer.left_ms, 5);
  assert_true(keys_set_deadline(f->engine, span_of("k"), f->now, f->now));
  assert_int_equal(fetch(f, "k"), ENGINE_NOTHING);
  set(f, "v", "x", f->now + 5);
  assert_true(keys_set_deadline(f->engine, span_of("v"), RULES_NEVER, f->now));
  f->now += FOREVER;
  assert_int_equal(look(f, "v").left_ms, -1);
  assert_int_equal(stats_of(f).expiring, 0);
}

/* ---- effects ---- */

static void expect_effect(struct fixture *f, enum effect_kind kind, const char *key) {
  struct effect effect;
  assert_true(effect_next(f->engine, &effect));
  assert_int_equal(effect.kind, kind);
  assert_true(span_equal(effect.key, span_of(key)));
}

static void expect_no_effect(struct fixture *f) {
  struct effect effect;
  assert_false(effect_next(f->engine, &effect));
}

static void watchers_hear_what_becomes_of_a_record(void **state) {
  struct fixture *f = *state;
  store(f, "before", claimed(f, as("before", "a")), "x");
  expect_no_effect(f); /* effects were not wanted */
  effect_want(f->engine, true);
  store_for(f, "done", claimed(f, as("done", "a")), "x", 500);
  expect_effect(f, EFFECT_DONE, "done");
  store_for(f, "shared", claimed(f, as("shared", "a")), "x", 0);
  expect_effect(f, EFFECT_DONE, "shared");
  expect_effect(f, EFFECT_FREE, "shared");
  release(f, "released", claimed(f, as("released", "a")));
  expect_effect(f, EFFECT_FREE, "released");
  struct engine_claim hold = as("unknown", "a");
  hold.hold = true;
  claimed(f, hold);
  f->now += 100;
  tick_until_done(f);
  expect_effect(f, EFFECT_UNKNOWN, "unknown");
  f->now += 400;
  tick_until_done(f);
  expect_effect(f, EFFECT_FREE, "done");
  expect_no_effect(f);
}

static void a_lapse_frees_a_record_once(void **state) {
  struct fixture *f = *state;
  effect_want(f->engine, true);
  claimed(f, as("k", "a"));
  f->now += 100;
  tick_until_done(f);
  expect_effect(f, EFFECT_FREE, "k"); /* a waiter can take it over now */
  f->now += RETENTION;
  tick_until_done(f);
  expect_no_effect(f);
  claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b"));
  f->now += 100;
  tick_until_done(f);
  expect_no_effect(f); /* handed over: it was never free */
  expect_settled(f, b, ENGINE_CLAIMED);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(one_runs_the_others_get_its_response),
      CASE(a_lease_that_is_over_goes_to_the_oldest_waiter),
      CASE(whoever_asks_first_makes_the_hand_over_happen_without_a_tick),
      CASE(a_waiter_in_time_for_the_lease_is_granted_one_a_millisecond_short_is_not),
      CASE(long_after_everything_the_order_of_the_deadlines_still_counts),
      CASE(readers_are_told_of_a_lapse_when_no_claim_takes_over),
      CASE(release_grants_the_oldest_as_if_it_were_the_first),
      CASE(a_waiter_that_left_is_never_granted),
      CASE(the_caller_can_end_a_wait),
      CASE(the_next_deadline_is_never_slept_over),
      CASE(a_grant_that_reached_no_caller_goes_to_the_next_and_was_never_an_attempt),
      CASE(a_grant_that_is_not_fetched_yet_is_taken_back_by_cancelling),
      CASE(with_no_other_waiter_the_claim_is_lapsed_again_as_it_was),
      CASE(a_grant_that_its_owner_knows_is_not_taken_back),
      CASE(taking_back_what_is_over_does_nothing),
      CASE(an_answer_outlives_its_record_until_it_is_settled),
      CASE(closing_a_connection_costs_nothing_and_is_seen_at_once),
      CASE(a_bound_claim_goes_to_a_waiter_when_its_connection_closes),
      CASE(a_grant_that_was_taken_back_keeps_no_closed_connection),
      CASE(a_grant_that_was_taken_back_leaves_the_former_one_bound),
      CASE(whoever_was_in_time_when_the_connection_closed_is_granted_later),
      CASE(a_claim_that_ended_before_a_wait_was_over_goes_to_its_waiter),
      CASE(bind_moves_with_the_claim_that_is_sent_again),
      CASE(a_connection_ends_only_what_is_held_when_it_closes),
      CASE(a_bound_claim_that_stored_does_not_end_with_its_connection),
      CASE(a_record_that_is_alone_outlives_its_connection),
      CASE(and_an_engine_that_no_longer_knows_it),
      CASE(deleting_a_held_record_serves_its_waiters),
      CASE(a_flush_is_seen_at_once_and_its_memory_comes_back_in_steps),
      CASE(at_the_memory_limit_claims_are_refused_and_granted_ones_still_store),
      CASE(responses_within_the_reserve_stay_within_the_limit),
      CASE(what_a_flush_will_free_does_not_count_against_the_limit),
      CASE(waiters_are_limited_on_a_key_and_in_all),
      CASE(one_response_is_shared_by_all_who_waited),
      CASE(everything_that_ends_gives_its_memory_back),
      CASE(an_adopted_body_is_kept_where_it_is),
      CASE(a_body_that_no_caller_reads_is_not_taken),
      CASE(holes_are_closed_in_small_steps),
      CASE(a_scan_shows_every_key_that_is_there_all_the_time),
      CASE(what_has_expired_is_not_listed_though_no_call_has_noticed),
      CASE(a_random_key_is_any_key),
      CASE(a_crowd_that_ends_together_is_worked_off_in_small_steps),
      CASE(what_is_past_is_behind_each_key_that_is_left),
      CASE(also_in_chunks_that_are_mixed),
      CASE(a_crowd_of_waiters_times_out_in_small_steps),
      CASE(a_tick_without_anything_due_does_nothing),
      CASE(values_and_records_do_not_mix),
      CASE(values_end_exactly),
      CASE(ends_can_be_moved_where_that_means_something),
      CASE(watchers_hear_what_becomes_of_a_record),
      CASE(a_lapse_frees_a_record_once),
  };
#undef CASE
  return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
