/*
 * test_rules.c - the contract's table of events, row by row, on the pure rules.
 *
 * Reads from top to bottom as the specification does. What the rules do not decide (whose turn it
 * is in a queue, what bytes are equal, where the horizon lies) is given as a plain fact here and
 * proven with the engine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/rules/rules.h"

#define NOW 1000000
#define LEASE 500u
#define TTL 2000
#define RETENTION 9000
#define TOKEN 77
#define NEXT_TOKEN 950

static const struct rules_claim MINE = {
    .fingerprint_matches = true, .owner_matches = true, .lease_ms = LEASE, .token = 901};
static const struct rules_claim OTHERS = {
    .fingerprint_matches = true, .lease_ms = LEASE, .token = 902};
static const struct rules_claim FOREIGN = {
    .owner_matches = true, .takeover = TOKEN, .lease_ms = LEASE, .token = 903};

/* Granted at NOW as the third attempt with token 77. */
static struct rules_record record_in(enum rules_phase phase) {
  struct rules_record r = {.token = TOKEN,
                           .since_ms = NOW,
                           .lease_ms = LEASE,
                           .attempt = 3,
                           .phase = (uint8_t)phase,
                           .deadline_ms = NOW + LEASE};
  if (phase == RULES_ABSENT) r = (struct rules_record){0};
  if (phase == RULES_LAPSED) r.deadline_ms = NOW + LEASE + RETENTION;
  if (phase == RULES_DONE) r.deadline_ms = NOW + TTL;
  if (phase == RULES_UNKNOWN) {
    r.deadline_ms = RULES_NEVER;
    r.hold = true;
  }
  return r;
}

static struct rules_record attempt_in(enum rules_phase phase, uint32_t attempt) {
  struct rules_record r = record_in(phase);
  r.attempt = attempt;
  return r;
}

/* The third attempt, of which a later one was struck out: the token is nobody's. */
static struct rules_record nobodys(enum rules_phase phase) {
  struct rules_record r = record_in(phase);
  r.nobody = true;
  return r;
}

static void assert_same(const struct rules_record *a, const struct rules_record *b) {
  assert_int_equal(a->phase, b->phase);
  assert_int_equal(a->token, b->token);
  assert_int_equal(a->since_ms, b->since_ms);
  assert_int_equal(a->deadline_ms, b->deadline_ms);
  assert_int_equal(a->lease_ms, b->lease_ms);
  assert_int_equal(a->attempt, b->attempt);
  assert_int_equal(a->hold, b->hold);
  assert_int_equal(a->bind, b->bind);
  assert_int_equal(a->nobody, b->nobody);
}

static void expect_claim(enum rules_phase phase, const struct rules_claim *claim,
                         enum rules_verdict verdict) {
  struct rules_record before = record_in(phase), r = before;
  assert_int_equal(rules_claim(&r, claim, NOW + 10), verdict);
  assert_same(&r, &before);
}

/* ---- CLAIM ---- */

static void claim_on_absent_is_held_with_a_new_token_and_attempt_1(void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_ABSENT);
  struct rules_claim claim = {.lease_ms = LEASE, .token = 901, .hold = true, .bind = true};
  assert_int_equal(rules_claim(&r, &claim, NOW), RULES_GRANT_FIRST);
  struct rules_record held = {.phase = RULES_HELD,
                              .token = 901,
                              .attempt = 1,
                              .since_ms = NOW,
                              .deadline_ms = NOW + LEASE,
                              .lease_ms = LEASE,
                              .hold = true,
                              .bind = true};
  assert_same(&r, &held);
}

/* Whatever the caller left in a record that is absent. */
static void claim_on_absent_inherits_nothing(void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_UNKNOWN);
  r.phase = RULES_ABSENT;
  r.nobody = r.bind = true;
  assert_int_equal(rules_claim(&r, &OTHERS, NOW), RULES_GRANT_FIRST);
  assert_int_equal(r.attempt, 1);
  assert_false(r.hold || r.bind || r.nobody);
}

static void a_fingerprint_means_nothing_on_absent(void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_ABSENT);
  assert_int_equal(rules_claim(&r, &FOREIGN, NOW), RULES_GRANT_FIRST);
}

static void a_forgotten_request_is_not_told_that_it_is_the_first(void **state) {
  (void)state;
  struct rules_claim old = MINE;
  old.forgotten = true;
  expect_claim(RULES_ABSENT, &old, RULES_SAY_FORGOTTEN);
  old.fingerprint_matches = false; /* it means nothing on ABSENT */
  expect_claim(RULES_ABSENT, &old, RULES_SAY_FORGOTTEN);
}

/* While there is a record, it tells: the horizon is asked only when a grant would say attempt 1. */
static void a_record_tells_a_forgotten_request_what_it_tells_any(void **state) {
  (void)state;
  struct rules_claim mine = MINE, others = OTHERS, foreign = FOREIGN;
  mine.forgotten = others.forgotten = foreign.forgotten = true;
  expect_claim(RULES_HELD, &others, RULES_SAY_BUSY);
  expect_claim(RULES_UNKNOWN, &others, RULES_SAY_UNKNOWN);
  expect_claim(RULES_DONE, &others, RULES_SAY_DONE);
  expect_claim(RULES_LAPSED, &foreign, RULES_MISMATCH);
  struct rules_record r = record_in(RULES_HELD);
  assert_int_equal(rules_claim(&r, &mine, NOW + 10), RULES_GRANT_AGAIN);
  r = attempt_in(RULES_LAPSED, 1);
  assert_int_equal(rules_claim(&r, &others, NOW + 600), RULES_GRANT_NEXT);
  assert_int_equal(r.attempt, 2);
}

