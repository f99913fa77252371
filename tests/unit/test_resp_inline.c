/*
 * test_resp_inline.c - the words of inline lines, and which lines are HTTP. Each line lies before a
 * byte that must not be read: it is a heap block of its own size, for the address sanitizer.
 */
#include "proto/resp_inline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char *copy_of(struct span text) {
  char *copy = malloc(text.len > 0 ? text.len : 1);
  assert_non_null(copy);
  memcpy(copy, text.data, text.len);
  return copy;
}

/* The words as <one><two>, then how it ended. */
static void describe(struct span line, char *said, size_t size) {
  struct resp_inline words = resp_inline_begin(line);
  struct span word;
  enum resp_inline_result result;
  size_t at = 0;
  while ((result = resp_inline_next(&words, &word)) == RESP_INLINE_WORD)
    at += (size_t)snprintf(said + at, size - at, "<%.*s>", (int)word.len, word.data);
  snprintf(said + at, size - at, "%s",
           result == RESP_INLINE_END          ? "end"
           : result == RESP_INLINE_UNBALANCED ? "unbalanced"
                                              : "no memory");
  free(words.unquoted);
}

static void test_lines_fall_into_words(void **state) {
  (void)state;
  static const struct {
    struct span line;
    const char *words;
  } cases[] = {
      {SPAN_LITERAL(""), "end"},
      {SPAN_LITERAL(" \t\r"), "end"},
      {SPAN_LITERAL("PING"), "<PING>end"},
      {SPAN_LITERAL("  SET  key value\r"), "<SET><key><value>end"},
      {SPAN_LITERAL("a\vb \vc"), "<a\vb><c>end"},
      {SPAN_LITERAL("\"\" ''"), "<><>end"},
      {SPAN_LITERAL("\"a b\" 'c d' e\"f\""), "<a b><c d><ef>end"},
      {SPAN_LITERAL("\"\\x41\\n\\q\\\"\""), "<A\nq\">end"},
      {SPAN_LITERAL("\"\\x4\" \"\\xg1\""), "<x4><xg1>end"},
      {SPAN_LITERAL("'\\x41' 'it\\'s'"), "<\\x41><it's>end"},
      {SPAN_LITERAL("plain \"open"), "<plain>unbalanced"},
      {SPAN_LITERAL("'open"), "unbalanced"},
      {SPAN_LITERAL("\"a\"b"), "unbalanced"},
      {SPAN_LITERAL("\"a\\"), "unbalanced"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char said[200], *line = copy_of(cases[i].line);
    describe((struct span){line, cases[i].line.len}, said, sizeof said);
    if (strcmp(said, cases[i].words) != 0)
      fail_msg("%s: got %s, expected %s", cases[i].line.data, said, cases[i].words);
    free(line);
  }
}

/* One buffer serves all quoted words, and none outgrows it. */
static void test_quoted_words_stay_valid_to_the_end(void **state) {
  (void)state;
  char line[300 * 4], *p = line;
  for (int i = 0; i < 300; i++, p += 4) memcpy(p, "'x' ", 4);
  struct resp_inline words = resp_inline_begin((struct span){line, sizeof line});
  struct span all[300], none;
  for (int i = 0; i < 300; i++)
    assert_int_equal(resp_inline_next(&words, &all[i]), RESP_INLINE_WORD);
  assert_int_equal(resp_inline_next(&words, &none), RESP_INLINE_END);
  for (int i = 0; i < 300; i++) assert_true(span_equal(all[i], SPAN_LITERAL("x")));
  free(words.unquoted);
}

static void test_http_is_known_by_its_lines(void **state) {
  (void)state;
  static const struct {
    const char *line;
    bool http;
  } cases[] = {
      {"", false},
      {"PING", false},
      {"GET key", false},
      {"GET / HTTP/1.1\r", true},
      {"  get / http/1.1", true},
      {"POST x", true},
      {"POSTED x", false},
      {"Host: here", true},
      {"ANY /path HTTP/1.1", true},
      {"ANY path HTTP/1.1", false},
      {"OPTIONS path HTTP/1.1", true},
      {"ANY * HTTP/2", true},
      {"SET HTTP/1.1", false},
      {"GET /with blanks HTTP/1.0", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *line = copy_of(span_of(cases[i].line));
    if (resp_inline_is_http((struct span){line, strlen(cases[i].line)}) != cases[i].http)
      fail_msg("%s: %s HTTP", cases[i].line, cases[i].http ? "should be" : "is no");
    free(line);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_lines_fall_into_words),
      cmocka_unit_test(test_quoted_words_stay_valid_to_the_end),
      cmocka_unit_test(test_http_is_known_by_its_lines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
