/*
 * test_reserve.c - at the memory limit: the room that is kept for a STORE belongs to claims that
 * are HELD. One that has lapsed gives it back, and asks like any other when it is wanted again;
 * whatever is refused may be tried once more, and has changed nothing.
 */
#include "tests/unit/one_engine.h"

#include <stdio.h>

#include "server/engine/adopted_body.h"
#include "server/engine/memory_limit.h"

#define RESERVE 4096u
#define LARGE 200000u

static const char *filler(unsigned number) {
  static char key[16];
  snprintf(key, sizeof key, "f%u", number);
  return key;
}

/* From now on so much more may be taken. */
static void leave_room(struct fixture *f, size_t bytes, size_t reserve) {
  struct engine_options options = OPTIONS;
  options.store_reserve = reserve;
  size_t held = stats_of(f).phases[RULES_HELD];
  options.memory_limit = memory_of(f) + held * memory_limit_reserve(reserve) + bytes;
  reconfigure(f, options);
}

/* HELD claims until no more fits. */
static unsigned fill_with_claims(struct fixture *f) {
  unsigned count = 0;
  while (claim(f, as(filler(count), "f")) == ENGINE_CLAIMED) assert_true(++count < 10000);
  assert_int_equal(f->answer.status, ENGINE_OOM);
  return count;
}

static uint64_t lapsed(struct fixture *f, const char *key, bool hold) {
  uint64_t token = claimed(f, hold ? holding(key, "a") : as(key, "a"));
  f->now += 100;
  tick_until_done(f);
  return token;
}

static void what_was_abandoned_does_not_block_others(void **state) {
  struct fixture *f = *state;
  leave_room(f, 1000000, RESERVE);
  unsigned count = fill_with_claims(f);
  assert_true(count > 100);
  f->now += 100; /* all of them lapse */
  tick_until_done(f);
  assert_int_equal(stats_of(f).phases[RULES_LAPSED], count);
  claimed(f, as("another", "a"));
}

static void a_lapsed_claim_asks_for_its_reserve_again(void **state) {
  struct fixture *f = *state;
  leave_room(f, 1000000, RESERVE);
  uint64_t token = lapsed(f, "k", false), unknown = lapsed(f, "u", true);
  fill_with_claims(f);
  assert_int_equal(claim(f, as("k", "b")), ENGINE_OOM);
  assert_int_equal(renew(f, "k", token, "stage"), ENGINE_OOM);
  assert_int_equal(claim(f, taking_over(as("u", "b"), unknown)), ENGINE_OOM);
  assert_int_equal(renew(f, "u", unknown, NULL), ENGINE_OOM);
  assert_int_equal(fetch(f, "k"), ENGINE_LAPSED); /* nothing has changed */
  assert_int_equal(f->answer.token, token);
  assert_int_equal(f->answer.attempt, 1);
  expect_bytes(f->answer.owner, "a");
  assert_null(f->answer.stage);
  assert_int_equal(fetch(f, "u"), ENGINE_UNKNOWN);
  assert_int_equal(f->answer.token, unknown);
  assert_true(keys_delete(f->engine, span_of("f0"), f->now));
  assert_int_equal(renew(f, "k", token, "stage"), ENGINE_RENEWED);
  assert_int_equal(claim(f, taking_over(as("u", "b"), unknown)), ENGINE_OOM);
  assert_true(keys_delete(f->engine, span_of("f1"), f->now));
  claimed(f, taking_over(as("u", "b"), unknown));
}

/* What a HELD claim needs is there, whatever else was refused. */
static void a_held_claim_renews_and_stores_at_the_limit(void **state) {
  struct fixture *f = *state;
  static char body[RESERVE];
  memset(body, 'b', RESERVE - 200);
  leave_room(f, 1000000, RESERVE);
  uint64_t token = claimed(f, as("k", "a"));
  fill_with_claims(f);
  assert_int_equal(renew(f, "k", token, NULL), ENGINE_RENEWED);
  assert_int_equal(claimed(f, as("k", "a")), token);
  assert_int_equal(store(f, "k", token, body), ENGINE_STORED);
}

