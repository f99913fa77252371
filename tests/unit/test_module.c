/*
 * test_module.c - the parts of the module that know no host: the layout of a record as a string,
 * its arguments, its tokens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/module/layout.h"
#include "server/module/settings.h"
#include "server/module/slots.h"
#include "server/module/tokens.h"

#define NOW_MS INT64_C(1796000000000)
#define TOKEN UINT64_C(385679761206150)

/* ---- layout ---- */

static char long_text[300];

#define FRESH                                                                             \
  {                                                                                       \
    .token = TOKEN, .since_ms = NOW_MS, .deadline_ms = NOW_MS + 60000, .lease_ms = 60000, \
    .attempt = 1, .phase = RULES_HELD                                                     \
  }

static const struct layout_record RECORDS[] = {
    {.facts = FRESH},
    {.facts = FRESH, .fingerprint = SPAN_LITERAL(""), .owner = SPAN_LITERAL("me")},
    {.facts = FRESH, .fingerprint = SPAN_LITERAL("f"), .extra = SPAN_LITERAL("")},
    {.facts = FRESH, .fingerprint = {long_text, 254}, .owner = {long_text, 254}},
    {.facts = FRESH, .fingerprint = {long_text, 255}, .owner = SPAN_LITERAL("o")},
    {.facts = FRESH, .owner = {long_text, 300}, .extra = {long_text, 300}},
    {.facts = {.token = RULES_TOKEN_LIMIT - 1,
               .since_ms = NOW_MS,
               .deadline_ms = NOW_MS + 86400000,
               .lease_ms = 3600000,
               .attempt = UINT32_MAX,
               .phase = RULES_HELD,
               .hold = true,
               .bind = true},
     .extra = SPAN_LITERAL("a stage")},
    {.facts = {.token = TOKEN,
               .since_ms = NOW_MS,
               .deadline_ms = NOW_MS - 1,
               .lease_ms = 1,
               .attempt = 2,
               .phase = RULES_HELD,
               .nobody = true}},
    {.facts = {.token = TOKEN,
               .since_ms = NOW_MS,
               .deadline_ms = NOW_MS + 1,
               .attempt = 1,
               .phase = RULES_DONE},
     .fingerprint = {long_text, 255},
     .extra = SPAN_LITERAL("meta"),
     .body = SPAN_LITERAL("body")},
    {.facts = {.token = 1, .since_ms = 0, .deadline_ms = 0, .attempt = 1, .phase = RULES_DONE},
     .body = SPAN_LITERAL("")},
};
#define RECORD_COUNT (sizeof RECORDS / sizeof *RECORDS)

static void assert_span(struct span found, struct span expected) {
  assert_true(span_equal(found, expected));
}

static void assert_same(const struct layout_record *found, const struct layout_record *expected) {
  assert_int_equal(found->facts.token, expected->facts.token);
  assert_int_equal(found->facts.since_ms, expected->facts.since_ms);
  assert_int_equal(found->facts.deadline_ms, expected->facts.deadline_ms);
  assert_int_equal(found->facts.lease_ms, expected->facts.lease_ms);
  assert_int_equal(found->facts.attempt, expected->facts.attempt);
  assert_int_equal(found->facts.phase, expected->facts.phase);
  assert_int_equal(found->facts.hold, expected->facts.hold);
  assert_int_equal(found->facts.bind, expected->facts.bind);
  assert_int_equal(found->facts.nobody, expected->facts.nobody);
  assert_span(found->fingerprint, expected->fingerprint);
  assert_span(found->owner, expected->owner);
  assert_span(found->extra, expected->extra);
  assert_span(found->body, expected->body);
}

/* Exactly as many bytes as layout_bytes says: a sanitizer sees one too many. */
static struct span written(const struct layout_record *record) {
  size_t len = layout_bytes(record);
  char *bytes = malloc(len);
  assert_non_null(bytes);
  layout_write(record, bytes);
  return (struct span){bytes, len};
}

static void what_was_written_is_read(void **state) {
  (void)state;
  for (size_t i = 0; i < RECORD_COUNT; i++) {
    struct span bytes = written(&RECORDS[i]);
    struct layout_record read;
    assert_true(layout_read(bytes, &read));
    assert_same(&read, &RECORDS[i]);
    free((void *)bytes.data);
  }
}

