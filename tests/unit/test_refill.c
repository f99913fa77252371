/*
 * test_refill.c - images that are gathered leave what they leave one by one: claims that are put
 * aside, are met again by what came of them or give way to others, over one engine and over four.
 */
#include "tests/unit/one_engine.h"

#include <stdio.h>

#include "server/engine/find.h"
#include "server/engine/outbox.h"
#include "server/engine/refill.h"
#include "server/engine/restore.h"

#define KEYS 40000u /* more than are put aside */
#define CHANGES 200000u
#define LOG_BYTES (64u << 20)
#define SHARDS 4u
#define KEY_TEXT 40u
#define HORIZON_BITS 12u

static uint64_t next_random(uint64_t *state, uint64_t limit) { /* splitmix64 */
  uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return (z ^ (z >> 31)) % limit;
}

/* UUIDs, and names. */
static const char *key_text_of(unsigned number, char text[KEY_TEXT]) {
  if (number % 4 == 0) {
    snprintf(text, KEY_TEXT, "key:%u", number);
  } else {
    snprintf(text, KEY_TEXT, "c0ffee00-0000-4000-8000-0000%08x", number);
  }
  return text;
}

/* ---- a log ---- */

struct world {
  struct fixture *live;
  struct outbox outbox;
  uint64_t random;
  uint64_t tokens[KEYS];
};

static struct world *world_create(struct fixture *f, uint64_t seed) {
  struct world *world = calloc(1, sizeof *world);
  assert_non_null(world);
  assert_true(outbox_init(&world->outbox, 4096));
  assert_true(outbox_reserve(&world->outbox, 0, LOG_BYTES));
  world->live = f;
  world->random = seed;
  f->engine->outbox = &world->outbox;
  return world;
}

static void world_destroy(struct world *world) {
  world->live->engine->outbox = NULL;
  outbox_deinit(&world->outbox);
  free(world);
}

static void change(struct world *world, unsigned number) {
  struct fixture *f = world->live;
  char text[KEY_TEXT];
  const char *key = key_text_of(number, text);
  struct engine_claim c = as(key, "owner");
  c.lease_ms = 2000;
  c.hold = number % 3 == 0;
  if (number % 5 == 0) c.fingerprint = span_of("fp");
  switch (next_random(&world->random, 16)) {
    case 0: renew(f, key, world->tokens[number], "stage"); break;
    case 1: release(f, key, world->tokens[number]); break;
    case 2: release_with(f, key, world->tokens[number], RULES_UNSURE); break;
    case 3: keys_delete(f->engine, span_of(key), f->now); break;
    case 4: keys_set_value(f->engine, span_of(key), span_of("v"), RULES_NEVER, f->now); break;
    case 5: keys_set_deadline(f->engine, span_of(key), f->now + 5000, f->now); break;
    case 6:
    case 7:
    case 8:
    case 9: store_for(f, key, world->tokens[number], "body", 3000); break;
    default:
      if (claim(f, c) == ENGINE_CLAIMED) world->tokens[number] = f->answer.token;
  }
}

/* Some keys are changed again at once, some long after. */
static void make_log(struct world *world) {
  for (unsigned i = 0; i < CHANGES; i++) {
    unsigned most = i % 3 == 0 ? KEYS : 50;
    change(world, (unsigned)((i / 1000 * 17 + next_random(&world->random, most)) % KEYS));
    if (i % 10 == 0) world->live->now++;
    if (i == CHANGES / 2) keys_flush(world->live->engine, world->live->now);
    assert_true(world->outbox.len < LOG_BYTES);
  }
}

/* ---- two ways back ---- */

struct copy {
  struct engine *engines[SHARDS];
  unsigned count;
};

static struct copy copy_create(unsigned count) {
  struct copy copy = {.count = count};
  for (unsigned i = 0; i < count; i++) {
    struct engine_options options = OPTIONS;
    options.horizon_bits = HORIZON_BITS;
    options.shard = i;
    options.shards = count;
    copy.engines[i] = engine_create(&options, 0);
    assert_non_null(copy.engines[i]);
  }
  return copy;
}

static void copy_destroy(struct copy *copy) {
  for (unsigned i = 0; i < copy->count; i++) engine_destroy(copy->engines[i]);
}

static void one_by_one(struct copy *copy, const struct outbox *log) {
  struct image image;
  for (size_t at = 0, size; at < log->len; at += size) {
    size = image_read((struct span){log->bytes + at, log->len - at}, &image);
    assert_true(size > 0);
    if (image.kind == IMAGE_FLUSH) {
      for (unsigned i = 0; i < copy->count; i++) restore_flush(copy->engines[i], image.since_ms);
      continue;
    }
    struct name name = restore_name(copy->engines[0], &image);
    assert_true(restore_image(copy->engines[name_shard(name.hash, copy->count)], &name, &image));
  }
}

