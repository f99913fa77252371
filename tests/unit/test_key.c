/* test_key.c - canonical UUIDs are kept as 16 bytes, everything else as it is, and nothing is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>

#include "server/engine/key.h"
#include "server/engine/effect.h"

#define LOWER "0f8fad5b-d9cb-469f-a165-70867728950e"
#define UPPER "0F8FAD5B-D9CB-469F-A165-70867728950E"
#define DIGITS "00112233-4455-6677-8899-001122334455"

static void expect_form(struct span text, enum key_form form) {
  char packed[KEY_UUID_BYTES], back[KEY_UUID_TEXT];
  struct key key = key_of(text, packed);
  assert_int_equal(key.form, form);
  assert_int_equal(key.bytes.len, form == KEY_RAW ? text.len : KEY_UUID_BYTES);
  assert_int_equal(key_text_len(key), text.len);
  assert_true(span_equal(key_text(key, back), text));
}

static void uuids_are_packed_and_come_back_in_their_case(void **state) {
  (void)state;
  expect_form(SPAN_LITERAL(LOWER), KEY_UUID_LOWER);
  expect_form(SPAN_LITERAL(UPPER), KEY_UUID_UPPER);
  expect_form(SPAN_LITERAL(DIGITS), KEY_UUID_LOWER);
  expect_form(SPAN_LITERAL("ffffffff-ffff-ffff-ffff-ffffffffffff"), KEY_UUID_LOWER);
  expect_form(SPAN_LITERAL("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"), KEY_UUID_UPPER);
}

static void what_is_nearly_a_uuid_is_kept_as_it_is(void **state) {
  (void)state;
  expect_form(SPAN_LITERAL(""), KEY_RAW);
  expect_form(SPAN_LITERAL("order-17"), KEY_RAW);
  expect_form(SPAN_LITERAL("0f8fad5bd9cb469fa16570867728950e"), KEY_RAW);
  expect_form(SPAN_LITERAL("0F8fad5b-d9cb-469f-a165-70867728950e"), KEY_RAW); /* both cases */
  expect_form(SPAN_LITERAL("{0f8fad5b-d9cb-469f-a165-70867728950}"), KEY_RAW);
  expect_form(SPAN_LITERAL("0f8fad5b-d9cb-469f-a165-70867728950e "), KEY_RAW);
}

/* Every byte at every place of a UUID: exactly the digits are digits, and nothing is lost. */
static void any_byte_anywhere_comes_back(void **state) {
  (void)state;
  for (size_t at = 0; at < KEY_UUID_TEXT; at++) {
    for (int byte = 0; byte < 256; byte++) {
      char text[] = LOWER;
      bool dash = text[at] == '-';
      text[at] = (char)byte;
      bool digit = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
      expect_form((struct span){text, KEY_UUID_TEXT},
                  (dash ? byte == '-' : digit) ? KEY_UUID_LOWER : KEY_RAW);
    }
  }
}

static void the_same_bytes_in_another_form_are_another_key(void **state) {
  (void)state;
  char lower[KEY_UUID_BYTES], upper[KEY_UUID_BYTES], raw[KEY_UUID_BYTES];
  struct key a = key_of(SPAN_LITERAL(LOWER), lower), b = key_of(SPAN_LITERAL(UPPER), upper);
  assert_memory_equal(lower, upper, KEY_UUID_BYTES);
  assert_false(key_equal(a, b));
  struct key c = key_of((struct span){lower, KEY_UUID_BYTES}, raw);
  assert_int_equal(c.form, KEY_RAW);
  assert_false(key_equal(a, c));
  assert_true(key_equal(a, key_of(SPAN_LITERAL(LOWER), raw)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(uuids_are_packed_and_come_back_in_their_case),
      cmocka_unit_test(what_is_nearly_a_uuid_is_kept_as_it_is),
      cmocka_unit_test(any_byte_anywhere_comes_back),
      cmocka_unit_test(the_same_bytes_in_another_form_are_another_key),
  };
  return cmocka_run_group_tests_name("key", tests, NULL, NULL);
}
