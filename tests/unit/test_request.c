/*
 * test_request.c - what may be asked of the six commands: every option, every limit at it and over
 * it, every default, the text of every error.
 *
 * A command is given as words separated by blanks, and what it should be understood as in words
 * too, so that a failing case can be read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/rules/request.h"

#define WORDS 32
#define SHOWN_BYTES 2048

/* Small, all different, and no default is its maximum. */
static const struct request_limits LIMITS = {
    .lease_ms = 600,
    .lease_max_ms = 3000,
    .ttl_ms = 8000,
    .ttl_max_ms = 9000,
    .wait_max_ms = 500,
    .key_bytes = 1001,
    .fingerprint_bytes = 1002,
    .owner_bytes = 1003,
    .stage_bytes = 1004,
    .meta_bytes = 1005,
    .body_bytes = 1006,
};

struct words {
  char text[SHOWN_BYTES];
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

/* ---- requests as text ---- */

struct shown {
  char text[SHOWN_BYTES];
  size_t len;
};

static void show(struct shown *shown, const char *name, const char *value, size_t len) {
  shown->len += (size_t)snprintf(shown->text + shown->len, sizeof shown->text - shown->len,
                                 "%s%s=%.*s", shown->len > 0 ? " " : "", name, (int)len, value);
  assert_true(shown->len < sizeof shown->text);
}

static void show_span(struct shown *shown, const char *name, struct span span) {
  if (span_present(span)) show(shown, name, span.data, span.len);
}

static void show_number(struct shown *shown, const char *name, int64_t number) {
  char text[32];
  snprintf(text, sizeof text, "%" PRId64, number);
  show(shown, name, text, strlen(text));
}

static void show_flag(struct shown *shown, const char *name, bool set) {
  if (set) show_number(shown, name, 1);
}

static bool show_claim(const struct request_input *input, struct shown *shown,
                       struct request_error *error) {
  struct request_claim claim;
  if (!request_parse_claim(input, &claim, error)) return false;
  show_span(shown, "key", claim.key);
  show_span(shown, "fp", claim.fingerprint);
  show_span(shown, "owner", claim.owner);
  show_number(shown, "lease", claim.lease_ms);
  show_number(shown, "wait", claim.wait_ms);
  show_flag(shown, "bind", claim.bind);
  show_flag(shown, "hold", claim.hold);
  if (claim.born) show_number(shown, "born", claim.born_ms);
  if (claim.takeover != 0) show_number(shown, "takeover", (int64_t)claim.takeover);
  return true;
}

static void show_word(struct shown *shown, enum rules_word word) {
  show_flag(shown, "unsure", word == RULES_UNSURE);
  show_flag(shown, "clear", word == RULES_CLEAR);
}

static bool show_store(const struct request_input *input, struct shown *shown,
                       struct request_error *error) {
  struct request_store store;
  if (!request_parse_store(input, &store, error)) return false;
  show_span(shown, "key", store.key);
  show_number(shown, "token", (int64_t)store.token);
  show_span(shown, "body", store.body);
  show_span(shown, "meta", store.meta);
  show_number(shown, "ttl", store.ttl_ms);
  show_word(shown, store.word);
  return true;
}

static bool show_renew(const struct request_input *input, struct shown *shown,
                       struct request_error *error) {
  struct request_renew renew;
  if (!request_parse_renew(input, &renew, error)) return false;
  show_span(shown, "key", renew.key);
  show_number(shown, "token", (int64_t)renew.token);
  show_span(shown, "stage", renew.stage);
  show_number(shown, "lease", renew.lease_ms);
  return true;
}

static bool show_release(const struct request_input *input, struct shown *shown,
                         struct request_error *error) {
  struct request_release release;
  if (!request_parse_release(input, &release, error)) return false;
  show_span(shown, "key", release.key);
  show_number(shown, "token", (int64_t)release.token);
  show_word(shown, release.word);
  return true;
}

static bool show_fetch(const struct request_input *input, struct shown *shown,
                       struct request_error *error) {
  struct request_read read;
  if (!request_parse_fetch(input, &read, error)) return false;
  show_span(shown, "key", read.key);
  show_span(shown, "fp", read.fingerprint);
  show_number(shown, "wait", read.wait_ms);
  return true;
}

static bool show_wait(const struct request_input *input, struct shown *shown,
                      struct request_error *error) {
  struct request_read read;
  if (!request_parse_wait(input, &read, error)) return false;
  show_span(shown, "key", read.key);
  show_span(shown, "fp", read.fingerprint);
  show_number(shown, "wait", read.wait_ms);
  return true;
}

typedef bool shows(const struct request_input *input, struct shown *shown,
                   struct request_error *error);
static const struct {
  const char *name;
  shows *show;
} SHOWN[] = {{"CLAIM", show_claim},     {"STORE", show_store}, {"RENEW", show_renew},
             {"RELEASE", show_release}, {"FETCH", show_fetch}, {"WAIT", show_wait}};
#define SHOWN_COUNT (sizeof SHOWN / sizeof SHOWN[0])

static shows *shows_of(struct span name) {
  size_t i = 0;
  while (i < SHOWN_COUNT && !span_is(name, SHOWN[i].name)) i++;
  assert_true(i < SHOWN_COUNT);
  return SHOWN[i].show;
}

/* As a request, or as the text of its error. */
static bool understand(const struct words *words, char text[SHOWN_BYTES]) {
  const struct request_input input = {words->argv, words->argc, &LIMITS};
  struct shown shown = {0};
  struct request_error error;
  memset(&error, 0xa5, sizeof error);
  bool good = shows_of(words->argv[0])(&input, &shown, &error);
  if (good) {
    snprintf(text, SHOWN_BYTES, "%s", shown.text);
  } else {
    char refusal[REQUEST_ERROR_BYTES];
    memset(refusal, 0xa5, sizeof refusal);
    request_error_text(&error, refusal);
    assert_non_null(memchr(refusal, '\0', sizeof refusal));
    snprintf(text, SHOWN_BYTES, "%s", refusal);
  }
  return good;
}

static void expect(const char *line, const char *expected) {
  struct words words;
  char text[SHOWN_BYTES];
  split(&words, line);
  bool good = understand(&words, text);
  if (strcmp(text, expected) != 0) print_error("'%s'\n", line);
  assert_string_equal(text, expected);
  assert_int_equal(good, strncmp(expected, "ERR ", 4) != 0);
}

/* ---- what may be asked ---- */

static void what_is_not_given_has_its_default_or_is_absent(void **state) {
  (void)state;
  expect("CLAIM k", "key=k lease=600 wait=0");
  expect("STORE k 7 b", "key=k token=7 body=b ttl=8000");
  expect("RENEW k 7", "key=k token=7 lease=0");
  expect("RELEASE k 7", "key=k token=7");
  expect("FETCH k", "key=k wait=0");
  expect("WAIT k 5", "key=k wait=5");
}

static void every_option_has_its_place(void **state) {
  (void)state;
  expect("CLAIM k FP f", "key=k fp=f lease=600 wait=0");
  expect("CLAIM k OWNER o", "key=k owner=o lease=600 wait=0");
  expect("CLAIM k LEASE 7", "key=k lease=7 wait=0");
  expect("CLAIM k WAIT 8", "key=k lease=600 wait=8");
  expect("CLAIM k BIND", "key=k lease=600 wait=0 bind=1");
  expect("CLAIM k HOLD", "key=k lease=600 wait=0 hold=1");
  expect("CLAIM k BORN 9", "key=k lease=600 wait=0 born=9");
  expect("CLAIM k TAKEOVER 9", "key=k lease=600 wait=0 takeover=9");
  expect("STORE k 7 b TTL 9", "key=k token=7 body=b ttl=9");
  expect("STORE k 7 b META m", "key=k token=7 body=b meta=m ttl=8000");
  expect("STORE k 7 b TTL 0 UNSURE", "key=k token=7 body=b ttl=0 unsure=1");
  expect("STORE k 7 b TTL 0 CLEAR", "key=k token=7 body=b ttl=0 clear=1");
  expect("RELEASE k 7 UNSURE", "key=k token=7 unsure=1");
  expect("RELEASE k 7 CLEAR", "key=k token=7 clear=1");
  expect("RENEW k 7 LEASE 9", "key=k token=7 lease=9");
  expect("RENEW k 7 STAGE s", "key=k token=7 stage=s lease=0");
  expect("FETCH k FP f", "key=k fp=f wait=0");
  expect("WAIT k 5 FP f", "key=k fp=f wait=5");
}

static void options_come_in_any_order_and_in_any_case(void **state) {
  (void)state;
  const char *all = "key=k fp=f owner=o lease=7 wait=8 bind=1 hold=1 born=5 takeover=6";
  expect("CLAIM k FP f OWNER o LEASE 7 WAIT 8 BORN 5 BIND HOLD TAKEOVER 6", all);
  expect("CLAIM k takeover 6 hold born 5 bind wait 8 lease 7 owner o fp f", all);
  expect("CLAIM k Wait 8 HoLd Fp f taKeOver 6 LeasE 7 Bind bORn 5 OwneR o", all);
  expect("STORE k 7 b unSure tTl 0", "key=k token=7 body=b ttl=0 unsure=1");
  expect("RELEASE k 7 cleaR", "key=k token=7 clear=1");
  expect("STORE k 7 b Meta m tTl 9", "key=k token=7 body=b meta=m ttl=9");
  expect("RENEW k 7 sTAGE s leasE 9", "key=k token=7 stage=s lease=9");
}

static void a_value_may_be_a_word_or_be_empty(void **state) {
  (void)state;
  expect("CLAIM k FP FP OWNER HOLD", "key=k fp=FP owner=HOLD lease=600 wait=0");
  expect("CLAIM k FP ", "key=k fp= lease=600 wait=0");
  expect("STORE k 7 META META TTL", "key=k token=7 body=META meta=TTL ttl=8000");
  expect("STORE k 7  META ", "key=k token=7 body= meta= ttl=8000");
  expect("RENEW k 7 STAGE ", "key=k token=7 stage= lease=0");
  expect("FETCH  FP ", "key= fp= wait=0");
  expect("FETCH k", "key=k wait=0");
}

static void bytes_are_any_bytes(void **state) {
  (void)state;
  const struct span argv[] = {SPAN_LITERAL("CLAIM"),  SPAN_LITERAL("k\0\r\n"), SPAN_LITERAL("FP"),
                              SPAN_LITERAL("\xff\0"), SPAN_LITERAL("OWNER"),   SPAN_LITERAL("\0")};
  const struct request_input input = {argv, 6, &LIMITS};
  struct request_claim claim;
  struct request_error error;
  assert_true(request_parse_claim(&input, &claim, &error));
  assert_true(span_equal(claim.key, argv[1]));
  assert_true(span_equal(claim.fingerprint, argv[3]));
  assert_true(span_equal(claim.owner, argv[5]));
  assert_ptr_equal(claim.key.data, argv[1].data); /* borrowed, not copied */
}

static void of_an_empty_word_no_byte_is_read(void **state) {
  (void)state;
  const struct span empty = {(const char *)1, 0}; /* whoever looks there crashes */
  const struct span argv[] = {SPAN_LITERAL("CLAIM"), SPAN_LITERAL("k"), empty};
  const struct request_input input = {argv, 3, &LIMITS};
  struct request_claim claim;
  struct request_error error;
  assert_false(request_parse_claim(&input, &claim, &error));
  assert_int_equal(error.fault, REQUEST_UNKNOWN_OPTION);
  assert_int_equal(request_limit(&LIMITS, argv, 3), REQUEST_WORD_BYTES);
}

/* ---- numbers ---- */

static void a_lease_is_1_to_lease_max(void **state) {
  (void)state;
  expect("CLAIM k LEASE 1", "key=k lease=1 wait=0");
  expect("CLAIM k LEASE 3000", "key=k lease=3000 wait=0");
  expect("CLAIM k LEASE 0", "ERR LEASE must be between 1 and 3000 milliseconds");
  expect("CLAIM k LEASE 3001", "ERR LEASE must be between 1 and 3000 milliseconds");
  expect("RENEW k 7 LEASE 1", "key=k token=7 lease=1");
  expect("RENEW k 7 LEASE 3000", "key=k token=7 lease=3000");
  expect("RENEW k 7 LEASE 0", "ERR LEASE must be between 1 and 3000 milliseconds");
  expect("RENEW k 7 LEASE 3001", "ERR LEASE must be between 1 and 3000 milliseconds");
  expect("CLAIM k LEASE 9223372036854775807", "ERR LEASE must be between 1 and 3000 milliseconds");
}

static void a_ttl_is_0_to_ttl_max(void **state) {
  (void)state;
  expect("STORE k 7 b TTL 0", "key=k token=7 body=b ttl=0");
  expect("STORE k 7 b TTL 9000", "key=k token=7 body=b ttl=9000");
  expect("STORE k 7 b TTL 9001", "ERR TTL must be between 0 and 9000 milliseconds");
}

/* A record with a TTL is not ended by a word. */
static void unsure_and_clear_need_ttl_0_and_exclude_each_other(void **state) {
  (void)state;
  expect("STORE k 7 b UNSURE", "ERR UNSURE needs TTL 0");
  expect("STORE k 7 b CLEAR", "ERR CLEAR needs TTL 0");
  expect("STORE k 7 b TTL 1 UNSURE", "ERR UNSURE needs TTL 0");
  expect("STORE k 7 b CLEAR TTL 9000", "ERR CLEAR needs TTL 0");
  const char *both = "ERR syntax error: UNSURE and CLEAR exclude each other";
  expect("STORE k 7 b TTL 0 UNSURE CLEAR", both);
  expect("STORE k 7 b CLEAR UNSURE", both);
  expect("RELEASE k 7 UNSURE CLEAR", both);
  expect("RELEASE k 7 CLEAR UNSURE", both);
}

static void a_birth_is_any_time_from_0_on(void **state) {
  (void)state;
  expect("CLAIM k BORN 0", "key=k lease=600 wait=0 born=0");
  expect("CLAIM k BORN 9223372036854775807", "key=k lease=600 wait=0 born=9223372036854775807");
}

static void a_wait_is_cut_to_wait_max_and_0_asks_for_it(void **state) {
  (void)state;
  expect("CLAIM k WAIT 1", "key=k lease=600 wait=1");
  expect("CLAIM k WAIT 500", "key=k lease=600 wait=500");
  expect("CLAIM k WAIT 501", "key=k lease=600 wait=500");
  expect("CLAIM k WAIT 0", "key=k lease=600 wait=500");
  expect("CLAIM k WAIT 9223372036854775807", "key=k lease=600 wait=500");
  expect("WAIT k 1", "key=k wait=1");
  expect("WAIT k 500", "key=k wait=500");
  expect("WAIT k 501", "key=k wait=500");
  expect("WAIT k 0", "key=k wait=500");
}

static void a_token_is_any_integer_from_0_on(void **state) {
  (void)state;
  expect("RELEASE k 0", "key=k token=0");
  expect("CLAIM k TAKEOVER 9223372036854775807",
         "key=k lease=600 wait=0 takeover=9223372036854775807");
  expect("CLAIM k TAKEOVER 0", "key=k lease=600 wait=0"); /* no record has it */
  expect("RELEASE k 9223372036854775807", "key=k token=9223372036854775807");
  expect("RELEASE k 9223372036854775808", "ERR token is not an integer or out of range");
  expect("RELEASE k -1", "ERR token must not be negative");
  expect("STORE k -1 b", "ERR token must not be negative");
  expect("RENEW k -1", "ERR token must not be negative");
}

static void numbers_are_strict(void **state) {
  (void)state;
  static const char *const bad[] = {"",
                                    "x",
                                    "1x",
                                    "+1",
                                    "01",
                                    "-0",
                                    "1.0",
                                    "--1",
                                    "0x1",
                                    "9223372036854775808",
                                    "-9223372036854775809"};
  static const struct {
    const char *before, *name;
  } places[] = {
      {"CLAIM k LEASE", "LEASE"},   {"CLAIM k WAIT", "WAIT"}, {"STORE k 7 b TTL", "TTL"},
      {"RENEW k 7 LEASE", "LEASE"}, {"CLAIM k BORN", "BORN"}, {"CLAIM k TAKEOVER", "TAKEOVER"},
      {"RENEW k", "token"},         {"RELEASE k", "token"},   {"WAIT k", "WAIT"}};
  for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
    char line[128], error[128];
    snprintf(error, sizeof error, "ERR %s is not an integer or out of range", places[p].name);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
      snprintf(line, sizeof line, "%s %s", places[p].before, bad[i]);
      expect(line, error);
    }
    snprintf(line, sizeof line, "%s -1", places[p].before);
    snprintf(error, sizeof error, "ERR %s must not be negative", places[p].name);
    expect(line, error);
  }
  expect("STORE k x b", "ERR token is not an integer or out of range");
}

