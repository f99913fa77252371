/* test_fingerprint.c - digits are kept as half as many bytes, everything else as it is, and nothing
 * is lost, whatever its length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "server/engine/fingerprint.h"

#define SHA256 "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define SHA256_UPPER "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"
#define MOST (64u * 1024)

/* Kept, and read back, in a piece that ends where it should: a sanitizer sees what goes beyond. */
static void expect_kept(struct fingerprint print) {
  size_t size = fingerprint_size(print);
  unsigned char *bytes = malloc(size > 0 ? size : 1), code = fingerprint_code(print);
  assert_non_null(bytes);
  struct fingerprint back;
  assert_ptr_equal(fingerprint_write(bytes, print), bytes + size);
  assert_ptr_equal(fingerprint_read(code, bytes, &back), bytes + size);
  assert_true(fingerprint_equal(back, print));
  free(bytes);
}

static void expect_form(struct span text, enum fingerprint_form form) {
  char packed[FINGERPRINT_PACKED], back[FINGERPRINT_TEXT];
  struct fingerprint print = fingerprint_of(text, packed);
  assert_int_equal(print.form, form);
  assert_int_equal(print.bytes.len, form == FINGERPRINT_RAW ? text.len : text.len / 2);
  assert_true(span_equal(fingerprint_text(print, back), text));
  expect_kept(print);
}

static void digests_are_packed_and_come_back_in_their_case(void **state) {
  (void)state;
  for (size_t len = FINGERPRINT_LEAST; len <= sizeof SHA256 - 1; len += 2) {
    expect_form((struct span){SHA256, len}, FINGERPRINT_LOWER);
    expect_form((struct span){SHA256_UPPER, len}, FINGERPRINT_UPPER);
  }
  expect_form(SPAN_LITERAL(SHA256 SHA256), FINGERPRINT_LOWER);
  expect_form(SPAN_LITERAL(SHA256_UPPER SHA256_UPPER), FINGERPRINT_UPPER);
  expect_form(SPAN_LITERAL("0123456789012345"), FINGERPRINT_LOWER);
}

static void anything_else_is_kept_as_it_is(void **state) {
  (void)state;
  expect_form(SPAN_ABSENT, FINGERPRINT_RAW);
  expect_form(SPAN_LITERAL(""), FINGERPRINT_RAW);
  expect_form(SPAN_LITERAL("9f86d081884c7d"), FINGERPRINT_RAW);    /* short */
  expect_form(SPAN_LITERAL("9f86d081884c7d659"), FINGERPRINT_RAW); /* odd */
  expect_form(SPAN_LITERAL("9F86d081884c7d65"), FINGERPRINT_RAW);  /* both cases */
  expect_form(SPAN_LITERAL(SHA256 SHA256 "00"), FINGERPRINT_RAW);  /* long */
  expect_form(SPAN_LITERAL("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), FINGERPRINT_RAW);
}

static void the_same_digits_in_another_case_are_another_fingerprint(void **state) {
  (void)state;
  char one[FINGERPRINT_PACKED], other[FINGERPRINT_PACKED];
  struct fingerprint lower = fingerprint_of(SPAN_LITERAL(SHA256), one);
  struct fingerprint upper = fingerprint_of(SPAN_LITERAL(SHA256_UPPER), other);
  assert_true(span_equal(lower.bytes, upper.bytes));
  assert_false(fingerprint_equal(lower, upper));
  struct fingerprint absent = fingerprint_of(SPAN_ABSENT, one);
  assert_false(fingerprint_equal(absent, fingerprint_of(SPAN_LITERAL(""), other)));
}

/* Every byte at every place of each length: exactly the digits are digits, and nothing is lost. */
static void any_byte_anywhere_comes_back(void **state) {
  (void)state;
  static const size_t LENGTHS[] = {16, 18, 40, 64};
  for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
    for (size_t at = 0; at < LENGTHS[i]; at++) {
      for (int byte = 0; byte < 256; byte++) {
        char text[] = SHA256;
        text[at] = (char)byte;
        bool digit = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
        expect_form((struct span){text, LENGTHS[i]}, digit ? FINGERPRINT_LOWER : FINGERPRINT_RAW);
      }
    }
  }
}

static void any_length_comes_back(void **state) {
  (void)state;
  char *bytes = calloc(1, MOST);
  assert_non_null(bytes);
  for (size_t len = 0; len < 300; len++) expect_form((struct span){bytes, len}, FINGERPRINT_RAW);
  expect_form((struct span){bytes, MOST}, FINGERPRINT_RAW);
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(digests_are_packed_and_come_back_in_their_case),
      cmocka_unit_test(anything_else_is_kept_as_it_is),
      cmocka_unit_test(the_same_digits_in_another_case_are_another_fingerprint),
      cmocka_unit_test(any_byte_anywhere_comes_back),
      cmocka_unit_test(any_length_comes_back),
  };
  return cmocka_run_group_tests_name("fingerprint", tests, NULL, NULL);
}
