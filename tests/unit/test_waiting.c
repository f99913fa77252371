/*
 * test_waiting.c - the places in a record's queue: one for each OWNER, taken over by its next call,
 * also while memory lacks; and what becomes of those who wait and of those who come when nothing is
 * granted any more.
 *
 * malloc is wrapped by the linker: a test can let its calls fail.
 */
#include "tests/unit/one_engine.h"

#include <stdio.h>

#define MANY 3000u

/* ---- memory that lacks ---- */

static struct {
  bool counting;
  unsigned calls;
  unsigned failing; /* the call that fails, from 1; 0: none */
} allocator;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size) {
  if (allocator.counting && ++allocator.calls == allocator.failing) return NULL;
  return __real_malloc(size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size) {
  if (allocator.counting && ++allocator.calls == allocator.failing) return NULL;
  return __real_calloc(count, size);
}

/* As claim(), but its allocation of that number fails. */
static enum engine_status claim_short(struct fixture *f, struct engine_claim c, unsigned failing) {
  allocator.calls = 0;
  allocator.failing = failing;
  allocator.counting = true;
  enum engine_status status = claim(f, c);
  allocator.counting = false;
  return status;
}

/* ---- one place for each owner ---- */

static void the_next_call_of_an_owner_takes_its_place(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b")), *c = queued(f, waiting("k", "c"));
  f->now += 10;
  struct engine_claim again = waiting("k", "b");
  again.lease_ms = 777;
  again.hold = true;
  struct waiter *b2 = queued(f, again);
  const struct engine_answer *busy = expect_ready(f, b, ENGINE_BUSY);
  assert_int_equal(busy->age_ms, 10);
  assert_int_equal(busy->left_ms, 90);
  expect_bytes(busy->owner, "a");
  waiter_settle(f->engine, b);
  expect_none_ready(f);
  assert_int_equal(stats_of(f).waiters, 2);
  assert_int_equal(release(f, "k", token), ENGINE_RELEASED);
  const struct engine_answer *grant = expect_ready(f, b2, ENGINE_CLAIMED); /* before c */
  assert_int_equal(grant->lease_ms, 777);                                  /* its own options */
  token = grant->token;
  waiter_settle(f->engine, b2);
  f->now += 777;
  tick_until_done(f);
  expect_settled(f, c, ENGINE_UNKNOWN); /* HOLD too */
}

static void it_waits_as_long_as_it_says_itself(void **state) {
  struct fixture *f = *state;
  struct engine_claim c = as("k", "a"), first = as("k", "b"), again = as("k", "b");
  c.lease_ms = FOREVER;
  claimed(f, c);
  first.wait_ms = 50;
  again.wait_ms = 200;
  struct waiter *b = queued(f, first), *b2 = queued(f, again);
  expect_settled(f, b, ENGINE_BUSY);
  f->now += 199;
  tick_until_done(f);
  expect_none_ready(f);
  f->now += 1;
  tick_until_done(f);
  expect_settled(f, b2, ENGINE_BUSY);
  again.wait_ms = 10;
  b = queued(f, again);
  f->now += 10;
  assert_int_equal(fetch(f, "k"), ENGINE_BUSY);
  expect_settled(f, b, ENGINE_BUSY);
}

static void it_counts_against_no_limit_anew(void **state) {
  struct fixture *f = *state;
  struct engine_options options = OPTIONS;
  options.waiters_per_key = 2;
  options.waiters_total = 3;
  reconfigure(f, options);
  claimed(f, as("k", "a"));
  claimed(f, as("l", "a"));
  queued(f, waiting("k", "b"));
  queued(f, waiting("k", "c"));
  assert_int_equal(claim(f, waiting("k", "d")), ENGINE_BUSYKEY);
  queued(f, waiting("k", "b")); /* at the limit of the key */
  queued(f, waiting("l", "b"));
  assert_int_equal(claim(f, waiting("l", "c")), ENGINE_BUSYKEY);
  queued(f, waiting("l", "b")); /* and at that of all */
  assert_int_equal(stats_of(f).waiters, 3);
}

static void other_records_readers_and_callers_without_owner_keep_their_places(void **state) {
  struct fixture *f = *state;
  claimed(f, as("k", "a"));
  claimed(f, as("l", "a"));
  queued(f, waiting("k", NULL));
  queued(f, waiting("l", "b"));
  queued(f, waiting("k", "b"));
  reader(f, "k");
  queued(f, waiting("k", NULL)); /* two without an owner are never the same */
  expect_none_ready(f);
  assert_int_equal(stats_of(f).waiters, 5);
}

/* Whoever has left, was answered or was granted, no longer has a place. */
static void who_waits_no_longer_has_no_place(void **state) {
  struct fixture *f = *state;
  struct engine_claim once = as("k", "b");
  once.wait_ms = 10;
  uint64_t token = claimed(f, as("k", "a"));
  waiter_cancel(f->engine, queued(f, waiting("k", "b")), f->now); /* left */
  struct waiter *b = queued(f, once);
  expect_none_ready(f);
  f->now += 10;
  tick_until_done(f);
  expect_settled(f, b, ENGINE_BUSY); /* timed out */
  b = queued(f, waiting("k", "b"));
  expect_none_ready(f);
  assert_int_equal(store(f, "k", token, "x"), ENGINE_STORED);
  expect_settled(f, b, ENGINE_DONE); /* answered */
  assert_true(keys_delete(f->engine, span_of("k"), f->now));
  token = claimed(f, as("k", "a"));
  b = queued(f, waiting("k", "b"));
  assert_int_equal(release(f, "k", token), ENGINE_RELEASED);
  expect_ready(f, b, ENGINE_CLAIMED);
  waiter_take_back(f->engine, b, f->now); /* granted, and lost again */
  claimed(f, as("k", "a"));
  queued(f, waiting("k", "b"));
  expect_none_ready(f);
}

/* The table of owners grows and shrinks with them. */
static void many_owners_take_their_places_again(void **state) {
  struct fixture *f = *state;
  static struct waiter *first[MANY], *again[MANY];
  char owner[16];
  uint64_t token = claimed(f, as("k", "a"));
  settle_ready(f);
  for (unsigned i = 0; i < MANY; i++) {
    snprintf(owner, sizeof owner, "o%u", i);
    first[i] = queued(f, waiting("k", owner));
  }
  for (unsigned i = MANY; i-- > 0;) {
    snprintf(owner, sizeof owner, "o%u", i);
    again[i] = queued(f, waiting("k", owner));
    expect_settled(f, first[i], ENGINE_BUSY);
  }
  assert_int_equal(stats_of(f).waiters, MANY);
  assert_int_equal(store(f, "k", token, "x"), ENGINE_STORED);
  for (unsigned i = 0; i < MANY; i++) expect_settled(f, again[i], ENGINE_DONE);
  assert_true(keys_delete(f->engine, span_of("k"), f->now));
  expect_empty(f);
}

/* Each allocation of it fails once. */
static void a_call_that_finds_no_memory_changes_nothing(void **state) {
  struct fixture *f = *state;
  claimed(f, as("k", "a"));
  size_t before = memory_of(f);
  unsigned failed = 0;
  while (claim_short(f, waiting("k", "b"), failed + 1) == ENGINE_NO_MEMORY) {
    failed++;
    assert_int_equal(stats_of(f).waiters, 0);
  }
  assert_int_equal(failed, 3); /* claim, waiter, and the table of owners when there is none yet */
  assert_int_equal(f->answer.status, ENGINE_QUEUED);
  struct waiter *b = f->answer.waiter, *c = queued(f, waiting("k", "c"));
  assert_true(memory_of(f) > before);
  before = memory_of(f);
  failed = 0;
  while (claim_short(f, waiting("k", "b"), failed + 1) == ENGINE_NO_MEMORY) {
    failed++;
    expect_none_ready(f); /* the older one waits on, in its place */
    assert_int_equal(stats_of(f).waiters, 2);
    assert_int_equal(memory_of(f), before);
  }
  assert_int_equal(failed, 2); /* waiter, owner */
  struct waiter *b2 = f->answer.waiter;
  expect_settled(f, b, ENGINE_BUSY);
  f->now += 100;
  tick_until_done(f);
  expect_settled(f, b2, ENGINE_CLAIMED);
  waiter_cancel(f->engine, c, f->now);
}

/* ---- nothing is granted any more ---- */

static void who_waits_for_a_claim_is_told_busy_and_who_reads_waits_on(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  claimed(f, as("l", "a"));
  struct waiter *b = queued(f, waiting("k", "b")), *r = reader(f, "k"),
                *c = queued(f, waiting("k", NULL)), *d = queued(f, waiting("l", "d"));
  f->now += 10;
  engine_stop_grants(f->engine, f->now);
  assert_int_equal(expect_ready(f, b, ENGINE_BUSY)->left_ms, 90);
  waiter_settle(f->engine, b);
  expect_settled(f, c, ENGINE_BUSY);
  expect_settled(f, d, ENGINE_BUSY);
  expect_none_ready(f);
  assert_int_equal(stats_of(f).waiters, 1);
  assert_int_equal(renew(f, "k", token, "half way"), ENGINE_RENEWED);
  assert_int_equal(store(f, "k", token, "x"), ENGINE_STORED); /* owners finish */
  assert_int_equal(f->answer.count, 1);
  expect_settled(f, r, ENGINE_DONE);
}

static void claims_that_would_be_granted_are_refused(void **state) {
  struct fixture *f = *state;
  claimed(f, as("lapsed", "a"));
  uint64_t unknown = claimed(f, holding("unknown", "a"));
  f->now += 100;
  tick_until_done(f);
  assert_int_equal(store(f, "done", claimed(f, as("done", "a")), "x"), ENGINE_STORED);
  uint64_t held = claimed(f, as("held", "a"));
  engine_stop_grants(f->engine, f->now);
  assert_int_equal(claim(f, as("absent", "b")), ENGINE_DRAINING);
  assert_int_equal(claim(f, waiting("absent", "b")), ENGINE_DRAINING);
  assert_int_equal(look(f, "absent").kind, KEYS_ABSENT);
  assert_int_equal(claim(f, as("lapsed", "b")), ENGINE_DRAINING);
  assert_int_equal(look(f, "lapsed").phase, RULES_LAPSED);
  assert_int_equal(claim(f, taking_over(as("unknown", "b"), unknown)), ENGINE_DRAINING);
  assert_int_equal(look(f, "unknown").phase, RULES_UNKNOWN);
  /* All else is answered as ever. */
  assert_int_equal(claim(f, as("unknown", "b")), ENGINE_UNKNOWN);
  assert_int_equal(claim(f, as("done", "b")), ENGINE_DONE);
  assert_int_equal(claim(f, as("held", "b")), ENGINE_BUSY);
  assert_int_equal(claim(f, waiting("held", "b")), ENGINE_BUSY); /* it does not queue */
  assert_int_equal(claimed(f, as("held", "a")), held);
  struct engine_claim other = as("lapsed", "b");
  other.fingerprint = SPAN_LITERAL("other");
  assert_int_equal(claim(f, other), ENGINE_MISMATCH);
  assert_int_equal(claim(f, born(as("absent", "b"), START)), ENGINE_FORGOTTEN);
  assert_int_equal(claim(f, born(as("absent", "b"), START + 1)), ENGINE_DRAINING);
  assert_int_equal(fetch(f, "lapsed"), ENGINE_LAPSED);
  assert_int_equal(renew(f, "lapsed", f->answer.token, NULL), ENGINE_RENEWED);
}

static void every_end_of_a_grant_leaves_what_it_leaves_without_waiters(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("released", "a"));
  claimed(f, as("over", "a"));
  queued(f, waiting("over", "b"));
  struct waiter *r = reader(f, "over"), *s = reader(f, "released");
  queued(f, waiting("released", "b"));
  engine_stop_grants(f->engine, f->now);
  settle_ready(f);
  assert_int_equal(release(f, "released", token), ENGINE_RELEASED);
  expect_settled(f, s, ENGINE_NOTHING);
  assert_int_equal(look(f, "released").kind, KEYS_ABSENT);
  f->now += 100;
  tick_until_done(f);
  expect_settled(f, r, ENGINE_LAPSED);
}

