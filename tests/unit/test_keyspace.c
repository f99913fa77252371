/*
 * test_keyspace.c - what is promised to several loops that use one keyspace: a key has one shard,
 * what is to be done is told to the right loop once and is never lost, time runs forward, numbers
 * and limits are common to all. And a hammer of threads, to be run under ThreadSanitizer too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/engine/binding.h"
#include "server/engine/engine.h"
#include "server/engine/keys.h"
#include "server/engine/keyspace.h"
#include "server/engine/memory_limit.h"
#include "server/engine/name.h"
#include "server/engine/pin.h"
#include "server/engine/stats.h"
#include "server/engine/tick.h"
#include "server/engine/waiter.h"

#define START INT64_C(5000)
#define FIRST_TOKEN UINT64_C(7000000)
#define FOREVER INT64_C(1000000)
#define LOOPS 4u
#define KEY_BYTES 24
#define PLENTY 1000000u

static const struct engine_options OPTIONS = {
    .first_token = FIRST_TOKEN,
    .retention_ms = FOREVER,
    .waiters_per_key = 100,
    .waiters_total = 100,
};

/* One keyspace at a time, its clock, the last answer, and which loops the last call told. */
struct fixture {
  struct keyspace *keyspace;
  int64_t now;
  struct engine_answer answer;
  uint64_t told;
};

static void make(struct fixture *f, const struct engine_options *options, unsigned loops) {
  keyspace_destroy(f->keyspace);
  f->keyspace = keyspace_create(options, loops, f->now);
  assert_non_null(f->keyspace);
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  if (f == NULL) return -1;
  f->now = START;
  make(f, &OPTIONS, LOOPS);
  *state = f;
  return 0;
}

static struct engine *engine_of(struct fixture *f, unsigned shard) {
  return shard_engine(keyspace_shard(f->keyspace, shard));
}

static void settle_ready(struct engine *engine) {
  for (unsigned loop_id = 0; loop_id < LOOPS; loop_id++) {
    struct waiter *waiter;
    while ((waiter = waiter_next_ready(engine, loop_id)) != NULL) waiter_settle(engine, waiter);
  }
}

/* A test that failed has left callers waiting, whose time is over by then: the engines must not be
 * what says so. */
static int teardown(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < keyspace_shards(f->keyspace); i++) {
    struct stats left;
    settle_ready(engine_of(f, i));
    stats_read(engine_of(f, i), &left);
    if (left.waiters > 0) tick_run(engine_of(f, i), f->now + 2 * FOREVER, PLENTY);
    settle_ready(engine_of(f, i));
  }
  keyspace_destroy(f->keyspace);
  free(f);
  return 0;
}

/* ---- short ways ---- */

static uint64_t bit(unsigned number) { return UINT64_C(1) << number; }

static unsigned loop_of(unsigned shard) { return shard % LOOPS; }

static struct shard *shard_of(struct fixture *f, const char *key) {
  return keyspace_find(f->keyspace, span_of(key));
}

/* Some key of a shard; `variant` tells several apart. */
static const char *key_in(struct fixture *f, unsigned shard, unsigned variant,
                          char key[KEY_BYTES]) {
  for (unsigned n = 0;; n++) {
    snprintf(key, KEY_BYTES, "k%u-%u", variant, n);
    if (shard_number(shard_of(f, key)) == shard) return key;
  }
}

static enum engine_status claim(struct fixture *f, const char *key, int64_t lease_ms,
                                int64_t wait_ms, unsigned loop_id) {
  struct engine_claim claim = {
      .key = span_of(key), .lease_ms = (uint32_t)lease_ms, .wait_ms = wait_ms, .loop_id = loop_id};
  int64_t now_ms = f->now;
  engine_claim(shard_lock(shard_of(f, key), &now_ms), &claim, now_ms, &f->answer);
  f->told = shard_unlock(shard_of(f, key));
  return f->answer.status;
}

static uint64_t claimed(struct fixture *f, const char *key, int64_t lease_ms) {
  assert_int_equal(claim(f, key, lease_ms, 0, 0), ENGINE_CLAIMED);
  return f->answer.token;
}

static enum engine_status store(struct fixture *f, const char *key, uint64_t token,
                                struct span body, int64_t ttl_ms) {
  struct engine_store store = {.key = span_of(key), .token = token, .body = body, .ttl_ms = ttl_ms};
  int64_t now_ms = f->now;
  engine_store(shard_lock(shard_of(f, key), &now_ms), &store, now_ms, &f->answer);
  f->told = shard_unlock(shard_of(f, key));
  return f->answer.status;
}

static enum engine_status release(struct fixture *f, const char *key, uint64_t token) {
  int64_t now_ms = f->now;
  struct engine *engine = shard_lock(shard_of(f, key), &now_ms);
  const struct engine_release release = {.key = span_of(key), .token = token};
  engine_release(engine, &release, now_ms, &f->answer);
  f->told = shard_unlock(shard_of(f, key));
  return f->answer.status;
}

/* Somebody uses the shard and changes nothing. */
static uint64_t pass_through(struct fixture *f, unsigned shard) {
  int64_t now_ms = f->now;
  shard_lock(keyspace_shard(f->keyspace, shard), &now_ms);
  return shard_unlock(keyspace_shard(f->keyspace, shard));
}

static uint64_t tick(struct fixture *f, unsigned shard, unsigned budget) {
  int64_t now_ms = f->now;
  tick_run(shard_lock(keyspace_shard(f->keyspace, shard), &now_ms), now_ms, budget);
  return shard_unlock(keyspace_shard(f->keyspace, shard));
}

/* What a loop does in its turn. */
static void tick_due(struct fixture *f, unsigned loop) {
  uint64_t due = keyspace_take_due(f->keyspace, loop, f->now);
  for (; due != 0; due &= due - 1) tick(f, (unsigned)__builtin_ctzll(due), PLENTY);
}

static struct waiter *next_ready(struct fixture *f, unsigned shard, unsigned loop_id) {
  int64_t now_ms = f->now;
  struct engine *engine = shard_lock(keyspace_shard(f->keyspace, shard), &now_ms);
  struct waiter *waiter = waiter_next_ready(engine, loop_id);
  shard_unlock(keyspace_shard(f->keyspace, shard));
  return waiter;
}

static void settle(struct fixture *f, unsigned shard, struct waiter *waiter) {
  assert_non_null(waiter);
  int64_t now_ms = f->now;
  waiter_settle(shard_lock(keyspace_shard(f->keyspace, shard), &now_ms), waiter);
  shard_unlock(keyspace_shard(f->keyspace, shard));
}

static struct stats stats_of(struct fixture *f) {
  struct stats sum = {0}, stats;
  for (unsigned i = 0; i < keyspace_shards(f->keyspace); i++) {
    stats_read(engine_of(f, i), &stats);
    stats_add(&sum, &stats);
  }
  return sum;
}

/* ---- shards ---- */