/* ---- errors ---- */

static const char *const OPTIONS[] = {"FP",   "OWNER", "META", "STAGE",    "LEASE",  "WAIT", "TTL",
                                      "BORN", "BIND",  "HOLD", "TAKEOVER", "UNSURE", "CLEAR"};
static const struct {
  const char *before, *options;
} FORMS[] = {{"CLAIM k", "FP OWNER LEASE WAIT BIND HOLD BORN TAKEOVER"},
             {"STORE k 7 b", "META TTL UNSURE CLEAR"},
             {"RENEW k 7", "STAGE LEASE"},
             {"RELEASE k 7", "UNSURE CLEAR"},
             {"FETCH k", "FP"},
             {"WAIT k 5", "FP"}};

static bool stands_alone(const char *option) {
  return strcmp(option, "BIND") == 0 || strcmp(option, "HOLD") == 0 ||
         strcmp(option, "UNSURE") == 0 || strcmp(option, "CLEAR") == 0;
}

/* Words for one command and one option: all that can be wrong with it. */
static void expect_option(const char *before, const char *option, bool has) {
  char line[128], error[128];
  if (!has) {
    snprintf(line, sizeof line, "%s %s", before, option);
    snprintf(error, sizeof error, "ERR syntax error: unknown option '%s'", option);
    expect(line, error);
    return;
  }
  const char *value = stands_alone(option) ? "" : " 1";
  snprintf(line, sizeof line, "%s %s%s %s%s", before, option, value, option, value);
  snprintf(error, sizeof error, "ERR syntax error: repeated option '%s'", option);
  expect(line, error);
  if (stands_alone(option)) return;
  snprintf(line, sizeof line, "%s %s", before, option);
  snprintf(error, sizeof error, "ERR syntax error: option '%s' needs a value", option);
  expect(line, error);
}

