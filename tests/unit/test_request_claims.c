/* test_request_claims.c - what CLAIMS may be asked: every option, every bound, every error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/rules/request_claims.h"

#define WORDS 16
#define TEXT_BYTES 1200

static const struct request_limits LIMITS = {.key_bytes = 1001};

struct words {
  char text[TEXT_BYTES];
  struct span argv[WORDS];
  size_t argc;
};

/* Two blanks, or one at the end, make an empty word. */
static void split(struct words *words, const char *line) {
  snprintf(words->text, sizeof words->text, "%s", line);
  words->argc = 0;
  for (char *at = words->text; at != NULL;) {
    char *end = strchr(at, ' ');
    size_t len = end != NULL ? (size_t)(end - at) : strlen(at);
    assert_true(words->argc < WORDS);
    words->argv[words->argc++] = (struct span){at, len};
    at = end != NULL ? end + 1 : NULL;
  }
}

/* As text: what is understood, or the error. */
static void show(const char *line, char text[TEXT_BYTES]) {
  static const char *const phases[] = {"any", "held", "lapsed", "unknown"};
  struct words words;
  struct request_claims claims;
  char error[REQUEST_ERROR_BYTES];
  split(&words, line);
  const struct request_input input = {words.argv, words.argc, &LIMITS};
  if (!request_claims_parse(&input, &claims, error)) {
    snprintf(text, TEXT_BYTES, "%s", error);
    return;
  }
  snprintf(text, TEXT_BYTES, "%s '%.*s' older %lld after %llu count %u", phases[claims.phase],
           (int)claims.prefix.len, span_present(claims.prefix) ? claims.prefix.data : "",
           (long long)claims.older_ms, (unsigned long long)claims.after, claims.count);
}

static void each_option_is_understood_or_refused(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"CLAIMS", "any '' older 0 after 0 count 100"},
      {"CLAIMS STATE held", "held '' older 0 after 0 count 100"},
      {"CLAIMS state LAPSED", "lapsed '' older 0 after 0 count 100"},
      {"CLAIMS State Unknown", "unknown '' older 0 after 0 count 100"},
      {"CLAIMS PREFIX pay:", "any 'pay:' older 0 after 0 count 100"},
      {"CLAIMS PREFIX ", "any '' older 0 after 0 count 100"},
      {"CLAIMS PREFIX COUNT COUNT 7", "any 'COUNT' older 0 after 0 count 7"},
      {"CLAIMS OLDER 9223372036854775807", "any '' older 9223372036854775807 after 0 count 100"},
      {"CLAIMS AFTER 9223372036854775807", "any '' older 0 after 9223372036854775807 count 100"},
      {"CLAIMS COUNT 1", "any '' older 0 after 0 count 1"},
      {"CLAIMS COUNT 10000", "any '' older 0 after 0 count 10000"},
      {"CLAIMS count 5 after 6 older 7 prefix p state held", "held 'p' older 7 after 6 count 5"},
      {"CLAIMS STATE done", "ERR STATE must be held, lapsed or unknown"},
      {"CLAIMS STATE absent", "ERR STATE must be held, lapsed or unknown"},
      {"CLAIMS STATE ", "ERR STATE must be held, lapsed or unknown"},
      {"CLAIMS COUNT 0", "ERR COUNT must be between 1 and 10000"},
      {"CLAIMS COUNT 10001", "ERR COUNT must be between 1 and 10000"},
      {"CLAIMS COUNT 4294967297", "ERR COUNT must be between 1 and 10000"},
      {"CLAIMS COUNT -1", "ERR COUNT must not be negative"},
      {"CLAIMS COUNT 1.5", "ERR COUNT is not an integer or out of range"},
      {"CLAIMS OLDER 01", "ERR OLDER is not an integer or out of range"},
      {"CLAIMS OLDER -5", "ERR OLDER must not be negative"},
      {"CLAIMS AFTER 9223372036854775808", "ERR AFTER is not an integer or out of range"},
      {"CLAIMS AFTER -5", "ERR AFTER must not be negative"},
      {"CLAIMS OLDER", "ERR syntax error: option 'OLDER' needs a value"},
      {"CLAIMS STATE held COUNT", "ERR syntax error: option 'COUNT' needs a value"},
      {"CLAIMS key", "ERR syntax error: unknown option 'key'"},
      {"CLAIMS ", "ERR syntax error: unknown option ''"},
      {"CLAIMS LEASE 5", "ERR syntax error: unknown option 'LEASE'"},
      {"CLAIMS STATE held state held", "ERR syntax error: repeated option 'state'"},
      {"CLAIMS AFTER 1 PREFIX a AFTER 1", "ERR syntax error: repeated option 'AFTER'"},
      {"CLAIMS AFTER x BLA", "ERR AFTER is not an integer or out of range"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[TEXT_BYTES];
    show(cases[i][0], text);
    if (strcmp(text, cases[i][1]) != 0)
      fail_msg("%s: '%s', expected '%s'", cases[i][0], text, cases[i][1]);
  }
}

static void only_a_prefix_may_be_as_long_as_a_key(void **state) {
  (void)state;
  struct words words;
  split(&words, "CLAIMS PREFIX value COUNT value prefix PREFIX x");
  static const size_t expected[] = {0, 64, 1001, 64, 64, 64, 1001, 64};
  for (size_t i = 1; i < words.argc; i++)
    assert_int_equal(request_claims_limit(&LIMITS, words.argv, i), expected[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_option_is_understood_or_refused),
      cmocka_unit_test(only_a_prefix_may_be_as_long_as_a_key),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