static void another_fingerprint_is_a_mismatch_in_every_state_before_everything_else(void **state) {
  (void)state;
  expect_claim(RULES_HELD, &FOREIGN, RULES_MISMATCH);
  expect_claim(RULES_LAPSED, &FOREIGN, RULES_MISMATCH);
  expect_claim(RULES_UNKNOWN, &FOREIGN, RULES_MISMATCH);
  expect_claim(RULES_DONE, &FOREIGN, RULES_MISMATCH);
}

static void claim_on_held_with_the_same_owner_keeps_token_and_attempt_and_replaces_the_rest(
    void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_HELD);
  struct rules_claim again = MINE;
  again.lease_ms = 40;
  again.bind = true;
  assert_int_equal(rules_claim(&r, &again, NOW + 10), RULES_GRANT_AGAIN);
  assert_int_equal(r.token, TOKEN);
  assert_int_equal(r.attempt, 3);
  assert_int_equal(r.since_ms, NOW); /* the age is that of the grant */
  assert_int_equal(r.lease_ms, 40);
  assert_int_equal(r.deadline_ms, NOW + 10 + 40); /* also when that is earlier than before */
  assert_true(r.bind);
  assert_false(r.hold);
  assert_int_equal(rules_claim(&r, &MINE, NOW + 20), RULES_GRANT_AGAIN);
  assert_false(r.bind);
}

static void the_same_owner_can_add_hold_and_not_take_it_away(void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_HELD);
  struct rules_claim holding = MINE;
  holding.hold = true;
  assert_int_equal(rules_claim(&r, &holding, NOW + 10), RULES_GRANT_AGAIN);
  assert_true(r.hold);
  assert_int_equal(rules_claim(&r, &MINE, NOW + 20), RULES_GRANT_AGAIN);
  assert_true(r.hold);
}

static void claim_on_held_by_another_is_busy_with_takeover_too(void **state) {
  (void)state;
  struct rules_claim pushy = OTHERS;
  pushy.takeover = TOKEN;
  expect_claim(RULES_HELD, &OTHERS, RULES_SAY_BUSY);
  expect_claim(RULES_HELD, &pushy, RULES_SAY_BUSY);
}

static void expect_next_grant(enum rules_phase phase, const struct rules_claim *claim) {
  struct rules_record r = record_in(phase);
  assert_int_equal(rules_claim(&r, claim, NOW + 600), RULES_GRANT_NEXT);
  assert_int_equal(r.phase, RULES_HELD);
  assert_int_equal(r.token, claim->token);
  assert_int_equal(r.attempt, 4);
  assert_int_equal(r.since_ms, NOW + 600);
  assert_int_equal(r.deadline_ms, NOW + 600 + LEASE);
  assert_int_equal(r.hold, phase == RULES_UNKNOWN || claim->hold);
  assert_int_equal(r.bind, claim->bind);
}

static void claim_on_lapsed_is_the_next_attempt_for_the_same_owner_too(void **state) {
  (void)state;
  struct rules_claim holding = OTHERS;
  holding.hold = holding.bind = true;
  expect_next_grant(RULES_LAPSED, &OTHERS);
  expect_next_grant(RULES_LAPSED, &MINE);
  expect_next_grant(RULES_LAPSED, &holding);
}

static void takeover_means_nothing_on_lapsed_and_on_done(void **state) {
  (void)state;
  struct rules_claim takeover = OTHERS;
  takeover.takeover = TOKEN + 1;
  expect_next_grant(RULES_LAPSED, &takeover);
  expect_claim(RULES_DONE, &takeover, RULES_SAY_DONE);
}

static void claim_on_unknown_is_unknown_unless_it_takes_over_with_the_token_shown(void **state) {
  (void)state;
  struct rules_claim takeover = OTHERS;
  expect_claim(RULES_UNKNOWN, &OTHERS, RULES_SAY_UNKNOWN);
  expect_claim(RULES_UNKNOWN, &MINE, RULES_SAY_UNKNOWN);
  takeover.takeover = TOKEN - 1;
  expect_claim(RULES_UNKNOWN, &takeover, RULES_SAY_UNKNOWN);
  takeover.takeover = TOKEN + 1;
  expect_claim(RULES_UNKNOWN, &takeover, RULES_SAY_UNKNOWN);
  takeover.takeover = TOKEN; /* HOLD stays, although this claim does not ask for it */
  expect_next_grant(RULES_UNKNOWN, &takeover);
}

static void claim_on_done_replays_without_refreshing_the_ttl(void **state) {
  (void)state;
  struct rules_claim takeover = MINE;
  takeover.takeover = TOKEN;
  expect_claim(RULES_DONE, &MINE, RULES_SAY_DONE);
  expect_claim(RULES_DONE, &takeover, RULES_SAY_DONE);
}

static void a_grant_ends_that_the_token_is_nobodys(void **state) {
  (void)state;
  struct rules_claim takeover = OTHERS;
  takeover.takeover = TOKEN;
  for (int phase = RULES_LAPSED; phase <= RULES_UNKNOWN; phase++) {
    struct rules_record r = nobodys((enum rules_phase)phase);
    assert_int_equal(rules_claim(&r, &takeover, NOW + 600), RULES_GRANT_NEXT);
    assert_int_equal(r.attempt, 4); /* the number of the one that was struck out */
    assert_false(r.nobody);
  }
}

static void attempts_saturate(void **state) {
  (void)state;
  struct rules_record r = attempt_in(RULES_LAPSED, UINT32_MAX);
  assert_int_equal(rules_claim(&r, &OTHERS, NOW + 600), RULES_GRANT_NEXT);
  assert_int_equal(r.attempt, UINT32_MAX);
}