static void a_command_has_its_options_once_with_their_values_and_no_others(void **state) {
  (void)state;
  for (size_t f = 0; f < sizeof FORMS / sizeof FORMS[0]; f++) {
    for (size_t i = 0; i < sizeof OPTIONS / sizeof OPTIONS[0]; i++)
      expect_option(FORMS[f].before, OPTIONS[i], strstr(FORMS[f].options, OPTIONS[i]) != NULL);
  }
}

static void what_only_looks_like_an_option_is_unknown(void **state) {
  (void)state;
  static const char *const near[] = {
      "",      "F",     "F0",  "FPP",      "OWNED", "OWNE", "LEASES", "WAI", "WAITS",
      "BINT",  "HOLDS", "TTL", "TAKEOVEN", "BORNE", "BO",   "BIN",    "B",   "UNSURE",
      "CLEAR", "CLEA",  "TAK", "COLOUR",   "B\tND", "7",    "_",      "~",   "\x01P"};
  for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
    struct words words;
    char text[SHOWN_BYTES], line[64];
    snprintf(line, sizeof line, "CLAIM k %s", near[i]);
    split(&words, line);
    assert_false(understand(&words, text));
    assert_memory_equal(text, "ERR syntax error: unknown option '", 34);
  }
}

static void the_first_error_counts(void **state) {
  (void)state;
  expect("CLAIM k RED LEASE x", "ERR syntax error: unknown option 'RED'");
  expect("CLAIM k LEASE x RED", "ERR LEASE is not an integer or out of range");
  expect("CLAIM k LEASE 0 RED", "ERR syntax error: unknown option 'RED'"); /* bounds come last */
  expect("STORE k 7 b TTL 9001 UNSURE", "ERR TTL must be between 0 and 9000 milliseconds");
  expect("RELEASE k x UNSURE CLEAR", "ERR token is not an integer or out of range");
  expect("CLAIM k OWNER  LEASE 0", "ERR LEASE must be between 1 and 3000 milliseconds");
  expect("STORE k x b RED", "ERR token is not an integer or out of range");
  expect("WAIT k x RED", "ERR WAIT is not an integer or out of range");
}

