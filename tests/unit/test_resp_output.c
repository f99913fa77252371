/*
 * test_resp_output.c - room, references and failure of what is gathered to be sent.
 */
#include "proto/resp_output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Lets a huge allocation fail under the address sanitizer as it does without: with NULL. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }

static void append(struct resp_output *out, const char *text) {
  resp_output_append(out, text, strlen(text));
}

static void test_reset_keeps_memory_and_deinit_frees_it(void **state) {
  (void)state;
  struct resp_output out = {0};
  for (int i = 0; i < 1000; i++) {
    append(&out, "$1\r\n");
    assert_true(resp_output_refer(&out, SPAN_LITERAL("x"), NULL, NULL));
  }
  size_t capacity = out.capacity;
  out.failed = true;
  resp_output_reset(&out);
  assert_int_equal(resp_output_size(&out), 0);
  assert_int_equal(out.ref_count, 0);
  assert_false(out.failed);
  assert_int_equal(out.capacity, capacity);
  append(&out, "+OK\r\n");
  assert_int_equal(out.len, 5);
  assert_memory_equal(out.bytes, "+OK\r\n", 5);
  resp_output_deinit(&out);
  assert_null(out.bytes);
  assert_null(out.refs);
  assert_int_equal(out.capacity, 0);
  resp_output_deinit(&out);
}

/* Growth doubles: a million small appends take few allocations. */
static void test_growth_is_geometric(void **state) {
  (void)state;
  struct resp_output out = {0};
  int grown = 0;
  for (int i = 0; i < 1000000; i++) {
    size_t capacity = out.capacity;
    append(&out, ":123456\r\n");
    if (out.capacity != capacity) grown++;
  }
  assert_in_range(grown, 10, 20);
  assert_true(out.capacity < 2 * out.len + 1024);
  resp_output_deinit(&out);
}

static void test_reserved_room_counts_when_it_is_committed(void **state) {
  (void)state;
  struct resp_output out = {0};
  char *p = resp_output_reserve(&out, 1000);
  assert_non_null(p);
  assert_int_equal(out.len, 0);
  memcpy(p, "+OK\r\n", 5);
  resp_output_commit(&out, p + 5);
  assert_int_equal(resp_output_size(&out), 5);
  out.failed = true;
  assert_null(resp_output_reserve(&out, 1));
  resp_output_deinit(&out);
}

static void test_what_was_sent_is_forgotten(void **state) {
  (void)state;
  struct resp_output out = {0};
  for (int i = 0; i < 1000; i++) append(&out, "+PONG\r\n");
  assert_int_equal(resp_output_forget(&out, 6990), 6990);
  assert_int_equal(resp_output_size(&out), 10);
  assert_int_equal(out.capacity, 10);
  append(&out, "+OK\r\n");
  assert_memory_equal(out.bytes, "G\r\n+PONG\r\n+OK\r\n", 15);
  resp_output_deinit(&out);
}

static void test_bytes_by_reference_go_where_they_were_written(void **state) {
  (void)state;
  struct resp_output out = {0};
  int pin = 0;
  append(&out, "=9\r\ntxt:");
  assert_true(resp_output_refer(&out, SPAN_LITERAL("hello"), &pin, NULL));
  append(&out, "\r\n");
  assert_int_equal(out.ref_count, 1);
  assert_int_equal(out.refs[0].at, strlen("=9\r\ntxt:"));
  assert_ptr_equal(out.refs[0].pin, &pin);
  assert_int_equal(resp_output_size(&out), strlen("=9\r\ntxt:hello\r\n"));
  out.failed = true;
  assert_false(resp_output_refer(&out, SPAN_LITERAL("hello"), &pin, NULL));
  assert_int_equal(out.ref_count, 1);
  resp_output_deinit(&out);
}

static void test_references_do_not_overflow_the_size(void **state) {
  (void)state;
  struct resp_output out = {0};
  struct span huge = {"x", SIZE_MAX / 8};
  for (int i = 0; i < 10 && !out.failed; i++) {
    (void)resp_output_refer(&out, huge, NULL, NULL);
    assert_true(resp_output_size(&out) >= out.ref_bytes);
  }
  assert_true(out.failed);
  assert_in_range(out.ref_count, 1, 4);
  resp_output_deinit(&out);
}

/* What a machine does not have, and what a size_t cannot hold. */
static void test_a_failed_output_takes_nothing_more(void **state) {
  (void)state;
  const size_t impossible[] = {SIZE_MAX / 8, SIZE_MAX / 2, SIZE_MAX - 64, SIZE_MAX};
  for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
    struct resp_output out = {0};
    append(&out, "+before\r\n");
    assert_null(resp_output_reserve(&out, impossible[i]));
    assert_true(out.failed);
    append(&out, "+after\r\n");
    assert_int_equal(out.len, strlen("+before\r\n"));
    assert_memory_equal(out.bytes, "+before\r\n", out.len);
    resp_output_deinit(&out);
  }
}

static void test_a_moved_output_takes_its_references_along(void **state) {
  (void)state;
  struct resp_output from = {0}, to = {0};
  int pins[2];
  append(&from, "a");
  assert_true(resp_output_refer(&from, SPAN_LITERAL("first"), &pins[0], NULL));
  append(&from, "b");
  assert_true(resp_output_refer(&from, SPAN_LITERAL("second"), &pins[1], NULL));
  append(&from, "c");
  append(&to, "before");
  assert_int_equal(resp_output_move(&to, &from), 2);
  assert_int_equal(to.len, strlen("beforeabc"));
  assert_memory_equal(to.bytes, "beforeabc", to.len);
  assert_int_equal(to.refs[0].at, strlen("beforea"));
  assert_int_equal(to.refs[1].at, strlen("beforeab"));
  assert_ptr_equal(to.refs[1].pin, &pins[1]);
  to.failed = true;
  assert_int_equal(resp_output_move(&to, &from), 0);
  assert_int_equal(to.ref_count, 2);
  resp_output_deinit(&from);
  resp_output_deinit(&to);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reset_keeps_memory_and_deinit_frees_it),
      cmocka_unit_test(test_growth_is_geometric),
      cmocka_unit_test(test_reserved_room_counts_when_it_is_committed),
      cmocka_unit_test(test_what_was_sent_is_forgotten),
      cmocka_unit_test(test_bytes_by_reference_go_where_they_were_written),
      cmocka_unit_test(test_references_do_not_overflow_the_size),
      cmocka_unit_test(test_a_failed_output_takes_nothing_more),
      cmocka_unit_test(test_a_moved_output_takes_its_references_along),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
