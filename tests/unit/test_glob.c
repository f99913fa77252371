/* test_glob.c - patterns as Redis matches them, at a cost that nobody can drive up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/base/glob.h"

struct example {
  const char *pattern, *text;
  bool matches;
};

static void check(const struct example *examples, size_t count, bool ignore_case) {
  for (size_t i = 0; i < count; i++) {
    const struct example *e = &examples[i];
    bool matches = glob_match(span_of(e->pattern), span_of(e->text), ignore_case);
    if (matches != e->matches) print_error("pattern '%s' text '%s'\n", e->pattern, e->text);
    assert_int_equal(matches, e->matches);
  }
}

#define CHECK(examples, ignore_case) \
  check(examples, sizeof(examples) / sizeof *(examples), ignore_case)

/* Each was asked of redis-server 7.0.15 with KEYS. */
static void patterns_match_as_in_redis(void **state) {
  (void)state;
  static const struct example examples[] = {
      {"", "", true},           {"", "a", false},          {"a", "a", true},
      {"a", "b", false},        {"a", "ab", false},        {"ab", "a", false},
      {"*", "", true},          {"*", "anything", true},   {"a*", "a", true},
      {"a*", "abc", true},      {"*c", "abc", true},       {"*c", "abcd", false},
      {"a*c*e", "abcde", true}, {"a*c*e", "abcdf", false}, {"**a**", "xxaxx", true},
      {"?", "a", true},         {"?", "", false},          {"??", "a", false},
      {"a?c", "abc", true},     {"*?", "", false},         {"[abc]", "b", true},
      {"[abc]", "d", false},    {"[^abc]", "d", true},     {"[^abc]", "b", false},
      {"[a-c]", "b", true},     {"[c-a]", "b", true},      {"[a-c]", "-", false},
      {"[^a-c]x", "dx", true},  {"[a\\-c]", "b", false},   {"[a\\-c]", "-", true},
      {"[\\]]", "]", true},     {"[]", "a", false},        {"[^]", "a", true},
      {"[a", "a", true},        {"[a", "b", false},        {"[^a", "b", true},
      {"[a-", "-", true},       {"[a-", "a", true},        {"[a-]", "]", true},
      {"[", "a", false},        {"\\*", "*", true},        {"\\*", "a", false},
      {"\\a", "a", true},       {"\\", "\\", true},        {"a\\", "a\\", true},
      {"\\[a]", "[a]", true},   {"[*]", "*", true},        {"[*]", "a", false},
      {"a", "A", false},        {"[a]", "A", false},
  };
  CHECK(examples, false);
}

static void case_can_be_ignored(void **state) {
  (void)state;
  static const struct example examples[] = {
      {"MAXmem*", "maxMEMORY", true}, {"[A-C]", "b", true}, {"[a-c]", "B", true},
      {"[^B]", "b", false},           {"\\A", "a", true},   {"a", "b", false},
  };
  CHECK(examples, true);
}

static void bytes_are_only_bytes(void **state) {
  (void)state;
  assert_true(glob_match(SPAN_LITERAL("a\0*"), SPAN_LITERAL("a\0b"), false));
  assert_false(glob_match(SPAN_LITERAL("a\0b"), SPAN_LITERAL("a\0c"), false));
  assert_true(glob_match(SPAN_LITERAL("[\x80-\xff]"), SPAN_LITERAL("\xe9"), false));
  assert_false(glob_match(SPAN_LITERAL("[\x80-\xff]"), SPAN_LITERAL("a"), false));
  /* Folding is ASCII's. */
  assert_false(glob_match(SPAN_LITERAL("\xc9"), SPAN_LITERAL("\xe9"), true));
}

/* ---- against a matcher that is plainly right, for sets without escapes ---- */

static bool naive_one(const char **p, char c) {
  if (**p == '?') return (*p)++, true;
  if (**p != '[') return *(*p)++ == c;
  const char *q = *p + 1;
  bool negated = *q == '^', found = false;
  for (q += negated; *q != ']'; q++) found |= *q == c;
  *p = q + 1;
  return found != negated;
}

static bool naive(const char *p, const char *t) {
  if (*p == '\0') return *t == '\0';
  if (*p == '*') return naive(p + 1, t) || (*t != '\0' && naive(p, t + 1));
  return *t != '\0' && naive_one(&p, *t) && naive(p, t + 1);
}

static void random_patterns_agree_with_a_naive_matcher(void **state) {
  (void)state;
  static const char *const parts[] = {"a", "b", "c", "*", "*", "?", "[ab]", "[^a]"};
  uint64_t seed = 88172645463325252u;
  unsigned matched = 0;
  for (int i = 0; i < 200000; i++) {
    char pattern[64] = "", text[16] = "";
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    uint64_t bits = seed;
    for (unsigned n = (unsigned)(bits & 7); n > 0; n--) strcat(pattern, parts[(bits >>= 3) & 7]);
    for (unsigned n = (unsigned)((bits >>= 3) & 7), at = 0; at < n; at++)
      text[at] = (char)('a' + ((bits >>= 3) & 7) % 3);
    bool expected = naive(pattern, text);
    if (glob_match(span_of(pattern), span_of(text), false) != expected) {
      print_error("pattern '%s' text '%s'\n", pattern, text);
      fail();
    }
    matched += expected;
  }
  assert_true(matched > 10000);
}

/* A matcher that tries every star again needs longer than the universe is old for the first of
 * these. */
static void many_stars_cost_no_more_than_pattern_times_text(void **state) {
  (void)state;
  char pattern[1024], text[1024];
  for (size_t i = 0; i < sizeof pattern; i += 2) memcpy(pattern + i, "*a", 2);
  memset(text, 'a', sizeof text);
  pattern[sizeof pattern - 1] = 'b';
  assert_false(
      glob_match((struct span){pattern, sizeof pattern}, (struct span){text, sizeof text}, false));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(patterns_match_as_in_redis),
      cmocka_unit_test(case_can_be_ignored),
      cmocka_unit_test(bytes_are_only_bytes),
      cmocka_unit_test(random_patterns_agree_with_a_naive_matcher),
      cmocka_unit_test(many_stars_cost_no_more_than_pattern_times_text),
  };
  return cmocka_run_group_tests_name("glob", tests, NULL, NULL);
}