static void an_owner_is_not_empty(void **state) {
  (void)state;
  expect("CLAIM k OWNER ", "ERR OWNER must not be empty");
}

static void an_option_is_quoted_as_it_came(void **state) {
  (void)state;
  expect("CLAIM k Colour", "ERR syntax error: unknown option 'Colour'");
  expect("CLAIM k bind Bind", "ERR syntax error: repeated option 'Bind'");
  expect("CLAIM k Lease", "ERR syntax error: option 'Lease' needs a value");
  expect("CLAIM k a\r\n+OK\x7f\\", "ERR syntax error: unknown option 'a\\x0d\\x0a+OK\\x7f\\'");
}

/* What stands after the quotation is never cut off. */
static void a_long_quotation_is_cut(void **state) {
  (void)state;
  static char bytes[5000];
  const struct request_error error = {.fault = REQUEST_NO_VALUE, .quoted = {bytes, sizeof bytes}};
  char text[REQUEST_ERROR_BYTES];
  memset(bytes, 'a', sizeof bytes);
  request_error_text(&error, text);
  assert_int_equal(strlen(text), REQUEST_ERROR_BYTES - 1);
  assert_string_equal(text + strlen(text) - strlen("aa' needs a value"), "aa' needs a value");
  memset(bytes, '\xee', sizeof bytes);
  request_error_text(&error, text);
  assert_in_range(strlen(text), REQUEST_ERROR_BYTES - 4, REQUEST_ERROR_BYTES - 1);
  assert_string_equal(text + strlen(text) - strlen("\\xee' needs a value"), "\\xee' needs a value");
}

