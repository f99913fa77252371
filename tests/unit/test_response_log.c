/* test_response_log.c - stored responses come back byte for byte, are due at their millisecond,
 * leave no memory behind, and stay readable while they are pinned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "server/engine/response_expiry.h"
#include "server/engine/response_log.h"

#define START INT64_C(1000000)
#define DAY INT64_C(86400000)
#define MANY 5000u
#define ROOM 16u
#define PLENTY 1000000u
#define LONGEST 20000u

struct kept {
  struct response_ref *ref; /* NULL: dropped */
  int64_t deadline_ms;
};

struct fixture {
  struct memory memory;
  struct response_log log;
  int64_t now_ms;
  uint64_t seed, token;
  struct kept all[MANY];
  char bytes[LONGEST];
};

static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  if (f == NULL) return -1;
  f->now_ms = START;
  f->seed = UINT64_C(0x1234567887654321);
  f->token = UINT64_C(361000000000000);
  for (unsigned i = 0; i < LONGEST; i++) f->bytes[i] = (char)(i * 31);
  response_log_init(&f->log, &f->memory, START);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < MANY; i++) {
    if (f->all[i].ref != NULL) response_log_drop(&f->log, f->all[i].ref);
  }
  assert_int_equal(f->memory.bytes, 0);
  assert_true(list_empty(&f->log.sparse));
  assert_int_equal(response_expiry_next(&f->log), INT64_MAX);
  free(f);
  return 0;
}

/* ---- short ---- */

static struct span some(struct fixture *f, unsigned from, size_t len) {
  return (struct span){f->bytes + from, len};
}

static struct response usual(struct fixture *f, int64_t ttl_ms) {
  return (struct response){
      .key = {KEY_UUID_LOWER, some(f, (unsigned)(f->token % 1000), KEY_UUID_BYTES)},
      .fingerprint = {FINGERPRINT_RAW, some(f, 7, 16)},
      .body = some(f, 9, 100),
      .token = f->token++,
      .since_ms = f->now_ms,
      .deadline_ms = f->now_ms + ttl_ms,
  };
}

static void put(struct fixture *f, unsigned i, int64_t ttl_ms) {
  struct response r = usual(f, ttl_ms);
  f->all[i] = (struct kept){response_log_write(&f->log, &r, SIZE_MAX, f->now_ms), r.deadline_ms};
  assert_non_null(f->all[i].ref);
}

static void drop(struct fixture *f, unsigned i) {
  response_log_drop(&f->log, f->all[i].ref);
  f->all[i].ref = NULL;
}

static void expect_same(struct span have, struct span want) { assert_true(span_equal(have, want)); }

static void expect_stored(const struct response_ref *ref, const struct response *want) {
  struct response have;
  response_log_read(ref, &have);
  assert_true(key_equal(have.key, want->key));
  assert_true(key_equal(codec_key(ref), want->key));
  assert_true(fingerprint_equal(have.fingerprint, want->fingerprint));
  expect_same(have.body, want->body);
  expect_same(have.meta, want->meta);
  assert_true(have.token == want->token && have.since_ms == want->since_ms);
  assert_true(have.deadline_ms == want->deadline_ms);
  assert_true(response_log_deadline_ms(ref) == want->deadline_ms);
}

/* Drops what is due; how many were. Each of them has to be over, and none twice. */
static unsigned end(struct fixture *f, unsigned budget) {
  unsigned ended = 0;
  struct response_expiry_batch batch;
  for (size_t n; (n = response_expiry_due(&f->log, f->now_ms, &budget, &batch)) > 0;) {
    for (size_t d = 0; d < n; d++) {
      unsigned i = 0;
      while (i < MANY && f->all[i].ref != batch.refs[d]) i++;
      assert_true(i < MANY);
      assert_true(f->all[i].deadline_ms <= f->now_ms);
      expect_same(batch.keys[d], codec_key(batch.refs[d]).bytes);
      f->all[i].ref = NULL;
      ended++;
    }
  }
  return ended;
}

static unsigned over(const struct fixture *f) {
  unsigned count = 0;
  for (unsigned i = 0; i < MANY; i++)
    count += f->all[i].ref != NULL && f->all[i].deadline_ms <= f->now_ms;
  return count;
}

/* ---- cases ---- */

static void every_part_comes_back_as_it_was(void **state) {
  struct fixture *f = *state;
  static const size_t LENGTHS[] = {0, 1, 127, 128, 129, 5000, RESPONSE_BLOB_BYTES - 1};
  const size_t count = sizeof LENGTHS / sizeof *LENGTHS;
  unsigned made = 0;
  struct response wanted[200];
  for (size_t b = 0; b < count; b++) {
    for (size_t m = 0; m <= count; m++) {
      struct response r = usual(f, (int64_t)(next_random(&f->seed) >> (20 + made % 40)) + 1);
      r.token = next_random(&f->seed) >> (11 + made % 50);
      r.body = some(f, made, LENGTHS[b]);
      if (m < count) r.meta = some(f, made, LENGTHS[m]);
      if (made % 3 == 0) r.key = (struct key){KEY_RAW, some(f, made, LENGTHS[made % count])};
      r.fingerprint.bytes = made % 4 == 0 ? SPAN_ABSENT : some(f, 3, made % 5 * 16);
      f->all[made].ref = response_log_write(&f->log, &r, SIZE_MAX, f->now_ms);
      wanted[made++] = r;
    }
  }
  for (unsigned i = 0; i < made; i++) expect_stored(f->all[i].ref, &wanted[i]);
}

