/*
 * test_image.c - an image comes back from its bytes as it was, of every kind and with every
 * combination of parts and flags; and bytes that are cut or changed are refused, without a look
 * beyond their end: a guard page follows them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/engine/image.h"
#include "server/rules/rules.h"

/* ---- bytes before a guard page ---- */

struct guarded {
  char *pages;
  size_t page, size; /* size: of what may be read, in whole pages */
};

static struct guarded guarded_create(size_t most) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (most + page - 1) / page * page;
  char *pages = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(pages != MAP_FAILED);
  assert_int_equal(mprotect(pages + size, page, PROT_NONE), 0);
  return (struct guarded){pages, page, size};
}

static void guarded_destroy(struct guarded *g) { munmap(g->pages, g->size + g->page); }

/* The last `len` bytes before the guard. */
static char *at_the_end(const struct guarded *g, size_t len) { return g->pages + g->size - len; }

/* ---- images ---- */

static struct image record_image(void) {
  return (struct image){
      .kind = IMAGE_RECORD,
      .phase = RULES_HELD,
      .user = 40000,
      .token = UINT64_C(361000000000001),
      .since_ms = 1000000,
      .deadline_ms = 1060000,
      .lease_ms = 60000,
      .attempt = 3,
      .key = {KEY_RAW, SPAN_LITERAL("order-17")},
      .fingerprint = SPAN_LITERAL("fp"),
      .owner = SPAN_LITERAL("worker-3"),
      .stage = SPAN_LITERAL("charged"),
  };
}

static struct image response_image(void) {
  struct image image = record_image();
  image.kind = IMAGE_RESPONSE;
  image.phase = 0;
  image.lease_ms = image.attempt = 0;
  image.body = SPAN_LITERAL("{\"ok\":true}");
  image.meta = SPAN_LITERAL("200");
  return image;
}

static struct image without_parts(enum image_kind kind) {
  return (struct image){.kind = kind,
                        .key = {KEY_RAW, SPAN_LITERAL("k")},
                        .fingerprint = SPAN_ABSENT,
                        .body = SPAN_ABSENT,
                        .meta = SPAN_ABSENT};
}

static struct image value_image(void) {
  struct image image = without_parts(IMAGE_VALUE);
  image.token = 7;
  image.since_ms = 5;
  image.deadline_ms = RULES_NEVER;
  image.body = SPAN_LITERAL("");
  return image;
}

static struct image some_of(enum image_kind kind) {
  switch (kind) {
    case IMAGE_RECORD: return record_image();
    case IMAGE_RESPONSE: return response_image();
    case IMAGE_VALUE: return value_image();
    case IMAGE_KEYSPACE: {
      struct image image = without_parts(kind);
      image.since_ms = 99;
      image.body = SPAN_LITERAL("the secret");
      return image;
    }
    case IMAGE_HORIZON: {
      struct image image = without_parts(kind);
      image.token = 512;
      image.lg_slots = 16;
      image.slot = 1024;
      return image;
    }
    default: return without_parts(kind);
  }
}

static void expect_part(struct span have, struct span want) {
  assert_int_equal(span_present(have), span_present(want));
  assert_true(span_equal(have, want));
}

static void expect_same(const struct image *have, const struct image *want) {
  assert_int_equal(have->kind, want->kind);
  assert_int_equal(have->phase, want->phase);
  assert_int_equal(have->hold, want->hold);
  assert_int_equal(have->bind, want->bind);
  assert_int_equal(have->nobody, want->nobody);
  assert_int_equal(have->user, want->user);
  assert_true(have->token == want->token);
  assert_true(have->since_ms == want->since_ms);
  assert_true(have->deadline_ms == want->deadline_ms);
  assert_int_equal(have->lease_ms, want->lease_ms); /* lg_slots */
  assert_int_equal(have->attempt, want->attempt);   /* slot */
  assert_true(key_equal(have->key, want->key));
  expect_part(have->fingerprint, want->fingerprint);
  expect_part(have->body, want->body); /* owner */
  expect_part(have->meta, want->meta); /* stage */
}

