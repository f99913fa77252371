/*
 * test_span.c - comparisons and strict numbers.
 */
#include "proto/span.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const struct {
  struct span text;
  bool valid;
  long long value;
} NUMBERS[] = {
    {SPAN_LITERAL("0"), true, 0},
    {SPAN_LITERAL("7"), true, 7},
    {SPAN_LITERAL("10"), true, 10},
    {SPAN_LITERAL("-1"), true, -1},
    {SPAN_LITERAL("-10"), true, -10},
    {SPAN_LITERAL("60000"), true, 60000},
    {SPAN_LITERAL("9223372036854775807"), true, LLONG_MAX},
    {SPAN_LITERAL("-9223372036854775808"), true, LLONG_MIN},
    {SPAN_LITERAL("9223372036854775808"), false, 0},
    {SPAN_LITERAL("-9223372036854775809"), false, 0},
    {SPAN_LITERAL("9999999999999999999"), false, 0},
    {SPAN_LITERAL("18446744073709551616"), false, 0},
    {SPAN_LITERAL("99999999999999999999"), false, 0},
    {SPAN_LITERAL("100000000000000000000"), false, 0},
    {SPAN_LITERAL("00000000000000000001"), false, 0},
    {SPAN_LITERAL(""), false, 0},
    {SPAN_LITERAL("-"), false, 0},
    {SPAN_LITERAL("--1"), false, 0},
    {SPAN_LITERAL("-0"), false, 0},
    {SPAN_LITERAL("00"), false, 0},
    {SPAN_LITERAL("01"), false, 0},
    {SPAN_LITERAL("-01"), false, 0},
    {SPAN_LITERAL("+1"), false, 0},
    {SPAN_LITERAL(" 1"), false, 0},
    {SPAN_LITERAL("1 "), false, 0},
    {SPAN_LITERAL("1.0"), false, 0},
    {SPAN_LITERAL("0x1"), false, 0},
    {SPAN_LITERAL("1e3"), false, 0},
    {SPAN_LITERAL("1\0"), false, 0},
    {SPAN_LITERAL("\xb1"), false, 0},
    {SPAN_LITERAL("/"), false, 0},
    {SPAN_LITERAL(":"), false, 0},
    {SPAN_ABSENT, false, 0},
};

static void test_numbers_are_strict(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof NUMBERS / sizeof NUMBERS[0]; i++) {
    long long value = 4711;
    bool valid = span_to_i64(NUMBERS[i].text, &value);
    if (valid != NUMBERS[i].valid) {
      fail_msg("%.*s: %s", (int)NUMBERS[i].text.len, NUMBERS[i].text.data,
               valid ? "accepted" : "refused");
    }
    assert_true(value == (valid ? NUMBERS[i].value : 4711));
  }
}

/* What printf writes is what is read, around every power of two and of ten. */
static void test_numbers_survive_a_round_trip(void **state) {
  (void)state;
  for (int shift = 0; shift < 63; shift++) {
    for (long long near = -2; near <= 2; near++) {
      for (int sign = -1; sign <= 1; sign += 2) {
        long long value = sign * ((1LL << shift) + near), read = 0;
        char text[32];
        int len = snprintf(text, sizeof text, "%lld", value);
        assert_true(span_to_i64((struct span){text, (size_t)len}, &read));
        assert_true(read == value);
      }
    }
  }
  for (long long ten = 1; ten <= LLONG_MAX / 10; ten *= 10) {
    long long read = 0;
    char text[32];
    snprintf(text, sizeof text, "%lld", ten - 1);
    assert_true(span_to_i64(span_of(text), &read));
    assert_true(read == ten - 1);
  }
}

/* Digits are checked eight at a time: a byte that is no digit is found at every position. */
static void test_a_wrong_byte_is_seen_everywhere(void **state) {
  (void)state;
  for (size_t len = 1; len <= 18; len++) {
    for (size_t at = 0; at < len; at++) {
      for (int byte = 0; byte < 256; byte++) {
        char text[] = "123456789123456789";
        text[at] = (char)byte;
        bool good = byte >= '0' && byte <= '9';
        bool sign = byte == '-' && at == 0 && len > 1;
        if (byte == '0' && at == 0) good = len == 1;
        long long value = 0, expected = 0;
        assert_int_equal(span_to_i64((struct span){text, len}, &value), good || sign);
        text[len] = '\0';
        if (good || sign) assert_int_equal(sscanf(text, "%lld", &expected), 1);
        assert_true(value == expected);
      }
    }
  }
}

static uint64_t word_of(const char *text, size_t len) {
  uint64_t word = 0;
  memcpy(&word, text, len);
  return word;
}

