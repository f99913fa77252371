/*
 * test_rules.c - the contract's table of events, row by row, on the pure rules.
 *
 * Reads from top to bottom as the specification does. What the rules do not decide (whose turn it
 * is in a queue, what bytes are equal) is given as a plain fact here and proven with the engine.
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

static const struct rules_claim MINE = {
    .fingerprint_matches = true, .owner_matches = true, .lease_ms = LEASE, .token = 901};
static const struct rules_claim OTHERS = {
    .fingerprint_matches = true, .lease_ms = LEASE, .token = 902};
static const struct rules_claim FOREIGN = {
    .owner_matches = true, .takeover = true, .lease_ms = LEASE, .token = 903};

/* Granted at NOW as the third attempt with token 77. */
static struct rules_record record_in(enum rules_phase phase) {
  struct rules_record r = {.token = 77,
                           .since_ms = NOW,
                           .lease_ms = LEASE,
                           .attempt = 3,
                           .phase = (uint8_t)phase,
                           .deadline_ms = NOW + LEASE};
  if (phase == RULES_ABSENT) r = (struct rules_record){0};
  if (phase == RULES_LAPSED || phase == RULES_UNKNOWN) r.deadline_ms = NOW + LEASE + RETENTION;
  if (phase == RULES_DONE) r.deadline_ms = NOW + TTL;
  if (phase == RULES_UNKNOWN) r.hold = true;
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

static void a_fingerprint_means_nothing_on_absent(void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_ABSENT);
  assert_int_equal(rules_claim(&r, &FOREIGN, NOW), RULES_GRANT_FIRST);
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
  again.hold = true;
  again.bind = true;
  assert_int_equal(rules_claim(&r, &again, NOW + 10), RULES_GRANT_AGAIN);
  assert_int_equal(r.token, 77);
  assert_int_equal(r.attempt, 3);
  assert_int_equal(r.since_ms, NOW); /* the age is that of the grant */
  assert_int_equal(r.lease_ms, 40);
  assert_int_equal(r.deadline_ms, NOW + 10 + 40); /* also when that is earlier than before */
  assert_true(r.hold && r.bind);
  assert_int_equal(rules_claim(&r, &MINE, NOW + 20), RULES_GRANT_AGAIN);
  assert_false(r.hold || r.bind);
}

static void claim_on_held_by_another_is_busy_with_takeover_too(void **state) {
  (void)state;
  struct rules_claim pushy = OTHERS;
  pushy.takeover = true;
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
  assert_false(r.hold); /* the new claim did not ask for it */
}

static void claim_on_lapsed_is_the_next_attempt_for_the_same_owner_too(void **state) {
  (void)state;
  expect_next_grant(RULES_LAPSED, &OTHERS);
  expect_next_grant(RULES_LAPSED, &MINE);
}

static void claim_on_unknown_is_unknown_unless_it_takes_over(void **state) {
  (void)state;
  struct rules_claim takeover = OTHERS;
  takeover.takeover = true;
  expect_claim(RULES_UNKNOWN, &OTHERS, RULES_SAY_UNKNOWN);
  expect_claim(RULES_UNKNOWN, &MINE, RULES_SAY_UNKNOWN);
  expect_next_grant(RULES_UNKNOWN, &takeover);
}

static void claim_on_done_replays_without_refreshing_the_ttl(void **state) {
  (void)state;
  struct rules_claim takeover = MINE;
  takeover.takeover = true;
  expect_claim(RULES_DONE, &MINE, RULES_SAY_DONE);
  expect_claim(RULES_DONE, &takeover, RULES_SAY_DONE);
}

static void attempts_saturate(void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_LAPSED);
  r.attempt = UINT32_MAX;
  assert_int_equal(rules_claim(&r, &OTHERS, NOW + 600), RULES_GRANT_NEXT);
  assert_int_equal(r.attempt, UINT32_MAX);
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
  assert_int_equal(rules_read(&r, false), RULES_SAY_NOTHING);
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