/* A claim that was cut is none; of a response only the end of its body can be missing. */
static void a_cut_record_is_none(void **state) {
  (void)state;
  for (size_t i = 0; i < RECORD_COUNT; i++) {
    struct span bytes = written(&RECORDS[i]);
    for (size_t len = 0; len < bytes.len - RECORDS[i].body.len; len++) {
      char *cut = malloc(len + 1);
      struct layout_record read;
      memcpy(cut, bytes.data, len);
      assert_false(layout_read((struct span){cut, len}, &read));
      free(cut);
    }
    free((void *)bytes.data);
  }
}

static void other_strings_are_no_records(void **state) {
  (void)state;
  static const struct span OTHERS[] = {
      SPAN_LITERAL(""),
      SPAN_LITERAL("a plain string of forty bytes and some more"),
      SPAN_LITERAL("\xffi\x02 a later layout, of which nothing is known"),
      SPAN_LITERAL("\xffi\x01\x01\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0 token 0"),
  };
  for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
    struct layout_record read;
    assert_false(layout_read(OTHERS[i], &read));
  }
  struct span bytes = written(&RECORDS[0]);
  char *longer = malloc(bytes.len + 1);
  struct layout_record read;
  memcpy(longer, bytes.data, bytes.len);
  longer[bytes.len] = 'x';
  assert_false(layout_read((struct span){longer, bytes.len + 1}, &read));
  free(longer);
  free((void *)bytes.data);
}

/* LAPSED and UNKNOWN are written as a claim whose lease is over. */
static void an_ended_claim_is_written_with_its_end(void **state) {
  (void)state;
  struct layout_record lapsed = {.facts = FRESH, .ended_ms = NOW_MS + 5}, read;
  lapsed.facts.phase = RULES_LAPSED;
  lapsed.facts.deadline_ms = NOW_MS + 86400000;
  struct span bytes = written(&lapsed);
  assert_true(layout_read(bytes, &read));
  assert_int_equal(read.facts.phase, RULES_HELD);
  assert_int_equal(read.facts.deadline_ms, NOW_MS + 5);
  free((void *)bytes.data);
}

/* What the header says of the allocator's size classes rests on these. */
static void a_record_takes_few_bytes_more_than_its_texts(void **state) {
  (void)state;
  const struct layout_record fresh = {.facts = FRESH, .fingerprint = {long_text, 32}};
  const struct layout_record done = {.facts = {.token = 1, .attempt = 1, .phase = RULES_DONE},
                                     .fingerprint = {long_text, 32},
                                     .body = {long_text, 100}};
  assert_int_equal(layout_bytes(&fresh), 22 + 32);
  assert_int_equal(layout_bytes(&done), 24 + 132);
}

/* ---- settings ---- */

#define MOST_WORDS 8

static bool parse(const char *const *words, struct settings *settings,
                  char error[SETTINGS_ERROR_BYTES]) {
  struct span argv[MOST_WORDS];
  size_t argc = 0;
  for (; words[argc] != NULL; argc++) argv[argc] = span_of(words[argc]);
  return settings_parse(argv, argc, settings, error);
}

static void the_defaults_are_those_of_the_contract(void **state) {
  (void)state;
  struct settings settings;
  char error[SETTINGS_ERROR_BYTES];
  assert_true(parse((const char *const[]){NULL}, &settings, error));
  assert_int_equal(settings.limits.lease_ms, 60000);
  assert_int_equal(settings.limits.ttl_ms, 86400000);
  assert_int_equal(settings.limits.body_bytes, 16 << 20);
  assert_int_equal(settings.unknown_retention_ms, 0);
  assert_int_equal(settings.born_skew_ms, 5000);
}

static void values_have_units(void **state) {
  (void)state;
  struct settings settings;
  char error[SETTINGS_ERROR_BYTES];
  assert_true(
      parse((const char *const[]){"lease", "30s", "BODY-LIMIT", "1mb", "retention", "7d", NULL},
            &settings, error));
  assert_int_equal(settings.limits.lease_ms, 30000);
  assert_int_equal(settings.limits.body_bytes, 1 << 20);
  assert_int_equal(settings.retention_ms, 7 * INT64_C(86400000));
}