static void one_loop_has_one_shard(void **state) {
  struct fixture *f = *state;
  make(f, &OPTIONS, 1);
  assert_int_equal(keyspace_shards(f->keyspace), 1);
  assert_ptr_equal(shard_of(f, "a"), keyspace_shard(f->keyspace, 0));
  assert_ptr_equal(shard_of(f, "b"), keyspace_shard(f->keyspace, 0));
  /* Nobody else is there to be told; the loop sees for itself. */
  uint64_t token = claimed(f, "k", 100);
  assert_int_equal(f->told, 0);
  assert_int_equal(claim(f, "k", 100, 50, 0), ENGINE_QUEUED);
  struct waiter *waiter = f->answer.waiter;
  assert_true(keyspace_next_due(f->keyspace, 0) <= f->now + 50);
  assert_int_equal(keyspace_take_ready(f->keyspace, 0), 0);
  release(f, "k", token);
  assert_int_equal(f->told, 0);
  assert_true(keyspace_has_ready(f->keyspace, 0));
  assert_int_equal(keyspace_take_ready(f->keyspace, 0), 1);
  assert_ptr_equal(next_ready(f, 0, 0), waiter);
  settle(f, 0, waiter);
  assert_false(keyspace_has_ready(f->keyspace, 0));
  assert_int_equal(keyspace_take_due(f->keyspace, 0, f->now), 1);
}

static void there_are_16_shards_to_a_loop_and_at_most_64(void **state) {
  struct fixture *f = *state;
  const unsigned loops[] = {2, 3, 4, 5, 64}, shards[] = {32, 48, 64, 64, 64};
  for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
    make(f, &OPTIONS, loops[i]);
    assert_int_equal(keyspace_shards(f->keyspace), shards[i]);
    for (unsigned n = 0; n < shards[i]; n++)
      assert_int_equal(shard_number(keyspace_shard(f->keyspace, n)), n);
  }
}

#define SPREAD 64000u /* 1,000 in each shard; a sixth more is five standard deviations */

static void keys_spread_over_all_shards_and_stay(void **state) {
  struct fixture *f = *state;
  static unsigned char where[SPREAD];
  unsigned count[KEYSPACE_MAX_SHARDS] = {0};
  char key[KEY_BYTES];
  for (unsigned i = 0; i < SPREAD; i++) {
    snprintf(key, sizeof key, "order-%u", i);
    where[i] = (unsigned char)shard_number(shard_of(f, key));
    count[where[i]]++;
  }
  for (unsigned n = 0; n < 64; n++) assert_in_range(count[n], 834, 1166);
  for (unsigned i = 0; i < SPREAD; i++) {
    snprintf(key, sizeof key, "order-%u", i);
    assert_int_equal(shard_number(shard_of(f, key)), where[i]);
  }
}

static void the_secret_decides_where_a_key_lies(void **state) {
  struct fixture *f = *state;
  struct engine_options other = OPTIONS;
  for (size_t i = 0; i < sizeof other.hash_secret; i++)
    other.hash_secret[i] = (unsigned char)(i * i * 37);
  struct keyspace *with_other = keyspace_create(&other, LOOPS, f->now);
  assert_non_null(with_other);
  unsigned same = 0;
  char key[KEY_BYTES];
  for (unsigned i = 0; i < 1000; i++) {
    snprintf(key, sizeof key, "order-%u", i);
    same += shard_number(shard_of(f, key)) == shard_number(keyspace_find(with_other, span_of(key)));
  }
  assert_in_range(same, 0, 50);
  keyspace_destroy(with_other);
}

/* ---- waiters that are ready ---- */

static void a_ready_waiter_is_told_to_its_home_once(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  key_in(f, 9, 0, key);
  uint64_t token = claimed(f, key, FOREVER);
  assert_int_equal(claim(f, key, FOREVER, FOREVER, 3), ENGINE_QUEUED);
  struct waiter *waiter = f->answer.waiter;
  assert_int_equal(f->told, 0);
  assert_false(keyspace_has_ready(f->keyspace, 3));
  assert_int_equal(release(f, key, token), ENGINE_RELEASED);
  assert_int_equal(f->told, bit(3));
  assert_int_equal(pass_through(f, 9), 0);
  for (unsigned loop = 0; loop < LOOPS; loop++)
    assert_int_equal(keyspace_has_ready(f->keyspace, loop), loop == 3);
  assert_int_equal(keyspace_take_ready(f->keyspace, 0), 0);
  assert_int_equal(keyspace_take_ready(f->keyspace, 3), bit(9));
  assert_int_equal(keyspace_take_ready(f->keyspace, 3), 0);
  assert_ptr_equal(next_ready(f, 9, 3), waiter);
  settle(f, 9, waiter);
  assert_int_equal(pass_through(f, 9), 0);
  assert_false(keyspace_has_ready(f->keyspace, 3));
}

static void one_store_tells_all_homes(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  key_in(f, 20, 0, key);
  uint64_t token = claimed(f, key, FOREVER);
  for (unsigned i = 0; i < 9; i++)
    assert_int_equal(claim(f, key, FOREVER, FOREVER, i % 3), ENGINE_QUEUED);
  assert_int_equal(store(f, key, token, SPAN_LITERAL("b"), FOREVER), ENGINE_STORED);
  assert_int_equal(f->answer.count, 9);
  assert_int_equal(f->told, bit(0) | bit(1) | bit(2));
  for (unsigned loop_id = 0; loop_id < 3; loop_id++) {
    assert_int_equal(keyspace_take_ready(f->keyspace, loop_id), bit(20));
    for (unsigned i = 0; i < 3; i++) settle(f, 20, next_ready(f, 20, loop_id));
    assert_null(next_ready(f, 20, loop_id));
  }
  assert_null(next_ready(f, 20, 3));
}

/* The loop's budget ran out: it says so, or the next one that uses the shard does. */
static void what_was_taken_and_not_done_is_told_again(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  key_in(f, 5, 0, key);
  uint64_t token = claimed(f, key, FOREVER);
  for (unsigned i = 0; i < 2; i++) claim(f, key, FOREVER, FOREVER, 2);
  store(f, key, token, SPAN_LITERAL("b"), FOREVER);
  uint64_t taken = keyspace_take_ready(f->keyspace, 2);
  keyspace_still_ready(f->keyspace, 2, taken);
  assert_true(keyspace_has_ready(f->keyspace, 2));
  assert_int_equal(pass_through(f, 5), 0); /* the loop knows */
  assert_int_equal(keyspace_take_ready(f->keyspace, 2), bit(5));
  assert_int_equal(pass_through(f, 5), bit(2));
  assert_int_equal(keyspace_take_ready(f->keyspace, 2), bit(5));
  for (unsigned i = 0; i < 2; i++) settle(f, 5, next_ready(f, 5, 2));
  /* Between the two it was told once more. */
  keyspace_take_ready(f->keyspace, 2);
  assert_int_equal(pass_through(f, 5), 0);
  keyspace_still_ready(f->keyspace, 2, 0);
  assert_false(keyspace_has_ready(f->keyspace, 2));
}

static void all_shards_at_once_tell_everybody(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  for (unsigned shard = 0; shard < 8; shard++) {
    claimed(f, key_in(f, shard, 0, key), FOREVER);
    assert_int_equal(claim(f, key, FOREVER, FOREVER, shard < 4 ? 1 : 3), ENGINE_QUEUED);
  }
  int64_t now_ms = f->now;
  keyspace_lock_all(f->keyspace);
  keyspace_see_time(f->keyspace, &now_ms);
  for (unsigned shard = 0; shard < 8; shard++)
    assert_true(keys_delete(engine_of(f, shard), span_of(key_in(f, shard, 0, key)), now_ms));
  assert_int_equal(keyspace_unlock_all(f->keyspace), bit(1) | bit(3));
  assert_int_equal(keyspace_take_ready(f->keyspace, 1), 0x0f);
  assert_int_equal(keyspace_take_ready(f->keyspace, 3), 0xf0);
}