static void store_with_the_current_token_is_done_on_held_lapsed_and_unknown(void **state) {
  (void)state;
  for (int phase = RULES_HELD; phase <= RULES_UNKNOWN; phase++) {
    struct rules_record r = record_in((enum rules_phase)phase);
    assert_int_equal(rules_store(&r, 77, false, TTL, NOW + 30), RULES_STORED);
    assert_int_equal(r.phase, RULES_DONE);
    assert_int_equal(r.token, 77);
    assert_int_equal(r.since_ms, NOW + 30);
    assert_int_equal(r.deadline_ms, NOW + 30 + TTL);
  }
}

static void store_again_with_the_token_that_stored(void **state) {
  (void)state;
  struct rules_record before = record_in(RULES_DONE), r = before;
  assert_int_equal(rules_store(&r, 77, true, TTL, NOW + 30), RULES_SAME_STORED);
  assert_int_equal(rules_store(&r, 77, true, 0, NOW + 30), RULES_SAME_STORED);
  assert_int_equal(rules_store(&r, 77, false, TTL, NOW + 30), RULES_CONFLICT);
  assert_int_equal(rules_store(&r, 77, false, 0, NOW + 30), RULES_CONFLICT);
  assert_same(&r, &before);
}

static void store_with_any_other_token_or_on_absent_is_stale_and_changes_nothing(void **state) {
  (void)state;
  for (int phase = RULES_ABSENT; phase <= RULES_DONE; phase++) {
    struct rules_record before = record_in((enum rules_phase)phase), r = before;
    assert_int_equal(rules_store(&r, 76, true, TTL, NOW + 30), RULES_STALE);
    assert_int_equal(rules_store(&r, 78, true, 0, NOW + 30), RULES_STALE);
    assert_same(&r, &before);
  }
  struct rules_record absent = record_in(RULES_ABSENT);
  assert_int_equal(rules_store(&absent, 0, true, TTL, NOW + 30), RULES_STALE);
}

static void store_with_ttl_0_is_shared_and_then_absent(void **state) {
  (void)state;
  for (int phase = RULES_HELD; phase <= RULES_UNKNOWN; phase++) {
    struct rules_record r = record_in((enum rules_phase)phase);
    assert_int_equal(rules_store(&r, 77, false, 0, NOW + 30), RULES_SHARED);
    assert_int_equal(r.phase, RULES_ABSENT);
  }
}

/* ---- RENEW ---- */

static void renew_with_the_current_token_is_held_again_from_now(void **state) {
  (void)state;
  for (int phase = RULES_HELD; phase <= RULES_UNKNOWN; phase++) {
    struct rules_record before = record_in((enum rules_phase)phase), r = before;
    r.bind = before.bind = true;
    assert_int_equal(rules_renew(&r, 77, 40, NOW + 700), RULES_RENEWED);
    before.phase = RULES_HELD;
    before.lease_ms = 40;
    before.deadline_ms = NOW + 740;
    assert_same(&r, &before); /* token, attempt, age, HOLD and BIND stay as they were */
  }
}

static void renew_without_lease_takes_the_length_last_granted(void **state) {
  (void)state;
  struct rules_record r = record_in(RULES_HELD);
  assert_int_equal(rules_renew(&r, 77, 0, NOW + 100), RULES_RENEWED);
  assert_int_equal(r.deadline_ms, NOW + 100 + LEASE);
  assert_int_equal(rules_renew(&r, 77, 40, NOW + 100), RULES_RENEWED);
  assert_int_equal(rules_renew(&r, 77, 0, NOW + 110), RULES_RENEWED);
  assert_int_equal(r.deadline_ms, NOW + 150);
}

static void renew_with_another_token_on_done_and_on_absent_is_stale(void **state) {
  (void)state;
  for (int phase = RULES_ABSENT; phase <= RULES_DONE; phase++) {
    struct rules_record before = record_in((enum rules_phase)phase), r = before;
    uint64_t token = phase == RULES_DONE ? 77 : 76;
    assert_int_equal(rules_renew(&r, token, 40, NOW + 30), RULES_STALE);
    assert_same(&r, &before);
  }
  struct rules_record absent = record_in(RULES_ABSENT);
  assert_int_equal(rules_renew(&absent, 0, 40, NOW + 30), RULES_STALE);
}

