/*
 * test_evidence.c - what may have happened is not forgotten by the way: how a grant ends that is
 * given up, what the next one is told, and what nobody can lose by accident. The engine's side of
 * it: tokens, owners, stages, waiters, retention. Each case reads as a story.
 */
#include "tests/unit/one_engine.h"

/* ---- what is left of a record ---- */

/* LAPSED or UNKNOWN, as a reader is told. The answer of the FETCH stays in f->answer. */
static void expect_ended(struct fixture *f, const char *key, enum engine_status status,
                         uint32_t attempt, const char *owner) {
  assert_int_equal(fetch(f, key), status);
  assert_int_equal(f->answer.attempt, attempt);
  expect_bytes(f->answer.owner, owner);
}

static void expect_absent(struct fixture *f, const char *key) {
  assert_int_equal(look(f, key).kind, KEYS_ABSENT);
}

/* The first attempt of "a", with a stage. */
static uint64_t first_attempt(struct fixture *f, const char *key, bool hold) {
  uint64_t token = claimed(f, hold ? holding(key, "a") : as(key, "a"));
  assert_int_equal(renew(f, key, token, "half way"), ENGINE_RENEWED);
  return token;
}

/* The second attempt, of "b"; the first one's lease has ended. */
static uint64_t second_attempt(struct fixture *f, const char *key, bool hold) {
  uint64_t first = first_attempt(f, key, hold);
  f->now += 100;
  uint64_t second = claimed(f, taking_over(as(key, "b"), first));
  assert_int_equal(f->answer.attempt, 2);
  expect_bytes(f->answer.stage, "half way");
  return second;
}

/* ---- RELEASE of a later attempt: it is struck out ---- */

static void a_later_attempt_that_did_nothing_is_struck_out(void **state) {
  struct fixture *f = *state;
  uint64_t second = second_attempt(f, "k", false);
  f->now += 10;
  assert_int_equal(release(f, "k", second), ENGINE_RELEASED);
  expect_ended(f, "k", ENGINE_LAPSED, 1, NULL);
  assert_true(f->answer.token > second);
  assert_int_equal(f->answer.age_ms, 0); /* age and retention count from the RELEASE */
  expect_bytes(f->answer.stage, "half way");
  assert_int_equal(look(f, "k").left_ms, RETENTION);
  assert_int_equal(stats_of(f).released, 1);
  assert_int_equal(stats_of(f).expiring, 1);
  assert_int_equal(release(f, "k", second), ENGINE_NOT_YOURS); /* its token is used up */
  assert_int_equal(store(f, "k", second, "x"), ENGINE_STALE_OVERTAKEN);
  assert_int_equal(renew(f, "k", second, NULL), ENGINE_STALE_OVERTAKEN);
  f->now += RETENTION;
  expect_absent(f, "k");
}

static uint64_t granted_to_nobody(struct fixture *f, const char *key, bool hold) {
  assert_int_equal(release(f, key, second_attempt(f, key, hold)), ENGINE_RELEASED);
  expect_ended(f, key, hold ? ENGINE_UNKNOWN : ENGINE_LAPSED, 1, NULL);
  return f->answer.token;
}

static void with_a_token_granted_to_nobody_no_one_owns_the_claim(void **state) {
  struct fixture *f = *state;
  uint64_t shown = granted_to_nobody(f, "k", false);
  f->now += 10;
  assert_int_equal(release(f, "k", shown), ENGINE_NOT_YOURS);
  assert_int_equal(renew(f, "k", shown, "stage"), ENGINE_STALE_OVERTAKEN);
  assert_int_equal(release_with(f, "k", shown, RULES_UNSURE), ENGINE_RELEASED);
  assert_int_equal(share(f, "k", shown, RULES_DID_NOTHING), ENGINE_STORED);
  expect_ended(f, "k", ENGINE_LAPSED, 1, NULL);
  assert_int_equal(f->answer.token, shown);
  assert_int_equal(f->answer.age_ms, 10);
  expect_bytes(f->answer.stage, "half way");
  assert_int_equal(look(f, "k").left_ms, RETENTION - 10);
}

