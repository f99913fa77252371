/*
 * test_codec.c - a response comes back from its bytes as it was, whatever its numbers and lengths
 * are, and what the bytes take is known before and after.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "server/engine/codec.h"

#define LONGEST 5000u

static const int64_t NUMBERS[] = {0,       1,          63,         64,
                                  8191,    8192,       INT32_MAX,  INT64_C(1) << 40,
                                  1000000, 1000000000, 1000000001, INT64_MAX / 4};
static const size_t LENGTHS[] = {0, 1, 127, 128, LONGEST};
#define NUMBER_COUNT (sizeof NUMBERS / sizeof *NUMBERS)
#define LENGTH_COUNT (sizeof LENGTHS / sizeof *LENGTHS)

static const struct codec_base BASE = {1000000000, 86400000, UINT64_C(361000000000000)};

static char content[LONGEST + 64];

static struct span some(size_t from, size_t len) { return (struct span){content + from, len}; }

static struct response usual(void) {
  return (struct response){
      .key = {KEY_UUID_LOWER, some(1, KEY_UUID_BYTES)},
      .fingerprint = {FINGERPRINT_LOWER, some(2, 8)},
      .body = some(3, 100),
      .token = BASE.token + 5,
      .since_ms = BASE.since_ms + 3,
      .deadline_ms = BASE.since_ms + 3 + BASE.ttl_ms,
  };
}

static void expect_same(const struct codec_base *base, const struct response_ref *ref,
                        const struct response *want) {
  struct response have;
  codec_read(base, ref, &have);
  assert_true(key_equal(have.key, want->key));
  assert_true(fingerprint_equal(have.fingerprint, want->fingerprint));
  assert_true(span_equal(have.body, want->body));
  assert_true(span_equal(have.meta, want->meta));
  assert_true(have.token == want->token);
  assert_true(have.since_ms == want->since_ms);
  assert_true(have.deadline_ms == want->deadline_ms);
  assert_true(codec_deadline_ms(base, ref) == want->deadline_ms);
  assert_true(key_equal(codec_key(ref), want->key));
  assert_true(codec_since_ms(base, ref) == want->since_ms);
  struct codec_outline seen;
  codec_look(base, ref, &seen);
  assert_true(span_equal(seen.key, want->key.bytes));
  assert_true(seen.since_ms == want->since_ms);
  assert_true(seen.deadline_ms == want->deadline_ms);
  assert_int_equal(seen.size, codec_length(ref));
}

/* In a piece that ends where the response should: a sanitizer sees a read or write beyond it. */
static size_t expect_round_trip(const struct codec_base *base, const struct response *response) {
  size_t size = codec_size(base, response);
  unsigned char *bytes = malloc(size);
  assert_non_null(bytes);
  assert_int_equal(codec_write(base, 2, bytes, response), size);
  const struct response_ref *ref = (const void *)bytes;
  assert_int_equal(size % CODEC_ALIGNMENT, 0);
  assert_true(size <= codec_most(response));
  assert_int_equal(codec_length(ref), size);
  assert_int_equal(codec_class(ref), 2);
  expect_same(base, ref, response);
  free(bytes);
  return size;
}

static void numbers_come_back_as_they_were(void **state) {
  (void)state;
  for (size_t i = 0; i < NUMBER_COUNT * NUMBER_COUNT * NUMBER_COUNT; i++) {
    struct response response = usual();
    response.since_ms = NUMBERS[i % NUMBER_COUNT];
    response.deadline_ms = response.since_ms + NUMBERS[i / NUMBER_COUNT % NUMBER_COUNT];
    response.token = (uint64_t)NUMBERS[i / NUMBER_COUNT / NUMBER_COUNT];
    expect_round_trip(&BASE, &response);
  }
}