/* ---- deadlines ---- */

static void a_deadline_is_told_when_it_is_nearer(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  for (unsigned loop = 0; loop < LOOPS; loop++)
    assert_int_equal(keyspace_next_due(f->keyspace, loop), INT64_MAX);
  claimed(f, key_in(f, 6, 0, key), 1000);
  assert_int_equal(f->told, bit(2));
  assert_int_equal(keyspace_next_due(f->keyspace, 2), f->now + 1000);
  claimed(f, key_in(f, 6, 1, key), 5000); /* later */
  assert_int_equal(f->told, 0);
  claimed(f, key_in(f, 6, 2, key), 1000); /* the same */
  assert_int_equal(f->told, 0);
  claimed(f, key_in(f, 6, 3, key), 400);
  assert_int_equal(f->told, bit(2));
  assert_int_equal(keyspace_next_due(f->keyspace, 2), f->now + 400);
  /* Another shard of that loop: it is told, and goes on knowing the nearer one. */
  claimed(f, key_in(f, 10, 0, key), 700);
  assert_int_equal(f->told, bit(2));
  assert_int_equal(keyspace_next_due(f->keyspace, 2), f->now + 400);
  assert_int_equal(keyspace_next_due(f->keyspace, loop_of(7)), INT64_MAX);
}

static void take_due_gives_the_shards_that_are_due(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  claimed(f, key_in(f, 1, 0, key), 100);
  claimed(f, key_in(f, 5, 0, key), 200);
  claimed(f, key_in(f, 9, 0, key), 100);
  claimed(f, key_in(f, 2, 0, key), 50); /* another loop's */
  int64_t start = f->now;
  f->now = start + 99;
  assert_int_equal(keyspace_take_due(f->keyspace, 1, f->now), 0);
  f->now = start + 100;
  assert_int_equal(keyspace_take_due(f->keyspace, 1, f->now), bit(1) | bit(9));
  assert_int_equal(keyspace_next_due(f->keyspace, 1), start + 200);
  assert_int_equal(keyspace_take_due(f->keyspace, 1, f->now), 0); /* they are being looked after */
  /* What is due next in them is told after the tick: here the end of LAPSED. */
  assert_int_equal(tick(f, 1, PLENTY), bit(1));
  assert_int_equal(tick(f, 9, PLENTY), bit(1));
  assert_int_equal(stats_of(f).phases[RULES_LAPSED], 2);
  assert_int_equal(keyspace_next_due(f->keyspace, 1), start + 200);
  assert_int_equal(keyspace_next_due(f->keyspace, 2), start + 50);
}

static void a_tick_that_did_not_end_is_due_again(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  for (unsigned i = 0; i < 20; i++) claimed(f, key_in(f, 3, i, key), 100);
  f->now += 100;
  assert_int_equal(keyspace_take_due(f->keyspace, 3, f->now), bit(3));
  assert_int_equal(tick(f, 3, 5), bit(3));
  assert_true(keyspace_next_due(f->keyspace, 3) <= f->now);
  unsigned turns = 0;
  for (; keyspace_next_due(f->keyspace, 3) <= f->now; turns++) {
    assert_true(turns < 100);
    assert_int_equal(keyspace_take_due(f->keyspace, 3, f->now), bit(3));
    tick(f, 3, 5);
  }
  assert_true(turns >= 3);
  assert_int_equal(stats_of(f).phases[RULES_LAPSED], 20);
}

/* Between take_due and the tick another loop uses the shard: it tells once more, and nothing is
 * lost whoever comes first. */
static void what_others_tell_meanwhile_is_not_lost(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  claimed(f, key_in(f, 4, 0, key), 100);
  claimed(f, key_in(f, 8, 0, key), 1000);
  f->now += 100;
  assert_int_equal(keyspace_take_due(f->keyspace, 0, f->now), bit(4));
  claimed(f, key_in(f, 4, 1, key), 30); /* also judges nothing of the other key */
  assert_int_equal(f->told, bit(0));
  claimed(f, key_in(f, 8, 1, key), 10);
  assert_int_equal(f->told, bit(0));
  tick(f, 4, PLENTY);
  assert_true(keyspace_next_due(f->keyspace, 0) <= f->now + 10);
  f->now += 10;
  tick_due(f, 0);
  f->now += 20;
  tick_due(f, 0);
  assert_int_equal(stats_of(f).phases[RULES_LAPSED], 3);
  assert_int_equal(stats_of(f).phases[RULES_HELD], 1);
}

static void a_deadline_that_moves_away_costs_one_look(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  uint64_t token = claimed(f, key_in(f, 7, 0, key), 100);
  store(f, key, token, SPAN_LITERAL("b"), 50000);
  f->now += 100;
  assert_int_equal(keyspace_take_due(f->keyspace, 3, f->now), bit(7));
  tick(f, 7, PLENTY);
  assert_true(keyspace_next_due(f->keyspace, 3) > f->now);
  int64_t end = f->now + 50000;
  unsigned looks = 0;
  for (; f->now < end; looks++) {
    assert_true(keyspace_next_due(f->keyspace, 3) > f->now);
    f->now = keyspace_next_due(f->keyspace, 3);
    tick_due(f, 3);
  }
  assert_true(looks <= 4); /* the levels of the wheel */
  assert_int_equal(stats_of(f).records, 0);
  assert_int_equal(keyspace_next_due(f->keyspace, 3), INT64_MAX);
}

static void closed_bindings_are_due_at_once(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  key_in(f, 11, 0, key);
  int64_t now_ms = f->now;
  struct engine *engine = shard_lock(shard_of(f, key), &now_ms);
  struct engine_claim bound = {
      .key = span_of(key), .lease_ms = FOREVER, .binding = binding_create(engine)};
  struct binding *binding = bound.binding;
  engine_claim(engine, &bound, now_ms, &f->answer);
  assert_int_equal(shard_unlock(shard_of(f, key)), bit(3));
  binding_close(shard_lock(shard_of(f, key), &now_ms), binding, now_ms);
  assert_int_equal(shard_unlock(shard_of(f, key)), bit(3));
  assert_int_equal(keyspace_next_due(f->keyspace, 3), INT64_MIN);
  tick_due(f, 3);
  assert_int_equal(stats_of(f).phases[RULES_HELD], 0);
  assert_int_equal(stats_of(f).phases[RULES_LAPSED], 1);
}

/* ---- time ---- */

static void a_shards_time_never_runs_backwards(void **state) {
  struct fixture *f = *state;
  struct shard *shard = keyspace_shard(f->keyspace, 0);
  const int64_t clocks[] = {START, START + 10, START + 4, START + 11, START - 100};
  const int64_t told[] = {START, START + 10, START + 10, START + 11, START + 11};
  for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
    int64_t now_ms = clocks[i];
    shard_lock(shard, &now_ms);
    assert_int_equal(now_ms, told[i]);
    shard_unlock(shard);
  }
  /* All together have the time of the foremost, and keep it. */
  int64_t now_ms = START + 5;
  keyspace_lock_all(f->keyspace);
  keyspace_see_time(f->keyspace, &now_ms);
  keyspace_unlock_all(f->keyspace);
  assert_int_equal(now_ms, START + 11);
  now_ms = START + 5;
  shard_lock(keyspace_shard(f->keyspace, 30), &now_ms);
  shard_unlock(keyspace_shard(f->keyspace, 30));
  assert_int_equal(now_ms, START + 11);
}