static void an_argument_that_is_too_big_is_named(void **state) {
  (void)state;
  char text[REQUEST_ERROR_BYTES];
  const struct request_error error = {.fault = REQUEST_TOO_BIG, .name = "owner", .most = 64};
  request_error_text(&error, text);
  assert_string_equal(text, "TOOBIG owner 64 the owner is over its limit of bytes");
}

static void a_birth_after_now_is_refused_in_words(void **state) {
  (void)state;
  char text[REQUEST_ERROR_BYTES];
  const struct request_error error = {.fault = REQUEST_BORN_LATER};
  request_error_text(&error, text);
  assert_string_equal(text, "ERR BORN is later than now plus born-skew");
}

/* A command that ends early, after any of its words, is either right or told what is missing. */
static void a_list_may_end_anywhere(void **state) {
  (void)state;
  static const struct {
    const char *line;
    size_t least;
  } lists[] = {{"CLAIM k FP f OWNER o LEASE 7 WAIT 8 BIND HOLD BORN 5 TAKEOVER 6", 2},
               {"STORE k 7 b TTL 0 META m UNSURE", 4},
               {"RELEASE k 7 CLEAR", 3},
               {"RENEW k 7 LEASE 9 STAGE s", 3},
               {"FETCH k FP f", 2},
               {"WAIT k 5 FP f", 3}};
  for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
    struct words words;
    split(&words, lists[i].line);
    for (size_t whole = words.argc; words.argc >= lists[i].least; words.argc--) {
      /* In memory that ends where the list does: a sanitizer sees who looks beyond. */
      struct span *argv = malloc(words.argc * sizeof *argv);
      assert_non_null(argv);
      memcpy(argv, words.argv, words.argc * sizeof *argv);
      const struct request_input input = {argv, words.argc, &LIMITS};
      struct shown shown = {0};
      struct request_error error;
      struct span last = argv[words.argc - 1];
      bool cut_off = words.argc < whole && words.argc > lists[i].least &&
                     (span_is(last, "BORN") || span_is(last, "TAKEOVER") || span_is(last, "FP") ||
                      span_is(last, "OWNER") || span_is(last, "LEASE") || span_is(last, "WAIT") ||
                      span_is(last, "TTL") || span_is(last, "META") || span_is(last, "STAGE"));
      assert_int_equal(shows_of(argv[0])(&input, &shown, &error), !cut_off);
      if (cut_off) {
        assert_int_equal(error.fault, REQUEST_NO_VALUE);
        assert_ptr_equal(error.quoted.data, last.data);
      }
      free(argv);
    }
  }
}