static void with_a_token_granted_to_nobody_a_record_is_settled(void **state) {
  struct fixture *f = *state;
  uint64_t shown = granted_to_nobody(f, "stored", false);
  assert_int_equal(store(f, "stored", shown, "x"), ENGINE_STORED);
  assert_int_equal(store(f, "stored", shown, "x"), ENGINE_STORED);
  assert_int_equal(fetch(f, "stored"), ENGINE_DONE);
  shown = granted_to_nobody(f, "cleared", true);
  assert_int_equal(release_with(f, "cleared", shown, RULES_CLEAR), ENGINE_RELEASED);
  expect_absent(f, "cleared");
}

static void the_grant_after_a_struck_out_one_has_an_owner_again(void **state) {
  struct fixture *f = *state;
  uint64_t shown = granted_to_nobody(f, "k", false);
  uint64_t next = claimed(f, as("k", "c"));
  assert_true(next > shown);
  assert_int_equal(f->answer.attempt, 2);
  expect_bytes(f->answer.stage, "half way");
  assert_int_equal(renew(f, "k", next, NULL), ENGINE_RENEWED);
  assert_int_equal(claimed(f, as("k", "c")), next);
  f->now += 100;
  expect_ended(f, "k", ENGINE_LAPSED, 2, "c");
  assert_int_equal(renew(f, "k", next, NULL), ENGINE_RENEWED);
  assert_int_equal(release(f, "k", next), ENGINE_RELEASED); /* struck out like the one before */
  expect_ended(f, "k", ENGINE_LAPSED, 1, NULL);
  assert_int_equal(store(f, "k", shown, "x"), ENGINE_STALE_OVERTAKEN);
}

static void a_later_attempt_can_be_struck_out_when_its_lease_has_ended(void **state) {
  struct fixture *f = *state;
  uint64_t second = second_attempt(f, "k", false);
  f->now += 100;
  expect_ended(f, "k", ENGINE_LAPSED, 2, "b");
  f->now += 50;
  assert_int_equal(release(f, "k", second), ENGINE_RELEASED);
  expect_ended(f, "k", ENGINE_LAPSED, 1, NULL);
  assert_int_equal(f->answer.age_ms, 0);
  assert_int_equal(look(f, "k").left_ms, RETENTION);
}

static void the_oldest_waiter_gets_the_number_of_the_attempt_that_did_nothing(void **state) {
  struct fixture *f = *state;
  uint64_t second = second_attempt(f, "k", false);
  struct waiter *r = reader(f, "k"), *c = queued(f, waiting("k", "c")),
                *d = queued(f, waiting("k", "d"));
  assert_int_equal(release(f, "k", second), ENGINE_RELEASED);
  const struct engine_answer *grant = expect_ready(f, c, ENGINE_CLAIMED);
  uint64_t third = grant->token;
  assert_true(third > second);
  assert_int_equal(grant->attempt, 2);
  expect_bytes(grant->stage, "half way");
  waiter_settle(f->engine, c);
  expect_none_ready(f); /* the reader and the other claim wait on */
  assert_int_equal(renew(f, "k", third, NULL), ENGINE_RENEWED);
  assert_int_equal(store(f, "k", third, "x"), ENGINE_STORED);
  expect_settled(f, d, ENGINE_DONE);
  expect_settled(f, r, ENGINE_DONE);
}

static void a_hand_over_that_is_taken_back_leaves_the_attempt_struck_out(void **state) {
  struct fixture *f = *state;
  uint64_t second = second_attempt(f, "k", false);
  struct waiter *c = queued(f, waiting("k", "c")), *r = reader(f, "k");
  assert_int_equal(release(f, "k", second), ENGINE_RELEASED);
  uint64_t third = expect_ready(f, c, ENGINE_CLAIMED)->token;
  waiter_take_back(f->engine, c, f->now);
  const struct engine_answer *lapsed = expect_ready(f, r, ENGINE_LAPSED);
  assert_int_equal(lapsed->attempt, 1);
  assert_true(lapsed->token > third);
  assert_null(lapsed->owner);
  expect_bytes(lapsed->stage, "half way");
  waiter_settle(f->engine, r);
  assert_int_equal(release(f, "k", second), ENGINE_NOT_YOURS);
}