static void test_words_are_taken_as_numbers(void **state) {
  (void)state;
  const char text[] = "abCDefG\x80";
  for (size_t len = 1; len <= SPAN_WORD_BYTES; len++)
    assert_true(span_word(text, len) == word_of(text, len));
  assert_true(span_letters("LEASE", 5) == span_letters("leaSe", 5));
  assert_false(span_letters("LEASE", 5) == span_letters("LEASD", 5));
  assert_false(span_letters("LEASE", 5) == span_letters("LEA\x13"
                                                        "E",
                                                        5));
}

static void test_words_compare_without_case(void **state) {
  (void)state;
  assert_true(span_is(SPAN_LITERAL("claim"), "CLAIM"));
  assert_true(span_is(SPAN_LITERAL("CLAIM"), "claim"));
  assert_true(span_is(SPAN_LITERAL("idem.Claim"), "IDEM.CLAIM"));
  assert_true(span_is(SPAN_LITERAL(""), ""));
  assert_false(span_is(SPAN_LITERAL("CLAI"), "CLAIM"));
  assert_false(span_is(SPAN_LITERAL("CLAIMS"), "CLAIM"));
  assert_false(span_is(SPAN_LITERAL("CLAIM\0"), "CLAIM"));
  assert_false(span_is(SPAN_LITERAL("\0"), ""));
  assert_false(span_is(SPAN_LITERAL(""), "CLAIM"));
  assert_false(span_is(SPAN_LITERAL("CLAIM"), ""));
  assert_false(span_is(SPAN_ABSENT, ""));
  /* Only letters have a case: the neighbours of A and Z differ by the same bit. */
  assert_false(span_is(SPAN_LITERAL("@"), "`"));
  assert_false(span_is(SPAN_LITERAL("["), "{"));
  assert_false(span_is(SPAN_LITERAL("\xc4"), "\xe4"));
}

static void test_equality_knows_absent_from_empty(void **state) {
  (void)state;
  assert_true(span_equal(SPAN_ABSENT, SPAN_ABSENT));
  assert_false(span_equal(SPAN_ABSENT, SPAN_LITERAL("")));
  assert_false(span_equal(SPAN_LITERAL(""), SPAN_ABSENT));
  assert_true(span_equal(SPAN_LITERAL(""), SPAN_LITERAL("")));
  assert_true(span_equal(SPAN_LITERAL("a\0b"), SPAN_LITERAL("a\0b")));
  assert_false(span_equal(SPAN_LITERAL("a\0b"), SPAN_LITERAL("a\0c")));
  assert_false(span_equal(SPAN_LITERAL("ab"), SPAN_LITERAL("abc")));
  assert_false(span_present(span_of(NULL)));
  assert_true(span_present(span_of("")));
  assert_int_equal(span_of("abc").len, 3);
  assert_int_equal(SPAN_LITERAL("a\0b").len, 3);
}

/* Quoted in `room` bytes of a buffer that has one more, which stays as it is. */
static void expect_quote(size_t room, struct span quoted, const char *expected) {
  char text[64];
  assert_true(room < sizeof text);
  memset(text, '#', sizeof text);
  char *end = span_quote(text, room, "<", quoted, "end>");
  assert_in_range(end - text, 0, room);
  assert_int_equal(*end, '#');
  *end = '\0';
  assert_string_equal(text, expected);
}

static void test_a_quotation_is_printable_and_cut_where_it_must_be(void **state) {
  (void)state;
  expect_quote(63, SPAN_LITERAL("a'b\\~ "), "<a'b\\~ end>");
  expect_quote(63, SPAN_LITERAL("\0\r\n\x7f\xff"), "<\\x00\\x0d\\x0a\\x7f\\xffend>");
  expect_quote(63, SPAN_ABSENT, "<end>");
  expect_quote(8, SPAN_LITERAL("abc"), "<abcend>");
  expect_quote(7, SPAN_LITERAL("abc"), "<abend>");
  expect_quote(5, SPAN_LITERAL("abc"), "<end>");
  expect_quote(4, SPAN_LITERAL("abc"), "<end");
  expect_quote(9, SPAN_LITERAL("\n"), "<\\x0aend>");
  expect_quote(8, SPAN_LITERAL("\n"), "<end>"); /* no half escape */
  expect_quote(0, SPAN_LITERAL("a"), "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_numbers_are_strict),
      cmocka_unit_test(test_numbers_survive_a_round_trip),
      cmocka_unit_test(test_a_wrong_byte_is_seen_everywhere),
      cmocka_unit_test(test_words_are_taken_as_numbers),
      cmocka_unit_test(test_words_compare_without_case),
      cmocka_unit_test(test_equality_knows_absent_from_empty),
      cmocka_unit_test(test_a_quotation_is_printable_and_cut_where_it_must_be),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