/* ---- limits ---- */

static void expect_limit_of(const char *line, size_t index, size_t limit, const char *name) {
  struct words words;
  split(&words, line);
  assert_true(index < words.argc);
  words.argc = index; /* what comes later is not there yet */
  assert_int_equal(request_limit(&LIMITS, words.argv, index), limit);
  assert_string_equal(request_argument_name(words.argv, index), name);
}

/* Of an argument without a name of its own. */
static void expect_limit(const char *line, size_t index, size_t limit) {
  expect_limit_of(line, index, limit, "argument");
}

static void every_argument_has_a_limit_of_its_own(void **state) {
  (void)state;
  expect_limit_of("CLAIM k", 1, 1001, "key");
  expect_limit_of("FP k", 1, 1001, "key"); /* whatever the command is called */
  expect_limit("CLAIM k FP f", 2, REQUEST_WORD_BYTES);
  expect_limit_of("CLAIM k FP f", 3, 1002, "fingerprint");
  expect_limit_of("CLAIM k fp f", 3, 1002, "fingerprint");
  expect_limit_of("CLAIM k FP f OWNER o", 5, 1003, "owner");
  expect_limit("RENEW k 7", 2, REQUEST_WORD_BYTES);
  expect_limit_of("RENEW k 7 STAGE s", 4, 1004, "stage");
  expect_limit_of("STORE k 7 b META m", 5, 1005, "meta");
  expect_limit("CLAIM k LEASE 7", 3, REQUEST_WORD_BYTES);
  expect_limit("CLAIM k WAIT 7", 3, REQUEST_WORD_BYTES);
  expect_limit("STORE k 7 b TTL 9", 5, REQUEST_WORD_BYTES);
  expect_limit("CLAIM k BIND x", 3, REQUEST_WORD_BYTES);
  expect_limit("CLAIM k HOLD x", 3, REQUEST_WORD_BYTES);
  expect_limit("CLAIM k TAKEOVER 7", 3, REQUEST_WORD_BYTES);
  expect_limit("CLAIM k BORN 7", 3, REQUEST_WORD_BYTES);
  expect_limit("RELEASE k 7 UNSURE x", 4, REQUEST_WORD_BYTES);
  expect_limit("RELEASE k 7 CLEAR x", 4, REQUEST_WORD_BYTES);
  expect_limit("CLAIM k COLOUR red", 3, REQUEST_WORD_BYTES);
  expect_limit("CLAIM k  x", 3, REQUEST_WORD_BYTES);
}