/* ---- RELEASE and every other end of a grant ---- */

static void release_is_for_the_current_token_on_held_lapsed_and_unknown(void **state) {
  (void)state;
  for (int phase = RULES_ABSENT; phase <= RULES_DONE; phase++) {
    struct rules_record r = record_in((enum rules_phase)phase);
    bool open = phase == RULES_HELD || phase == RULES_LAPSED || phase == RULES_UNKNOWN;
    assert_int_equal(rules_release(&r, 77), open ? RULES_RELEASE : RULES_STALE);
    assert_int_equal(rules_release(&r, 76), RULES_STALE);
  }
  struct rules_record absent = record_in(RULES_ABSENT);
  assert_int_equal(rules_release(&absent, 0), RULES_STALE);
}

struct ending {
  enum rules_end end;
  bool hold, claim_waits;
  enum rules_after after;
  enum rules_phase phase;
};

static void what_follows_the_end_of_a_grant(void **state) {
  (void)state;
  static const struct ending ENDINGS[] = {
      {RULES_END_LEASE_OVER, false, false, RULES_TO_LAPSED, RULES_LAPSED},
      {RULES_END_LEASE_OVER, false, true, RULES_HAND_OVER, RULES_HELD},
      {RULES_END_LEASE_OVER, true, false, RULES_TO_UNKNOWN, RULES_UNKNOWN},
      {RULES_END_LEASE_OVER, true, true, RULES_TO_UNKNOWN, RULES_UNKNOWN},
      {RULES_END_BIND_CLOSED, false, false, RULES_TO_ABSENT, RULES_ABSENT},
      {RULES_END_BIND_CLOSED, false, true, RULES_HAND_OVER, RULES_HELD},
      {RULES_END_BIND_CLOSED, true, false, RULES_TO_UNKNOWN, RULES_UNKNOWN},
      {RULES_END_BIND_CLOSED, true, true, RULES_TO_UNKNOWN, RULES_UNKNOWN},
      {RULES_END_RELEASED, false, false, RULES_TO_ABSENT, RULES_ABSENT},
      {RULES_END_RELEASED, false, true, RULES_HAND_OVER, RULES_HELD},
      {RULES_END_RELEASED, true, false, RULES_TO_ABSENT, RULES_ABSENT},
      {RULES_END_RELEASED, true, true, RULES_HAND_OVER, RULES_HELD},
      {RULES_END_DELETED, false, false, RULES_TO_ABSENT, RULES_ABSENT},
      {RULES_END_DELETED, false, true, RULES_HAND_OVER, RULES_HELD},
      {RULES_END_DELETED, true, false, RULES_TO_ABSENT, RULES_ABSENT},
      {RULES_END_DELETED, true, true, RULES_HAND_OVER, RULES_HELD},
  };
  for (size_t i = 0; i < sizeof ENDINGS / sizeof *ENDINGS; i++) {
    const struct ending *e = &ENDINGS[i];
    struct rules_record before = record_in(RULES_HELD), r;
    before.hold = e->hold;
    r = before;
    assert_int_equal(rules_end_grant(&r, e->end, e->claim_waits, RETENTION, NOW + 90), e->after);
    assert_int_equal(r.phase, e->phase);
    if (e->after == RULES_HAND_OVER) assert_same(&r, &before);
    if (e->after != RULES_TO_LAPSED && e->after != RULES_TO_UNKNOWN) continue;
    assert_int_equal(r.deadline_ms,
                     NOW + 90 + RETENTION); /* counts from the end, not from when it was noticed */
    assert_int_equal(r.token, 77);
    assert_int_equal(r.attempt, 3);
    assert_int_equal(r.since_ms, NOW);
  }
}