static void a_default_follows_its_maximum(void **state) {
  (void)state;
  struct settings settings;
  char error[SETTINGS_ERROR_BYTES];
  assert_true(parse((const char *const[]){"lease-max", "10s", "waiters-total", "5", NULL},
                    &settings, error));
  assert_int_equal(settings.limits.lease_ms, 10000);
  assert_int_equal(settings.waiters_per_key, 5);
}

static void what_is_wrong_is_refused_with_its_reason(void **state) {
  (void)state;
  static const struct {
    const char *words[MOST_WORDS];
    const char *error;
  } CASES[] = {
      {{"leas", "1s"}, "unknown argument 'leas'"},
      {{"lease"}, "argument 'lease' needs a value"},
      {{"lease", "2h"}, "bad value '2h' for lease: expected 1ms to 1h"},
      {{"lease", "soon"}, "bad value 'soon' for lease: expected 1ms to 1h"},
      {{"key-limit", "0"}, "bad value '0' for key-limit: expected 1 to 64kb"},
      {{"horizon-slots", "100"}, "horizon-slots must be a power of two"},
      {{"lease", "20s", "lease-max", "10s"}, "lease is over lease-max"},
  };
  for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
    struct settings settings;
    char error[SETTINGS_ERROR_BYTES] = "";
    assert_false(parse(CASES[i].words, &settings, error));
    assert_string_equal(error, CASES[i].error);
  }
}

/* ---- slots ---- */

static int64_t since_ms[SLOTS_COUNT];

static struct slots clustered(void) {
  struct slots slots;
  memset(since_ms, 0, sizeof since_ms);
  slots_init(&slots, since_ms);
  return slots;
}

static void slots_are_those_of_the_host(void **state) {
  (void)state;
  struct slots slots = clustered();
  assert_int_equal(slots_of(&slots, span_of("123456789")), 0x31c3); /* the check value */
  assert_int_equal(slots_of(&slots, span_of("{123456789}.a")), 0x31c3);
  assert_int_equal(slots_of(&slots, span_of("a{123456789}{b}")), 0x31c3);
  assert_int_equal(slots_of(&slots, span_of("")), 0);
  unsigned braces = slots_of(&slots, span_of("{}123456789"));
  assert_int_not_equal(braces, 0x31c3);
  assert_int_not_equal(braces, slots_of(&slots, span_of("")));
  assert_int_not_equal(slots_of(&slots, span_of("{123456789")), 0x31c3);
}

#define LINE(flags) "07c37df 127.0.0.1:30004@31004,name " flags " - 0 1426238317239 4 connected"
#define MYSELF LINE("myself,master")

static void a_slot_is_known_from_when_it_was_seen_to_come(void **state) {
  (void)state;
  struct slots slots = clustered();
  const struct span key = SPAN_LITERAL("123456789"); /* slot 12739 */
  assert_false(slots_known(&slots, key));
  assert_int_equal(slots_since_ms(&slots, key, NOW_MS), NOW_MS);
  assert_true(
      slots_take(&slots, span_of(LINE("master") " 0-16383\n" MYSELF " 0-12738 12740\n"), 1));
  assert_false(slots_known(&slots, key));
  slots_take(&slots, span_of(MYSELF " [12739-<-67ed2db]\n" LINE("slave")), 2);
  assert_false(slots_known(&slots, key));
  assert_true(slots_take(&slots, span_of(MYSELF " 7 12739 [93->-67ed2db]\n"), 3));
  assert_false(slots_take(&slots, span_of(MYSELF " 7 12739\n"), 3));
  assert_true(slots_take(&slots, span_of(MYSELF " 12000-16383\n"), 4));
  assert_true(slots_known(&slots, key));
  assert_int_equal(slots_since_ms(&slots, key, NOW_MS), 3);
  assert_false(slots_take(&slots, span_of(MYSELF "\n"), 5));
  assert_true(slots_take(&slots, span_of(MYSELF " 12739-12739"), 6));
  assert_int_equal(slots_since_ms(&slots, key, NOW_MS), 6);
}