static struct fingerprint print_of(size_t len) {
  if (len == 127) return (struct fingerprint){FINGERPRINT_RAW, SPAN_ABSENT};
  if (len == 128) return (struct fingerprint){FINGERPRINT_UPPER, some(7, 64)};
  return (struct fingerprint){FINGERPRINT_RAW, some(7, len)};
}

static void parts_come_back_as_they_were(void **state) {
  (void)state;
  for (size_t i = 0; i < LENGTH_COUNT * LENGTH_COUNT * LENGTH_COUNT * LENGTH_COUNT; i++) {
    struct response response = usual();
    size_t key = LENGTHS[i % LENGTH_COUNT], body = LENGTHS[i / LENGTH_COUNT % LENGTH_COUNT];
    size_t meta = LENGTHS[i / LENGTH_COUNT / LENGTH_COUNT % LENGTH_COUNT];
    size_t fingerprint = LENGTHS[i / LENGTH_COUNT / LENGTH_COUNT / LENGTH_COUNT];
    response.key = (struct key){KEY_RAW, some(4, key)};
    if (key == 127) response.key = (struct key){KEY_UUID_UPPER, some(4, KEY_UUID_BYTES)};
    response.body = some(5, body);
    response.meta = meta == 127 ? SPAN_ABSENT : some(6, meta);
    response.fingerprint = print_of(fingerprint);
    expect_round_trip(&BASE, &response);
  }
}

static void a_usual_response_takes_132_bytes(void **state) {
  (void)state;
  struct response response = usual();
  assert_int_equal(expect_round_trip(&BASE, &response), 132);
}

static void the_first_of_a_chunk_is_its_own_base(void **state) {
  (void)state;
  struct response response = usual();
  const struct codec_base own = {response.since_ms, response.deadline_ms - response.since_ms,
                                 response.token};
  assert_int_equal(codec_size(NULL, &response), codec_size(&own, &response));
  expect_round_trip(&own, &response);
}

static void blobs_come_back_as_addresses_and_an_outline_does_not_look_at_them(void **state) {
  (void)state;
  struct memory memory = {0};
  struct response response = usual(), have;
  response.body = some(0, LONGEST);
  response.meta = some(9, 3);
  assert_true(response_make_blobs(&memory, &response));
  unsigned char bytes[256];
  assert_true(codec_size(&BASE, &response) <= sizeof bytes);
  codec_write(&BASE, 0, bytes, &response);
  struct response_ref *ref = (void *)bytes;
  assert_true(codec_has_blobs(ref));
  codec_read(&BASE, ref, &have);
  assert_ptr_equal(have.body_blob, response.body_blob);
  assert_ptr_equal(have.meta_blob, response.meta_blob);
  expect_same(&BASE, ref, &response);
  response_drop_blobs(&memory, &response);
  assert_int_equal(memory.bytes, 0);
  assert_int_equal(codec_length(ref), codec_size(&BASE, &response));
}

static void what_is_dropped_is_marked_and_stays_readable(void **state) {
  (void)state;
  struct response response = usual();
  unsigned char bytes[256];
  codec_write(&BASE, 3, bytes, &response);
  struct response_ref *ref = (void *)bytes;
  assert_false(codec_is_dropped(ref));
  codec_mark_dropped(ref);
  assert_true(codec_is_dropped(ref));
  assert_int_equal(codec_class(ref), 3);
  expect_same(&BASE, ref, &response);
}

static int fill(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof content; i++) content[i] = (char)(i * 31);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_come_back_as_they_were),
      cmocka_unit_test(parts_come_back_as_they_were),
      cmocka_unit_test(a_usual_response_takes_132_bytes),
      cmocka_unit_test(the_first_of_a_chunk_is_its_own_base),
      cmocka_unit_test(blobs_come_back_as_addresses_and_an_outline_does_not_look_at_them),
      cmocka_unit_test(what_is_dropped_is_marked_and_stays_readable),
  };
  return cmocka_run_group_tests_name("codec", tests, fill, NULL);
}
