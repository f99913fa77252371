/*
 * test_slab.c - pieces do not overlap, whatever comes and goes; memory counts whole slabs, grows as
 * was said before, and is given back; a timer for each slab finds each record, not before its end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "server/engine/deadlines.h"

#define MOST 3000u
#define STEPS 200000u
#define LONGEST 2000u

struct piece {
  unsigned char *at; /* NULL: there is none */
  size_t size;
  unsigned char fill;
};

struct fixture {
  struct memory memory;
  struct slabs slabs;
  uint64_t seed;
  struct piece pieces[MOST];
  struct record *records[MOST];
  int64_t now_ms;
};

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  if (f == NULL) return -1;
  f->now_ms = 1000;
  slab_init(&f->slabs, &f->memory, f->now_ms);
  f->seed = UINT64_C(0x9e3779b97f4a7c15);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  assert_int_equal(f->memory.bytes, 0);
  assert_int_equal(f->slabs.timers.count, 0);
  free(f);
  return 0;
}

static size_t random_below(struct fixture *f, size_t end) {
  f->seed ^= f->seed << 13;
  f->seed ^= f->seed >> 7;
  f->seed ^= f->seed << 17;
  return (size_t)(f->seed >> 11) % end;
}

/* ---- pieces ---- */

/* Memory grows by what was said, and the piece is aligned and its own. */
static void take(struct fixture *f, struct piece *piece, size_t size) {
  size_t before = f->memory.bytes, growth = slab_growth(&f->slabs, size);
  *piece = (struct piece){slab_take(&f->slabs, size), size, (unsigned char)random_below(f, 256)};
  assert_non_null(piece->at);
  assert_int_equal((uintptr_t)piece->at % SLAB_STEP, 0);
  assert_int_equal(f->memory.bytes - before, growth);
  memset(piece->at, piece->fill, size);
}

static void give(struct fixture *f, struct piece *piece) {
  for (size_t i = 0; i < piece->size; i++) assert_int_equal(piece->at[i], piece->fill);
  if (slab_is_alone(piece->size)) {
    slab_give_alone(&f->slabs, piece->at, piece->size);
  } else {
    slab_give(&f->slabs, piece->at);
  }
  piece->at = NULL;
}

static void give_all(struct fixture *f) {
  for (size_t i = 0; i < MOST; i++) {
    if (f->pieces[i].at != NULL) give(f, &f->pieces[i]);
  }
}

static size_t some_size(struct fixture *f) {
  return 1 + random_below(f, random_below(f, 8) == 0 ? LONGEST : SLAB_LARGEST);
}

static void pieces_do_not_overlap(void **state) {
  struct fixture *f = *state;
  for (unsigned step = 0; step < STEPS; step++) {
    struct piece *piece = &f->pieces[random_below(f, step % 40000 < 20000 ? MOST : MOST / 10)];
    if (piece->at != NULL) {
      give(f, piece);
    } else {
      take(f, piece, some_size(f));
    }
  }
  give_all(f);
}

static void each_size_fills_its_slab(void **state) {
  struct fixture *f = *state;
  for (size_t size = 1; size <= SLAB_LARGEST; size++) {
    size_t rounded = slab_rounded(size), count = (PAGES_BYTES - sizeof(struct slab)) / rounded;
    assert_true(rounded >= size && rounded % SLAB_STEP == 0);
    for (size_t i = 0; i < count; i++) take(f, &f->pieces[i], size);
    assert_int_equal(f->memory.bytes, PAGES_BYTES);
    assert_int_equal(slab_growth(&f->slabs, size), PAGES_BYTES);
    give_all(f);
    assert_int_equal(f->memory.bytes, 0);
  }
}

static void of_claims_with_a_digest_56_fill_a_slab(void **state) {
  struct fixture *f = *state;
  const size_t size = offsetof(struct record, bytes) + KEY_UUID_BYTES + 8;
  for (size_t i = 0; i < 56; i++) take(f, &f->pieces[i], size);
  assert_int_equal(f->memory.bytes, PAGES_BYTES);
  give_all(f);
}

/* Pieces that are given back at random leave slabs half empty; those that come then fill them. */
static void what_is_free_is_used_before_more_is_taken(void **state) {
  struct fixture *f = *state;
  for (size_t i = 0; i < MOST; i++) take(f, &f->pieces[i], 72);
  size_t full = f->memory.bytes;
  for (unsigned round = 0; round < 20; round++) {
    for (size_t i = 0; i < MOST; i += 2) give(f, &f->pieces[(i + random_below(f, 2)) % MOST]);
    for (size_t i = 0; i < MOST; i++) {
      if (f->pieces[i].at == NULL) take(f, &f->pieces[i], 72);
    }
    assert_int_equal(f->memory.bytes, full);
  }
  give_all(f);
}

static void slabs_that_are_empty_are_given_back(void **state) {
  struct fixture *f = *state;
  for (size_t i = 0; i < MOST; i++) take(f, &f->pieces[i], 72);
  size_t full = f->memory.bytes;
  for (size_t i = 0; i < MOST / 2; i++) give(f, &f->pieces[i]);
  assert_true(f->memory.bytes < full / 2 + 3 * PAGES_UNIT * PAGES_BYTES);
  give_all(f);
}