/* It had been granted before; its caller has gone. */
static void a_grant_that_is_taken_back_is_granted_to_nobody_else(void **state) {
  struct fixture *f = *state;
  uint64_t first = claimed(f, as("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b")), *c = queued(f, waiting("k", "c")),
                *r = reader(f, "k");
  f->now += 100;
  tick_until_done(f);
  expect_ready(f, b, ENGINE_CLAIMED);
  engine_stop_grants(f->engine, f->now);
  expect_settled(f, c, ENGINE_BUSY);
  waiter_take_back(f->engine, b, f->now);
  assert_int_equal(expect_ready(f, r, ENGINE_LAPSED)->token, first);
  waiter_settle(f->engine, r);
  assert_int_equal(look(f, "k").phase, RULES_LAPSED);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(the_next_call_of_an_owner_takes_its_place),
      CASE(it_waits_as_long_as_it_says_itself),
      CASE(it_counts_against_no_limit_anew),
      CASE(other_records_readers_and_callers_without_owner_keep_their_places),
      CASE(who_waits_no_longer_has_no_place),
      CASE(many_owners_take_their_places_again),
      CASE(a_call_that_finds_no_memory_changes_nothing),
      CASE(who_waits_for_a_claim_is_told_busy_and_who_reads_waits_on),
      CASE(claims_that_would_be_granted_are_refused),
      CASE(every_end_of_a_grant_leaves_what_it_leaves_without_waiters),
      CASE(a_grant_that_is_taken_back_is_granted_to_nobody_else),
  };
#undef CASE
  return cmocka_run_group_tests_name("waiting", tests, NULL, NULL);
}