static void a_server_that_leaves_grants_nothing_and_answers_the_rest_as_ever(void **state) {
  (void)state;
  struct rules_claim others = OTHERS, mine = MINE, foreign = FOREIGN;
  others.no_grants = mine.no_grants = foreign.no_grants = true;
  expect_claim(RULES_ABSENT, &others, RULES_NO_GRANT);
  expect_claim(RULES_LAPSED, &others, RULES_NO_GRANT);
  expect_claim(RULES_HELD, &others, RULES_SAY_BUSY);
  expect_claim(RULES_UNKNOWN, &others, RULES_SAY_UNKNOWN);
  expect_claim(RULES_DONE, &others, RULES_SAY_DONE);
  expect_claim(RULES_HELD, &foreign, RULES_MISMATCH);
  others.takeover = TOKEN;
  expect_claim(RULES_UNKNOWN, &others, RULES_NO_GRANT);
  others.forgotten = true;
  expect_claim(RULES_ABSENT, &others, RULES_SAY_FORGOTTEN);
  struct rules_record r = record_in(RULES_HELD);
  assert_int_equal(rules_claim(&r, &mine, NOW + 10), RULES_GRANT_AGAIN);
}

/* ---- FETCH and WAIT ---- */

static void readers_see_each_state(void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_ABSENT);
  assert_int_equal(rules_read(&r, false), RULES_SAY_NOTHING);
  assert_int_equal(rules_read(&r, true), RULES_SAY_NOTHING);
  r = record_in(RULES_HELD);
  assert_int_equal(rules_read(&r, false), RULES_SAY_BUSY);
  r = record_in(RULES_LAPSED);
  assert_int_equal(rules_read(&r, false), RULES_SAY_LAPSED);
  r = record_in(RULES_UNKNOWN);
  assert_int_equal(rules_read(&r, false), RULES_SAY_UNKNOWN);
  r = record_in(RULES_DONE);
  assert_int_equal(rules_read(&r, false), RULES_SAY_DONE);
}

static void readers_are_checked_in_every_state_when_they_bring_a_fingerprint(void **state) {
  (void)state;
  for (int phase = RULES_HELD; phase <= RULES_DONE; phase++) {
    struct rules_record r = record_in((enum rules_phase)phase);
    assert_int_equal(rules_read(&r, true), RULES_MISMATCH);
  }
}

/* ---- STORE ---- */

static const struct rules_store STORE = {.token = TOKEN, .ttl_ms = TTL};

static enum rules_verdict store_at_30(struct rules_record *r, uint64_t token, bool same_bytes,
                                      int64_t ttl_ms) {
  const struct rules_store store = {.token = token, .same_bytes = same_bytes, .ttl_ms = ttl_ms};
  return rules_store(r, &store, NOW + 30);
}

static void store_with_the_current_token_is_done_on_held_lapsed_and_unknown(void **state) {
  (void)state;
  for (int phase = RULES_HELD; phase <= RULES_UNKNOWN; phase++) {
    struct rules_record r = record_in((enum rules_phase)phase);
    assert_int_equal(rules_store(&r, &STORE, NOW + 30), RULES_STORED);
    assert_int_equal(r.phase, RULES_DONE);
    assert_int_equal(r.token, TOKEN);
    assert_int_equal(r.since_ms, NOW + 30);
    assert_int_equal(r.deadline_ms, NOW + 30 + TTL);
  }
}

/* Who looked into the matter settles it. */
static void store_with_the_token_shown_is_done_although_it_is_nobodys(void **state) {
  (void)state;
  for (int phase = RULES_LAPSED; phase <= RULES_UNKNOWN; phase++) {
    struct rules_record r = nobodys((enum rules_phase)phase);
    assert_int_equal(rules_store(&r, &STORE, NOW + 30), RULES_STORED);
    assert_int_equal(r.phase, RULES_DONE);
    assert_false(r.nobody);
  }
}

static void store_again_with_the_token_that_stored(void **state) {
  (void)state;
  struct rules_record before = record_in(RULES_DONE), r = before;
  assert_int_equal(store_at_30(&r, TOKEN, true, TTL), RULES_SAME_STORED);
  assert_int_equal(store_at_30(&r, TOKEN, true, 0), RULES_SAME_STORED);
  assert_int_equal(store_at_30(&r, TOKEN, false, TTL), RULES_CONFLICT);
  assert_int_equal(store_at_30(&r, TOKEN, false, 0), RULES_CONFLICT);
  assert_same(&r, &before);
}

/* The word that says why a token is stale. */
static enum rules_verdict stale_in(enum rules_phase phase) {
  if (phase == RULES_ABSENT) return RULES_STALE_ABSENT;
  return phase == RULES_DONE ? RULES_STALE_STORED : RULES_STALE_OVERTAKEN;
}

static void store_with_any_other_token_or_on_absent_is_stale_and_changes_nothing(void **state) {
  (void)state;
  for (int phase = RULES_ABSENT; phase <= RULES_DONE; phase++) {
    struct rules_record before = record_in((enum rules_phase)phase), r = before;
    enum rules_verdict stale = stale_in((enum rules_phase)phase);
    assert_int_equal(store_at_30(&r, TOKEN - 1, true, TTL), stale);
    assert_int_equal(store_at_30(&r, TOKEN + 1, true, 0), stale);
    assert_same(&r, &before);
  }
  struct rules_record absent = record_in(RULES_ABSENT);
  assert_int_equal(store_at_30(&absent, 0, true, TTL), RULES_STALE_ABSENT);
  absent.token = TOKEN; /* left there by a grant that was released */
  assert_int_equal(store_at_30(&absent, TOKEN, true, TTL), RULES_STALE_ABSENT);
}

