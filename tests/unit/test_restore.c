/*
 * test_restore.c - what a restart finds: images that one engine left, restored into another. Each
 * kind, what replaces what, what time did in between, the horizon for another number of slots and
 * shards.
 */
#include "tests/unit/one_engine.h"

#include "server/engine/emit.h"
#include "server/engine/reemit.h"
#include "server/engine/inspect.h"
#include "server/engine/outbox.h"
#include "server/engine/restore.h"

#define MOST 4096u
#define BITS 8u

/* ---- from the live engine into another ---- */

/* Starts to keep the images of the live engine. */
static struct outbox *keep(struct fixture *f, struct outbox *outbox) {
  assert_true(outbox_init(outbox, MOST));
  assert_true(outbox_reserve(outbox, 0, 1000000));
  f->engine->outbox = outbox;
  return outbox;
}

static void let_go(struct fixture *f, struct outbox *outbox) {
  f->engine->outbox = NULL;
  outbox_deinit(outbox);
}

static void restore_one(struct engine *engine, const struct image *image) {
  if (image->kind == IMAGE_FLUSH) {
    restore_flush(engine, image->since_ms);
  } else if (image->kind == IMAGE_KEYSPACE) {
    restore_keyspace(engine, image);
  } else if (image->kind == IMAGE_HORIZON) {
    assert_true(restore_horizon(engine, image));
  } else {
    struct name name = restore_name(engine, image);
    assert_true(restore_image(engine, &name, image));
  }
}

static void restore_all(struct engine *engine, const struct outbox *outbox) {
  for (size_t at = 0; at < outbox->len;) {
    struct image image;
    size_t size = image_read((struct span){outbox->bytes + at, outbox->len - at}, &image);
    assert_true(size > 0);
    restore_one(engine, &image);
    at += size;
  }
}

/* A fixture around a new engine with these options, with what lies in the outbox. */
static struct fixture restarted_with(const struct fixture *f, const struct outbox *outbox,
                                     struct engine_options options) {
  struct fixture r = {.now = f->now, .engine = engine_create(&options, START)};
  assert_non_null(r.engine);
  r.empty_bytes = memory_of(&r);
  restore_all(r.engine, outbox);
  return r;
}

static struct fixture restarted(const struct fixture *f, const struct outbox *outbox) {
  return restarted_with(f, outbox, OPTIONS);
}

static struct inspection inspected(struct fixture *f, const char *key) {
  struct inspection shown;
  assert_int_equal(inspect_key(f->engine, span_of(key), f->now, &shown), INSPECT_RECORD);
  return shown;
}

static void expect_part(struct span have, const char *want) {
  assert_true(span_equal(have, want == NULL ? SPAN_ABSENT : span_of(want)));
}

/* ---- each kind ---- */