static void with_hold_everybody_is_told_unknown_when_an_attempt_is_struck_out(void **state) {
  struct fixture *f = *state;
  uint64_t second = second_attempt(f, "k", true);
  struct waiter *c = queued(f, taking_over(waiting("k", "c"), second)), *r = reader(f, "k");
  assert_int_equal(release(f, "k", second), ENGINE_RELEASED);
  const struct engine_answer *unknown = expect_ready(f, c, ENGINE_UNKNOWN);
  uint64_t shown = unknown->token;
  assert_true(shown > second);
  assert_int_equal(unknown->attempt, 1);
  assert_null(unknown->owner);
  expect_bytes(unknown->stage, "half way");
  waiter_settle(f->engine, c);
  expect_settled(f, r, ENGINE_UNKNOWN);
  assert_int_equal(claim(f, taking_over(as("k", "c"), second)), ENGINE_UNKNOWN);
  claimed(f, taking_over(as("k", "c"), shown));
  assert_int_equal(f->answer.attempt, 2);
  f->now += 100;
  expect_ended(f, "k", ENGINE_UNKNOWN, 2, "c"); /* HOLD stays */
}

/* ---- RELEASE UNSURE: as if the lease were over now ---- */

static void unsure_leaves_what_is_known(void **state) {
  struct fixture *f = *state;
  uint64_t token = first_attempt(f, "k", false);
  struct waiter *r = reader(f, "k");
  f->now += 30;
  assert_int_equal(release_with(f, "k", token, RULES_UNSURE), ENGINE_RELEASED);
  assert_int_equal(expect_ready(f, r, ENGINE_LAPSED)->token, token);
  waiter_settle(f->engine, r);
  expect_ended(f, "k", ENGINE_LAPSED, 1, "a");
  assert_int_equal(f->answer.token, token);
  assert_int_equal(f->answer.age_ms, 30); /* since the grant */
  expect_bytes(f->answer.stage, "half way");
  assert_int_equal(look(f, "k").left_ms, RETENTION);
  assert_int_equal(stats_of(f).lapsed, 0); /* no lease has ended */
  assert_int_equal(stats_of(f).released, 1);
  assert_int_equal(renew(f, "k", token, NULL), ENGINE_RENEWED); /* it still is the owner's */
  assert_int_equal(store(f, "k", token, "late"), ENGINE_STORED);
}

static void unsure_hands_over_as_the_next_attempt(void **state) {
  struct fixture *f = *state;
  uint64_t token = first_attempt(f, "k", false);
  struct waiter *b = queued(f, waiting("k", "b")), *c = queued(f, waiting("k", "c"));
  assert_int_equal(release_with(f, "k", token, RULES_UNSURE), ENGINE_RELEASED);
  const struct engine_answer *grant = expect_ready(f, b, ENGINE_CLAIMED);
  assert_int_equal(grant->attempt, 2);
  expect_bytes(grant->stage, "half way");
  uint64_t second = grant->token;
  waiter_settle(f->engine, b);
  expect_none_ready(f);
  assert_int_equal(store(f, "k", second, "x"), ENGINE_STORED);
  expect_settled(f, c, ENGINE_DONE);
}

static void with_hold_unsure_tells_everybody_unknown(void **state) {
  struct fixture *f = *state;
  uint64_t token = first_attempt(f, "k", true);
  struct waiter *b = queued(f, taking_over(waiting("k", "b"), token)), *r = reader(f, "k");
  assert_int_equal(release_with(f, "k", token, RULES_UNSURE), ENGINE_RELEASED);
  assert_int_equal(expect_ready(f, b, ENGINE_UNKNOWN)->token, token);
  waiter_settle(f->engine, b);
  expect_settled(f, r, ENGINE_UNKNOWN);
  expect_ended(f, "k", ENGINE_UNKNOWN, 1, "a");
}

static void unsure_changes_nothing_of_a_claim_that_has_ended(void **state) {
  struct fixture *f = *state;
  uint64_t lapsed = first_attempt(f, "lapsed", false), unknown = first_attempt(f, "unknown", true);
  f->now += 100;
  tick_until_done(f);
  f->now += 40;
  assert_int_equal(release_with(f, "lapsed", lapsed, RULES_UNSURE), ENGINE_RELEASED);
  assert_int_equal(release_with(f, "unknown", unknown, RULES_UNSURE), ENGINE_RELEASED);
  expect_ended(f, "lapsed", ENGINE_LAPSED, 1, "a");
  assert_int_equal(f->answer.token, lapsed);
  assert_int_equal(f->answer.age_ms, 140);
  assert_int_equal(look(f, "lapsed").left_ms, RETENTION - 40); /* it does not begin anew */
  expect_ended(f, "unknown", ENGINE_UNKNOWN, 1, "a");
  assert_int_equal(f->answer.token, unknown);
  assert_int_equal(release_with(f, "lapsed", lapsed + 7, RULES_UNSURE), ENGINE_NOT_YOURS);
}