/* What follows is the same as for a RELEASE with the word. */
static void store_with_ttl_0_is_shared_and_leaves_the_end_to_release(void **state) {
  (void)state;
  for (int phase = RULES_HELD; phase <= RULES_UNKNOWN; phase++) {
    struct rules_record before = record_in((enum rules_phase)phase), r = before;
    assert_int_equal(store_at_30(&r, TOKEN, false, 0), RULES_SHARED);
    assert_same(&r, &before);
  }
}

/* ---- RENEW ---- */

static void renew_with_the_current_token_is_held_again_from_now(void **state) {
  (void)state;
  for (int phase = RULES_HELD; phase <= RULES_UNKNOWN; phase++) {
    struct rules_record before = record_in((enum rules_phase)phase), r = before;
    r.bind = before.bind = true;
    assert_int_equal(rules_renew(&r, TOKEN, 40, NOW + 700), RULES_RENEWED);
    before.phase = RULES_HELD;
    before.lease_ms = 40;
    before.deadline_ms = NOW + 740;
    assert_same(&r, &before); /* token, attempt, age, HOLD and BIND stay as they were */
  }
}

static void renew_without_lease_takes_the_length_last_granted(void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_HELD);
  assert_int_equal(rules_renew(&r, TOKEN, 0, NOW + 100), RULES_RENEWED);
  assert_int_equal(r.deadline_ms, NOW + 100 + LEASE);
  assert_int_equal(rules_renew(&r, TOKEN, 40, NOW + 100), RULES_RENEWED);
  assert_int_equal(rules_renew(&r, TOKEN, 0, NOW + 110), RULES_RENEWED);
  assert_int_equal(r.deadline_ms, NOW + 150);
}

static void renew_with_another_token_on_done_and_on_absent_is_stale(void **state) {
  (void)state;
  for (int phase = RULES_ABSENT; phase <= RULES_DONE; phase++) {
    struct rules_record before = record_in((enum rules_phase)phase), r = before;
    uint64_t token = phase == RULES_DONE ? TOKEN : TOKEN - 1;
    assert_int_equal(rules_renew(&r, token, 40, NOW + 30), stale_in((enum rules_phase)phase));
    assert_same(&r, &before);
  }
  struct rules_record absent = record_in(RULES_ABSENT);
  assert_int_equal(rules_renew(&absent, 0, 40, NOW + 30), RULES_STALE_ABSENT);
}

static void renew_with_nobodys_token_is_stale(void **state) {
  (void)state;
  for (int phase = RULES_LAPSED; phase <= RULES_UNKNOWN; phase++) {
    struct rules_record before = nobodys((enum rules_phase)phase), r = before;
    assert_int_equal(rules_renew(&r, TOKEN, 40, NOW + 30), RULES_STALE_OVERTAKEN);
    assert_same(&r, &before);
  }
}

/* ---- RELEASE ---- */

static void expect_release(const struct rules_record *record, enum rules_word word,
                           enum rules_verdict verdict, enum rules_end expected) {
  const struct rules_record r = *record;
  enum rules_end end = RULES_END_BIND_CLOSED;
  assert_int_equal(rules_release(&r, TOKEN, word, &end), verdict);
  if (verdict == RULES_RELEASE) assert_int_equal(end, expected);
}

static void release_is_for_the_current_token_on_held_lapsed_and_unknown(void **state) {
  (void)state;
  enum rules_end end;
  for (int word = RULES_DID_NOTHING; word <= RULES_CLEAR; word++) {
    for (int phase = RULES_ABSENT; phase <= RULES_DONE; phase++) {
      struct rules_record r = record_in((enum rules_phase)phase);
      bool open = phase == RULES_HELD || phase == RULES_LAPSED || phase == RULES_UNKNOWN;
      bool released = rules_release(&r, TOKEN, (enum rules_word)word, &end) != RULES_NOT_YOURS;
      assert_int_equal(released, open);
      assert_int_equal(rules_release(&r, TOKEN - 1, (enum rules_word)word, &end), RULES_NOT_YOURS);
      assert_int_equal(rules_release(&r, TOKEN + 1, (enum rules_word)word, &end), RULES_NOT_YOURS);
    }
    struct rules_record absent = record_in(RULES_ABSENT);
    assert_int_equal(rules_release(&absent, 0, (enum rules_word)word, &end), RULES_NOT_YOURS);
  }
}

static void the_word_of_a_release_says_how_the_grant_ends(void **state) {
  (void)state;
  for (int phase = RULES_HELD; phase <= RULES_UNKNOWN; phase++) {
    struct rules_record r = record_in((enum rules_phase)phase);
    expect_release(&r, RULES_DID_NOTHING, RULES_RELEASE, RULES_END_RELEASED);
    expect_release(&r, RULES_CLEAR, RULES_RELEASE, RULES_END_CLEARED);
  }
  struct rules_record held = record_in(RULES_HELD);
  expect_release(&held, RULES_UNSURE, RULES_RELEASE, RULES_END_UNSURE);
}

/* So the retention does not begin anew. */
static void release_unsure_of_a_grant_that_has_ended_changes_nothing(void **state) {
  (void)state;
  for (int phase = RULES_LAPSED; phase <= RULES_UNKNOWN; phase++) {
    struct rules_record r = record_in((enum rules_phase)phase);
    struct rules_record nobody = nobodys((enum rules_phase)phase);
    expect_release(&r, RULES_UNSURE, RULES_LEFT_AS_IT_IS, RULES_END_UNSURE);
    expect_release(&nobody, RULES_UNSURE, RULES_LEFT_AS_IT_IS, RULES_END_UNSURE);
  }
}

/* A second attempt would be struck out, that may have acted. */
static void with_nobodys_token_a_plain_release_is_not_yours_and_clear_clears(void **state) {
  (void)state;
  for (int phase = RULES_LAPSED; phase <= RULES_UNKNOWN; phase++) {
    struct rules_record r = nobodys((enum rules_phase)phase);
    expect_release(&r, RULES_DID_NOTHING, RULES_NOT_YOURS, 0);
    expect_release(&r, RULES_CLEAR, RULES_RELEASE, RULES_END_CLEARED);
  }
}