static void hand_over_counts_an_attempt_only_when_the_owner_vanished(void **state) {
  (void)state;
  static const struct ending ENDS[] = {{.end = RULES_END_LEASE_OVER, .after = 1},
                                       {.end = RULES_END_BIND_CLOSED, .after = 1},
                                       {.end = RULES_END_RELEASED},
                                       {.end = RULES_END_DELETED}};
  for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++) {
    bool vanished = ENDS[i].after != 0;
    struct rules_record r = record_in(RULES_HELD);
    struct rules_claim waiter = OTHERS;
    waiter.lease_ms = 40;
    waiter.hold = true;
    enum rules_verdict verdict = rules_hand_over(&r, ENDS[i].end, &waiter, NOW + 600);
    assert_int_equal(verdict, vanished ? RULES_GRANT_NEXT : RULES_GRANT_FIRST);
    assert_int_equal(r.attempt, vanished ? 4 : 1);
    assert_int_equal(r.token, OTHERS.token);
    assert_int_equal(r.since_ms, NOW + 600);
    assert_int_equal(r.deadline_ms, NOW + 640); /* its lease runs from the grant */
    assert_int_equal(r.lease_ms, 40);
    assert_true(r.hold);
  }
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

/* Of equal deadlines the lease is first. */
static void waits_that_were_over_before_a_grant_ended_are_answered_first(void **state) {
  (void)state;
  const struct rules_moment end = {NOW, 8};
  assert_int_equal(rules_waits_past_ms(RULES_END_LEASE_OVER, end), NOW - 1);
  assert_int_equal(rules_waits_past_ms(RULES_END_BIND_CLOSED, end), NOW - 8);
  assert_int_equal(rules_waits_past_ms(RULES_END_RELEASED, end), NOW - 8);
  assert_int_equal(rules_waits_past_ms(RULES_END_DELETED, end), NOW - 8);
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
      cmocka_unit_test(a_fingerprint_means_nothing_on_absent),
      cmocka_unit_test(another_fingerprint_is_a_mismatch_in_every_state_before_everything_else),
      cmocka_unit_test(
          claim_on_held_with_the_same_owner_keeps_token_and_attempt_and_replaces_the_rest),
      cmocka_unit_test(claim_on_held_by_another_is_busy_with_takeover_too),
      cmocka_unit_test(claim_on_lapsed_is_the_next_attempt_for_the_same_owner_too),
      cmocka_unit_test(claim_on_unknown_is_unknown_unless_it_takes_over),
      cmocka_unit_test(claim_on_done_replays_without_refreshing_the_ttl),
      cmocka_unit_test(attempts_saturate),
      cmocka_unit_test(readers_see_each_state),
      cmocka_unit_test(readers_are_checked_in_every_state_when_they_bring_a_fingerprint),
      cmocka_unit_test(store_with_the_current_token_is_done_on_held_lapsed_and_unknown),
      cmocka_unit_test(store_again_with_the_token_that_stored),
      cmocka_unit_test(store_with_any_other_token_or_on_absent_is_stale_and_changes_nothing),
      cmocka_unit_test(store_with_ttl_0_is_shared_and_then_absent),
      cmocka_unit_test(renew_with_the_current_token_is_held_again_from_now),
      cmocka_unit_test(renew_without_lease_takes_the_length_last_granted),
      cmocka_unit_test(renew_with_another_token_on_done_and_on_absent_is_stale),
      cmocka_unit_test(release_is_for_the_current_token_on_held_lapsed_and_unknown),
      cmocka_unit_test(what_follows_the_end_of_a_grant),
      cmocka_unit_test(hand_over_counts_an_attempt_only_when_the_owner_vanished),
      cmocka_unit_test(expired_means_now_at_or_after_the_deadline),
      cmocka_unit_test(on_a_rounded_clock_a_deadline_is_over_when_that_is_sure),
      cmocka_unit_test(of_lease_and_connection_the_first_ends_a_grant_whenever_that_is_asked),
      cmocka_unit_test(waits_that_were_over_before_a_grant_ended_are_answered_first),
      cmocka_unit_test(the_largest_durations_do_not_overflow),
      cmocka_unit_test(tokens_begin_at_the_seconds_since_2024_and_their_fraction),
      cmocka_unit_test(a_clock_of_2092_leaves_no_tokens),
      cmocka_unit_test(a_clock_before_2024_begins_at_random_below_what_a_right_one_gave),
  };
  return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