static void a_hand_over_keeps_the_reserve(void **state) {
  struct fixture *f = *state;
  static char body[RESERVE];
  memset(body, 'b', RESERVE - 200);
  leave_room(f, 1000000, RESERVE);
  struct engine_claim c = waiting("k", "b");
  c.lease_ms = 5000;
  claimed(f, as("k", "a"));
  struct waiter *b = queued(f, c);
  c = as("x", "f");
  c.lease_ms = FOREVER;
  char key[16];
  for (unsigned i = 0;
       snprintf(key, sizeof key, "x%u", i), c.key = span_of(key), claim(f, c) == ENGINE_CLAIMED;
       i++)
    assert_true(i < 10000);
  f->now += 100;
  tick_until_done(f);
  uint64_t second = expect_ready(f, b, ENGINE_CLAIMED)->token;
  waiter_settle(f->engine, b);
  assert_int_equal(store(f, "k", second, body), ENGINE_STORED);
}

static void a_lapsed_claim_stores_when_there_is_room(void **state) {
  struct fixture *f = *state;
  static char body[LARGE + 1];
  memset(body, 'b', LARGE);
  uint64_t token = lapsed(f, "k", false), unknown = lapsed(f, "u", true);
  claimed(f, as("h", "a"));
  assert_int_equal(store(f, "h", f->answer.token, body), ENGINE_STORED);
  leave_room(f, LARGE / 2, 0);
  size_t before = memory_of(f);
  assert_int_equal(store(f, "k", token, body), ENGINE_OOM);
  assert_int_equal(store(f, "u", unknown, body), ENGINE_OOM);
  assert_int_equal(memory_of(f), before);
  assert_int_equal(fetch(f, "k"), ENGINE_LAPSED);
  assert_int_equal(fetch(f, "u"), ENGINE_UNKNOWN);
  assert_int_equal(stats_of(f).refused_memory, 2);
  assert_int_equal(store(f, "k", token + 7, body), ENGINE_STALE_OVERTAKEN);
  assert_true(keys_delete(f->engine, span_of("h"), f->now)); /* makes room */
  assert_int_equal(store(f, "k", token, body), ENGINE_STORED);
}

/* A body that is taken over where it lies needs its own size, not twice that. */
static void a_body_that_is_adopted_is_counted_once(void **state) {
  struct fixture *f = *state;
  struct adopted_body body = {.bytes = malloc(ADOPTED_BODY_HEAD_BYTES + LARGE)};
  assert_non_null(body.bytes);
  memset(body.bytes, 'b', ADOPTED_BODY_HEAD_BYTES + LARGE);
  struct engine_store store = {.key = SPAN_LITERAL("k"),
                               .token = lapsed(f, "k", false),
                               .body = {body.bytes + ADOPTED_BODY_HEAD_BYTES, LARGE},
                               .ttl_ms = FOREVER,
                               .adopted = &body};
  leave_room(f, LARGE / 2, 0);
  engine_store(f->engine, &store, f->now, &f->answer);
  assert_int_equal(f->answer.status, ENGINE_OOM);
  assert_null(body.taken); /* still the caller's */
  leave_room(f, LARGE + LARGE / 2, 0);
  engine_store(f->engine, &store, f->now, &f->answer);
  assert_int_equal(f->answer.status, ENGINE_STORED);
  pin_release(f->engine, body.taken);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(what_was_abandoned_does_not_block_others),
      CASE(a_lapsed_claim_asks_for_its_reserve_again),
      CASE(a_held_claim_renews_and_stores_at_the_limit),
      CASE(a_hand_over_keeps_the_reserve),
      CASE(a_lapsed_claim_stores_when_there_is_room),
      CASE(a_body_that_is_adopted_is_counted_once),
  };
#undef CASE
  return cmocka_run_group_tests_name("reserve", tests, NULL, NULL);
}