/* ---- every end of a grant ---- */

static enum rules_after end_at_90(struct rules_record *r, enum rules_end end, bool claim_waits) {
  const struct rules_ending ending = {.end = end,
                                      .claim_waits = claim_waits,
                                      .at_ms = NOW + 90,
                                      .retention_ms = RETENTION,
                                      .token = NEXT_TOKEN};
  return rules_end_grant(r, &ending);
}

struct ending {
  enum rules_end end;
  uint32_t attempt;
  bool hold, claim_waits;
  enum rules_after after;
};

/* clang-format off */
static const struct ending ENDINGS[] = {
    {RULES_END_LEASE_OVER,  1, false, false, RULES_TO_LAPSED},
    {RULES_END_LEASE_OVER,  1, false, true,  RULES_HAND_OVER},
    {RULES_END_LEASE_OVER,  1, true,  false, RULES_TO_UNKNOWN},
    {RULES_END_LEASE_OVER,  1, true,  true,  RULES_TO_UNKNOWN},
    {RULES_END_BIND_CLOSED, 1, false, false, RULES_TO_LAPSED},
    {RULES_END_BIND_CLOSED, 1, false, true,  RULES_HAND_OVER},
    {RULES_END_BIND_CLOSED, 1, true,  false, RULES_TO_UNKNOWN},
    {RULES_END_BIND_CLOSED, 1, true,  true,  RULES_TO_UNKNOWN},
    {RULES_END_UNSURE,      1, false, false, RULES_TO_LAPSED},
    {RULES_END_UNSURE,      1, false, true,  RULES_HAND_OVER},
    {RULES_END_UNSURE,      1, true,  false, RULES_TO_UNKNOWN},
    {RULES_END_UNSURE,      1, true,  true,  RULES_TO_UNKNOWN},
    {RULES_END_RELEASED,    1, false, false, RULES_TO_ABSENT},
    {RULES_END_RELEASED,    1, false, true,  RULES_HAND_OVER},
    {RULES_END_RELEASED,    1, true,  false, RULES_TO_ABSENT},
    {RULES_END_RELEASED,    1, true,  true,  RULES_HAND_OVER},
    {RULES_END_CLEARED,     1, false, false, RULES_TO_ABSENT},
    {RULES_END_CLEARED,     1, false, true,  RULES_HAND_OVER},
    {RULES_END_CLEARED,     1, true,  false, RULES_TO_ABSENT},
    {RULES_END_CLEARED,     1, true,  true,  RULES_HAND_OVER},
    {RULES_END_LEASE_OVER,  3, false, false, RULES_TO_LAPSED},
    {RULES_END_LEASE_OVER,  3, false, true,  RULES_HAND_OVER},
    {RULES_END_LEASE_OVER,  3, true,  false, RULES_TO_UNKNOWN},
    {RULES_END_LEASE_OVER,  3, true,  true,  RULES_TO_UNKNOWN},
    {RULES_END_BIND_CLOSED, 3, false, false, RULES_TO_LAPSED},
    {RULES_END_BIND_CLOSED, 3, false, true,  RULES_HAND_OVER},
    {RULES_END_BIND_CLOSED, 3, true,  true,  RULES_TO_UNKNOWN},
    {RULES_END_UNSURE,      3, false, false, RULES_TO_LAPSED},
    {RULES_END_UNSURE,      3, false, true,  RULES_HAND_OVER},
    {RULES_END_UNSURE,      3, true,  true,  RULES_TO_UNKNOWN},
    {RULES_END_RELEASED,    3, false, false, RULES_TO_LAPSED},
    {RULES_END_RELEASED,    3, false, true,  RULES_HAND_OVER},
    {RULES_END_RELEASED,    3, true,  false, RULES_TO_UNKNOWN},
    {RULES_END_RELEASED,    3, true,  true,  RULES_TO_UNKNOWN},
    {RULES_END_CLEARED,     3, false, false, RULES_TO_ABSENT},
    {RULES_END_CLEARED,     3, false, true,  RULES_HAND_OVER},
    {RULES_END_CLEARED,     3, true,  false, RULES_TO_ABSENT},
    {RULES_END_CLEARED,     3, true,  true,  RULES_HAND_OVER},
};
/* clang-format on */

static void assert_remembered(const struct rules_record *r, const struct rules_record *before,
                              enum rules_end end) {
  bool struck = end == RULES_END_RELEASED;
  bool unknown = before->hold;
  assert_int_equal(r->phase, unknown ? RULES_UNKNOWN : RULES_LAPSED);
  /* It counts from the end of the grant, not from when that was noticed. */
  assert_int_equal(r->deadline_ms, unknown ? RULES_NEVER : NOW + 90 + RETENTION);
  assert_int_equal(r->hold, before->hold);
  assert_int_equal(r->attempt, before->attempt - struck);
  assert_int_equal(r->token, struck ? NEXT_TOKEN : TOKEN);
  assert_int_equal(r->nobody, struck);
  assert_int_equal(r->since_ms, struck ? NOW + 90 : NOW);
  /* BIND outlives the lease, not the connection. */
  bool bound = end == RULES_END_LEASE_OVER || end == RULES_END_UNSURE;
  assert_int_equal(r->bind, bound);
}