static void a_late_clock_sees_no_lease_that_is_over(void **state) {
  struct fixture *f = *state;
  claimed(f, "k", 100);
  f->now += 100;
  assert_int_equal(claim(f, "k", 100, 0, 0), ENGINE_CLAIMED);
  f->now -= 100;
  assert_int_equal(claim(f, "k", 100, 0, 0), ENGINE_BUSY);
  assert_int_equal(f->answer.left_ms, 100);
  assert_int_equal(f->answer.age_ms, 0);
}

/* ---- common to all ---- */

static void tokens_rise_over_all_shards(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  uint64_t last = FIRST_TOKEN - 1;
  for (unsigned i = 0; i < 500; i++) {
    snprintf(key, sizeof key, "k%u", i);
    uint64_t token = claimed(f, key, FOREVER);
    assert_true(token > last);
    last = token;
  }
  assert_true(last < FIRST_TOKEN + 1000);
}

static void hang_up_in(struct fixture *f, unsigned shard, struct waiter *waiter) {
  int64_t now_ms = f->now;
  waiter_cancel(shard_lock(keyspace_shard(f->keyspace, shard), &now_ms), waiter, now_ms);
  shard_unlock(keyspace_shard(f->keyspace, shard));
}

static void waiters_total_is_one_limit(void **state) {
  struct fixture *f = *state;
  struct waiter *waiters[100];
  char key[KEY_BYTES];
  for (unsigned i = 0; i < 100; i++) {
    if (i % 2 == 0) claimed(f, key_in(f, i / 2, 0, key), FOREVER);
    assert_int_equal(claim(f, key, FOREVER, FOREVER, 0), ENGINE_QUEUED);
    waiters[i] = f->answer.waiter;
  }
  claimed(f, key_in(f, 60, 0, key), FOREVER);
  assert_int_equal(claim(f, key, FOREVER, FOREVER, 0), ENGINE_BUSYKEY);
  /* Who leaves makes room, in any shard. */
  hang_up_in(f, 49, waiters[99]);
  assert_int_equal(claim(f, key, FOREVER, FOREVER, 0), ENGINE_QUEUED);
  waiters[99] = f->answer.waiter;
  assert_int_equal(claim(f, key, FOREVER, FOREVER, 0), ENGINE_BUSYKEY);
  assert_int_equal(stats_of(f).waiters, 100);
  for (unsigned i = 0; i < 100; i++) hang_up_in(f, i < 99 ? i / 2 : 60, waiters[i]);
  assert_int_equal(claim(f, key, FOREVER, FOREVER, 0), ENGINE_QUEUED);
  hang_up_in(f, 60, f->answer.waiter);
  assert_int_equal(stats_of(f).waiters, 0);
}

/* ---- memory ---- */

#define LIMIT (16u << 20)
#define RESERVE 3000u
#define MOST 20000u /* claims that such a limit has room for, and more */
/* What one claim may take beyond the limit: a piece of its shard's table. */
#define PIECE (17u * 1024)
#define APART INT64_C(7000000) /* ms between ends, so that each has a slot of its own */

static void make_limited(struct fixture *f) {
  struct engine_options limited = OPTIONS;
  limited.memory_limit = LIMIT;
  limited.store_reserve = RESERVE;
  make(f, &limited, LOOPS);
}

static uint64_t demand_of(struct fixture *f) {
  struct stats stats = stats_of(f);
  return stats.memory_bytes + stats.phases[RULES_HELD] * memory_limit_reserve(RESERVE);
}

/* Claims new keys till one is refused. */
static unsigned fill(struct fixture *f, const char *prefix, uint64_t tokens[MOST]) {
  char key[KEY_BYTES];
  for (unsigned i = 0;; i++) {
    assert_true(i < MOST);
    snprintf(key, sizeof key, "%s%u", prefix, i);
    uint64_t before = demand_of(f);
    enum engine_status status = claim(f, key, FOREVER, 0, 0);
    if (status == ENGINE_OOM) return i;
    assert_int_equal(status, ENGINE_CLAIMED);
    assert_true(before + memory_limit_reserve(RESERVE) <= LIMIT);
    tokens[i] = f->answer.token;
  }
}

static void maxmemory_is_one_limit(void **state) {
  struct fixture *f = *state;
  static uint64_t tokens[MOST];
  make_limited(f);
  unsigned held = fill(f, "k", tokens);
  assert_in_range(demand_of(f), LIMIT - 2 * memory_limit_reserve(RESERVE), LIMIT + PIECE);
  assert_int_equal(stats_of(f).phases[RULES_HELD], held);
  /* Whichever shard is asked says so. */
  char key[KEY_BYTES];
  for (unsigned shard = 0; shard < 64; shard++)
    assert_int_equal(claim(f, key_in(f, shard, 77, key), FOREVER, 0, 0), ENGINE_OOM);
  assert_int_equal(stats_of(f).refused_memory, 65);
  /* What was granted can be stored: that is what the reserve is for. Each response ends somewhere
   * else, which is the worst for a response log. */
  static const char body[RESERVE];
  for (unsigned i = 0; i < held; i++) {
    snprintf(key, sizeof key, "k%u", i);
    assert_int_equal(
        store(f, key, tokens[i], (struct span){body, sizeof body}, FOREVER + i * APART),
        ENGINE_STORED);
    assert_true(demand_of(f) <= LIMIT + PIECE);
  }
  for (unsigned i = 0; i < held; i += 2) {
    snprintf(key, sizeof key, "k%u", i);
    struct shard *shard = shard_of(f, key);
    assert_true(keys_delete(shard_engine(shard), span_of(key), f->now));
  }
  assert_int_equal(claim(f, key_in(f, 1, 77, key), FOREVER, 0, 0), ENGINE_CLAIMED);
}

static void room_in_one_shard_is_room_for_all(void **state) {
  struct fixture *f = *state;
  static uint64_t tokens[MOST];
  make_limited(f);
  unsigned count = fill(f, "k", tokens);
  char key[KEY_BYTES];
  unsigned released = 0;
  for (unsigned i = 0; i < count && released < 10; i++) {
    snprintf(key, sizeof key, "k%u", i);
    if (shard_number(shard_of(f, key)) >= 4) continue;
    assert_int_equal(release(f, key, tokens[i]), ENGINE_RELEASED);
    released++;
  }
  assert_int_equal(released, 10);
  unsigned made = 0;
  for (unsigned i = 0; i < 20; i++)
    made += claim(f, key_in(f, 40 + i, 1000, key), FOREVER, 0, 0) == ENGINE_CLAIMED;
  assert_in_range(made, 9, 11);
}

static void flush_all(struct fixture *f) {
  int64_t now_ms = f->now;
  keyspace_lock_all(f->keyspace);
  keyspace_see_time(f->keyspace, &now_ms);
  for (unsigned i = 0; i < keyspace_shards(f->keyspace); i++) keys_flush(engine_of(f, i), now_ms);
  f->told = keyspace_unlock_all(f->keyspace);
}

