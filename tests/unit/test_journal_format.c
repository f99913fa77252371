/* test_journal_format.c - headers come back as they were put, and no byte of them may change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#include "server/journal/format.h"
#include "server/journal/segment.h"

static const struct format_segment a_segment = {
    .log_id = "0123456789abcde", .first_lsn = 1u << 26, .oldest_lsn = 77, .wall_ms = -5};

static struct format_batch a_batch(void) {
  return (struct format_batch){
      .flags = FORMAT_SEAL | FORMAT_CLEAN,
      .bytes = 1234,
      .count = 17,
      .lsn = UINT64_C(0x123456789a),
      .moment = {.engine_ms = -1, .wall_ms = INT64_MAX, .largest_ms = 12, .next_token = UINT64_MAX},
      .durable_lsn = 3,
      .oldest_lsn = 2,
      .previous = 99,
      .payload = 98,
  };
}

static void a_segment_header_comes_back(void **state) {
  (void)state;
  char bytes[FORMAT_SEGMENT_BYTES];
  struct format_segment back;
  unsigned version;
  format_put_segment(bytes, &a_segment);
  assert_memory_equal(bytes, "idemlog1", 8);
  assert_int_equal(format_get_segment(bytes, &back, &version), FORMAT_VALID);
  assert_memory_equal(&back, &a_segment, sizeof back);
}

static void every_bit_of_a_segment_header_counts(void **state) {
  (void)state;
  char bytes[FORMAT_SEGMENT_BYTES];
  struct format_segment back;
  unsigned version;
  format_put_segment(bytes, &a_segment);
  for (unsigned bit = 0; bit < 8 * sizeof bytes; bit++) {
    bytes[bit / 8] ^= (char)(1 << bit % 8);
    assert_int_not_equal(format_get_segment(bytes, &back, &version), FORMAT_VALID);
    bytes[bit / 8] ^= (char)(1 << bit % 8);
  }
}

static void a_newer_segment_is_told_from_a_rotten_one(void **state) {
  (void)state;
  char bytes[FORMAT_SEGMENT_BYTES];
  struct format_segment back;
  unsigned version = 0;
  format_put_segment(bytes, &a_segment);
  bytes[8] = 9;
  assert_int_equal(format_get_segment(bytes, &back, &version), FORMAT_NEWER);
  assert_int_equal(version, 9);
  bytes[8] = 0;
  assert_int_equal(format_get_segment(bytes, &back, &version), FORMAT_INVALID);
}

static void a_batch_header_comes_back(void **state) {
  (void)state;
  char bytes[FORMAT_BATCH_BYTES];
  struct format_batch batch = a_batch(), back;
  format_put_batch(bytes, &batch, 5);
  assert_int_equal(format_get_batch(bytes, batch.lsn, 5, &back), FORMAT_VALID);
  assert_int_equal(back.flags, batch.flags);
  assert_int_equal(back.bytes, batch.bytes);
  assert_int_equal(back.count, batch.count);
  assert_int_equal(back.lsn, batch.lsn);
  assert_memory_equal(&back.moment, &batch.moment, sizeof back.moment);
  assert_int_equal(back.durable_lsn, batch.durable_lsn);
  assert_int_equal(back.oldest_lsn, batch.oldest_lsn);
  assert_int_equal(back.previous, batch.previous);
  assert_int_equal(back.payload, batch.payload);
  assert_int_equal(back.checksum, batch.checksum);
}

static void every_bit_of_a_batch_header_counts(void **state) {
  (void)state;
  char bytes[FORMAT_BATCH_BYTES];
  struct format_batch batch = a_batch(), back;
  format_put_batch(bytes, &batch, 5);
  for (unsigned bit = 0; bit < 8 * sizeof bytes; bit++) {
    bytes[bit / 8] ^= (char)(1 << bit % 8);
    assert_int_equal(format_get_batch(bytes, batch.lsn, 5, &back), FORMAT_INVALID);
    bytes[bit / 8] ^= (char)(1 << bit % 8);
  }
}

static void a_batch_is_of_one_place_in_one_log(void **state) {
  (void)state;
  char bytes[FORMAT_BATCH_BYTES];
  struct format_batch batch = a_batch(), back;
  format_put_batch(bytes, &batch, 5);
  assert_int_equal(format_get_batch(bytes, batch.lsn + 8, 5, &back), FORMAT_INVALID);
  assert_int_equal(format_get_batch(bytes, batch.lsn, 6, &back), FORMAT_INVALID);
}

static void a_name_is_a_position(void **state) {
  (void)state;
  char name[SEGMENT_NAME_BYTES];
  uint64_t lsn;
  segment_name(UINT64_C(0x40001c8), name);
  assert_string_equal(name, "idem-00000000040001c8.log");
  assert_true(segment_has_name(name, &lsn));
  assert_int_equal(lsn, 0x40001c8);
  static const char *const others[] = {"idem-40001c8.log",
                                       "idem-00000000040001C8.log",
                                       "idem-00000000040001c8.log.gz",
                                       "idem-.log",
                                       "spare",
                                       "LOCK",
                                       "idem-000000000040001c8.log"};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    assert_false(segment_has_name(others[i], &lsn));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_segment_header_comes_back),
      cmocka_unit_test(every_bit_of_a_segment_header_counts),
      cmocka_unit_test(a_newer_segment_is_told_from_a_rotten_one),
      cmocka_unit_test(a_batch_header_comes_back),
      cmocka_unit_test(every_bit_of_a_batch_header_counts),
      cmocka_unit_test(a_batch_is_of_one_place_in_one_log),
      cmocka_unit_test(a_name_is_a_position),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