static void what_follows_the_end_of_a_grant(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof ENDINGS / sizeof *ENDINGS; i++) {
    const struct ending *e = &ENDINGS[i];
    struct rules_record before = attempt_in(RULES_HELD, e->attempt), r;
    before.hold = e->hold;
    before.bind = true;
    r = before;
    assert_int_equal(end_at_90(&r, e->end, e->claim_waits), e->after);
    switch (e->after) {
      case RULES_HAND_OVER: assert_same(&r, &before); break;
      case RULES_TO_ABSENT: assert_int_equal(r.phase, RULES_ABSENT); break;
      default: assert_remembered(&r, &before, e->end);
    }
  }
}

static void a_grant_that_has_ended_can_be_released_and_cleared(void **state) {
  (void)state;
  for (int phase = RULES_LAPSED; phase <= RULES_UNKNOWN; phase++) {
    bool hold = phase == RULES_UNKNOWN;
    struct rules_record r = attempt_in((enum rules_phase)phase, 1);
    assert_int_equal(end_at_90(&r, RULES_END_RELEASED, false), RULES_TO_ABSENT);
    struct rules_record before = record_in((enum rules_phase)phase);
    before.bind = true;
    r = before;
    enum rules_after kept = hold ? RULES_TO_UNKNOWN : RULES_TO_LAPSED;
    assert_int_equal(end_at_90(&r, RULES_END_RELEASED, false), kept);
    assert_remembered(&r, &before, RULES_END_RELEASED);
    assert_int_equal(end_at_90(&r, RULES_END_CLEARED, false), RULES_TO_ABSENT);
    assert_int_equal(r.phase, RULES_ABSENT);
  }
}

static void unknown_ends_by_time_only_when_it_is_told_so(void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_HELD);
  r.hold = true;
  const struct rules_ending ending = {.end = RULES_END_LEASE_OVER,
                                      .at_ms = NOW + 90,
                                      .retention_ms = RETENTION,
                                      .unknown_retention_ms = 70};
  assert_int_equal(rules_end_grant(&r, &ending), RULES_TO_UNKNOWN);
  assert_int_equal(r.deadline_ms, NOW + 160);
}

/* ---- hand-over ---- */

static const struct rules_claim WAITER = {
    .fingerprint_matches = true, .lease_ms = 40, .token = 902, .bind = true};

static void expect_hand_over(enum rules_end end, uint32_t from, uint32_t to) {
  struct rules_record r = attempt_in(RULES_HELD, from);
  enum rules_verdict verdict = rules_hand_over(&r, end, &WAITER, NOW + 600);
  assert_int_equal(verdict, to == 1 ? RULES_GRANT_FIRST : RULES_GRANT_NEXT);
  struct rules_record held = {.phase = RULES_HELD,
                              .token = 902,
                              .attempt = to,
                              .since_ms = NOW + 600, /* its lease runs from the grant */
                              .deadline_ms = NOW + 640,
                              .lease_ms = 40,
                              .bind = true};
  assert_same(&r, &held);
}

static void hand_over_counts_the_attempts_that_may_have_acted(void **state) {
  (void)state;
  for (uint32_t attempt = 1; attempt <= 3; attempt++) {
    expect_hand_over(RULES_END_LEASE_OVER, attempt, attempt + 1);
    expect_hand_over(RULES_END_BIND_CLOSED, attempt, attempt + 1);
    expect_hand_over(RULES_END_UNSURE, attempt, attempt + 1);
    expect_hand_over(RULES_END_RELEASED, attempt, attempt);
    expect_hand_over(RULES_END_CLEARED, attempt, 1);
  }
}

static void hold_is_the_waiters_own_after_a_first_attempt_that_did_nothing(void **state) {
  (void)state;
  for (int hold = 0; hold <= 1; hold++) {
    static const enum rules_end ENDS[] = {RULES_END_RELEASED, RULES_END_CLEARED};
    for (size_t i = 0; i < 2; i++) {
      struct rules_record r = attempt_in(RULES_HELD, 1);
      struct rules_claim waiter = WAITER;
      r.hold = hold == 0;
      waiter.hold = hold == 1;
      assert_int_equal(rules_hand_over(&r, ENDS[i], &waiter, NOW + 600), RULES_GRANT_FIRST);
      assert_int_equal(r.hold, hold == 1);
    }
  }
  struct rules_record r = record_in(RULES_HELD);
  struct rules_claim waiter = WAITER;
  waiter.hold = true;
  assert_int_equal(rules_hand_over(&r, RULES_END_LEASE_OVER, &waiter, NOW + 600), RULES_GRANT_NEXT);
  assert_true(r.hold);
}

static void a_forgotten_waiter_is_not_told_that_it_is_the_first(void **state) {
  (void)state;
  struct rules_claim waiter = WAITER;
  waiter.forgotten = true;
  struct rules_record before = attempt_in(RULES_HELD, 1), r = before;
  assert_int_equal(rules_hand_over(&r, RULES_END_RELEASED, &waiter, NOW + 600),
                   RULES_SAY_FORGOTTEN);
  assert_same(&r, &before); /* the next one is tried */
  r = before = record_in(RULES_HELD);
  assert_int_equal(rules_hand_over(&r, RULES_END_CLEARED, &waiter, NOW + 600), RULES_SAY_FORGOTTEN);
  assert_same(&r, &before);
  assert_int_equal(rules_hand_over(&r, RULES_END_RELEASED, &waiter, NOW + 600), RULES_GRANT_NEXT);
  r = attempt_in(RULES_HELD, 1);
  assert_int_equal(rules_hand_over(&r, RULES_END_UNSURE, &waiter, NOW + 600), RULES_GRANT_NEXT);
}

/* ---- time ---- */

static enum rules_due due_on(const struct rules_record *r, int64_t closed_ms, int64_t now_ms,
                             int64_t grain_ms) {
  return rules_due(r, closed_ms, (struct rules_moment){now_ms, grain_ms});
}