/* Values of 2,000 bytes, till one is refused. */
static unsigned fill_values(struct fixture *f, const char *prefix) {
  static const char bytes[2000];
  char key[KEY_BYTES];
  for (unsigned i = 0;; i++) {
    assert_true(i < MOST);
    snprintf(key, sizeof key, "%s%u", prefix, i);
    int64_t now_ms = f->now;
    struct engine *engine = shard_lock(shard_of(f, key), &now_ms);
    enum engine_status status = keys_set_value(
        engine, span_of(key), (struct span){bytes, sizeof bytes}, RULES_NEVER, now_ms);
    shard_unlock(shard_of(f, key));
    if (status == ENGINE_OOM) return i;
    assert_int_equal(status, ENGINE_STORED);
  }
}

static void what_is_being_swept_does_not_count(void **state) {
  struct fixture *f = *state;
  make_limited(f);
  unsigned count = fill_values(f, "k");
  assert_in_range(demand_of(f), LIMIT - 4000, LIMIT + PIECE);
  char key[KEY_BYTES];
  assert_int_equal(claim(f, key_in(f, 9, 0, key), FOREVER, 0, 0), ENGINE_OOM);
  int64_t now_ms = f->now;
  keys_flush(shard_lock(keyspace_shard(f->keyspace, 8), &now_ms), now_ms);
  assert_int_equal(shard_unlock(keyspace_shard(f->keyspace, 8)), bit(0));
  assert_int_equal(claim(f, key, FOREVER, 0, 0), ENGINE_CLAIMED); /* another shard */
  flush_all(f);
  assert_int_equal(f->told, bit(LOOPS) - 1);
  assert_true(stats_of(f).memory_bytes > LIMIT - 4000); /* nothing is swept yet */
  for (unsigned i = 0; i < 64; i++) claimed(f, key_in(f, i, 5000, key), FOREVER);
  for (unsigned loop = 0; loop < LOOPS; loop++) {
    assert_int_equal(keyspace_next_due(f->keyspace, loop), INT64_MIN);
    tick_due(f, loop);
    assert_true(keyspace_next_due(f->keyspace, loop) > f->now);
  }
  assert_int_equal(stats_of(f).records, 64);
  /* From here on it is one limit again. */
  assert_in_range(fill_values(f, "again"), count - 200, count);
  assert_in_range(demand_of(f), LIMIT - 4000, LIMIT + PIECE);
}

/* Nobody ticks, because all are busy: what is swept must not let others go on without end. */
static void a_flush_does_not_open_the_limit(void **state) {
  struct fixture *f = *state;
  make_limited(f);
  unsigned count = fill_values(f, "k");
  flush_all(f);
  assert_true(fill_values(f, "again") <= count);
  assert_true(demand_of(f) <= LIMIT + PIECE);
}

static void a_limit_that_is_set_later_counts_what_is_there(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  for (unsigned i = 0; i < 640; i++) claimed(f, key_in(f, i % 64, i, key), FOREVER);
  struct engine_options limited = OPTIONS;
  limited.memory_limit = stats_of(f).memory_bytes;
  int64_t now_ms = f->now;
  keyspace_lock_all(f->keyspace);
  keyspace_see_time(f->keyspace, &now_ms);
  for (unsigned i = 0; i < 64; i++) engine_reconfigure(engine_of(f, i), &limited);
  keyspace_unlock_all(f->keyspace);
  assert_int_equal(claim(f, "one more", FOREVER, 0, 0), ENGINE_OOM);
}

static void all_shards_are_flushed_at_once(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  uint64_t empty_bytes = stats_of(f).memory_bytes;
  struct waiter *waiters[64];
  for (unsigned i = 0; i < 64; i++) {
    claimed(f, key_in(f, i, 0, key), FOREVER);
    assert_int_equal(claim(f, key, FOREVER, FOREVER, i % LOOPS), ENGINE_QUEUED);
    waiters[i] = f->answer.waiter;
    claimed(f, key_in(f, i, 1, key), FOREVER);
  }
  flush_all(f);
  for (unsigned i = 0; i < 64; i++) {
    claimed(f, key_in(f, i, 1, key), FOREVER);
    assert_int_equal(f->answer.attempt, 1);
  }
  /* Who waited is granted, as by RELEASE. */
  for (unsigned loop = 0; loop < LOOPS; loop++) tick_due(f, loop);
  for (unsigned i = 0; i < 64; i++) {
    struct waiter *waiter = next_ready(f, i, i % LOOPS);
    assert_ptr_equal(waiter, waiters[i]);
    assert_int_equal(waiter_answer(waiter)->status, ENGINE_CLAIMED);
    settle(f, i, waiter);
  }
  assert_int_equal(stats_of(f).records, 128);
  flush_all(f);
  for (unsigned loop = 0; loop < LOOPS; loop++) tick_due(f, loop);
  assert_int_equal(stats_of(f).memory_bytes, empty_bytes);
}

/* ---- figures ---- */

static void figures_add_up(void **state) {
  struct fixture *f = *state;
  char key[KEY_BYTES];
  for (unsigned i = 0; i < 64; i++) {
    uint64_t token = claimed(f, key_in(f, i, 0, key), FOREVER);
    claim(f, key, FOREVER, 0, 0);
    if (i % 2 == 0) store(f, key, token, SPAN_LITERAL("b"), FOREVER);
  }
  struct stats stats = stats_of(f);
  assert_int_equal(stats.granted, 64);
  assert_int_equal(stats.busy, 64);
  assert_int_equal(stats.stored, 32);
  assert_int_equal(stats.records, 64);
  assert_int_equal(stats.phases[RULES_HELD], 32);
  assert_int_equal(stats.phases[RULES_DONE], 32);
  assert_int_equal(stats.expiring, 32);
  struct stats one, twice = stats;
  stats_read(engine_of(f, 0), &one);
  stats_add(&twice, &one);
  assert_int_equal(twice.memory_bytes, stats.memory_bytes + one.memory_bytes);
  assert_int_equal(twice.refused_memory, stats.refused_memory + one.refused_memory);
}

/* ---- two at the same moment ---- */

#define ROUNDS 20000u

struct race {
  struct fixture *fixture;
  _Atomic unsigned round, ended;
};

/* Shard 0 is due; whoever looks after it begins when a nearer deadline is told of shard 4. */
static void *take_and_tick(void *argument) {
  struct race *race = argument;
  struct fixture *f = race->fixture;
  for (unsigned round = 1; round <= ROUNDS; round++) {
    while (atomic_load(&race->round) < round) sched_yield();
    uint64_t due = keyspace_take_due(f->keyspace, 0, START + round);
    for (; due != 0; due &= due - 1) {
      int64_t now_ms = START + round;
      struct shard *shard = keyspace_shard(f->keyspace, (unsigned)__builtin_ctzll(due));
      tick_run(shard_lock(shard, &now_ms), now_ms, PLENTY);
      shard_unlock(shard);
    }
    atomic_store(&race->ended, round);
  }
  return NULL;
}