static void expect_round_trip(const struct image *image) {
  size_t size = image_size(image);
  char *bytes = malloc(size); /* a sanitizer sees its end */
  memset(bytes, 0x55, size);
  assert_ptr_equal(image_write(image, bytes), bytes + size);
  size_t parts = image->key.bytes.len + image->fingerprint.len + image->body.len + image->meta.len;
  for (size_t at = IMAGE_HEAD_BYTES + parts; at < size; at++) assert_int_equal(bytes[at], 0);
  assert_int_equal(size % IMAGE_ALIGNMENT, 0);
  struct image have;
  assert_int_equal(image_read((struct span){bytes, size}, &have), size);
  expect_same(&have, image);
  free(bytes);
}

/* ---- there and back ---- */

static void every_kind_comes_back(void **state) {
  (void)state;
  for (int kind = IMAGE_RECORD; kind <= IMAGE_HORIZON; kind++) {
    struct image image = some_of((enum image_kind)kind);
    expect_round_trip(&image);
  }
}

static void each_combination_of_flags_and_parts_comes_back(void **state) {
  (void)state;
  static const uint8_t PHASES[] = {RULES_HELD, RULES_LAPSED, RULES_UNKNOWN};
  for (unsigned bits = 0; bits < 64; bits++) {
    for (unsigned p = 0; p < 3; p++) {
      struct image image = record_image();
      image.phase = PHASES[p];
      image.hold = bits & 1;
      image.bind = bits & 2;
      image.nobody = bits & 4;
      if (bits & 8) image.fingerprint = SPAN_ABSENT;
      if (bits & 16) image.owner = SPAN_ABSENT;
      if (bits & 32) image.stage = SPAN_ABSENT;
      if (p == 2) image.deadline_ms = RULES_NEVER;
      expect_round_trip(&image);
    }
  }
}

/* An empty part is not an absent one; and none is mistaken for the next one. */
static void parts_of_every_length_come_back(void **state) {
  (void)state;
  static char bytes[70000];
  memset(bytes, 'x', sizeof bytes);
  static const size_t LENGTHS[] = {0, 1, 7, 8, 9, 1000, 65535};
  for (unsigned n = 0; n < 7 * 7 * 7; n++) {
    struct image image = response_image();
    image.fingerprint = (struct span){bytes, LENGTHS[n % 7]};
    image.body = (struct span){bytes + 1, LENGTHS[n / 7 % 7]};
    image.meta = (struct span){bytes + 2, LENGTHS[n / 49]};
    expect_round_trip(&image);
  }
}

static void keys_come_back_in_their_form(void **state) {
  (void)state;
  static const char *const TEXTS[] = {"", "k", "0f8fad5b-d9cb-469f-a165-70867728950e",
                                      "0F8FAD5B-D9CB-469F-A165-70867728950E"};
  for (unsigned i = 0; i < 4; i++) {
    char packed[KEY_UUID_BYTES];
    struct image image = record_image();
    image.key = key_of(span_of(TEXTS[i]), packed);
    expect_round_trip(&image);
  }
}

static void the_largest_numbers_come_back(void **state) {
  (void)state;
  struct image image = record_image();
  image.token = RULES_TOKEN_LIMIT - 1;
  image.since_ms = image.deadline_ms = INT64_MAX / 2;
  image.lease_ms = image.attempt = UINT32_MAX;
  expect_round_trip(&image);
  image = value_image();
  image.deadline_ms = RULES_NEVER - 1; /* a client may give a string any end */
  expect_round_trip(&image);
}

static void several_lie_one_after_the_other(void **state) {
  (void)state;
  char bytes[1024], *end = bytes;
  for (int kind = IMAGE_RECORD; kind <= IMAGE_HORIZON; kind++) {
    struct image image = some_of((enum image_kind)kind);
    end = image_write(&image, end);
  }
  const char *at = bytes;
  for (int kind = IMAGE_RECORD; kind <= IMAGE_HORIZON; kind++) {
    struct image have, want = some_of((enum image_kind)kind);
    size_t size = image_read((struct span){at, (size_t)(end - at)}, &have);
    assert_int_equal(size, image_size(&want));
    expect_same(&have, &want);
    at += size;
  }
  assert_ptr_equal(at, end);
}

/* ---- malformed ---- */

static void what_is_cut_is_refused(void **state) {
  (void)state;
  struct guarded g = guarded_create(1024);
  for (int kind = IMAGE_RECORD; kind <= IMAGE_HORIZON; kind++) {
    struct image image = some_of((enum image_kind)kind), have;
    char bytes[1024];
    size_t size = image_size(&image);
    image_write(&image, bytes);
    for (size_t len = 0; len < size; len++) {
      char *at = memcpy(at_the_end(&g, len), bytes, len);
      assert_int_equal(image_read((struct span){at, len}, &have), 0);
    }
    char *at = memcpy(at_the_end(&g, size), bytes, size);
    assert_int_equal(image_read((struct span){at, size}, &have), size);
  }
  guarded_destroy(&g);
}

