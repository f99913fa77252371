/*
 * test_resp_write.c - every reply in RESP2 and RESP3, as bytes on the wire.
 */
#include "proto/resp_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Lets a huge allocation fail under the address sanitizer as it does without: with NULL. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }

/* The wire: bytes with the references put in. The caller frees it. */
static char *wire_of(const struct resp_output *out, size_t *len) {
  char *wire = malloc(resp_output_size(out) + 1), *p = wire;
  assert_non_null(wire);
  size_t at = 0;
  for (size_t i = 0; i < out->ref_count; i++) {
    const struct resp_output_ref *ref = &out->refs[i];
    assert_true(ref->at >= at && ref->at <= out->len);
    memcpy(p, out->bytes + at, ref->at - at);
    p += ref->at - at;
    if (ref->len > 0) memcpy(p, ref->data, ref->len);
    p += ref->len;
    at = ref->at;
  }
  if (out->len > at) memcpy(p, out->bytes + at, out->len - at);
  p += out->len - at;
  *len = (size_t)(p - wire);
  assert_int_equal(*len, resp_output_size(out));
  *p = '\0';
  return wire;
}

static void expect_wire(const struct resp_output *out, struct span expected, const char *what) {
  size_t len = 0;
  char *wire = wire_of(out, &len);
  if (out->failed || len != expected.len || memcmp(wire, expected.data, len) != 0) {
    fail_msg("%s: got <%s>, expected <%s>", what, wire, expected.data);
  }
  free(wire);
}

static const char BODY[] = "body\r\n\0behind";

static void say_simple(struct resp_writer *w) { resp_write_simple(w, "OK"); }
static void say_empty_simple(struct resp_writer *w) { resp_write_simple(w, ""); }
static void say_error(struct resp_writer *w) { resp_write_error(w, "ERR no"); }
static void say_errorf(struct resp_writer *w) {
  resp_write_errorf(w, "ERR %d of '%s'", 3, "a\r\nb");
}
static void say_quoting(struct resp_writer *w) {
  resp_write_error_quoting(w, "ERR unknown command '", SPAN_LITERAL("\0G\xff~\x7f\r\n+OK\\"),
                           "', sorry");
}
static void say_quoting_absent(struct resp_writer *w) {
  resp_write_error_quoting(w, "ERR '", SPAN_ABSENT, "'");
}
static void say_zero(struct resp_writer *w) { resp_write_integer(w, 0); }
static void say_nine(struct resp_writer *w) { resp_write_integer(w, 9); }
static void say_ten(struct resp_writer *w) { resp_write_integer(w, 10); }
static void say_minus(struct resp_writer *w) { resp_write_integer(w, -42); }
static void say_max(struct resp_writer *w) { resp_write_integer(w, INT64_MAX); }
static void say_min(struct resp_writer *w) { resp_write_integer(w, INT64_MIN); }
static void say_bulk(struct resp_writer *w) { resp_write_bulk(w, SPAN_LITERAL(BODY)); }
static void say_empty_bulk(struct resp_writer *w) { resp_write_bulk(w, SPAN_LITERAL("")); }
static void say_absent_bulk(struct resp_writer *w) { resp_write_bulk(w, SPAN_ABSENT); }
static void say_text(struct resp_writer *w) { resp_write_bulk_text(w, "CLAIMED"); }
static void say_absent_text(struct resp_writer *w) { resp_write_bulk_text(w, NULL); }
static void say_pinned(struct resp_writer *w) {
  resp_write_bulk_pinned(w, SPAN_LITERAL(BODY), NULL, NULL);
}
static void say_empty_pinned(struct resp_writer *w) {
  resp_write_bulk_pinned(w, SPAN_LITERAL(""), NULL, NULL);
}
static void say_null(struct resp_writer *w) { resp_write_null(w); }
static void say_null_array(struct resp_writer *w) { resp_write_null_array(w); }
static void say_array(struct resp_writer *w) { resp_write_array(w, 12); }
static void say_empty_array(struct resp_writer *w) { resp_write_array(w, 0); }
static void say_map(struct resp_writer *w) { resp_write_map(w, 7); }
static void say_set(struct resp_writer *w) { resp_write_set(w, 3); }
static void say_push(struct resp_writer *w) { resp_write_push(w, 2); }
static void say_verbatim(struct resp_writer *w) {
  resp_write_verbatim(w, "txt", SPAN_LITERAL("a\nb"));
}
static void say_empty_verbatim(struct resp_writer *w) {
  resp_write_verbatim(w, "mkd", SPAN_LITERAL(""));
}
static void say_absent_verbatim(struct resp_writer *w) {
  resp_write_verbatim(w, "txt", SPAN_ABSENT);
}
static void say_raw(struct resp_writer *w) { resp_output_append(w->out, "+PONG\r\n", 7); }
static void say_nothing(struct resp_writer *w) { resp_output_append(w->out, NULL, 0); }