/* ---- RELEASE CLEAR: somebody has looked ---- */

static void clear_forgets_what_had_ended(void **state) {
  struct fixture *f = *state;
  uint64_t lapsed = first_attempt(f, "lapsed", false), unknown = first_attempt(f, "unknown", true);
  f->now += 100;
  tick_until_done(f);
  assert_int_equal(release_with(f, "lapsed", unknown, RULES_CLEAR), ENGINE_NOT_YOURS);
  assert_int_equal(release_with(f, "lapsed", lapsed, RULES_CLEAR), ENGINE_RELEASED);
  assert_int_equal(release_with(f, "unknown", unknown, RULES_CLEAR), ENGINE_RELEASED);
  assert_int_equal(stats_of(f).records, 0);
  claimed(f, as("unknown", "b"));
  assert_int_equal(f->answer.attempt, 1);
  assert_null(f->answer.stage);
  f->now += 100;
  expect_ended(f, "unknown", ENGINE_LAPSED, 1, "b"); /* HOLD was forgotten too */
}

static void clear_of_a_held_claim_grants_a_first_attempt(void **state) {
  struct fixture *f = *state;
  uint64_t second = second_attempt(f, "k", true);
  struct waiter *r = reader(f, "k"), *c = queued(f, waiting("k", "c"));
  assert_int_equal(release_with(f, "k", second, RULES_CLEAR), ENGINE_RELEASED);
  const struct engine_answer *grant = expect_ready(f, c, ENGINE_CLAIMED);
  assert_int_equal(grant->attempt, 1);
  assert_null(grant->stage);
  uint64_t third = grant->token;
  waiter_settle(f->engine, c);
  expect_none_ready(f);
  assert_int_equal(release_with(f, "k", third, RULES_CLEAR), ENGINE_RELEASED);
  expect_settled(f, r, ENGINE_NOTHING);
  expect_absent(f, "k");
}

/* ---- STORE with TTL 0: shared, then as RELEASE with the same word ---- */

static const struct shared_case {
  enum rules_word word;
  bool second, hold;
  enum rules_phase phase; /* of what is left; ABSENT: nothing */
  uint32_t attempt;
  const char *owner;
} SHARED_CASES[] = {
    {RULES_DID_NOTHING, false, false, RULES_ABSENT, 0, NULL},
    {RULES_DID_NOTHING, false, true, RULES_ABSENT, 0, NULL},
    {RULES_DID_NOTHING, true, false, RULES_LAPSED, 1, NULL},
    {RULES_DID_NOTHING, true, true, RULES_UNKNOWN, 1, NULL},
    {RULES_UNSURE, false, false, RULES_LAPSED, 1, "a"},
    {RULES_UNSURE, false, true, RULES_UNKNOWN, 1, "a"},
    {RULES_UNSURE, true, false, RULES_LAPSED, 2, "b"},
    {RULES_UNSURE, true, true, RULES_UNKNOWN, 2, "b"},
    {RULES_CLEAR, false, false, RULES_ABSENT, 0, NULL},
    {RULES_CLEAR, false, true, RULES_ABSENT, 0, NULL},
    {RULES_CLEAR, true, false, RULES_ABSENT, 0, NULL},
    {RULES_CLEAR, true, true, RULES_ABSENT, 0, NULL},
};

static void expect_left(struct fixture *f, const char *key, const struct shared_case *c) {
  if (c->phase == RULES_ABSENT) {
    expect_absent(f, key);
    return;
  }
  expect_ended(f, key, c->phase == RULES_LAPSED ? ENGINE_LAPSED : ENGINE_UNKNOWN, c->attempt,
               c->owner);
  expect_bytes(f->answer.stage, "half way");
}

static void expect_shared(struct fixture *f, struct waiter *waiter) {
  const struct engine_answer *done = expect_ready(f, waiter, ENGINE_DONE);
  assert_true(span_is(done->body_bytes, "shared"));
  assert_int_equal(done->left_ms, 0);
  assert_int_equal(done->age_ms, 0);
  waiter_settle(f->engine, waiter);
}

