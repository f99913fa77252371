/*
 * test_key.c - keys from parts, fingerprints, the Idempotency-Key header. No server.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/idem.h"

static void keys_are_joined_by_length(void **state) {
  (void)state;
  char out[64];
  size_t len = 0;
  assert_int_equal(idem_key_http(idem_text("t"), idem_text("POST"), idem_text("/orders"),
                                 idem_text("k"), out, sizeof out, &len),
                   IDEM_OK);
  assert_int_equal(len, strlen("1:t4:POST7:/orders1:k"));
  assert_memory_equal(out, "1:t4:POST7:/orders1:k", len);
  struct idem_bytes parts[] = {idem_text(NULL), idem_text("")};
  assert_int_equal(idem_key(parts, 2, out, sizeof out, &len), IDEM_OK);
  assert_memory_equal(out, "-0:", len);
  assert_int_equal(idem_key(parts, 0, out, sizeof out, &len), IDEM_INVALID);
  struct idem_bytes exact[] = {idem_text("1234")};
  assert_int_equal(idem_key(exact, 1, out, 6, &len), IDEM_OK);
  out[5] = '!';
  assert_int_equal(idem_key(exact, 1, out, 5, &len), IDEM_TOOBIG);
  assert_int_equal(len, 6);
  assert_int_equal(out[5], '!');
}

/* All lists of up to three parts over a small, mean alphabet: no two share a key. */
static void no_two_lists_share_a_key(void **state) {
  (void)state;
  static const char *const words[] = {NULL, "", "1", "-", "1:1", "0:", ":", "-1:1", "1:-"};
  enum {
    WORDS = sizeof words / sizeof words[0],
    ALL = WORDS + WORDS * WORDS + WORDS * WORDS * WORDS
  };
  static char keys[ALL][64];
  static size_t lens[ALL];
  int count = 0;
  for (size_t n = 1; n <= 3; n++) {
    size_t total = n == 1 ? WORDS : n == 2 ? WORDS * WORDS : WORDS * WORDS * WORDS;
    for (size_t code = 0; code < total; code++) {
      struct idem_bytes parts[3];
      for (size_t i = 0, rest = code; i < n; i++, rest /= WORDS)
        parts[i] = idem_text(words[rest % WORDS]);
      assert_int_equal(idem_key(parts, n, keys[count], sizeof keys[count], &lens[count]), IDEM_OK);
      for (int other = 0; other < count; other++) {
        assert_false(lens[other] == lens[count] &&
                     memcmp(keys[other], keys[count], lens[count]) == 0);
      }
      count++;
    }
  }
}

static struct idem_fingerprint print_of(const struct idem_http_request *request) {
  struct idem_fingerprint fingerprint;
  assert_int_equal(idem_fingerprint(request, &fingerprint), IDEM_OK);
  return fingerprint;
}

static void fingerprints_are_a_format(void **state) {
  (void)state;
  const struct idem_header headers[] = {{idem_text("Content-Type"), idem_text("application/json")},
                                        {idem_text("accept"), idem_text("*/*")}};
  const struct idem_header swapped[] = {{idem_text("ACCEPT"), idem_text("*/*")},
                                        {idem_text("content-type"), idem_text("application/json")}};
  struct idem_http_request request;
  memset(&request, 0, sizeof request);
  request.method = idem_text("POST");
  request.path = idem_text("/orders?a=1");
  request.headers = headers;
  request.header_count = 2;
  request.body = idem_text("{\"amount\":5}");
  struct idem_fingerprint first = print_of(&request), same, other;
  assert_int_equal(first.len, 16);
  /* Stored fingerprints outlive a release: this value may only change together with the version in
   * fingerprint.c. */
  static const unsigned char golden[16] = {0xe4, 0x00, 0xd2, 0xdc, 0xb2, 0xcd, 0xcb, 0x8f,
                                           0x52, 0x6d, 0xb4, 0x6d, 0x13, 0xbe, 0xc0, 0x50};
  assert_memory_equal(first.bytes, golden, 16);
  request.headers = swapped;
  same = print_of(&request);
  assert_memory_equal(first.bytes, same.bytes, 16);
  request.body = idem_text("{\"amount\":6}");
  other = print_of(&request);
  assert_memory_not_equal(first.bytes, other.bytes, 16);
}