/* Settles after so many images: 0: at the end only. */
static void gathered(struct copy *copy, const struct outbox *log, unsigned often) {
  struct refill *refill = refill_create(copy->engines, copy->count);
  assert_non_null(refill);
  struct image image;
  unsigned count = 0;
  for (size_t at = 0, size; at < log->len; at += size) {
    size = image_read((struct span){log->bytes + at, log->len - at}, &image);
    assert_true(refill_add(refill, log->bytes + at, &image));
    if (often > 0 && ++count % often == 0) assert_true(refill_settle(refill));
  }
  assert_true(refill_settle(refill));
  refill_destroy(refill);
}

/* ---- the same ---- */

static struct entry find_in(const struct copy *copy, const char *key) {
  struct name name;
  struct response response;
  name_of(copy->engines[0], span_of(key), &name);
  return find_entry(copy->engines[name_shard(name.hash, copy->count)], &name, 0, &response);
}

static struct span stage_of(const struct record *record) {
  return record_claim(record) != NULL ? pin_bytes(record->claim->stage) : SPAN_ABSENT;
}

static void expect_same_records(const struct record *a, const struct record *b) {
  assert_int_equal(a->phase, b->phase);
  assert_true(a->token == b->token);
  assert_true(record_since_ms(a) == record_since_ms(b));
  assert_true(record_deadline_ms(a) == record_deadline_ms(b));
  if (record_is_value(a)) return;
  assert_int_equal(record_attempt(a), record_attempt(b));
  const unsigned kept = RECORD_HOLD | RECORD_NOBODY;
  assert_int_equal(a->flags & kept, b->flags & kept);
  assert_int_equal(a->lease_ms, b->lease_ms);
  assert_true(fingerprint_equal(record_fingerprint(a), record_fingerprint(b)));
  assert_true(span_equal(stage_of(a), stage_of(b)));
  assert_true(span_equal(pin_bytes(record_owner(a)), pin_bytes(record_owner(b))));
}

static unsigned expect_same_entries(const struct copy *a, const struct copy *b) {
  char text[KEY_TEXT];
  unsigned there = 0;
  for (unsigned i = 0; i < KEYS; i++) {
    struct entry one = find_in(a, key_text_of(i, text)), other = find_in(b, text);
    assert_int_equal(entry_is_absent(one), entry_is_absent(other));
    assert_int_equal(one.record == NULL, other.record == NULL);
    if (entry_is_absent(one)) continue;
    there++;
    if (one.record != NULL) {
      expect_same_records(one.record, other.record);
    } else {
      struct response responses[2];
      response_log_read(one.response, &responses[0]);
      response_log_read(other.response, &responses[1]);
      assert_true(responses[0].token == responses[1].token);
      assert_true(responses[0].deadline_ms == responses[1].deadline_ms);
      assert_true(span_equal(responses[0].body, responses[1].body));
      assert_true(span_equal(responses[0].meta, responses[1].meta));
      assert_true(fingerprint_equal(responses[0].fingerprint, responses[1].fingerprint));
    }
  }
  return there;
}

static void expect_same_engines(const struct engine *a, const struct engine *b) {
  assert_memory_equal(a->counts, b->counts, sizeof a->counts);
  const struct list *one = a->open_claims.by_token.next, *other = b->open_claims.by_token.next;
  for (; one != &a->open_claims.by_token; one = one->next, other = other->next) {
    assert_ptr_not_equal(other, &b->open_claims.by_token);
    assert_true(LIST_ENTRY(one, struct record, open)->token ==
                LIST_ENTRY(other, struct record, open)->token);
  }
  assert_ptr_equal(other, &b->open_claims.by_token);
  uint32_t slot = horizon_first_slot(&a->horizon), end = slot + horizon_slots(&a->horizon);
  for (; slot < end; slot++)
    assert_true(horizon_slot_ms(&a->horizon, slot) == horizon_slot_ms(&b->horizon, slot));
}

static void gathered_images_leave_the_same(void **state) {
  const unsigned often[] = {0, 1, 100, 20000};
  struct world *world = world_create(*state, 7);
  make_log(world);
  for (unsigned shards = 1; shards <= SHARDS; shards += SHARDS - 1) {
    struct copy want = copy_create(shards);
    one_by_one(&want, &world->outbox);
    for (unsigned i = 0; i < sizeof often / sizeof *often; i++) {
      struct copy have = copy_create(shards);
      gathered(&have, &world->outbox, often[i]);
      assert_true(expect_same_entries(&want, &have) > KEYS / 4);
      for (unsigned shard = 0; shard < shards; shard++)
        expect_same_engines(want.engines[shard], have.engines[shard]);
      copy_destroy(&have);
    }
    copy_destroy(&want);
  }
  world_destroy(world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(gathered_images_leave_the_same, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