static void what_is_shared_ends_the_record_by_the_same_word(void **state) {
  struct fixture *f = *state;
  for (size_t i = 0; i < sizeof SHARED_CASES / sizeof *SHARED_CASES; i++) {
    const struct shared_case *c = &SHARED_CASES[i];
    char key[] = {(char)('A' + i), 0};
    uint64_t token = c->second ? second_attempt(f, key, c->hold) : first_attempt(f, key, c->hold);
    struct waiter *w = queued(f, waiting(key, "w")), *r = reader(f, key);
    assert_int_equal(share(f, key, token, c->word), ENGINE_STORED);
    assert_int_equal(f->answer.count, 2);
    expect_shared(f, w);
    expect_shared(f, r);
    expect_none_ready(f);
    expect_left(f, key, c);
  }
}

/* Without waiters, and of a claim whose lease has ended. */
static void what_nobody_waits_for_ends_the_record_too(void **state) {
  struct fixture *f = *state;
  for (size_t i = 0; i < sizeof SHARED_CASES / sizeof *SHARED_CASES; i++) {
    const struct shared_case *c = &SHARED_CASES[i];
    char key[] = {(char)('A' + i), 0};
    uint64_t token = c->second ? second_attempt(f, key, c->hold) : first_attempt(f, key, c->hold);
    f->now += 100;
    tick_until_done(f);
    assert_int_equal(share(f, key, token, c->word), ENGINE_STORED);
    assert_int_equal(f->answer.count, 0);
    expect_left(f, key, c);
  }
}

/* ---- HOLD ---- */

static void when_a_hold_claim_vanishes_everybody_is_told_unknown(void **state) {
  struct fixture *f = *state;
  uint64_t token = first_attempt(f, "k", true);
  struct waiter *b = queued(f, waiting("k", "b"));
  struct waiter *t = queued(f, taking_over(waiting("k", "t"), token)), *r = reader(f, "k");
  f->now += 100;
  tick_until_done(f);
  const struct engine_answer *unknown = expect_ready(f, b, ENGINE_UNKNOWN);
  assert_int_equal(unknown->token, token);
  assert_int_equal(unknown->attempt, 1);
  assert_int_equal(unknown->age_ms, 100);
  expect_bytes(unknown->owner, "a");
  expect_bytes(unknown->stage, "half way");
  waiter_settle(f->engine, b);
  expect_settled(f, t, ENGINE_UNKNOWN);
  expect_settled(f, r, ENGINE_UNKNOWN);
}

static void a_hold_claim_can_still_be_released_to_a_waiter(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, holding("k", "a"));
  struct waiter *b = queued(f, waiting("k", "b"));
  assert_int_equal(release(f, "k", token), ENGINE_RELEASED);
  assert_int_equal(expect_ready(f, b, ENGINE_CLAIMED)->attempt, 1);
  waiter_settle(f->engine, b);
  f->now += 100;
  expect_ended(f, "k", ENGINE_LAPSED, 1, "b"); /* the waiter had not asked for HOLD */
}

static void hold_is_not_left_by_a_claim_without_it(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, holding("k", "a"));
  assert_int_equal(claimed(f, as("k", "a")), token); /* the owner asks again */
  f->now += 100;
  expect_ended(f, "k", ENGINE_UNKNOWN, 1, "a");
  claimed(f, taking_over(as("k", "b"), token));
  f->now += 100;
  expect_ended(f, "k", ENGINE_UNKNOWN, 2, "b");
}

static void hold_can_be_added(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  assert_int_equal(claimed(f, holding("k", "a")), token);
  f->now += 100;
  expect_ended(f, "k", ENGINE_UNKNOWN, 1, "a");
}

static void hold_of_a_waiter_counts_from_its_grant(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  struct engine_claim hold = waiting("k", "b");
  hold.hold = true;
  struct waiter *b = queued(f, hold);
  assert_int_equal(release_with(f, "k", token, RULES_UNSURE), ENGINE_RELEASED);
  expect_settled(f, b, ENGINE_CLAIMED);
  f->now += 100;
  expect_ended(f, "k", ENGINE_UNKNOWN, 2, "b");
}

/* ---- TAKEOVER ---- */