#define SAME(f, text) \
  { #f, f, SPAN_LITERAL(text), SPAN_LITERAL(text) }
#define BOTH(f, two, three) \
  { #f, f, SPAN_LITERAL(two), SPAN_LITERAL(three) }

static const struct {
  const char *name;
  void (*say)(struct resp_writer *);
  struct span resp2, resp3;
} REPLIES[] = {
    SAME(say_simple, "+OK\r\n"),
    SAME(say_empty_simple, "+\r\n"),
    SAME(say_error, "-ERR no\r\n"),
    SAME(say_errorf, "-ERR 3 of 'a\\x0d\\x0ab'\r\n"),
    SAME(say_quoting, "-ERR unknown command '\\x00G\\xff~\\x7f\\x0d\\x0a+OK\\', sorry\r\n"),
    SAME(say_quoting_absent, "-ERR ''\r\n"),
    SAME(say_zero, ":0\r\n"),
    SAME(say_nine, ":9\r\n"),
    SAME(say_ten, ":10\r\n"),
    SAME(say_minus, ":-42\r\n"),
    SAME(say_max, ":9223372036854775807\r\n"),
    SAME(say_min, ":-9223372036854775808\r\n"),
    SAME(say_bulk, "$13\r\nbody\r\n\0behind\r\n"),
    SAME(say_empty_bulk, "$0\r\n\r\n"),
    BOTH(say_absent_bulk, "$-1\r\n", "_\r\n"),
    SAME(say_text, "$7\r\nCLAIMED\r\n"),
    BOTH(say_absent_text, "$-1\r\n", "_\r\n"),
    SAME(say_pinned, "$13\r\nbody\r\n\0behind\r\n"),
    SAME(say_empty_pinned, "$0\r\n\r\n"),
    BOTH(say_null, "$-1\r\n", "_\r\n"),
    BOTH(say_null_array, "*-1\r\n", "_\r\n"),
    SAME(say_array, "*12\r\n"),
    SAME(say_empty_array, "*0\r\n"),
    BOTH(say_map, "*14\r\n", "%7\r\n"),
    BOTH(say_set, "*3\r\n", "~3\r\n"),
    BOTH(say_push, "*2\r\n", ">2\r\n"),
    BOTH(say_verbatim, "$3\r\na\nb\r\n", "=7\r\ntxt:a\nb\r\n"),
    BOTH(say_empty_verbatim, "$0\r\n\r\n", "=4\r\nmkd:\r\n"),
    BOTH(say_absent_verbatim, "$-1\r\n", "_\r\n"),
    SAME(say_raw, "+PONG\r\n"),
    SAME(say_nothing, ""),
};
#define REPLY_COUNT (sizeof REPLIES / sizeof REPLIES[0])

static void test_every_reply_in_both_versions(void **state) {
  (void)state;
  for (size_t i = 0; i < REPLY_COUNT; i++) {
    for (int version = 2; version <= 3; version++) {
      struct resp_output out = {0};
      struct resp_writer w = {&out, version};
      REPLIES[i].say(&w);
      expect_wire(&out, version == 2 ? REPLIES[i].resp2 : REPLIES[i].resp3, REPLIES[i].name);
      resp_output_deinit(&out);
    }
  }
}

/* All of them in one output, several times over: growth and references in the middle. */
static void test_replies_follow_each_other(void **state) {
  (void)state;
  struct resp_output out = {0};
  struct resp_writer w = {&out, 3};
  char *expected = NULL;
  size_t len = 0;
  for (int round = 0; round < 200; round++) {
    for (size_t i = 0; i < REPLY_COUNT; i++) {
      REPLIES[i].say(&w);
      expected = realloc(expected, len + REPLIES[i].resp3.len + 1);
      assert_non_null(expected);
      memcpy(expected + len, REPLIES[i].resp3.data, REPLIES[i].resp3.len);
      len += REPLIES[i].resp3.len;
    }
  }
  expected[len] = '\0';
  expect_wire(&out, (struct span){expected, len}, "all");
  assert_int_equal(out.ref_count, 400);
  free(expected);
  resp_output_deinit(&out);
}

static void test_integers_of_every_length(void **state) {
  (void)state;
  struct resp_output out = {0};
  struct resp_writer w = {&out, 2};
  for (int64_t ten = 1; ten <= INT64_MAX / 10; ten *= 10) {
    for (int64_t near = -1; near <= 1; near++) {
      char expected[64];
      long long value = (long long)(ten + near);
      snprintf(expected, sizeof expected, ":%lld\r\n:%lld\r\n", value, -value);
      resp_write_integer(&w, ten + near);
      resp_write_integer(&w, -(ten + near));
      expect_wire(&out, span_of(expected), "integers");
      resp_output_reset(&out);
    }
  }
  resp_output_deinit(&out);
}

static void test_a_long_error_is_cut_between_bytes(void **state) {
  (void)state;
  struct resp_output out = {0};
  struct resp_writer w = {&out, 2};
  char noise[4 * RESP_WRITE_ERROR_MAX];
  for (int fill = 'a'; fill >= 0; fill -= 'a') {
    memset(noise, fill, sizeof noise);
    for (size_t prefix = 0; prefix < 8; prefix++) {
      char words[] = "ERR 'xxx";
      words[prefix] = '\0';
      resp_write_error_quoting(&w, words, (struct span){noise, sizeof noise}, "' is too long");
      struct span suffix = SPAN_LITERAL("' is too long\r\n");
      assert_true(out.len <= 1 + RESP_WRITE_ERROR_MAX + 2);
      assert_true(out.len > RESP_WRITE_ERROR_MAX - 4);
      assert_memory_equal(out.bytes + out.len - suffix.len, suffix.data, suffix.len);
      size_t quoted = out.len - 1 - prefix - suffix.len;
      if (fill == 0) {
        assert_int_equal(quoted % strlen("\\x00"), 0);
        assert_memory_equal(out.bytes + out.len - suffix.len - 4, "\\x00", 4);
      }
      resp_output_reset(&out);
    }
  }
  noise[sizeof noise - 1] = '\0';
  memset(noise, 'e', sizeof noise - 1);
  resp_write_error(&w, noise);
  assert_int_equal(out.len, 1 + RESP_WRITE_ERROR_MAX + 2);
  resp_output_reset(&out);
  resp_write_errorf(&w, "%s", noise);
  assert_int_equal(out.len, 1 + RESP_WRITE_ERROR_MAX + 2);
  resp_output_reset(&out);
  /* Not even words that are longer than the limit themselves write after it. */
  resp_write_error_quoting(&w, noise, SPAN_LITERAL("q"), noise);
  assert_int_equal(out.len, 1 + RESP_WRITE_ERROR_MAX + 2);
  resp_output_deinit(&out);
}

static void test_pinned_bodies_are_not_copied(void **state) {
  (void)state;
  struct resp_output out = {0};
  struct resp_writer w = {&out, 2};
  size_t size = 64u * 1024 * 1024;
  char *body = malloc(size);
  assert_non_null(body);
  int pins[100];
  for (int i = 0; i < 100; i++) {
    resp_write_array(&w, 2);
    resp_write_bulk_pinned(&w, (struct span){body, size}, &pins[i], body);
    resp_write_integer(&w, i);
  }
  assert_int_equal(out.ref_count, 100);
  assert_true(out.ref_bytes == 100 * size);
  assert_true(out.capacity < 64 * 1024);
  for (int i = 0; i < 100; i++) {
    const struct resp_output_ref *ref = &out.refs[i];
    assert_ptr_equal(ref->data, body);
    assert_ptr_equal(ref->pin, &pins[i]);
    assert_true(ref->len == size);
    assert_memory_equal(out.bytes + ref->at - 11, "$67108864\r\n\r\n:", 14);
  }
  free(body);
  resp_output_deinit(&out);
}

/* More than a machine has, more than the writer allows, more than a size_t can hold. */
static const size_t IMPOSSIBLE[] = {SIZE_MAX / 8, SIZE_MAX / 2, SIZE_MAX - 64, SIZE_MAX};

static void expect_failed(struct resp_output *out, const char *what) {
  if (!out->failed) fail_msg("%s did not fail", what);
  struct resp_writer w = {out, 2};
  size_t len = out->len;
  for (size_t i = 0; i < REPLY_COUNT; i++) REPLIES[i].say(&w);
  assert_true(out->failed);
  assert_int_equal(out->len, len);
  assert_int_equal(out->ref_count, 0);
  resp_output_reset(out);
  resp_write_simple(&w, "OK");
  expect_wire(out, SPAN_LITERAL("+OK\r\n"), "after failure");
  resp_output_deinit(out);
}

static void test_failed_allocations_drop_what_follows(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof IMPOSSIBLE / sizeof IMPOSSIBLE[0]; i++) {
    struct span huge = {BODY, IMPOSSIBLE[i]};
    struct resp_output out = {0};
    struct resp_writer w = {&out, 3};
    resp_write_simple(&w, "before");
    resp_write_bulk(&w, huge);
    expect_failed(&out, "bulk");
    resp_write_simple(&w, "before");
    resp_write_verbatim(&w, "txt", huge);
    expect_failed(&out, "verbatim");
    resp_write_simple(&w, "before");
    resp_output_append(&out, huge.data, huge.len);
    expect_failed(&out, "append");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_reply_in_both_versions),
      cmocka_unit_test(test_replies_follow_each_other),
      cmocka_unit_test(test_integers_of_every_length),
      cmocka_unit_test(test_a_long_error_is_cut_between_bytes),
      cmocka_unit_test(test_pinned_bodies_are_not_copied),
      cmocka_unit_test(test_failed_allocations_drop_what_follows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