/* ---- deadlines ---- */

static struct record *add_record(struct fixture *f, uint64_t token) {
  static char long_key[LONGEST];
  const struct rules_record facts = {.token = token, .phase = RULES_HELD, .attempt = 1};
  size_t len = random_below(f, 20) == 0 ? LONGEST : random_below(f, 100);
  const struct record_parts parts = {.key = {KEY_RAW, {long_key, len}}};
  struct record *record = record_create(&f->slabs, &parts, &facts);
  assert_non_null(record);
  deadlines_set(&f->slabs, record, RULES_NEVER);
  return record;
}

static int64_t some_deadline(struct fixture *f) {
  if (random_below(f, 10) == 0) return RULES_NEVER;
  return f->now_ms + (int64_t)random_below(f, random_below(f, 4) == 0 ? 100000 : 300);
}

static void remove_record(struct fixture *f, size_t at) {
  record_free(&f->slabs, f->records[at]);
  f->records[at] = NULL;
}

static bool is_over(const struct fixture *f, const struct record *record) {
  return record != NULL && record_deadline_ms(record) <= f->now_ms;
}

/* What is due ends, or goes on; each step but those that only look at a slab ends one. */
static void end_some(struct fixture *f, unsigned budget) {
  struct deadlines_pass pass = {0};
  for (struct record *record;
       (record = deadlines_next(&f->slabs, &pass, f->now_ms, &budget)) != NULL;) {
    size_t at = record->token;
    assert_ptr_equal(f->records[at], record);
    assert_true(is_over(f, record));
    if (random_below(f, 2) == 0) {
      remove_record(f, at);
    } else {
      deadlines_set(&f->slabs, record, f->now_ms + 1 + (int64_t)random_below(f, 500));
    }
  }
}

static void expect_timers_in_time(const struct fixture *f) {
  for (size_t i = 0; i < MOST; i++) {
    if (f->records[i] == NULL || record_deadline_ms(f->records[i]) == RULES_NEVER) continue;
    const struct slab *slab = record_slab(f->records[i]);
    assert_true(wheel_node_armed(&slab->timer));
    assert_true(slab->timer.deadline_ms <= record_deadline_ms(f->records[i]));
  }
}

static void remove_all(struct fixture *f) {
  for (size_t i = 0; i < MOST; i++) {
    if (f->records[i] != NULL) remove_record(f, i);
  }
}

static void each_record_is_found_when_it_is_due(void **state) {
  struct fixture *f = *state;
  for (unsigned round = 0; round < 400; round++) {
    for (unsigned i = 0; i < 200; i++) {
      size_t at = random_below(f, MOST);
      if (f->records[at] == NULL) f->records[at] = add_record(f, at);
      deadlines_set(&f->slabs, f->records[at], some_deadline(f));
    }
    f->now_ms += (int64_t)random_below(f, 200);
    end_some(f, (unsigned)random_below(f, 50)); /* the pass ends somewhere */
    expect_timers_in_time(f);
    end_some(f, UINT32_MAX);
    expect_timers_in_time(f);
    for (size_t i = 0; i < MOST; i++) assert_false(is_over(f, f->records[i]));
  }
  remove_all(f);
}

/* A budget of one is enough for one, although its slab has to be found too. */
static void each_step_makes_progress(void **state) {
  struct fixture *f = *state;
  for (size_t i = 0; i < MOST; i++) f->records[i] = add_record(f, i);
  f->now_ms += 20; /* the lowest level of the wheel: no timer has to be laid out again */
  for (size_t i = 0; i < MOST; i++) deadlines_set(&f->slabs, f->records[i], f->now_ms);
  for (size_t left = MOST; left > 0; left--) {
    struct deadlines_pass pass = {0};
    struct record *record = NULL;
    for (unsigned tries = 0; record == NULL && tries < 4; tries++) {
      unsigned budget = 1;
      record = deadlines_next(&f->slabs, &pass, f->now_ms, &budget);
    }
    assert_non_null(record);
    remove_record(f, record->token);
    unsigned none = 0;
    assert_null(deadlines_next(&f->slabs, &pass, f->now_ms, &none));
  }
}

static void many_that_end_together_take_a_step_each(void **state) {
  struct fixture *f = *state;
  for (size_t i = 0; i < MOST; i++) f->records[i] = add_record(f, i);
  for (size_t i = 0; i < MOST; i++) deadlines_set(&f->slabs, f->records[i], f->now_ms + 5);
  f->now_ms += 5;
  struct deadlines_pass pass = {0};
  unsigned budget = 2 * MOST, left = MOST;
  for (struct record *record;
       (record = deadlines_next(&f->slabs, &pass, f->now_ms, &budget)) != NULL; left--)
    remove_record(f, record->token);
  assert_int_equal(left, 0);
  assert_int_equal(budget, MOST);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(pieces_do_not_overlap),
      TEST(each_size_fills_its_slab),
      TEST(of_claims_with_a_digest_56_fill_a_slab),
      TEST(what_is_free_is_used_before_more_is_taken),
      TEST(slabs_that_are_empty_are_given_back),
      TEST(each_record_is_found_when_it_is_due),
      TEST(each_step_makes_progress),
      TEST(many_that_end_together_take_a_step_each),
  };
  return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
