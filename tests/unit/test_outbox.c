/*
 * test_outbox.c - the buffer in which an engine leaves images: room that is reserved is there, it
 * shrinks again, it knows when the keys in it end; and what a tick or a sweep leaves stays within
 * it, however much there is to do.
 */
#include "tests/unit/one_engine.h"

#include <stdio.h>

#include "server/engine/emit.h"
#include "server/engine/outbox.h"
#include "server/engine/sweep.h"

#define MOST 300u
#define MANY 3000u

static struct outbox made(void) {
  struct outbox outbox;
  assert_true(outbox_init(&outbox, MOST));
  return outbox;
}

/* The engine leaves its images in it. */
static struct outbox *keep(struct fixture *f, struct outbox *outbox) {
  f->engine->outbox = outbox;
  return outbox;
}

static void let_go(struct fixture *f, struct outbox *outbox) {
  f->engine->outbox = NULL;
  outbox_deinit(outbox);
}

/* ---- memory that lacks: realloc is wrapped by the linker ---- */

static struct { bool fails; } allocator;

void *__real_realloc(void *former, size_t size);
void *__wrap_realloc(void *former, size_t size);
void *__wrap_realloc(void *former, size_t size) {
  return allocator.fails ? NULL : __real_realloc(former, size);
}

/* ---- room ---- */

static void there_is_room_for_one_call(void **state) {
  (void)state;
  struct outbox outbox = made();
  assert_true(outbox.capacity >=
              OUTBOX_TICK_BYTES + OUTBOX_SWEEP_BYTES + OUTBOX_CALL_IMAGES * MOST);
  for (unsigned i = 0; i < OUTBOX_CALL_IMAGES; i++) assert_non_null(outbox_add(&outbox, MOST));
  assert_int_equal(outbox.count, OUTBOX_CALL_IMAGES);
  assert_int_equal(outbox.len, OUTBOX_CALL_IMAGES * MOST);
  outbox_deinit(&outbox);
}

static void what_is_reserved_is_beyond_that_room(void **state) {
  (void)state;
  struct outbox outbox = made();
  size_t least = outbox.capacity;
  assert_true(outbox_reserve(&outbox, 3, 1000000));
  assert_true(outbox.capacity >= least + 3 * MOST + 1000000);
  memset(outbox_add(&outbox, 1000000 + 3 * MOST), 'x', 1000000 + 3 * MOST);
  assert_true(outbox.capacity - outbox.len >= least);
  assert_true(outbox_reserve(&outbox, 1, 0)); /* beyond what lies there */
  assert_true(outbox.capacity - outbox.len >= least + MOST);
  outbox_deinit(&outbox);
}

static void it_shrinks_when_it_was_large(void **state) {
  (void)state;
  struct outbox outbox = made();
  size_t least = outbox.capacity;
  assert_true(outbox_reserve(&outbox, 0, OUTBOX_KEPT_BYTES));
  outbox_add(&outbox, 8);
  outbox_clear(&outbox);
  assert_int_equal(outbox.len + outbox.count, 0);
  assert_int_equal(outbox.capacity, least + OUTBOX_KEPT_BYTES); /* so much is kept */
  assert_true(outbox_reserve(&outbox, 0, OUTBOX_KEPT_BYTES + 1));
  outbox_clear(&outbox);
  assert_int_equal(outbox.capacity, least);
  outbox_deinit(&outbox);
}

static void without_memory_it_is_refused_and_nothing_is_lost(void **state) {
  (void)state;
  struct outbox outbox = made();
  memcpy(outbox_add(&outbox, 8), "12345678", 8);
  size_t capacity = outbox.capacity;
  allocator.fails = true;
  assert_false(outbox_reserve(&outbox, 0, 1000000));
  allocator.fails = false;
  assert_int_equal(outbox.capacity, capacity);
  assert_int_equal(outbox.len, 8);
  assert_memory_equal(outbox.bytes, "12345678", 8);
  outbox_deinit(&outbox);
}

/* ---- ends ---- */

static void it_knows_when_the_last_key_ends(void **state) {
  struct fixture *f = *state;
  struct outbox own = made(), *outbox = keep(f, &own);
  assert_true(outbox->last_end_ms == INT64_MIN);
  claimed(f, as("short", "a"));
  int64_t lapsed_ms = f->now + 100 + RETENTION;
  assert_true(outbox->last_end_ms == lapsed_ms); /* the lease, then the retention */
  keys_set_value(f->engine, span_of("s"), span_of("v"), lapsed_ms - 1, f->now);
  assert_true(outbox->last_end_ms == lapsed_ms); /* the latest */
  outbox_clear(outbox);
  keys_delete(f->engine, span_of("s"), f->now);
  assert_true(outbox->last_end_ms == INT64_MIN); /* no key is left by it */
  claimed(f, holding("held", "a"));
  assert_true(outbox->last_end_ms == INT64_MAX); /* UNKNOWN stays */
  outbox_clear(outbox);
  keys_set_value(f->engine, span_of("s"), span_of("v"), RULES_NEVER, f->now);
  assert_true(outbox->last_end_ms == INT64_MAX);
  assert_false(outbox->of_older);
  outbox_clear(outbox);
  keys_set_deadline(f->engine, span_of("s"), f->now + 5, f->now);
  assert_true(outbox->last_end_ms == f->now + 5);
  assert_true(outbox->of_older);
  outbox_clear(outbox);
  assert_false(outbox->of_older);
  let_go(f, outbox);
}