static void a_list_that_is_none_has_no_slots(void **state) {
  (void)state;
  static const char *const lists[] = {"", "\n\n", "myself", "a b myself c d e f g -1 1-16384 x 5-4",
                                      MYSELF " 99999999999999999999 -"};
  struct slots slots = clustered();
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    slots_take(&slots, span_of(lists[i]), 1);
    for (size_t slot = 0; slot < SLOTS_COUNT; slot++) assert_int_equal(since_ms[slot], 0);
  }
}

static void outside_a_cluster_all_slots_are_known(void **state) {
  (void)state;
  struct slots slots;
  slots_init(&slots, NULL);
  assert_true(slots_known(&slots, span_of("k")));
  assert_true(slots_since_ms(&slots, span_of("k"), NOW_MS) < 0);
}

/* ---- tokens ---- */

static struct tokens begun(int64_t wall_ms) {
  struct tokens tokens;
  assert_int_equal(tokens_init(&tokens, wall_ms, 0), TOKENS_CLOCK_RIGHT);
  return tokens;
}

static void each_grant_gets_a_higher_token(void **state) {
  (void)state;
  struct tokens tokens = begun(NOW_MS);
  uint64_t last = 0;
  for (int i = 0; i < 1000; i++) {
    if (i % 100 == 0) tokens_now(&tokens, NOW_MS + i);
    uint64_t token = tokens_peek(&tokens, 0);
    assert_true(token > last);
    assert_int_equal(tokens_peek(&tokens, 0), token); /* not used up by looking */
    tokens_note(&tokens, last = token);
  }
}

static void a_token_follows_the_clock_and_the_record(void **state) {
  (void)state;
  struct tokens tokens = begun(NOW_MS);
  uint64_t first = tokens_peek(&tokens, 0);
  tokens_now(&tokens, NOW_MS + 1000);
  assert_int_equal(tokens_peek(&tokens, 0) - first, (1u << RULES_TOKEN_SHIFT) - 1);
  uint64_t former = first + (UINT64_C(90) << RULES_TOKEN_SHIFT); /* of a master that is ahead */
  assert_int_equal(tokens_peek(&tokens, former), former + 1);
}

static void a_clock_that_is_set_back_stands(void **state) {
  (void)state;
  struct tokens tokens = begun(NOW_MS);
  assert_int_equal(tokens_now(&tokens, NOW_MS - 5000), NOW_MS);
  assert_int_equal(tokens_now(&tokens, NOW_MS + 1), NOW_MS + 1);
}

static void a_promoted_replica_is_ahead_of_its_clock(void **state) {
  (void)state;
  struct tokens ahead = begun(NOW_MS), behind = begun(NOW_MS - TOKENS_LEAD_MS + 1000);
  tokens_take_over(&behind);
  assert_true(tokens_peek(&behind, 0) > tokens_peek(&ahead, 0));
}

/* The master leads already, and a thousand of its tokens were never seen. */
static void a_promoted_replica_that_is_behind_goes_on_above_what_it_saw(void **state) {
  (void)state;
  struct tokens ahead = begun(NOW_MS), behind = begun(NOW_MS - TOKENS_LEAD_MS + 1000);
  tokens_take_over(&ahead);
  tokens_note(&behind, tokens_peek(&ahead, 0));
  tokens_note(&ahead, tokens_peek(&ahead, 0) + 1000);
  tokens_take_over(&behind);
  assert_true(tokens_peek(&behind, 0) > tokens_peek(&ahead, 0));
}

static void who_gets_a_slot_is_ahead_of_its_clock_once(void **state) {
  (void)state;
  struct tokens ahead = begun(NOW_MS), behind = begun(NOW_MS - TOKENS_LEAD_MS + 1000);
  tokens_lead(&behind);
  uint64_t led = tokens_peek(&behind, 0);
  assert_true(led > tokens_peek(&ahead, 0));
  tokens_lead(&behind);
  assert_int_equal(tokens_peek(&behind, 0), led);
}

static void slot_comes(struct tokens *tokens, uint64_t seen) {
  (void)seen;
  tokens_lead(tokens);
}

/* All that it was sent are tokens of the master before the last one. */
static void is_promoted(struct tokens *tokens, uint64_t seen) {
  tokens_note(tokens, seen);
  tokens_take_over(tokens);
}