static void an_unknown_record_is_taken_over_with_its_token_only(void **state) {
  struct fixture *f = *state;
  uint64_t first = first_attempt(f, "k", true);
  f->now += 100;
  assert_int_equal(claim(f, as("k", "b")), ENGINE_UNKNOWN);
  assert_int_equal(f->answer.token, first);
  assert_int_equal(claim(f, as("k", "a")), ENGINE_UNKNOWN); /* the former owner too */
  assert_int_equal(claim(f, taking_over(as("k", "b"), first + 1)), ENGINE_UNKNOWN);
  assert_int_equal(claim(f, taking_over(waiting("k", "b"), first - 1)), ENGINE_UNKNOWN);
  uint64_t second = claimed(f, taking_over(as("k", "b"), first));
  assert_true(second > first);
  assert_int_equal(f->answer.attempt, 2);
  expect_bytes(f->answer.stage, "half way");
  assert_int_equal(store(f, "k", first, "x"), ENGINE_STALE_OVERTAKEN);
  f->now += 100;
  assert_int_equal(claim(f, taking_over(as("k", "c"), first)), ENGINE_UNKNOWN); /* old evidence */
  assert_int_equal(f->answer.token, second);
}

static void on_other_records_takeover_means_nothing(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, taking_over(as("k", "a"), 1)); /* absent */
  assert_int_equal(f->answer.attempt, 1);
  assert_int_equal(claim(f, taking_over(as("k", "b"), token)), ENGINE_BUSY);
  f->now += 100;
  token = claimed(f, taking_over(as("k", "b"), 1)); /* LAPSED */
  assert_int_equal(f->answer.attempt, 2);
  assert_int_equal(store(f, "k", token, "x"), ENGINE_STORED);
  assert_int_equal(claim(f, taking_over(as("k", "c"), token)), ENGINE_DONE);
}

/* ---- BIND ---- */

static void a_hold_claim_whose_connection_closes_is_unknown(void **state) {
  struct fixture *f = *state;
  struct binding *connection = binding_create(f->engine);
  struct engine_claim c = bound("k", "a", connection);
  c.hold = true;
  uint64_t token = claimed(f, c);
  struct waiter *b = queued(f, waiting("k", "b")), *r = reader(f, "k");
  f->now += 20;
  binding_close(f->engine, connection, f->now);
  tick_until_done(f);
  assert_int_equal(expect_ready(f, b, ENGINE_UNKNOWN)->token, token);
  waiter_settle(f->engine, b);
  expect_settled(f, r, ENGINE_UNKNOWN);
  expect_ended(f, "k", ENGINE_UNKNOWN, 1, "a");
  assert_int_equal(stats_of(f).lapsed, 0);
}

/* Its connection ends it once more, until that has closed. */
static void bind_outlives_the_lease_but_not_the_connection(void **state) {
  struct fixture *f = *state;
  static const char *const ends[] = {"lease", "unsure"};
  for (int unsure = 0; unsure < 2; unsure++) {
    const char *key = ends[unsure];
    struct binding *connection = binding_create(f->engine);
    uint64_t token = claimed(f, bound(key, "a", connection));
    if (unsure) release_with(f, key, token, RULES_UNSURE);
    if (!unsure) f->now += 100;
    expect_ended(f, key, ENGINE_LAPSED, 1, "a");
    assert_int_equal(renew(f, key, token, NULL), ENGINE_RENEWED);
    binding_close(f->engine, connection, f->now);
    expect_ended(f, key, ENGINE_LAPSED, 1, "a");
    assert_int_equal(renew(f, key, token, NULL), ENGINE_RENEWED);
    tick_until_done(f);
    assert_int_equal(fetch(f, key), ENGINE_BUSY);
    f->now += 100;
    expect_ended(f, key, ENGINE_LAPSED, 1, "a");
  }
}

/* ---- how long UNKNOWN stays ---- */

static void unknown_stays_until_somebody_decides(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, holding("k", "a"));
  f->now += 100;
  tick_until_done(f);
  assert_int_equal(look(f, "k").phase, RULES_UNKNOWN);
  assert_int_equal(look(f, "k").left_ms, -1);
  assert_int_equal(stats_of(f).expiring, 0);
  assert_true(tick_next_due(f->engine) == INT64_MAX);
  f->now += 1000 * RETENTION;
  tick_until_done(f);
  expect_ended(f, "k", ENGINE_UNKNOWN, 1, "a");
  assert_false(keys_set_deadline(f->engine, span_of("k"), f->now + 5, f->now));
  assert_int_equal(renew(f, "k", token, NULL), ENGINE_RENEWED);
  assert_true(tick_next_due(f->engine) <= f->now + 100);
  assert_int_equal(store_for(f, "k", token, "x", 50), ENGINE_STORED);
  assert_int_equal(stats_of(f).expiring, 1);
}

