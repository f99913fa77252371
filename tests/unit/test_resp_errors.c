/* test_resp_errors.c - errors are counted by their code, in a table that no text can blow up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/resp_errors.h"
#include "proto/resp_write.h"

static uint64_t errors_of(const struct resp_errors *errors, const char *code) {
  for (size_t i = 0; i < errors->count; i++)
    if (strcmp(errors->codes[i].code, code) == 0) return errors->codes[i].errors;
  return 0;
}

static void the_first_word_counts(void **state) {
  (void)state;
  static const struct {
    const char *text, *code;
  } cases[] = {
      {"STALE ABSENT the key has no record", "STALE"},
      {"ERR", "ERR"},
      {"A_1 x", "A_1"},
      {"1234567890123456789012345678901 x", "1234567890123456789012345678901"},
      /* no codes: */
      {"", "ERR"},
      {" STALE", "ERR"},
      {"stale x", "ERR"},
      {"STALE: x", "ERR"},
      {"STALE\tx", "ERR"},
      {"12345678901234567890123456789012 x", "ERR"},
      {"12345678901234567890123456789012", "ERR"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct resp_errors errors = {0};
    resp_errors_note(&errors, cases[i].text);
    if (errors_of(&errors, cases[i].code) != 1)
      fail_msg("%s is not %s", cases[i].text, cases[i].code);
    assert_int_equal(errors.count, 1);
    assert_int_equal(errors.total, 1);
  }
}

static void codes_are_sorted(void **state) {
  (void)state;
  static const char *const texts[] = {"M x", "B x", "Z x", "M y", "A x", "MM x", "B z"};
  static const char *const codes[] = {"A", "B", "M", "MM", "Z"};
  struct resp_errors errors = {0};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) resp_errors_note(&errors, texts[i]);
  assert_int_equal(errors.count, 5);
  for (size_t i = 0; i < errors.count; i++) assert_string_equal(errors.codes[i].code, codes[i]);
  assert_int_equal(errors_of(&errors, "M"), 2);
  assert_int_equal(errors_of(&errors, "B"), 2);
}

/* Whatever a program writes: further codes are in the total only. */
static void there_are_at_most_so_many(void **state) {
  (void)state;
  struct {
    struct resp_errors errors;
    char after[64]; /* is not written to */
  } s = {.after = ""};
  for (unsigned i = 0; i < 3 * RESP_ERRORS_CODES; i++) {
    char text[32];
    snprintf(text, sizeof text, "E%u x", (i * 7919) % (3 * RESP_ERRORS_CODES));
    resp_errors_note(&s.errors, text);
  }
  resp_errors_note(&s.errors, "E0 again");
  assert_int_equal(s.errors.count, RESP_ERRORS_CODES);
  assert_int_equal(s.errors.total, 3 * RESP_ERRORS_CODES + 1);
  assert_int_equal(errors_of(&s.errors, "E0"), 2);
  for (size_t i = 0; i < sizeof s.after; i++) assert_int_equal(s.after[i], 0);
}

static void merging_adds_up(void **state) {
  (void)state;
  struct resp_errors a = {0}, b = {0};
  resp_errors_note(&a, "B x");
  resp_errors_note(&b, "A x");
  resp_errors_note(&b, "B x");
  resp_errors_merge(&a, &b);
  assert_int_equal(a.total, 3);
  assert_int_equal(errors_of(&a, "A"), 1);
  assert_int_equal(errors_of(&a, "B"), 2);
}

/* Each way to write one; an output that has nobody who counts takes them too. */
static void the_writer_counts(void **state) {
  (void)state;
  struct resp_errors errors = {0};
  struct resp_output out = {.errors = &errors}, other = {0};
  struct resp_writer w = {&out, 2}, silent = {&other, 2};
  resp_write_error(&w, "STALE x");
  resp_write_errorf(&w, "STALE %d", 1);
  resp_write_error_quoting(&w, "ERR unknown '", SPAN_LITERAL("\r\n-MADEUP x"), "'");
  resp_write_error(&silent, "STALE x");
  assert_int_equal(errors_of(&errors, "STALE"), 2);
  assert_int_equal(errors_of(&errors, "ERR"), 1);
  assert_int_equal(errors.total, 3);
  resp_output_deinit(&out);
  assert_ptr_equal(out.errors, &errors);
  resp_output_deinit(&other);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_first_word_counts),     cmocka_unit_test(codes_are_sorted),
      cmocka_unit_test(there_are_at_most_so_many), cmocka_unit_test(merging_adds_up),
      cmocka_unit_test(the_writer_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