static void a_running_claim_runs_on(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  struct engine_claim c = holding("k", "worker");
  c.fingerprint = span_of("fp");
  uint64_t token = claimed(f, c);
  f->now += 20;
  assert_int_equal(renew(f, "k", token, "charged"), ENGINE_RENEWED);
  f->now += 30;
  struct fixture r = restarted(f, outbox);
  struct inspection is = inspected(&r, "k");
  expect_part(is.state, "HELD");
  assert_int_equal(is.token, token);
  assert_int_equal(is.attempt, 1);
  assert_int_equal(is.age_ms, 50);
  assert_int_equal(is.lease_left_ms, 70); /* exactly */
  assert_int_equal(is.hold, 1);
  expect_part(is.owner, "worker");
  expect_part(is.stage, "charged");
  expect_part(is.fingerprint, "fp");
  assert_int_equal(renew(&r, "k", token, NULL), ENGINE_RENEWED);
  assert_int_equal(r.answer.lease_ms, 100); /* the length last granted */
  assert_int_equal(claim(&r, as("k", "other")), ENGINE_MISMATCH);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

static void bind_is_not_restored(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  struct binding *connection = binding_create(f->engine);
  uint64_t token = claimed(f, bound("k", "a", connection));
  struct fixture r = restarted(f, outbox);
  struct inspection is = inspected(&r, "k");
  expect_part(is.state, "HELD");
  assert_int_equal(is.bind, 0);
  assert_int_equal(is.token, token);
  engine_destroy(r.engine);
  binding_close(f->engine, connection, f->now);
  tick_until_done(f);
  let_go(f, outbox);
}

static void what_time_left_is_found_again(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  uint64_t lapsed = claimed(f, as("lapsed", "a")), unknown = claimed(f, holding("unknown", "a"));
  size_t len = outbox->len;
  f->now += 5000;
  tick_until_done(f);
  assert_int_equal(outbox->len, len); /* not written */
  struct fixture r = restarted(f, outbox);
  assert_int_equal(fetch(&r, "lapsed"), ENGINE_LAPSED);
  assert_true(r.answer.token == lapsed);
  assert_int_equal(look(&r, "lapsed").left_ms, look(f, "lapsed").left_ms);
  assert_int_equal(look(&r, "lapsed").left_ms, RETENTION - 4900);
  assert_int_equal(fetch(&r, "unknown"), ENGINE_UNKNOWN);
  assert_true(r.answer.token == unknown);
  assert_int_equal(look(&r, "unknown").left_ms, -1);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

static void unknown_without_an_end_is_restored_as_written(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  uint64_t token = claimed(f, holding("k", "a"));
  assert_int_equal(release_with(f, "k", token, RULES_UNSURE), ENGINE_RELEASED);
  assert_true(outbox->last_end_ms == INT64_MAX);
  f->now += 100 * RETENTION;
  struct fixture r = restarted(f, outbox);
  tick_until_done(&r);
  assert_int_equal(fetch(&r, "k"), ENGINE_UNKNOWN);
  assert_int_equal(claim(&r, taking_over(as("k", "b"), token)), ENGINE_CLAIMED);
  assert_int_equal(r.answer.attempt, 2);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

static void a_token_that_is_nobodys_stays_so(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  uint64_t first = claimed(f, as("k", "a"));
  assert_int_equal(renew(f, "k", first, "half"), ENGINE_RENEWED);
  f->now += 101;
  uint64_t second = claimed(f, as("k", "b"));
  assert_int_equal(release(f, "k", second), ENGINE_RELEASED);
  struct fixture r = restarted(f, outbox);
  assert_int_equal(fetch(&r, "k"), ENGINE_LAPSED);
  uint64_t nobodys = r.answer.token;
  assert_true(nobodys > second);
  assert_int_equal(r.answer.attempt, 1);
  assert_null(r.answer.owner);
  expect_bytes(r.answer.stage, "half");
  assert_int_equal(renew(&r, "k", nobodys, NULL), ENGINE_STALE_OVERTAKEN);
  assert_int_equal(release(&r, "k", nobodys), ENGINE_NOT_YOURS);
  assert_int_equal(store(&r, "k", nobodys, "settled"), ENGINE_STORED);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

static void a_response_is_replayed(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  struct engine_claim c = as("k", "a");
  c.fingerprint = span_of("fp");
  uint64_t token = claimed(f, c);
  struct engine_store s = {.key = span_of("k"),
                           .token = token,
                           .body = span_of("body"),
                           .meta = span_of(""),
                           .ttl_ms = 5000};
  engine_store(f->engine, &s, f->now, &f->answer);
  f->now += 10;
  struct fixture r = restarted(f, outbox);
  assert_int_equal(claim(&r, c), ENGINE_DONE);
  expect_bytes(r.answer.body, "body");
  assert_true(span_present(r.answer.meta_bytes) && r.answer.meta_bytes.len == 0);
  assert_int_equal(r.answer.age_ms, 10);
  assert_int_equal(r.answer.left_ms, 4990);
  assert_int_equal(claim(&r, as("k", "a")), ENGINE_MISMATCH);
  engine_store(r.engine, &s, r.now, &r.answer);
  assert_int_equal(r.answer.status, ENGINE_STORED); /* the same bytes, by the same token */
  s.body = span_of("other");
  engine_store(r.engine, &s, r.now, &r.answer);
  assert_int_equal(r.answer.status, ENGINE_CONFLICT);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

static void a_large_body_is_replayed(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  size_t size = 700000;
  char *body = malloc(size);
  for (size_t i = 0; i < size; i++) body[i] = (char)(i % 251);
  struct engine_store s = {.key = span_of("k"),
                           .token = claimed(f, as("k", "a")),
                           .body = {body, size},
                           .meta = SPAN_ABSENT,
                           .ttl_ms = 5000};
  engine_store(f->engine, &s, f->now, &f->answer);
  struct fixture r = restarted(f, outbox);
  outbox_clear(outbox);
  assert_int_equal(fetch(&r, "k"), ENGINE_DONE);
  assert_true(span_equal(r.answer.body_bytes, s.body));
  assert_false(span_present(r.answer.meta_bytes));
  engine_destroy(r.engine);
  free(body);
  let_go(f, outbox);
}

static void a_string_is_there_with_its_end(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  keys_set_value(f->engine, span_of("ends"), span_of("v"), f->now + 100, f->now);
  keys_set_value(f->engine, span_of("stays"), span_of(""), RULES_NEVER, f->now);
  keys_set_value(f->engine, span_of("past"), span_of("v"), f->now, f->now); /* absent */
  struct fixture r = restarted(f, outbox);
  expect_bytes(look(&r, "ends").body, "v");
  assert_int_equal(look(&r, "ends").left_ms, 100);
  assert_int_equal(look(&r, "stays").left_ms, -1);
  expect_bytes(look(&r, "stays").body, "");
  assert_int_equal(look(&r, "past").kind, KEYS_ABSENT);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

/* ---- one after the other ---- */

static void the_last_image_counts(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  claimed(f, as("k", "a"));
  keys_delete(f->engine, span_of("k"), f->now);
  keys_set_value(f->engine, span_of("k"), span_of("1"), RULES_NEVER, f->now);
  keys_set_value(f->engine, span_of("k"), span_of("2"), RULES_NEVER, f->now);
  struct fixture r = restarted(f, outbox);
  expect_bytes(look(&r, "k").body, "2");
  keys_delete(f->engine, span_of("k"), f->now);
  uint64_t token = claimed(f, as("k", "b"));
  assert_int_equal(store(f, "k", token, "done"), ENGINE_STORED);
  restore_all(r.engine, outbox); /* all of it once more */
  assert_int_equal(fetch(&r, "k"), ENGINE_DONE);
  assert_int_equal(stats_of(&r).records + stats_of(&r).values, 1);
  keys_delete(f->engine, span_of("k"), f->now);
  restore_all(r.engine, outbox);
  assert_int_equal(look(&r, "k").kind, KEYS_ABSENT);
  expect_empty(&r);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

static void an_end_that_was_moved_counts_though_the_former_one_has_come(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  assert_int_equal(store_for(f, "k", claimed(f, as("k", "a")), "body", 100), ENGINE_STORED);
  keys_set_value(f->engine, span_of("s"), span_of("v"), f->now + 100, f->now);
  f->now += 50;
  assert_true(keys_set_deadline(f->engine, span_of("k"), f->now + 10000, f->now));
  assert_true(keys_set_deadline(f->engine, span_of("s"), RULES_NEVER, f->now));
  f->now += 5000; /* the former ends were long ago */
  struct fixture r = restarted(f, outbox);
  assert_int_equal(fetch(&r, "k"), ENGINE_DONE);
  assert_int_equal(r.answer.left_ms, 5000);
  assert_int_equal(look(&r, "s").left_ms, -1);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

/* Its time is behind, so that an image that moves an end finds what it moves. */
static void a_restore_lets_go_of_what_ended_a_second_ago(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  keys_set_value(f->engine, span_of("s"), span_of("v"), f->now + 100, f->now);
  struct fixture r = restarted(f, outbox);
  restore_tick(r.engine, f->now + 100 + RESTORE_BEHIND_MS - 1);
  assert_int_equal(stats_of(&r).values, 1);
  restore_tick(r.engine, f->now + 100 + RESTORE_BEHIND_MS);
  assert_int_equal(stats_of(&r).values, 0);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

static void a_flush_leaves_nothing_from_before(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  claimed(f, holding("held", "a"));
  assert_int_equal(store(f, "done", claimed(f, as("done", "a")), "x"), ENGINE_STORED);
  keys_set_value(f->engine, span_of("s"), span_of("v"), RULES_NEVER, f->now);
  keys_flush(f->engine, f->now);
  uint64_t token = claimed(f, as("held", "b"));
  struct fixture r = restarted(f, outbox);
  assert_int_equal(stats_of(&r).records + stats_of(&r).values, 1);
  assert_int_equal(inspected(&r, "held").token, token);
  assert_int_equal(inspected(&r, "held").attempt, 1);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

static void tokens_that_come_out_of_order_are_put_in_order(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  uint64_t a = claimed(f, as("a", "o"));
  uint64_t b = claimed(f, as("b", "o")), c = claimed(f, as("c", "o"));
  assert_int_equal(renew(f, "a", a, NULL), ENGINE_RENEWED); /* its image is the last one */
  outbox_clear(outbox);
  assert_int_equal(renew(f, "c", c, NULL), ENGINE_RENEWED);
  assert_int_equal(renew(f, "a", a, NULL), ENGINE_RENEWED);
  assert_int_equal(renew(f, "b", b, NULL), ENGINE_RENEWED);
  struct fixture r = restarted(f, outbox);
  const struct list *claims = &r.engine->open_claims.by_token;
  const uint64_t want[] = {a, b, c};
  const struct list *node = claims->next;
  for (unsigned i = 0; i < 3; i++, node = node->next) {
    assert_ptr_not_equal(node, claims);
    assert_true(LIST_ENTRY(node, struct record, open)->token == want[i]);
  }
  assert_ptr_equal(node, claims);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

/* ---- what emits again ---- */

static unsigned emitted_again(struct fixture *f, struct outbox *outbox) {
  char *bytes = malloc(outbox->len);
  size_t len = outbox->len;
  memcpy(bytes, outbox->bytes, len);
  outbox_clear(outbox);
  for (size_t at = 0; at < len;) {
    struct image image;
    at += image_read((struct span){bytes + at, len - at}, &image);
    const struct name name = restore_name(f->engine, &image);
    reemit_image(f->engine, &name, &image, f->now);
  }
  free(bytes);
  return outbox->count;
}

static void only_what_still_counts_is_emitted_again(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  assert_int_equal(store(f, "done", claimed(f, as("done", "a")), "x"), ENGINE_STORED);
  assert_true(keys_set_deadline(f->engine, span_of("done"), f->now + 777, f->now));
  keys_set_value(f->engine, span_of("s"), span_of("1"), RULES_NEVER, f->now);
  keys_set_value(f->engine, span_of("s"), span_of("2"), RULES_NEVER, f->now);
  claimed(f, as("lapsed", "a"));
  claimed(f, as("deleted", "a"));
  keys_delete(f->engine, span_of("deleted"), f->now);
  f->now += 200;
  assert_int_equal(emitted_again(f, outbox), 3);
  struct fixture r = restarted(f, outbox);
  assert_int_equal(look(&r, "done").left_ms, 577);
  expect_bytes(look(&r, "s").body, "2");
  assert_int_equal(fetch(&r, "lapsed"), ENGINE_LAPSED);
  assert_int_equal(stats_of(&r).records + stats_of(&r).values, 3);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

/* A restart counts on from the numbers of strings, so that an old image is told from a new one. */
static void a_string_of_before_the_restart_is_not_taken_for_one_of_after_it(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  keys_set_value(f->engine, span_of("s"), span_of("old"), RULES_NEVER, f->now);
  struct fixture r = restarted(f, outbox);
  r.engine->outbox = outbox;
  keys_delete(r.engine, span_of("s"), r.now);
  keys_set_value(r.engine, span_of("s"), span_of("new"), RULES_NEVER, r.now);
  assert_int_equal(emitted_again(&r, outbox), 1); /* of two */
  r.engine->outbox = NULL;
  engine_destroy(r.engine);
  let_go(f, outbox);
}

/* ---- the horizon ---- */

static int64_t horizon_of(struct fixture *f, const char *key) {
  struct name name;
  name_of(f->engine, span_of(key), &name);
  return horizon_ms(&f->engine->horizon, name.hash);
}

/* Each may end unseen, and another request takes the key: a claim, a string; or all is flushed. */
static void what_ended_by_itself_in_between_is_counted(void **state) {
  struct fixture *f = *state;
  struct engine_options options = OPTIONS;
  options.horizon_bits = HORIZON_MOST_BITS; /* no two keys share one */
  engine_destroy(f->engine);
  f->engine = engine_create(&options, f->now);
  struct outbox own, *outbox = keep(f, &own);
  int64_t since_ms = f->now += 10;
  static const char *const KEYS[] = {"claimed", "set", "flushed"};
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(store_for(f, KEYS[i], claimed(f, as(KEYS[i], "a")), "x", 100), ENGINE_STORED);
  claimed(f, as("lapsed", "a"));
  f->now += 100 + RETENTION;
  tick_until_done(f);
  claimed(f, as("claimed", "b"));
  keys_set_value(f->engine, span_of("set"), span_of("v"), RULES_NEVER, f->now);
  keys_set_value(f->engine, span_of("lapsed"), span_of("v"), RULES_NEVER, f->now);
  keys_flush(f->engine, f->now);
  struct fixture r = restarted_with(f, outbox, options);
  for (unsigned i = 0; i < 3; i++) assert_int_equal(horizon_of(&r, KEYS[i]), since_ms);
  assert_int_equal(horizon_of(&r, "lapsed"), since_ms);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

/* CONFIG SET retention, or another one at the start: what ended under the shorter one is counted.
 */
static void also_under_another_retention(void **state) {
  struct fixture *f = *state;
  struct engine_options options = OPTIONS;
  options.retention_ms = 50;
  reconfigure(f, options);
  struct outbox own, *outbox = keep(f, &own);
  int64_t since_ms = f->now += 10;
  claimed(f, as("k", "a"));
  f->now += 200;
  claimed(f, as("k", "b"));
  assert_int_equal(f->answer.attempt, 1);
  struct fixture r = restarted_with(f, outbox, OPTIONS);
  assert_int_equal(horizon_of(&r, "k"), since_ms);
  r.engine->outbox = NULL;
  engine_destroy(r.engine);
  let_go(f, outbox);
}

static void what_was_forgotten_on_purpose_is_not(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  f->now += 10;
  claimed(f, as("deleted", "a"));
  keys_delete(f->engine, span_of("deleted"), f->now);
  claimed(f, as("deleted", "b"));
  assert_int_equal(release(f, "freed", claimed(f, as("freed", "a"))), ENGINE_RELEASED);
  claimed(f, as("freed", "b"));
  claimed(f, as("handed", "a"));
  struct waiter *waiter = queued(f, waiting("handed", "b"));
  keys_delete(f->engine, span_of("handed"),
              f->now); /* cleared: the first attempt of a new request */
  expect_settled(f, waiter, ENGINE_CLAIMED);
  uint64_t first = claimed(f, as("struck", "a"));
  f->now += 100;
  assert_int_equal(renew(f, "struck", first, NULL), ENGINE_RENEWED);
  f->now += 100;
  uint64_t second = claimed(f, as("struck", "b"));
  f->now += 100;
  assert_int_equal(release(f, "struck", second), ENGINE_RELEASED); /* LAPSED, attempt 1 again */
  keys_flush(f->engine, f->now);
  struct fixture r = restarted(f, outbox);
  assert_int_equal(horizon_of(&r, "k"), START); /* all keys share it */
  engine_destroy(r.engine);
  let_go(f, outbox);
}

#define TABLE 5

/* What is in a table of 2^BITS slots: START, but for some. */
static void raise_some(struct fixture *f) {
  for (uint32_t i = 0; i < TABLE; i++) horizon_raise(&f->engine->horizon, i * 51, START + 100 + i);
}

static struct fixture with_a_table(struct fixture *f, struct outbox *outbox) {
  struct engine_options options = OPTIONS;
  options.horizon_bits = BITS;
  struct fixture table = {.now = f->now, .engine = engine_create(&options, START)};
  table.engine->outbox = outbox;
  raise_some(&table);
  emit_keyspace(table.engine, SPAN_ABSENT);
  emit_horizon(table.engine);
  table.engine->outbox = NULL;
  return table;
}

/* Each slot, whichever it lies in here, is at least as late as there, and no later than needed. */
static void expect_table(const struct engine *engine, unsigned bits) {
  const struct horizon *h = &engine->horizon;
  for (uint32_t slot = h->first; slot < h->first + h->slots; slot++) {
    int64_t want_ms = START;
    for (uint32_t i = 0; i < TABLE; i++) {
      bool same = bits >= BITS ? slot >> (bits - BITS) == i * 51 : i * 51 >> (BITS - bits) == slot;
      if (same && want_ms < START + 100 + i) want_ms = START + 100 + i;
    }
    assert_int_equal(horizon_slot_ms(h, slot), want_ms);
  }
}

static void the_table_fits_other_numbers_of_slots_and_shards(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  f->engine->outbox = NULL;
  struct fixture table = with_a_table(f, outbox);
  static const unsigned BIT_COUNTS[] = {0, 3, BITS, 11}, SHARDS[] = {1, 3, 16};
  for (unsigned n = 0; n < 12; n++) {
    struct engine_options options = OPTIONS;
    options.horizon_bits = BIT_COUNTS[n % 4];
    options.shards = SHARDS[n / 4];
    for (options.shard = 0; options.shard < options.shards; options.shard++) {
      struct engine *engine = engine_create(&options, f->now + 1000000);
      restore_all(engine, outbox);
      assert_int_equal(engine_horizon_start_ms(engine), START); /* not when it was made */
      expect_table(engine, options.horizon_bits);
      engine_destroy(engine);
    }
  }
  engine_destroy(table.engine);
  let_go(f, outbox);
}

/* While memory lacked, all untouched slots moved together. */
static void untouched_slots_that_moved_are_written(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  f->engine->horizon.untouched_ms = START + 77;
  emit_keyspace(f->engine, SPAN_ABSENT);
  emit_horizon(f->engine);
  struct fixture r = restarted(f, outbox);
  assert_int_equal(horizon_of(&r, "k"), START + 77);
  assert_int_equal(engine_horizon_start_ms(r.engine), START);
  engine_destroy(r.engine);
  let_go(f, outbox);
}

static void a_malformed_table_is_refused(void **state) {
  struct fixture *f = *state;
  int64_t times[2] = {START + 9, START + 9};
  struct image image = {.kind = IMAGE_HORIZON,
                        .token = 2,
                        .lg_slots = 1,
                        .body = {(const char *)times, sizeof times}};
  assert_true(restore_horizon(f->engine, &image));
  image.token = 3; /* more than there are */
  assert_false(restore_horizon(f->engine, &image));
  image.token = 2;
  image.slot = 1;
  assert_false(restore_horizon(f->engine, &image));
  image.slot = 0;
  image.body.len--;
  assert_false(restore_horizon(f->engine, &image));
  image.body.len++;
  image.lg_slots = HORIZON_MOST_BITS + 1;
  assert_false(restore_horizon(f->engine, &image));
  image.lg_slots = 24;
  image.token = UINT64_MAX;
  image.slot = 1;
  assert_false(restore_horizon(f->engine, &image));
}

static void the_secret_is_in_the_head(void **state) {
  struct fixture *f = *state;
  struct outbox own, *outbox = keep(f, &own);
  emit_keyspace(f->engine, SPAN_ABSENT);
  struct image image;
  assert_true(image_read((struct span){outbox->bytes, outbox->len}, &image) > 0);
  assert_int_equal(image.body.len, ENGINE_HASH_SECRET_BYTES);
  assert_memory_equal(image.body.data, OPTIONS.hash_secret, ENGINE_HASH_SECRET_BYTES);
  let_go(f, outbox);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_running_claim_runs_on),
      TEST(bind_is_not_restored),
      TEST(what_time_left_is_found_again),
      TEST(unknown_without_an_end_is_restored_as_written),
      TEST(a_token_that_is_nobodys_stays_so),
      TEST(a_response_is_replayed),
      TEST(a_large_body_is_replayed),
      TEST(a_string_is_there_with_its_end),
      TEST(the_last_image_counts),
      TEST(an_end_that_was_moved_counts_though_the_former_one_has_come),
      TEST(a_restore_lets_go_of_what_ended_a_second_ago),
      TEST(a_flush_leaves_nothing_from_before),
      TEST(tokens_that_come_out_of_order_are_put_in_order),
      TEST(only_what_still_counts_is_emitted_again),
      TEST(a_string_of_before_the_restart_is_not_taken_for_one_of_after_it),
      TEST(what_ended_by_itself_in_between_is_counted),
      TEST(also_under_another_retention),
      TEST(what_was_forgotten_on_purpose_is_not),
      TEST(the_table_fits_other_numbers_of_slots_and_shards),
      TEST(untouched_slots_that_moved_are_written),
      TEST(a_malformed_table_is_refused),
      TEST(the_secret_is_in_the_head),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