static void a_value_that_is_called_like_an_option_limits_nothing(void **state) {
  (void)state;
  expect_limit("CLAIM k OWNER FP HOLD", 4, REQUEST_WORD_BYTES);
  expect_limit("CLAIM k OWNER FP FP f", 4, REQUEST_WORD_BYTES);
  expect_limit_of("CLAIM k OWNER FP FP f", 5, 1002, "fingerprint");
  expect_limit("CLAIM k FP OWNER OWNER FP LEASE 7", 6, REQUEST_WORD_BYTES);
  expect_limit_of("CLAIM k FP OWNER OWNER FP LEASE 7", 5, 1003, "owner");
  expect_limit_of("CLAIM k HOLD FP f", 4, 1002, "fingerprint"); /* a flag has no value */
  expect_limit_of("CLAIM FP FP f", 3, 1002, "fingerprint");     /* nor has a key */
  expect_limit_of("RENEW k 7 STAGE s", 4, 1004, "stage");
}

/* Each word is judged in a bounded time, however many come before it. */
static void a_long_row_of_options_is_not_walked_to_its_begin(void **state) {
  (void)state;
  enum { ROW = 65536, SEEN = 64 };
  struct span *argv = malloc(ROW * sizeof *argv);
  assert_non_null(argv);
  for (size_t i = 0; i < ROW; i++) argv[i] = (struct span){(const char *)1, 2}; /* whoever looks crashes */
  for (size_t i = ROW - SEEN; i < ROW; i++) argv[i] = (struct span)SPAN_LITERAL("FP");
  assert_true(request_limit(&LIMITS, argv, ROW - 1) > 0);
  free(argv);
}