static void no_deadline_is_lost_between_two_loops(void **state) {
  struct fixture *f = *state;
  struct race race = {.fixture = f};
  char due[KEY_BYTES], told[KEY_BYTES];
  key_in(f, 0, 0, due);
  key_in(f, 4, 0, told);
  unsigned lost = 0; /* told at the end: the other thread must not be left alone */
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, take_and_tick, &race), 0);
  for (unsigned round = 1; round <= ROUNDS; round++) {
    f->now = START + round - 1;
    claim(f, due, 1, 0, 0);
    atomic_store(&race.round, round);
    for (volatile unsigned wait = 0; wait < round % 64; wait++) continue;
    claim(f, told, 3, 0, 0);
    while (atomic_load(&race.ended) < round) sched_yield();
    for (unsigned shard = 0; shard < 8; shard += 4) {
      int64_t hint_ms = tick_next_due_hint(engine_of(f, shard));
      lost += keyspace_next_due(f->keyspace, 0) > hint_ms;
    }
  }
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_int_equal(lost, 0);
}

/* ---- fetching ahead while another loop changes what is fetched ---- */

#define FETCHED_KEYS 60000u /* so many that each of 32 indexes gets a second segment */

struct fetching {
  struct keyspace *keyspace;
  _Atomic bool ended;
  unsigned rounds;
};

static struct span number_key(unsigned number, char key[KEY_BYTES]) {
  int len = snprintf(key, KEY_BYTES, "n%u", number);
  return (struct span){key, (size_t)len};
}

static void *fetch_ahead(void *argument) {
  struct fetching *fetching = argument;
  char key[KEY_BYTES];
  struct name name;
  do {
    for (unsigned i = 0; i < FETCHED_KEYS; i += 7) {
      keyspace_name(fetching->keyspace, number_key(i, key), &name);
      keyspace_exceeds_cache(fetching->keyspace);
      keyspace_prefetch(fetching->keyspace, &name);
      keyspace_prefetch_chain(fetching->keyspace, &name);
      keyspace_prefetch_entry(fetching->keyspace, &name);
    }
    fetching->rounds++;
  } while (!atomic_load(&fetching->ended));
  return NULL;
}

static void delete_number(struct fixture *f, unsigned number) {
  char key[KEY_BYTES];
  struct span span = number_key(number, key);
  int64_t now_ms = f->now;
  struct shard *shard = keyspace_find(f->keyspace, span);
  assert_true(keys_delete(shard_lock(shard, &now_ms), span, now_ms));
  shard_unlock(shard);
}

/* Neither a fault nor, under ThreadSanitizer, a race. */
static void keys_come_and_go_while_another_loop_fetches(void **state) {
  struct fixture *f = *state;
  make(f, &OPTIONS, 2);
  struct fetching fetching = {.keyspace = f->keyspace};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, fetch_ahead, &fetching), 0);
  char key[KEY_BYTES];
  for (unsigned i = 0; i < FETCHED_KEYS; i++) {
    number_key(i, key);
    claim(f, key, FOREVER, 0, 0);
  }
  for (unsigned i = 0; i < FETCHED_KEYS; i++) delete_number(f, i);
  atomic_store(&fetching.ended, true);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_true(fetching.rounds > 0);
}

/* ---- the hammer ---- */

#define HAMMER_KEYS 300u
#define HAMMER_STEPS 25000u
#define HAMMER_WAITS 24u /* of one thread at a time */
#define HAMMER_TOKENS (2 * HAMMER_STEPS)
#define BODY_BYTES 32

/* What is known of a key; its shard's lock is its own. */
struct known {
  uint64_t stored;  /* the token that stored; 0: nothing is */
  uint64_t granted; /* the highest that was granted at once, not by hand-over */
};

struct hammer {
  struct keyspace *keyspace;
  struct known keys[HAMMER_KEYS];
  _Atomic int64_t clock_ms;
  _Atomic bool woken[LOOPS];
};

struct wait {
  struct waiter *waiter; /* NULL: the place is free */
  unsigned key;
};

/* A loop: its random numbers, what it was granted, its waiters. */
struct hitter {
  struct hammer *hammer;
  pthread_t thread;
  unsigned loop_id;
  uint64_t random;
  int64_t now_ms;
  uint64_t own[HAMMER_KEYS];
  uint64_t *tokens; /* all that it was granted */
  size_t token_count;
  struct wait waits[HAMMER_WAITS];
  struct binding *bindings[KEYSPACE_MAX_SHARDS];
  uint64_t answered, taken_back;
};

/* assert_* of cmocka jump out of the test, which another thread must not. */
static void must(bool holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "hammer: %s\n", what);
  abort();
}

static uint64_t draw(struct hitter *h, uint64_t below) {
  h->random ^= h->random << 13;
  h->random ^= h->random >> 7;
  h->random ^= h->random << 17;
  return (h->random >> 20) % below;
}

static struct span key_name(unsigned key, char name[KEY_BYTES]) {
  int len = snprintf(name, KEY_BYTES, "key:%u", key);
  return (struct span){name, (size_t)len};
}

static struct span body_of(unsigned key, uint64_t token, char body[BODY_BYTES]) {
  int len = snprintf(body, BODY_BYTES, "%u %llu", key, (unsigned long long)token);
  return (struct span){body, (size_t)len};
}

static void note_woken(struct hammer *hammer, uint64_t told) {
  must(told < bit(LOOPS), "a loop that does not exist was told");
  for (; told != 0; told &= told - 1) atomic_store(&hammer->woken[__builtin_ctzll(told)], true);
}

static struct engine *take(struct hitter *h, struct shard *shard) {
  h->now_ms = atomic_load(&h->hammer->clock_ms) - (int64_t)draw(h, 5);
  return shard_lock(shard, &h->now_ms);
}

static void leave(struct hitter *h, struct shard *shard) {
  note_woken(h->hammer, shard_unlock(shard));
}

static void note_token(struct hitter *h, unsigned key, uint64_t token) {
  must(h->token_count < HAMMER_TOKENS, "more grants than calls");
  h->tokens[h->token_count++] = token;
  h->own[key] = token;
}

static void expect_body(unsigned key, uint64_t token, const struct engine_answer *answer) {
  char text[BODY_BYTES];
  must(span_equal(pin_bytes(answer->body), body_of(key, token, text)),
       "a response that was not stored last");
}

/* What must be true of a key after every call. */
static void expect_legal(struct hitter *h, struct engine *engine, unsigned key) {
  char name[KEY_BYTES];
  struct keys_entry entry;
  keys_look(engine, key_name(key, name), h->now_ms, &entry);
  bool done = entry.kind == KEYS_RECORD && entry.phase == RULES_DONE;
  must(entry.kind != KEYS_VALUE, "a value that was never set");
  must(done == (h->hammer->keys[key].stored != 0), "stored, and not DONE, or the other way round");
}

static struct wait *free_place(struct hitter *h) {
  for (unsigned i = 0; i < HAMMER_WAITS; i++)
    if (h->waits[i].waiter == NULL) return &h->waits[i];
  return NULL;
}