static size_t sum_of(struct span part) {
  size_t sum = part.len;
  for (size_t i = 0; i < part.len; i++) sum += (unsigned char)part.data[i];
  return sum;
}

/* Either it is refused, or all that it says lies within its bytes. */
static void whatever_a_byte_is_changed_to_no_part_reaches_beyond(void **state) {
  (void)state;
  struct guarded g = guarded_create(1024);
  volatile size_t seen = 0;
  for (int kind = IMAGE_RECORD; kind <= IMAGE_HORIZON; kind++) {
    struct image image = some_of((enum image_kind)kind), have;
    size_t size = image_size(&image);
    for (size_t at = 0; at < IMAGE_HEAD_BYTES; at++) {
      for (unsigned byte = 0; byte < 256; byte++) {
        char *bytes = at_the_end(&g, size);
        image_write(&image, bytes);
        bytes[at] = (char)byte;
        if (image_read((struct span){bytes, size}, &have) == 0) continue;
        seen += sum_of(have.key.bytes) + sum_of(have.fingerprint) + sum_of(have.body) +
                sum_of(have.meta);
      }
    }
  }
  guarded_destroy(&g);
}

static size_t read_changed(struct image image, size_t at, unsigned byte) {
  char bytes[1024];
  struct image have;
  image_write(&image, bytes);
  bytes[at] = (char)byte;
  return image_read((struct span){bytes, image_size(&image)}, &have);
}

#define AT_KIND 4
#define AT_PHASE_FORM 5
#define AT_FLAGS 6
#define AT_DEADLINE 24

static void what_it_cannot_be_is_refused(void **state) {
  (void)state;
  struct image record = record_image(), response = response_image(), value = value_image();
  assert_int_equal(read_changed(record, AT_KIND, 0), 0);
  assert_int_equal(read_changed(record, AT_KIND, IMAGE_HORIZON + 1), 0);
  assert_int_equal(read_changed(record, AT_PHASE_FORM, RULES_ABSENT), 0);
  assert_int_equal(read_changed(record, AT_PHASE_FORM, RULES_DONE), 0);
  assert_int_equal(read_changed(record, AT_PHASE_FORM, RULES_HELD | 0x10), 0); /* no UUID */
  assert_int_equal(read_changed(record, AT_PHASE_FORM, RULES_HELD | 0x30), 0); /* no form */
  assert_int_equal(read_changed(record, AT_FLAGS, 0x80), 0);                   /* unknown */
  assert_int_equal(read_changed(record, AT_FLAGS, 0x30), 0); /* a fingerprint that is none */
  assert_int_equal(read_changed(record, AT_FLAGS, 0x78), 0); /* HELD without an end */
  assert_int_equal(read_changed(record, AT_DEADLINE + 7, 0x80), 0);
  assert_int_equal(read_changed(response, AT_FLAGS, 0x78), 0); /* a response ends */
  assert_int_equal(read_changed(value, AT_FLAGS, 0x40), 0);    /* a string without one */
  record.attempt = 0;
  assert_int_equal(read_changed(record, AT_KIND, IMAGE_RECORD), 0);
  record = record_image();
  record.token = 0;
  assert_int_equal(read_changed(record, AT_KIND, IMAGE_RECORD), 0);
  record = record_image();
  record.deadline_ms = INT64_MAX - 1; /* the retention does not fit */
  assert_int_equal(read_changed(record, AT_KIND, IMAGE_RECORD), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_kind_comes_back),
      cmocka_unit_test(each_combination_of_flags_and_parts_comes_back),
      cmocka_unit_test(parts_of_every_length_come_back),
      cmocka_unit_test(keys_come_back_in_their_form),
      cmocka_unit_test(the_largest_numbers_come_back),
      cmocka_unit_test(several_lie_one_after_the_other),
      cmocka_unit_test(what_is_cut_is_refused),
      cmocka_unit_test(whatever_a_byte_is_changed_to_no_part_reaches_beyond),
      cmocka_unit_test(what_it_cannot_be_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