static void a_store_has_its_body_where_others_have_options(void **state) {
  (void)state;
  struct words words;
  split(&words, "STORE k META b META m");
  static const size_t limits[] = {1001, REQUEST_WORD_BYTES, 1006, REQUEST_WORD_BYTES, 1005};
  for (size_t i = 1; i < words.argc; i++)
    assert_int_equal(request_store_limit(&LIMITS, words.argv, i), limits[i - 1]);
  assert_int_equal(request_limit(&LIMITS, words.argv, REQUEST_STORE_BODY), 1005);
  assert_string_equal(request_store_argument_name(words.argv, REQUEST_STORE_BODY), "body");
  split(&words, "STORE k 7 META META m");
  assert_int_equal(request_store_limit(&LIMITS, words.argv, 4), REQUEST_WORD_BYTES);
  assert_string_equal(request_store_argument_name(words.argv, 4), "argument");
  assert_int_equal(request_store_limit(&LIMITS, words.argv, 5), 1005);
  assert_string_equal(request_store_argument_name(words.argv, 5), "meta");
}

static void the_least_limit_is_within_all(void **state) {
  (void)state;
  assert_int_equal(request_least_limit(&LIMITS), REQUEST_WORD_BYTES);
  static const size_t fields[] = {offsetof(struct request_limits, key_bytes),
                                  offsetof(struct request_limits, stage_bytes),
                                  offsetof(struct request_limits, meta_bytes),
                                  offsetof(struct request_limits, owner_bytes),
                                  offsetof(struct request_limits, body_bytes),
                                  offsetof(struct request_limits, fingerprint_bytes)};
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    struct request_limits limits = LIMITS;
    *(int64_t *)(void *)((char *)&limits + fields[i]) = 5;
    assert_int_equal(request_least_limit(&limits), 5);
  }
}

#define TEST(name) cmocka_unit_test(name)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(what_is_not_given_has_its_default_or_is_absent),
      TEST(every_option_has_its_place),
      TEST(options_come_in_any_order_and_in_any_case),
      TEST(a_value_may_be_a_word_or_be_empty),
      TEST(bytes_are_any_bytes),
      TEST(of_an_empty_word_no_byte_is_read),
      TEST(a_lease_is_1_to_lease_max),
      TEST(a_ttl_is_0_to_ttl_max),
      TEST(unsure_and_clear_need_ttl_0_and_exclude_each_other),
      TEST(a_birth_is_any_time_from_0_on),
      TEST(a_wait_is_cut_to_wait_max_and_0_asks_for_it),
      TEST(a_token_is_any_integer_from_0_on),
      TEST(numbers_are_strict),
      TEST(a_command_has_its_options_once_with_their_values_and_no_others),
      TEST(what_only_looks_like_an_option_is_unknown),
      TEST(the_first_error_counts),
      TEST(an_owner_is_not_empty),
      TEST(an_option_is_quoted_as_it_came),
      TEST(a_long_quotation_is_cut),
      TEST(an_argument_that_is_too_big_is_named),
      TEST(a_birth_after_now_is_refused_in_words),
      TEST(a_list_may_end_anywhere),
      TEST(every_argument_has_a_limit_of_its_own),
      TEST(a_value_that_is_called_like_an_option_limits_nothing),
      TEST(a_long_row_of_options_is_not_walked_to_its_begin),
      TEST(a_store_has_its_body_where_others_have_options),
      TEST(the_least_limit_is_within_all),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