static void expired_means_now_at_or_after_the_deadline(void **state) {
  (void)state;
  for (int phase = RULES_HELD; phase <= RULES_DONE; phase++) {
    struct rules_record r = record_in((enum rules_phase)phase);
    enum rules_due over = phase == RULES_HELD ? RULES_LEASE_OVER : RULES_GONE;
    if (phase == RULES_UNKNOWN) r.deadline_ms = NOW + RETENTION; /* it was told to end */
    assert_int_equal(due_on(&r, RULES_NEVER, r.deadline_ms - 1, 0), RULES_NOT_DUE);
    assert_int_equal(due_on(&r, RULES_NEVER, r.deadline_ms, 0), over);
    assert_int_equal(due_on(&r, RULES_NEVER, r.deadline_ms + 1, 0), over);
  }
  struct rules_record absent = record_in(RULES_ABSENT);
  assert_int_equal(due_on(&absent, RULES_NEVER, INT64_MAX, 0), RULES_NOT_DUE);
}

static void on_a_rounded_clock_a_deadline_is_over_when_that_is_sure(void **state) {
  (void)state;
  for (int phase = RULES_HELD; phase <= RULES_DONE; phase++) {
    struct rules_record r = record_in((enum rules_phase)phase);
    if (phase == RULES_UNKNOWN) continue; /* it stays */
    int64_t sure_ms = rules_over_at_ms(r.deadline_ms, 8);
    assert_int_equal(sure_ms, r.deadline_ms + 8);
    assert_int_equal(due_on(&r, RULES_NEVER, sure_ms - 1, 8), RULES_NOT_DUE);
    assert_int_not_equal(due_on(&r, RULES_NEVER, sure_ms, 8), RULES_NOT_DUE);
    assert_false(rules_is_over(r.deadline_ms, rules_past_ms(sure_ms - 1, 8)));
    assert_true(rules_is_over(r.deadline_ms, rules_past_ms(sure_ms, 8)));
  }
  assert_int_equal(rules_over_at_ms(RULES_NEVER, 8), RULES_NEVER);
}

static void of_lease_and_connection_the_first_ends_a_grant_whenever_that_is_asked(void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_HELD);
  const int64_t lease_ms = r.deadline_ms;
  for (int64_t grain_ms = 0; grain_ms <= 8; grain_ms += 8) {
    int64_t sure_ms = lease_ms + grain_ms;
    for (int64_t now_ms = sure_ms; now_ms < sure_ms + 3; now_ms++) {
      assert_int_equal(due_on(&r, sure_ms - 1, now_ms, grain_ms), RULES_BIND_CLOSED);
      assert_int_equal(due_on(&r, sure_ms, now_ms, grain_ms), RULES_LEASE_OVER);
    }
    assert_int_equal(due_on(&r, NOW, NOW, grain_ms), RULES_BIND_CLOSED);
  }
  for (int phase = RULES_LAPSED; phase <= RULES_DONE; phase++) {
    struct rules_record ended = record_in((enum rules_phase)phase);
    assert_int_equal(due_on(&ended, NOW, ended.deadline_ms - 1, 0), RULES_NOT_DUE);
  }
}

static void unknown_stays_until_somebody_decides(void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_UNKNOWN);
  assert_int_equal(due_on(&r, RULES_NEVER, INT64_MAX - 1, 0), RULES_NOT_DUE);
  assert_int_equal(due_on(&r, NOW, INT64_MAX - 1, 0), RULES_NOT_DUE);
}

/* Of equal deadlines the lease is first. */
static void waits_that_were_over_before_a_grant_ended_are_answered_first(void **state) {
  (void)state;
  const struct rules_moment end = {NOW, 8};
  assert_int_equal(rules_waits_past_ms(RULES_END_LEASE_OVER, end), NOW - 1);
  assert_int_equal(rules_waits_past_ms(RULES_END_BIND_CLOSED, end), NOW - 8);
  assert_int_equal(rules_waits_past_ms(RULES_END_UNSURE, end), NOW - 8);
  assert_int_equal(rules_waits_past_ms(RULES_END_RELEASED, end), NOW - 8);
  assert_int_equal(rules_waits_past_ms(RULES_END_CLEARED, end), NOW - 8);
}

static void the_largest_durations_do_not_overflow(void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_ABSENT);
  struct rules_claim claim = {.lease_ms = UINT32_MAX, .token = RULES_TOKEN_LIMIT - 1};
  assert_int_equal(rules_claim(&r, &claim, NOW), RULES_GRANT_FIRST);
  assert_int_equal(r.deadline_ms, INT64_C(4294967295) + NOW);
  assert_int_equal(r.token, (INT64_C(1) << 53) - 1);
}

/* ---- the clock at start ---- */

static void assert_first_token(int64_t unix_s, uint32_t nanoseconds, uint64_t expected) {
  uint64_t token = 0;
  assert_int_equal(rules_first_token(unix_s, nanoseconds, UINT64_MAX, &token), RULES_CLOCK_RIGHT);
  assert_int_equal(token, expected);
}

static void tokens_begin_at_the_seconds_since_2024_and_their_fraction(void **state) {
  (void)state;
  assert_first_token(RULES_TOKEN_EPOCH_S, 0, 1);
  assert_first_token(RULES_TOKEN_EPOCH_S + 1, 0, (1 << 22) + 1);
  assert_first_token(RULES_TOKEN_EPOCH_S + 1, 500000000, (1 << 22) + (1 << 21) + 1);
  assert_first_token(RULES_TOKEN_END_S - 1, 999999999, UINT64_C(2145916800) << 22);
}