typedef void change(struct tokens *tokens, uint64_t seen);
static void slot_comes_or_is_promoted(struct tokens *tokens, uint64_t seen) {
  change *const how = tokens->now_ms % 4 == 0 ? slot_comes : is_promoted;
  how(tokens, seen);
}

/* Each one is master 2 ms after the one before, and gives a few tokens. */
static void check_chain(change *begins) {
  uint64_t last = 0, before = 0, seen = 0;
  for (int i = 0; i < 100; i++) {
    struct tokens tokens = begun(NOW_MS);
    tokens_now(&tokens, NOW_MS + 2 * i);
    begins(&tokens, seen);
    seen = before, before = last;
    for (int grant = 0; grant < 10; grant++) {
      uint64_t token = tokens_peek(&tokens, 0);
      assert_true(token > last);
      tokens_note(&tokens, last = token);
    }
  }
  struct tokens right = begun(NOW_MS);
  tokens_now(&right, NOW_MS + TOKENS_LEAD_MS + 300);
  assert_true(tokens_peek(&right, 0) > last); /* leads did not add up */
}

static void tokens_rise_along_a_chain_of_masters_with_equal_clocks(void **state) {
  (void)state;
  change *const changes[] = {slot_comes, is_promoted, slot_comes_or_is_promoted};
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) check_chain(changes[i]);
}

static void a_forged_token_uses_up_none(void **state) {
  (void)state;
  struct tokens tokens = begun(NOW_MS);
  const uint64_t most = RULES_TOKEN_LIMIT - TOKENS_RESERVE - 1;
  uint64_t next = tokens_peek(&tokens, 0);
  tokens_note(&tokens, RULES_TOKEN_LIMIT - 1);
  assert_int_equal(tokens_peek(&tokens, 0), next);
  tokens_note(&tokens, most);
  assert_int_equal(tokens_peek(&tokens, 0), most + 1);
}

static void without_a_right_clock_tokens_begin_at_random_or_not_at_all(void **state) {
  (void)state;
  struct tokens tokens;
  assert_int_equal(tokens_init(&tokens, 1000, UINT64_MAX), TOKENS_CLOCK_EARLY);
  assert_int_equal(tokens_peek(&tokens, 0), (UINT64_C(1) << RULES_TOKEN_EARLY_BITS) + 1);
  assert_int_equal(tokens_init(&tokens, RULES_TOKEN_END_S * INT64_C(1000), 0), TOKENS_CLOCK_LATE);
}

int main(void) {
  memset(long_text, 'x', sizeof long_text);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_written_is_read),
      cmocka_unit_test(a_cut_record_is_none),
      cmocka_unit_test(other_strings_are_no_records),
      cmocka_unit_test(an_ended_claim_is_written_with_its_end),
      cmocka_unit_test(a_record_takes_few_bytes_more_than_its_texts),
      cmocka_unit_test(the_defaults_are_those_of_the_contract),
      cmocka_unit_test(values_have_units),
      cmocka_unit_test(a_default_follows_its_maximum),
      cmocka_unit_test(what_is_wrong_is_refused_with_its_reason),
      cmocka_unit_test(each_grant_gets_a_higher_token),
      cmocka_unit_test(a_token_follows_the_clock_and_the_record),
      cmocka_unit_test(a_clock_that_is_set_back_stands),
      cmocka_unit_test(a_promoted_replica_is_ahead_of_its_clock),
      cmocka_unit_test(a_forged_token_uses_up_none),
      cmocka_unit_test(a_promoted_replica_that_is_behind_goes_on_above_what_it_saw),
      cmocka_unit_test(who_gets_a_slot_is_ahead_of_its_clock_once),
      cmocka_unit_test(tokens_rise_along_a_chain_of_masters_with_equal_clocks),
      cmocka_unit_test(slots_are_those_of_the_host),
      cmocka_unit_test(a_slot_is_known_from_when_it_was_seen_to_come),
      cmocka_unit_test(a_list_that_is_none_has_no_slots),
      cmocka_unit_test(outside_a_cluster_all_slots_are_known),
      cmocka_unit_test(without_a_right_clock_tokens_begin_at_random_or_not_at_all),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