/* ---- what has no bound of its own ---- */

static void expect_within(const struct outbox *outbox) {
  assert_true(outbox->len <= OUTBOX_TICK_BYTES + OUTBOX_SWEEP_BYTES + OUTBOX_CALL_IMAGES * MOST);
}

/* Ticks until all is done, as a server: what was left is taken out in between. Returns how often.
 */
static unsigned tick_in_parts(struct fixture *f, struct outbox *outbox) {
  for (unsigned n = 0;; n++) {
    assert_true(n < 1000);
    bool more = tick_run(f->engine, f->now, PLENTY);
    expect_within(outbox);
    outbox_clear(outbox);
    if (!more) return n;
  }
}

static const char *numbered(char text[16], unsigned i) {
  snprintf(text, 16, "k%u", i);
  return text;
}

/* A key for each, HELD with that binding, and for each one that waits. */
static void hold_many(struct fixture *f, struct outbox *outbox, struct binding *binding,
                      bool waiters) {
  char key[16];
  for (unsigned i = 0; i < MANY; i++) {
    struct engine_claim held = bound(numbered(key, i), "a", binding);
    held.lease_ms = FOREVER / 2;
    claimed(f, held);
    if (waiters) queued(f, waiting(key, "b"));
    outbox_clear(outbox);
  }
}

static void a_connection_with_thousands_of_claims_closes_in_parts(void **state) {
  struct fixture *f = *state;
  struct outbox own = made(), *outbox = keep(f, &own);
  struct binding *binding = binding_create(f->engine);
  hold_many(f, outbox, binding, false);
  binding_close(f->engine, binding, f->now);
  assert_true(tick_in_parts(f, outbox) > 1);
  assert_int_equal(stats_of(f).phases[RULES_LAPSED], MANY);
  let_go(f, outbox);
}

static void thousands_who_wait_are_granted_in_parts(void **state) {
  struct fixture *f = *state;
  struct outbox own = made(), *outbox = keep(f, &own);
  hold_many(f, outbox, NULL, true);
  f->now += FOREVER / 2;
  assert_true(tick_in_parts(f, outbox) > 1);
  assert_int_equal(stats_of(f).phases[RULES_HELD], MANY);
  let_go(f, outbox);
  settle_ready(f);
}

static void thousands_who_waited_for_what_was_flushed_are_granted_in_parts(void **state) {
  struct fixture *f = *state;
  struct outbox own = made(), *outbox = keep(f, &own);
  hold_many(f, outbox, NULL, true);
  keys_flush(f->engine, f->now);
  outbox_clear(outbox);
  assert_true(tick_in_parts(f, outbox) > 1);
  assert_int_equal(stats_of(f).phases[RULES_HELD], MANY);
  let_go(f, outbox);
  settle_ready(f);
}

/* A call that needs memory sweeps, and may not find any within its room. */
static void a_call_that_sweeps_stays_within_its_room(void **state) {
  struct fixture *f = *state;
  struct outbox own = made(), *outbox = keep(f, &own);
  hold_many(f, outbox, NULL, true);
  keys_flush(f->engine, f->now);
  struct engine_options options = OPTIONS;
  options.memory_limit = 1;
  reconfigure(f, options);
  outbox_clear(outbox);
  assert_int_equal(claim(f, as("other", "a")), ENGINE_OOM);
  expect_within(outbox);
  assert_true(sweep_is_needed(f->engine)); /* it has stopped */
  size_t len = outbox->len;
  assert_true(len >= OUTBOX_SWEEP_BYTES);
  assert_int_equal(claim(f, as("other", "a")), ENGINE_OOM); /* in the same lock */
  assert_int_equal(outbox->len, len);
  outbox_clear(outbox);
  assert_int_equal(claim(f, as("other", "a")), ENGINE_OOM);
  assert_true(outbox->len > 0); /* it goes on */
  reconfigure(f, OPTIONS);
  let_go(f, outbox);
  tick_until_done(f);
  settle_ready(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(there_is_room_for_one_call),
      cmocka_unit_test(what_is_reserved_is_beyond_that_room),
      cmocka_unit_test(it_shrinks_when_it_was_large),
      cmocka_unit_test(without_memory_it_is_refused_and_nothing_is_lost),
      cmocka_unit_test_setup_teardown(it_knows_when_the_last_key_ends, setup, teardown),
      cmocka_unit_test_setup_teardown(a_connection_with_thousands_of_claims_closes_in_parts, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(thousands_who_wait_are_granted_in_parts, setup, teardown),
      cmocka_unit_test_setup_teardown(
          thousands_who_waited_for_what_was_flushed_are_granted_in_parts, setup, teardown),
      cmocka_unit_test_setup_teardown(a_call_that_sweeps_stays_within_its_room, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