static void a_key_that_fits_no_chunk_has_one_of_its_own(void **state) {
  struct fixture *f = *state;
  char *large = calloc(1, 300000);
  assert_non_null(large);
  struct response r = usual(f, DAY);
  r.key = (struct key){KEY_RAW, {large, 300000}};
  f->all[0].ref = response_log_write(&f->log, &r, SIZE_MAX, f->now_ms);
  put(f, 1, DAY);
  expect_stored(f->all[0].ref, &r);
  response_log_pin(f->all[0].ref); /* its chunk is found from where it begins */
  response_log_unpin(&f->log, f->all[0].ref);
  free(large);
}

static void a_large_body_is_a_blob_and_goes_with_its_response(void **state) {
  struct fixture *f = *state;
  struct response r = usual(f, DAY);
  r.body = some(f, 0, LONGEST);
  r.body_blob = blob_create(&f->memory, r.body);
  f->all[0].ref = response_log_write(&f->log, &r, SIZE_MAX, f->now_ms);
  expect_stored(f->all[0].ref, &r);
  assert_true(response_log_size(f->all[0].ref) > LONGEST);
}

static void a_usual_response_takes_140_bytes(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < MANY; i++) put(f, i, DAY);
  assert_int_equal(response_log_size(f->all[17].ref), 140);
  assert_true(f->memory.bytes < MANY * 141 + 2 * 65536);
}

static void what_ends_in_order_is_due_at_its_millisecond(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < MANY; i++) {
    f->now_ms = START + i / 4;
    put(f, i, 3000);
  }
  for (unsigned ms = 0; ms <= MANY / 4; ms++) {
    f->now_ms = START + 3000 + ms - 1;
    assert_int_equal(end(f, PLENTY), ms == 0 ? 0 : 4);
    assert_true(ms * 4 >= MANY || response_expiry_next(&f->log) == f->now_ms + 1);
  }
}

static void mixed_ends_agree_with_an_array(void **state) {
  struct fixture *f = *state;
  for (unsigned round = 0; round < 40; round++) {
    int64_t longest_ms = INT64_C(1) << (4 + round % 14);
    for (unsigned i = 0; i < MANY; i += 1 + round % 3) {
      if (f->all[i].ref == NULL)
        put(f, i, 1 + (int64_t)(next_random(&f->seed) % (uint64_t)longest_ms));
      if (next_random(&f->seed) % 8 == 0) drop(f, i);
    }
    for (unsigned step = 0; step < 50; step++) {
      f->now_ms += (int64_t)(next_random(&f->seed) % (uint64_t)(longest_ms / 16 + 2));
      unsigned due = over(f), budget = step % 3 == 0 ? 40 : PLENTY;
      unsigned ended = end(f, budget);
      assert_true(ended <= budget);
      if (budget == 40) continue;
      while (response_expiry_next(&f->log) <= f->now_ms) ended += end(f, PLENTY);
      assert_int_equal(ended, due);
    }
  }
}

/* A mixed chunk is not looked through for each of its ends. */
static void an_end_costs_little_however_mixed(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < MANY; i++) put(f, i, DAY + i * 7919 % MANY);
  unsigned spent = 0;
  for (unsigned ms = 0; ms < MANY; ms++) {
    f->now_ms = START + DAY + ms;
    unsigned before = spent;
    while (response_expiry_next(&f->log) <= f->now_ms) {
      unsigned budget = PLENTY;
      struct response_expiry_batch batch;
      size_t count = response_expiry_due(&f->log, f->now_ms, &budget, &batch);
      spent += PLENTY - budget;
      for (size_t d = 0; d < count; d++) {
        unsigned i = 0;
        while (f->all[i].ref != batch.refs[d]) i++;
        f->all[i].ref = NULL;
      }
      assert_true(spent < before + 1000);
    }
    assert_int_equal(over(f), 0);
  }
  assert_true(spent < MANY * 3);
  assert_int_equal(end(f, PLENTY), 0); /* the last chunk was still readable */
}

/* Its pass began in order, and then one came that ends before the others. */
static void a_chunk_that_is_mixed_while_it_ends_gives_nothing_twice(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 4; i++) put(f, i, 1000 + 10 * i);
  f->now_ms += 1010;
  assert_int_equal(end(f, PLENTY), 2);
  put(f, 4, 5);
  f->now_ms += 5;
  assert_int_equal(end(f, PLENTY), 1);
  drop(f, 2);
  f->now_ms += 25;
  assert_int_equal(end(f, PLENTY), 1);
}