static void a_clock_of_2092_leaves_no_tokens(void **state) {
  (void)state;
  uint64_t token = 17;
  const int64_t late[] = {RULES_TOKEN_END_S, INT64_C(4133980800), INT64_MAX};
  for (size_t i = 0; i < sizeof late / sizeof late[0]; i++) {
    assert_int_equal(rules_first_token(late[i], 0, 0, &token), RULES_CLOCK_LATE);
    assert_int_equal(token, 17);
  }
  /* At the last second at which a server starts there are tokens for years. */
  rules_first_token(RULES_TOKEN_END_S - 1, 999999999, 0, &token);
  assert_true(RULES_TOKEN_LIMIT - token > UINT64_C(6500000000000));
}

static void a_clock_before_2024_begins_at_random_below_what_a_right_one_gave(void **state) {
  (void)state;
  const int64_t early[] = {RULES_TOKEN_EPOCH_S - 1, 0, -1, INT64_MIN};
  uint64_t before_idem = 0, token = 0;
  rules_first_token(INT64_C(1720900000), 0, 0, &before_idem); /* 2024-07-13 */
  for (size_t i = 0; i < sizeof early / sizeof early[0]; i++) {
    assert_int_equal(rules_first_token(early[i], 999999999, 0, &token), RULES_CLOCK_EARLY);
    assert_int_equal(token, 1);
    assert_int_equal(rules_first_token(early[i], 0, UINT64_C(1) << 63, &token), RULES_CLOCK_EARLY);
    assert_int_equal(token, (UINT64_C(1) << 45) + 1);
    assert_int_equal(rules_first_token(early[i], 0, UINT64_MAX, &token), RULES_CLOCK_EARLY);
    assert_in_range(token, UINT64_C(1) << 45, before_idem);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(claim_on_absent_is_held_with_a_new_token_and_attempt_1),
      cmocka_unit_test(claim_on_absent_inherits_nothing),
      cmocka_unit_test(a_fingerprint_means_nothing_on_absent),
      cmocka_unit_test(a_forgotten_request_is_not_told_that_it_is_the_first),
      cmocka_unit_test(a_record_tells_a_forgotten_request_what_it_tells_any),
      cmocka_unit_test(another_fingerprint_is_a_mismatch_in_every_state_before_everything_else),
      cmocka_unit_test(
          claim_on_held_with_the_same_owner_keeps_token_and_attempt_and_replaces_the_rest),
      cmocka_unit_test(the_same_owner_can_add_hold_and_not_take_it_away),
      cmocka_unit_test(claim_on_held_by_another_is_busy_with_takeover_too),
      cmocka_unit_test(claim_on_lapsed_is_the_next_attempt_for_the_same_owner_too),
      cmocka_unit_test(takeover_means_nothing_on_lapsed_and_on_done),
      cmocka_unit_test(claim_on_unknown_is_unknown_unless_it_takes_over_with_the_token_shown),
      cmocka_unit_test(claim_on_done_replays_without_refreshing_the_ttl),
      cmocka_unit_test(a_grant_ends_that_the_token_is_nobodys),
      cmocka_unit_test(attempts_saturate),
      cmocka_unit_test(a_server_that_leaves_grants_nothing_and_answers_the_rest_as_ever),
      cmocka_unit_test(readers_see_each_state),
      cmocka_unit_test(readers_are_checked_in_every_state_when_they_bring_a_fingerprint),
      cmocka_unit_test(store_with_the_current_token_is_done_on_held_lapsed_and_unknown),
      cmocka_unit_test(store_with_the_token_shown_is_done_although_it_is_nobodys),
      cmocka_unit_test(store_again_with_the_token_that_stored),
      cmocka_unit_test(store_with_any_other_token_or_on_absent_is_stale_and_changes_nothing),
      cmocka_unit_test(store_with_ttl_0_is_shared_and_leaves_the_end_to_release),
      cmocka_unit_test(renew_with_the_current_token_is_held_again_from_now),
      cmocka_unit_test(renew_without_lease_takes_the_length_last_granted),
      cmocka_unit_test(renew_with_another_token_on_done_and_on_absent_is_stale),
      cmocka_unit_test(renew_with_nobodys_token_is_stale),
      cmocka_unit_test(release_is_for_the_current_token_on_held_lapsed_and_unknown),
      cmocka_unit_test(the_word_of_a_release_says_how_the_grant_ends),
      cmocka_unit_test(release_unsure_of_a_grant_that_has_ended_changes_nothing),
      cmocka_unit_test(with_nobodys_token_a_plain_release_is_not_yours_and_clear_clears),
      cmocka_unit_test(what_follows_the_end_of_a_grant),
      cmocka_unit_test(a_grant_that_has_ended_can_be_released_and_cleared),
      cmocka_unit_test(unknown_ends_by_time_only_when_it_is_told_so),
      cmocka_unit_test(hand_over_counts_the_attempts_that_may_have_acted),
      cmocka_unit_test(hold_is_the_waiters_own_after_a_first_attempt_that_did_nothing),
      cmocka_unit_test(a_forgotten_waiter_is_not_told_that_it_is_the_first),
      cmocka_unit_test(expired_means_now_at_or_after_the_deadline),
      cmocka_unit_test(on_a_rounded_clock_a_deadline_is_over_when_that_is_sure),
      cmocka_unit_test(of_lease_and_connection_the_first_ends_a_grant_whenever_that_is_asked),
      cmocka_unit_test(unknown_stays_until_somebody_decides),
      cmocka_unit_test(waits_that_were_over_before_a_grant_ended_are_answered_first),
      cmocka_unit_test(the_largest_durations_do_not_overflow),
      cmocka_unit_test(tokens_begin_at_the_seconds_since_2024_and_their_fraction),
      cmocka_unit_test(a_clock_of_2092_leaves_no_tokens),
      cmocka_unit_test(a_clock_before_2024_begins_at_random_below_what_a_right_one_gave),
  };
  return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