static void bytes_cannot_move_between_parts(void **state) {
  (void)state;
  static const struct {
    const char *method, *path, *body;
  } cases[] = {{"POST", "/a", "b"},   {"POST", "/ab", ""}, {"POST/", "a", "b"},
               {"POST", "/a", NULL},  {"POST", "/a", ""},  {"", "POST/a", "b"},
               {NULL, "POST/a", "b"}, {"POST", "", "/ab"}, {"POST", NULL, "/ab"}};
  enum { CASES = sizeof cases / sizeof cases[0] };
  struct idem_fingerprint prints[CASES];
  for (int i = 0; i < CASES; i++) {
    struct idem_http_request request;
    memset(&request, 0, sizeof request);
    request.method = idem_text(cases[i].method);
    request.path = idem_text(cases[i].path);
    request.body = idem_text(cases[i].body);
    prints[i] = print_of(&request);
    for (int j = 0; j < i; j++) assert_memory_not_equal(prints[i].bytes, prints[j].bytes, 16);
  }
}

static void too_many_headers_are_refused(void **state) {
  (void)state;
  struct idem_header headers[IDEM_HEADERS_LIMIT + 1];
  struct idem_http_request request;
  struct idem_fingerprint out;
  memset(&request, 0, sizeof request);
  char name[300];
  memset(name, 'N', sizeof name);
  for (size_t i = 0; i <= IDEM_HEADERS_LIMIT; i++)
    headers[i] = (struct idem_header){idem_data(name, 300 - i), idem_text("v")};
  request.headers = headers;
  request.header_count = IDEM_HEADERS_LIMIT;
  assert_int_equal(idem_fingerprint(&request, &out), IDEM_OK);
  request.header_count = IDEM_HEADERS_LIMIT + 1;
  assert_int_equal(idem_fingerprint(&request, &out), IDEM_INVALID);
  request.header_count = 0;
  request.digest = IDEM_SHA256;
  enum idem_status status = idem_fingerprint(&request, &out);
  assert_true(status == IDEM_REFUSED || (status == IDEM_OK && out.len == 32));
}

static const struct {
  const char *value;
  unsigned flags;
  enum idem_status expected;
  const char *key;
} HEADERS[] = {
    {"\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", 0, IDEM_OK,
     "8e03978e-40d5-43e8-bc93-6894a57f9324"},
    {"  \"a b\"  ", 0, IDEM_OK, "a b"},
    {"\"a\\\"b\\\\c\"", 0, IDEM_OK, "a\"b\\c"},
    {"\"a\";p", 0, IDEM_OK, "a"},
    {"\"a\"; p=1;q=\"x\\\"\";r=tok/en:x;s=?1;t=:YWI=:;u=-1.5", 0, IDEM_OK, "a"},
    {"\"a\";p=1.1234", 0, IDEM_INVALID, NULL},
    {"\"a\";P", 0, IDEM_INVALID, NULL},
    {"\"a\";", 0, IDEM_INVALID, NULL},
    {"\"a\";p=", 0, IDEM_INVALID, NULL},
    {"\"a\";p=?2", 0, IDEM_INVALID, NULL},
    {"\"a\" ;p", 0, IDEM_INVALID, NULL},
    {"\"a\", \"b\"", 0, IDEM_INVALID, NULL},
    {"\"a", 0, IDEM_INVALID, NULL},
    {"a\"", 0, IDEM_INVALID, NULL},
    {"\"\"", 0, IDEM_INVALID, NULL},
    {"", 0, IDEM_INVALID, NULL},
    {"   ", 0, IDEM_INVALID, NULL},
    {"\"a\\n\"", 0, IDEM_INVALID, NULL},
    {"\"a\\", 0, IDEM_INVALID, NULL},
    {"\"\xc3\xa9\"", 0, IDEM_INVALID, NULL},
    {"\"a\tb\"", 0, IDEM_INVALID, NULL},
    {"8e03978e", 0, IDEM_INVALID, NULL},
    {"8e03978e", IDEM_HEADER_UNQUOTED, IDEM_OK, "8e03978e"},
    {"\"8e03978e\"", IDEM_HEADER_UNQUOTED, IDEM_OK, "8e03978e"},
    {"two words", IDEM_HEADER_UNQUOTED, IDEM_INVALID, NULL},
    {"\"12345678901234567890\"", 0, IDEM_OK, "12345678901234567890"},
    {"\"123456789012345678901\"", 0, IDEM_TOOBIG, NULL},
    {"123456789012345678901", IDEM_HEADER_UNQUOTED, IDEM_TOOBIG, NULL},
};