static void putting_in_order_is_charged(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 400; i++) put(f, i, DAY + i * 321 % 400);
  f->now_ms = START + DAY + 400;
  unsigned budget = PLENTY, ended = 0;
  struct response_expiry_batch batch;
  while (response_expiry_due(&f->log, f->now_ms, &budget, &batch) > 0)
    ended += (unsigned)batch.count;
  for (unsigned i = 0; i < 400; i++) f->all[i].ref = NULL;
  assert_int_equal(ended, 400);
  assert_true(PLENTY - budget > 400 + 380 / RESPONSE_EXPIRY_SORTED);
}

/* A slot of such a TTL is wider than the numbers that a chunk is put in order by. */
static void ends_of_the_longest_ttl_are_due_at_their_millisecond(void **state) {
  struct fixture *f = *state;
  const int64_t far = (INT64_C(1) << 61) + (INT64_C(1) << 53); /* in the middle of its slot */
  for (unsigned i = 0; i < MANY; i++) put(f, i, far + i * 7919 % MANY / 4);
  for (unsigned ms = 0; ms < MANY / 4; ms += 1 + ms % 50) {
    f->now_ms = START + far + ms;
    unsigned due = over(f);
    assert_int_equal(end(f, PLENTY), due);
  }
  f->now_ms += MANY;
  end(f, PLENTY);
}

/* What is dropped by others while its chunk ends is not found once more. */
static void a_drop_in_a_chunk_that_ends_is_not_due(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 400; i++) put(f, i, DAY + i * 321 % 400);
  f->now_ms = START + DAY;
  assert_int_equal(end(f, PLENTY), 1);
  for (unsigned i = 0; i < 400; i++) {
    if (f->all[i].ref != NULL && i % 2 == 0) drop(f, i);
  }
  f->now_ms += 399;
  unsigned due = over(f);
  assert_true(due >= 199);
  assert_int_equal(end(f, PLENTY), due);
}

static void a_pinned_chunk_outlives_its_responses(void **state) {
  struct fixture *f = *state;
  put(f, 0, 10);
  struct response_ref *ref = f->all[0].ref;
  struct response before, after;
  response_log_read(ref, &before);
  response_log_pin(ref);
  f->now_ms += 10;
  assert_int_equal(end(f, PLENTY), 1);
  put(f, 1, 10); /* not into the pinned one */
  response_log_read(ref, &after);
  expect_same(after.body, before.body);
  expect_same(after.body, some(f, 9, 100));
  size_t bytes = f->memory.bytes;
  response_log_unpin(&f->log, ref);
  assert_true(f->memory.bytes < bytes);
}

static void mostly_holes_are_written_anew(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < MANY; i++) put(f, i, DAY);
  size_t full = f->memory.bytes;
  for (unsigned i = 0; i < MANY; i++) {
    if (i % 8 != 0) drop(f, i);
  }
  struct response_ref *live[ROOM];
  for (size_t n; (n = response_log_sparse(&f->log, live, ROOM)) > 0;) {
    for (size_t l = 0; l < n; l++) {
      unsigned i = 0;
      while (f->all[i].ref != live[l]) i++;
      struct response r;
      response_log_read(live[l], &r);
      r.body_blob = r.meta_blob = NULL;
      f->all[i].ref = response_log_write(&f->log, &r, SIZE_MAX, f->now_ms);
      expect_stored(f->all[i].ref, &r);
      response_log_drop(&f->log, live[l]);
    }
  }
  assert_true(f->memory.bytes < full / 4);
}

static void a_flush_shows_at_once_and_new_ones_are_not_flushed(void **state) {
  struct fixture *f = *state;
  put(f, 0, DAY);
  f->log.epoch++;
  put(f, 1, DAY);
  assert_true(response_log_is_flushed(&f->log, f->all[0].ref));
  assert_false(response_log_is_flushed(&f->log, f->all[1].ref));
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(every_part_comes_back_as_it_was),
      CASE(a_key_that_fits_no_chunk_has_one_of_its_own),
      CASE(a_large_body_is_a_blob_and_goes_with_its_response),
      CASE(a_usual_response_takes_140_bytes),
      CASE(what_ends_in_order_is_due_at_its_millisecond),
      CASE(mixed_ends_agree_with_an_array),
      CASE(an_end_costs_little_however_mixed),
      CASE(ends_of_the_longest_ttl_are_due_at_their_millisecond),
      CASE(a_drop_in_a_chunk_that_ends_is_not_due),
      CASE(a_chunk_that_is_mixed_while_it_ends_gives_nothing_twice),
      CASE(putting_in_order_is_charged),
      CASE(a_pinned_chunk_outlives_its_responses),
      CASE(mostly_holes_are_written_anew),
      CASE(a_flush_shows_at_once_and_new_ones_are_not_flushed),
  };
#undef CASE
  return cmocka_run_group_tests_name("response_log", tests, NULL, NULL);
}