static void hit_claim(struct hitter *h, struct engine *engine, struct shard *shard, unsigned key) {
  struct known *known = &h->hammer->keys[key];
  struct wait *place = free_place(h);
  char name[KEY_BYTES];
  struct engine_claim claim = {.key = key_name(key, name),
                               .lease_ms = draw(h, 4) == 0 ? (uint32_t)(1 + draw(h, 20)) : FOREVER,
                               .context = place,
                               .loop_id = h->loop_id};
  if (place != NULL && draw(h, 2) == 0) claim.wait_ms = draw(h, 2) == 0 ? 10 : FOREVER;
  struct binding **binding = &h->bindings[shard_number(shard)];
  if (draw(h, 4) == 0) {
    if (*binding == NULL) *binding = binding_create(engine);
    claim.binding = *binding;
  }
  struct engine_answer answer;
  engine_claim(engine, &claim, h->now_ms, &answer);
  switch (answer.status) {
    case ENGINE_CLAIMED:
      must(known->stored == 0, "granted what is stored");
      must(answer.token > known->granted, "a token that does not rise");
      known->granted = answer.token;
      note_token(h, key, answer.token);
      break;
    case ENGINE_QUEUED: *place = (struct wait){answer.waiter, key}; break;
    case ENGINE_DONE: expect_body(key, known->stored, &answer); break;
    case ENGINE_BUSYKEY:
    case ENGINE_BUSY: break;
    default: must(false, "an answer that no CLAIM here can have");
  }
}

static void hit_store(struct hitter *h, struct engine *engine, unsigned key) {
  struct known *known = &h->hammer->keys[key];
  uint64_t token = h->own[key];
  char name[KEY_BYTES], body[BODY_BYTES];
  bool shared_only = draw(h, 4) == 0;
  struct engine_store store = {.key = key_name(key, name),
                               .token = token,
                               .body = body_of(key, token, body),
                               .ttl_ms = shared_only ? 0 : FOREVER};
  struct engine_answer answer;
  engine_store(engine, &store, h->now_ms, &answer);
  if (answer.status == ENGINE_STALE_ABSENT || answer.status == ENGINE_STALE_STORED ||
      answer.status == ENGINE_STALE_OVERTAKEN)
    return;
  must(answer.status == ENGINE_STORED && token != 0, "an answer that no STORE here can have");
  must(known->stored == 0 || known->stored == token, "stored over what is stored");
  if (!shared_only || known->stored != 0) known->stored = token;
}

static void hit_others(struct hitter *h, struct engine *engine, struct shard *shard, unsigned key,
                       uint64_t choice) {
  struct known *known = &h->hammer->keys[key];
  struct binding **binding = &h->bindings[shard_number(shard)];
  struct engine_answer answer;
  char name[KEY_BYTES];
  if (choice < 5) {
    struct engine_read read = {.key = key_name(key, name)};
    engine_read(engine, &read, h->now_ms, &answer);
    if (answer.status == ENGINE_DONE) expect_body(key, known->stored, &answer);
    must((answer.status == ENGINE_DONE) == (known->stored != 0), "FETCH sees another state");
  } else if (choice < 8) {
    const struct engine_release release = {.key = key_name(key, name), .token = h->own[key]};
    engine_release(engine, &release, h->now_ms, &answer);
  } else if (choice < 11) {
    keys_delete(engine, key_name(key, name), h->now_ms);
    known->stored = 0;
  } else if (*binding != NULL) {
    binding_close(engine, *binding, h->now_ms);
    *binding = NULL;
  }
}

/* The connection is gone. */
static void hang_up(struct hitter *h, struct wait *wait) {
  if (wait->waiter == NULL) return;
  char name[KEY_BYTES];
  struct shard *shard = keyspace_find(h->hammer->keyspace, key_name(wait->key, name));
  struct engine *engine = take(h, shard);
  waiter_cancel(engine, wait->waiter, h->now_ms);
  wait->waiter = NULL;
  leave(h, shard);
}

static void answer_one(struct hitter *h, struct engine *engine, struct waiter *waiter) {
  struct wait *wait = waiter_context(waiter);
  const struct engine_answer *answer = waiter_answer(waiter);
  must(wait->waiter == waiter, "told to another home, or twice");
  wait->waiter = NULL;
  h->answered++;
  if (draw(h, 4) == 0) {
    h->taken_back++;
    waiter_take_back(engine, waiter, h->now_ms);
    return;
  }
  if (answer->status == ENGINE_CLAIMED) note_token(h, wait->key, answer->token);
  if (answer->status == ENGINE_DONE) {
    char begin[KEY_BYTES];
    int len = snprintf(begin, sizeof begin, "%u ", wait->key);
    struct span body = pin_bytes(answer->body);
    must(body.len > (size_t)len && memcmp(body.data, begin, (size_t)len) == 0,
         "the response of another key");
  }
  waiter_settle(engine, waiter);
}

/* Looks only when it was woken, as a loop that sleeps. */
static void look_after(struct hitter *h) {
  struct keyspace *keyspace = h->hammer->keyspace;
  if (!atomic_exchange(&h->hammer->woken[h->loop_id], false)) return;
  h->now_ms = atomic_load(&h->hammer->clock_ms);
  uint64_t due = keyspace_take_due(keyspace, h->loop_id, h->now_ms);
  for (; due != 0; due &= due - 1) {
    struct shard *shard = keyspace_shard(keyspace, (unsigned)__builtin_ctzll(due));
    struct engine *engine = take(h, shard);
    tick_run(engine, h->now_ms, 50);
    leave(h, shard);
  }
  uint64_t ready = keyspace_take_ready(keyspace, h->loop_id);
  for (; ready != 0; ready &= ready - 1) {
    struct shard *shard = keyspace_shard(keyspace, (unsigned)__builtin_ctzll(ready));
    struct engine *engine = take(h, shard);
    struct waiter *waiter = waiter_next_ready(engine, h->loop_id);
    if (waiter != NULL) answer_one(h, engine, waiter);
    bool more = waiter_ready_loops(engine) >> h->loop_id & 1;
    if (more && draw(h, 2) == 0) { /* the next loop that unlocks tells us, or we note it */
      keyspace_still_ready(keyspace, h->loop_id, ready & -ready);
      atomic_store(&h->hammer->woken[h->loop_id], true);
    }
    leave(h, shard);
  }
  if (keyspace_next_due(keyspace, h->loop_id) <= h->now_ms)
    atomic_store(&h->hammer->woken[h->loop_id], true);
}

static void hit_all(struct hitter *h) {
  struct hammer *hammer = h->hammer;
  h->now_ms = atomic_load(&hammer->clock_ms) - (int64_t)draw(h, 5);
  keyspace_lock_all(hammer->keyspace);
  keyspace_see_time(hammer->keyspace, &h->now_ms);
  struct stats sum = {0}, stats;
  uint64_t stored = 0;
  for (unsigned i = 0; i < keyspace_shards(hammer->keyspace); i++) {
    struct engine *engine = shard_engine(keyspace_shard(hammer->keyspace, i));
    stats_read(engine, &stats);
    stats_add(&sum, &stats);
  }
  for (unsigned key = 0; key < HAMMER_KEYS; key++) stored += hammer->keys[key].stored != 0;
  bool flush = draw(h, 8) == 0;
  for (unsigned i = 0; flush && i < keyspace_shards(hammer->keyspace); i++)
    keys_flush(shard_engine(keyspace_shard(hammer->keyspace, i)), h->now_ms);
  for (unsigned key = 0; flush && key < HAMMER_KEYS; key++) hammer->keys[key].stored = 0;
  note_woken(hammer, keyspace_unlock_all(hammer->keyspace));
  must(sum.phases[RULES_DONE] == stored, "the figures are not of what was stored");
  must(sum.waiters <= LOOPS * HAMMER_WAITS, "more waiters than there are");
}