static void unknown_may_have_an_end(void **state) {
  struct fixture *f = *state;
  struct engine_options options = OPTIONS;
  options.unknown_retention_ms = 5000;
  reconfigure(f, options);
  claimed(f, holding("k", "a"));
  f->now += 100;
  tick_until_done(f);
  assert_int_equal(look(f, "k").left_ms, 5000);
  assert_int_equal(stats_of(f).expiring, 1);
  f->now += 4999;
  expect_ended(f, "k", ENGINE_UNKNOWN, 1, "a");
  f->now += 1;
  expect_absent(f, "k");
  assert_int_equal(stats_of(f).expired, 1);
}

/* Keys that end by themselves, counted through all that can become of a record. */
static void what_ends_by_itself_is_counted(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("k", "a"));
  assert_int_equal(stats_of(f).expiring, 0); /* HELD */
  f->now += 100;
  tick_until_done(f);
  assert_int_equal(stats_of(f).expiring, 1); /* LAPSED */
  assert_int_equal(renew(f, "k", token, NULL), ENGINE_RENEWED);
  assert_int_equal(stats_of(f).expiring, 0);
  claimed(f, holding("k", "a"));
  assert_int_equal(release_with(f, "k", token, RULES_UNSURE), ENGINE_RELEASED);
  assert_int_equal(stats_of(f).expiring, 0); /* UNKNOWN */
  token = claimed(f, taking_over(as("k", "b"), token));
  assert_int_equal(release(f, "k", token), ENGINE_RELEASED);
  assert_int_equal(stats_of(f).expiring, 0); /* UNKNOWN, struck out */
  assert_int_equal(fetch(f, "k"), ENGINE_UNKNOWN);
  assert_int_equal(store(f, "k", f->answer.token, "x"), ENGINE_STORED);
  assert_int_equal(stats_of(f).expiring, 1); /* DONE */
  keys_set_value(f->engine, span_of("v"), span_of("x"), f->now + 50, f->now);
  assert_int_equal(stats_of(f).expiring, 2);
  keys_flush(f->engine, f->now);
  assert_int_equal(stats_of(f).expiring, 0);
  expect_empty(f);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(a_later_attempt_that_did_nothing_is_struck_out),
      CASE(with_a_token_granted_to_nobody_no_one_owns_the_claim),
      CASE(with_a_token_granted_to_nobody_a_record_is_settled),
      CASE(the_grant_after_a_struck_out_one_has_an_owner_again),
      CASE(a_later_attempt_can_be_struck_out_when_its_lease_has_ended),
      CASE(the_oldest_waiter_gets_the_number_of_the_attempt_that_did_nothing),
      CASE(a_hand_over_that_is_taken_back_leaves_the_attempt_struck_out),
      CASE(with_hold_everybody_is_told_unknown_when_an_attempt_is_struck_out),
      CASE(unsure_leaves_what_is_known),
      CASE(unsure_hands_over_as_the_next_attempt),
      CASE(with_hold_unsure_tells_everybody_unknown),
      CASE(unsure_changes_nothing_of_a_claim_that_has_ended),
      CASE(clear_forgets_what_had_ended),
      CASE(clear_of_a_held_claim_grants_a_first_attempt),
      CASE(what_is_shared_ends_the_record_by_the_same_word),
      CASE(what_nobody_waits_for_ends_the_record_too),
      CASE(when_a_hold_claim_vanishes_everybody_is_told_unknown),
      CASE(a_hold_claim_can_still_be_released_to_a_waiter),
      CASE(hold_is_not_left_by_a_claim_without_it),
      CASE(hold_can_be_added),
      CASE(hold_of_a_waiter_counts_from_its_grant),
      CASE(an_unknown_record_is_taken_over_with_its_token_only),
      CASE(on_other_records_takeover_means_nothing),
      CASE(a_hold_claim_whose_connection_closes_is_unknown),
      CASE(bind_outlives_the_lease_but_not_the_connection),
      CASE(unknown_stays_until_somebody_decides),
      CASE(unknown_may_have_an_end),
      CASE(what_ends_by_itself_is_counted),
  };
#undef CASE
  return cmocka_run_group_tests_name("evidence", tests, NULL, NULL);
}
