/*
 * test_answer.c - the form of every answer, as PROTOCOL.md shows it. How a host writes it is
 * test_deliver.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>

#include "server/rules/answer.h"

static const char *field_name(enum answer_field field) {
  switch (field) {
    case ANSWER_TOKEN: return "token";
    case ANSWER_LEASE: return "lease";
    case ANSWER_ATTEMPT: return "attempt";
    case ANSWER_AGE: return "age";
    case ANSWER_LEFT: return "left";
    case ANSWER_WAITERS: return "waiters";
    case ANSWER_HORIZON: return "horizon";
    case ANSWER_MOST: return "most";
    case ANSWER_ONE: return "1";
    case ANSWER_ZERO: return "0";
    case ANSWER_STAGE: return "stage or null";
    case ANSWER_OWNER: return "owner or null";
    case ANSWER_BODY: return "body or null";
    case ANSWER_META: return "meta or null";
    default: return "no field";
  }
}

static const char *shape_name(enum answer_shape shape) {
  static const char *const names[] = {[ANSWER_IS_ARRAY] = "array:",
                                      [ANSWER_IS_INTEGER] = "integer:",
                                      [ANSWER_IS_NULL] = "null array",
                                      [ANSWER_IS_ERROR] = "error:"};
  return names[shape];
}

static void expect(enum answer_kind kind, const char *expected) {
  const struct answer_form *form = &ANSWER_FORMS[kind];
  char text[256];
  int len = snprintf(text, sizeof text, "%s", shape_name(form->shape));
  if (span_present(form->text))
    len += snprintf(text + len, sizeof text - (size_t)len, " %s", form->text.data);
  for (size_t i = 0; i < form->count; i++)
    len += snprintf(text + len, sizeof text - (size_t)len, ", %s", field_name(form->fields[i]));
  assert_string_equal(text, expected);
}

static void who_may_run_is_told_what_with(void **state) {
  (void)state;
  expect(ANSWER_CLAIMED, "array: CLAIMED, token, lease, attempt, stage or null");
}

static void who_may_not_is_told_why(void **state) {
  (void)state;
  expect(ANSWER_DONE, "array: DONE, body or null, meta or null, age, left");
  expect(ANSWER_BUSY, "array: BUSY, left, age, owner or null, stage or null");
  expect(ANSWER_LAPSED, "array: LAPSED, token, age, attempt, owner or null, stage or null");
  expect(ANSWER_UNKNOWN, "array: UNKNOWN, token, age, attempt, owner or null, stage or null");
  expect(ANSWER_FORGOTTEN, "array: FORGOTTEN, horizon");
  expect(ANSWER_NOTHING, "null array");
}

static void what_an_owner_did_is_a_number(void **state) {
  (void)state;
  expect(ANSWER_STORED, "integer:, waiters");
  expect(ANSWER_RENEWED, "integer:, lease");
  expect(ANSWER_RELEASED, "integer:, 1");
  expect(ANSWER_NOT_YOURS, "integer:, 0");
}

static void every_refusal_has_its_code_and_its_text(void **state) {
  (void)state;
  expect(ANSWER_MISMATCH,
         "error: MISMATCH the key is in use by a request with another fingerprint");
  expect(ANSWER_STALE_ABSENT, "error: STALE ABSENT the key has no record");
  expect(ANSWER_STALE_STORED, "error: STALE STORED a response is stored already");
  expect(ANSWER_STALE_OVERTAKEN, "error: STALE OVERTAKEN the token is not the current owner's");
  expect(ANSWER_DRAINING, "error: DRAINING the server is leaving; no claim is granted any more");
  expect(ANSWER_CONFLICT,
         "error: CONFLICT this grant has already stored other bytes; the first ones stay");
  expect(ANSWER_OOM, "error: OOM the memory limit is reached; nothing is evicted");
  expect(ANSWER_BUSYKEY, "error: BUSYKEY too many callers wait");
  expect(ANSWER_CLAIM_QUOTA, "error: OOM quota-claims, most");
  expect(ANSWER_WAITER_QUOTA, "error: BUSYKEY quota-waiters, most");
  expect(ANSWER_WRONGTYPE,
         "error: WRONGTYPE Operation against a key holding the wrong kind of value");
  expect(ANSWER_NO_MEMORY, "error: ERR out of memory");
  assert_string_equal(answer_error(ANSWER_BUSYKEY), "BUSYKEY too many callers wait");
}

/* What hosts rely on when they walk a form. */
static void every_form_is_whole(void **state) {
  (void)state;
  for (int kind = 0; kind < ANSWER_KINDS; kind++) {
    const struct answer_form *form = &ANSWER_FORMS[kind];
    bool has_text = form->shape == ANSWER_IS_ARRAY || form->shape == ANSWER_IS_ERROR;
    assert_int_equal(span_present(form->text), has_text);
    if (has_text) assert_int_equal(form->text.len, strlen(form->text.data));
    assert_in_range(form->count, 0, ANSWER_MAX_FIELDS);
    for (size_t i = 0; i < ANSWER_MAX_FIELDS; i++)
      assert_int_equal(form->fields[i] != ANSWER_NO_FIELD, i < form->count);
    bool has_rest = form->rest != NULL; /* of an error, after the number in it */
    assert_true(!has_rest || form->shape == ANSWER_IS_ERROR);
    if (form->shape != ANSWER_IS_ARRAY)
      assert_int_equal(form->count, form->shape == ANSWER_IS_INTEGER || has_rest);
    if (form->shape == ANSWER_IS_INTEGER) assert_true(answer_is_integer(form->fields[0]));
  }
}

static void a_field_is_an_integer_or_a_string(void **state) {
  (void)state;
  static const enum answer_field integers[] = {ANSWER_TOKEN, ANSWER_LEASE, ANSWER_ATTEMPT,
                                               ANSWER_AGE,   ANSWER_LEFT,  ANSWER_WAITERS,
                                               ANSWER_ONE,   ANSWER_ZERO,  ANSWER_HORIZON,
                                               ANSWER_MOST};
  static const enum answer_field strings[] = {ANSWER_STAGE, ANSWER_OWNER, ANSWER_BODY, ANSWER_META};
  for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++)
    assert_true(answer_is_integer(integers[i]));
  for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
    assert_false(answer_is_integer(strings[i]));
}

#define TEST(name) cmocka_unit_test(name)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(who_may_run_is_told_what_with), TEST(who_may_not_is_told_why),
      TEST(what_an_owner_did_is_a_number), TEST(every_refusal_has_its_code_and_its_text),
      TEST(every_form_is_whole),           TEST(a_field_is_an_integer_or_a_string),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