static void headers_are_structured_strings(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof HEADERS / sizeof HEADERS[0]; i++) {
    char out[64];
    size_t len = 99, size = strlen(HEADERS[i].value) > 30 ? 40 : 20;
    enum idem_status status =
        idem_key_from_header(idem_text(HEADERS[i].value), HEADERS[i].flags, out, size, &len);
    if (status != HEADERS[i].expected)
      fail_msg("%s: %s", HEADERS[i].value, idem_status_name(status));
    if (HEADERS[i].key == NULL) continue;
    assert_int_equal(len, strlen(HEADERS[i].key));
    assert_memory_equal(out, HEADERS[i].key, len);
  }
}

static void headers_fit_or_say_how_long_they_are(void **state) {
  (void)state;
  char out[8];
  size_t len = 0;
  for (unsigned flags = 0; flags <= IDEM_HEADER_UNQUOTED; flags++) { /* no room at all */
    assert_int_equal(idem_key_from_header(idem_text("\"abc\""), flags, NULL, 0, &len), IDEM_TOOBIG);
    assert_int_equal(len, 3);
  }
  assert_int_equal(idem_key_from_header(idem_text("abc"), IDEM_HEADER_UNQUOTED, NULL, 0, &len),
                   IDEM_TOOBIG);
  assert_int_equal(len, 3);
  assert_int_equal(idem_key_from_header(idem_text(" "), IDEM_HEADER_UNQUOTED, NULL, 0, &len),
                   IDEM_INVALID);
  assert_int_equal(idem_key_from_header(idem_text(NULL), 0, out, sizeof out, &len), IDEM_INVALID);
  assert_int_equal(idem_key_from_header(idem_data("\"a\0b\"", 5), 0, out, sizeof out, &len),
                   IDEM_INVALID);
}

static void every_status_has_a_name(void **state) {
  (void)state;
  for (int status = IDEM_OK; status <= IDEM_CANCELLED; status++) {
    assert_string_not_equal(idem_status_name((enum idem_status)status), "?");
  }
  assert_string_equal(idem_status_name((enum idem_status)(IDEM_CANCELLED + 1)), "?");
  assert_string_equal(idem_version(), IDEM_CLIENT_VERSION);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keys_are_joined_by_length),
      cmocka_unit_test(no_two_lists_share_a_key),
      cmocka_unit_test(fingerprints_are_a_format),
      cmocka_unit_test(bytes_cannot_move_between_parts),
      cmocka_unit_test(too_many_headers_are_refused),
      cmocka_unit_test(headers_are_structured_strings),
      cmocka_unit_test(headers_fit_or_say_how_long_they_are),
      cmocka_unit_test(every_status_has_a_name),
  };
  return cmocka_run_group_tests_name("key", tests, NULL, NULL);
}