static void *hit(void *argument) {
  struct hitter *h = argument;
  char name[KEY_BYTES];
  for (unsigned step = 0; step < HAMMER_STEPS; step++) {
    if (step % 32 == 0) atomic_fetch_add(&h->hammer->clock_ms, 1);
    if (draw(h, 256) == 0) hit_all(h);
    if (draw(h, 64) == 0) hang_up(h, &h->waits[draw(h, HAMMER_WAITS)]);
    unsigned key = (unsigned)draw(h, HAMMER_KEYS);
    struct shard *shard = keyspace_find(h->hammer->keyspace, key_name(key, name));
    struct engine *engine = take(h, shard);
    uint64_t choice = draw(h, 32);
    if (choice < 12) {
      hit_others(h, engine, shard, key, choice);
    } else if (choice < 20) {
      hit_store(h, engine, key);
    } else {
      hit_claim(h, engine, shard, key);
    }
    expect_legal(h, engine, key);
    leave(h, shard);
    look_after(h);
  }
  return NULL;
}

static void run_hammer(struct hammer *hammer, struct hitter *hitters) {
  for (unsigned i = 0; i < LOOPS; i++) {
    struct hitter *h = &hitters[i];
    *h = (struct hitter){.hammer = hammer,
                         .loop_id = i,
                         .random = 88172645463325252u + i * UINT64_C(0x9e3779b97f4a7c15)};
    h->tokens = malloc(HAMMER_TOKENS * sizeof *h->tokens);
    assert_non_null(h->tokens);
  }
  for (unsigned i = 0; i < LOOPS; i++)
    assert_int_equal(pthread_create(&hitters[i].thread, NULL, hit, &hitters[i]), 0);
  for (unsigned i = 0; i < LOOPS; i++) assert_int_equal(pthread_join(hitters[i].thread, NULL), 0);
}

static int compare_tokens(const void *a, const void *b) {
  const uint64_t *left = a, *right = b;
  return (*left > *right) - (*left < *right);
}

static void expect_all_different(const struct hitter *hitters) {
  size_t count = 0;
  for (unsigned i = 0; i < LOOPS; i++) count += hitters[i].token_count;
  uint64_t *all = malloc(count * sizeof *all), *end = all;
  assert_non_null(all);
  for (unsigned i = 0; i < LOOPS; i++) {
    memcpy(end, hitters[i].tokens, hitters[i].token_count * sizeof *all);
    end += hitters[i].token_count;
  }
  qsort(all, count, sizeof *all, compare_tokens);
  for (size_t i = 1; i < count; i++) assert_true(all[i - 1] < all[i]);
  assert_true(count > HAMMER_STEPS / 10);
  free(all);
}

/* A waiter that is ready is known to its loop, and so is what is due. */
static void expect_nothing_forgotten(struct hammer *hammer) {
  for (unsigned i = 0; i < keyspace_shards(hammer->keyspace); i++) {
    struct engine *engine = shard_engine(keyspace_shard(hammer->keyspace, i));
    for (unsigned loop_id = 0; loop_id < LOOPS; loop_id++) {
      if ((waiter_ready_loops(engine) >> loop_id & 1) == 0) continue;
      assert_true(keyspace_has_ready(hammer->keyspace, loop_id));
      assert_true(atomic_load(&hammer->woken[loop_id]));
    }
    assert_true(keyspace_next_due(hammer->keyspace, loop_of(i)) <= tick_next_due_hint(engine));
  }
}

static void sweep_up(struct fixture *f, struct hitter *hitters) {
  for (unsigned i = 0; i < LOOPS; i++) {
    for (unsigned n = 0; n < HAMMER_WAITS; n++) hang_up(&hitters[i], &hitters[i].waits[n]);
    for (unsigned n = 0; n < keyspace_shards(f->keyspace); n++) {
      if (hitters[i].bindings[n] == NULL) continue;
      struct shard *shard = keyspace_shard(f->keyspace, n);
      struct engine *engine = take(&hitters[i], shard);
      binding_close(engine, hitters[i].bindings[n], hitters[i].now_ms);
      leave(&hitters[i], shard);
    }
    free(hitters[i].tokens);
  }
  keyspace_lock_all(f->keyspace);
  keyspace_see_time(f->keyspace, &f->now);
  for (unsigned i = 0; i < keyspace_shards(f->keyspace); i++) keys_flush(engine_of(f, i), f->now);
  keyspace_unlock_all(f->keyspace);
  for (unsigned i = 0; i < keyspace_shards(f->keyspace); i++) {
    for (unsigned n = 0; n < 10; n++) tick(f, i, PLENTY);
  }
}

static void four_threads_at_random(void **state) {
  struct fixture *f = *state;
  static struct hammer hammer;
  static struct hitter hitters[LOOPS];
  uint64_t empty_bytes = stats_of(f).memory_bytes;
  hammer.keyspace = f->keyspace;
  atomic_store(&hammer.clock_ms, START);
  run_hammer(&hammer, hitters);
  expect_all_different(hitters);
  expect_nothing_forgotten(&hammer);
  uint64_t answered = 0, taken_back = 0;
  for (unsigned i = 0; i < LOOPS; i++) {
    answered += hitters[i].answered;
    taken_back += hitters[i].taken_back;
  }
  assert_true(answered > HAMMER_STEPS / 20 && taken_back > 0);
  f->now = atomic_load(&hammer.clock_ms);
  sweep_up(f, hitters);
  struct stats stats = stats_of(f);
  assert_int_equal(stats.records + stats.values + stats.waiters + stats.expiring, 0);
  assert_int_equal(stats.memory_bytes, empty_bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(one_loop_has_one_shard),
      TEST(there_are_16_shards_to_a_loop_and_at_most_64),
      TEST(keys_spread_over_all_shards_and_stay),
      TEST(the_secret_decides_where_a_key_lies),
      TEST(a_ready_waiter_is_told_to_its_home_once),
      TEST(one_store_tells_all_homes),
      TEST(what_was_taken_and_not_done_is_told_again),
      TEST(all_shards_at_once_tell_everybody),
      TEST(a_deadline_is_told_when_it_is_nearer),
      TEST(take_due_gives_the_shards_that_are_due),
      TEST(a_tick_that_did_not_end_is_due_again),
      TEST(what_others_tell_meanwhile_is_not_lost),
      TEST(a_deadline_that_moves_away_costs_one_look),
      TEST(closed_bindings_are_due_at_once),
      TEST(a_shards_time_never_runs_backwards),
      TEST(a_late_clock_sees_no_lease_that_is_over),
      TEST(tokens_rise_over_all_shards),
      TEST(waiters_total_is_one_limit),
      TEST(maxmemory_is_one_limit),
      TEST(room_in_one_shard_is_room_for_all),
      TEST(what_is_being_swept_does_not_count),
      TEST(a_flush_does_not_open_the_limit),
      TEST(a_limit_that_is_set_later_counts_what_is_there),
      TEST(all_shards_are_flushed_at_once),
      TEST(figures_add_up),
      TEST(no_deadline_is_lost_between_two_loops),
      TEST(keys_come_and_go_while_another_loop_fetches),
      TEST(four_threads_at_random),
  };
  return cmocka_run_group_tests_name("keyspace", tests, NULL, NULL);
}
