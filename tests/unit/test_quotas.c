/*
 * test_quotas.c - how many claims a user holds, and how many of its callers wait: counted on every
 * way on which a claim becomes HELD and ends, refused over the quota, and right when several
 * threads take the last one.
 */
#include "tests/unit/one_engine.h"

#include <pthread.h>

#include "server/engine/emit.h"
#include "server/engine/holding.h"
#include "server/engine/outbox.h"
#include "server/engine/restore.h"

#define ANNA 7u
#define BEN 65535u

/* ---- one engine that counts ---- */

static struct quotas *of(struct fixture *f) { return f->engine->quotas; }

static int setup_counting(void **state) {
  if (setup(state) != 0) return -1;
  struct fixture *f = *state;
  struct quotas *quotas = quotas_create();
  if (quotas == NULL) return -1;
  holding_begin(f->engine, quotas);
  return 0;
}

static int teardown_counting(void **state) {
  struct quotas *quotas = of(*state);
  if (teardown(state) != 0) return -1;
  bool none = quotas_count(quotas, QUOTAS_CLAIMS, ANNA) == 0 &&
              quotas_count(quotas, QUOTAS_CLAIMS, BEN) == 0 &&
              quotas_count(quotas, QUOTAS_WAITERS, ANNA) == 0 &&
              quotas_count(quotas, QUOTAS_WAITERS, BEN) == 0;
  quotas_destroy(quotas);
  return none ? 0 : -1; /* nothing is left when nothing is there */
}

static uint32_t held(struct fixture *f, uint16_t user) {
  return quotas_count(of(f), QUOTAS_CLAIMS, user);
}
static uint32_t queueing(struct fixture *f, uint16_t user) {
  return quotas_count(of(f), QUOTAS_WAITERS, user);
}

static void allow(struct fixture *f, enum quotas_kind kind, uint16_t user, uint32_t most) {
  quotas_set_most(of(f), kind, user, most);
}

static struct engine_claim by(uint16_t user, struct engine_claim claim) {
  claim.user = user;
  return claim;
}

static void expect_refused(struct fixture *f, struct engine_claim c, uint64_t most) {
  assert_int_equal(claim(f, c), ENGINE_CLAIM_QUOTA);
  assert_int_equal(f->answer.count, most);
}

/* ---- claims ---- */

static void over_the_quota_a_claim_is_refused_and_nothing_changes(void **state) {
  struct fixture *f = *state;
  allow(f, QUOTAS_CLAIMS, ANNA, 2);
  uint64_t token = claimed(f, by(ANNA, as("a", "1")));
  claimed(f, by(ANNA, as("b", "1")));
  expect_refused(f, by(ANNA, as("c", "1")), 2);
  assert_int_equal(fetch(f, "c"), ENGINE_NOTHING);
  assert_int_equal(held(f, ANNA), 2);
  assert_int_equal(quotas_refused(of(f), QUOTAS_CLAIMS, ANNA), 1);
  claimed(f, by(BEN, as("c", "1")));                           /* another user's */
  claimed(f, as("d", "1"));                                    /* and nobody's */
  assert_int_equal(claimed(f, by(ANNA, as("a", "1"))), token); /* the same claim is none more */
  assert_int_equal(claimed(f, by(BEN, as("a", "1"))), token);  /* nor anybody else's */
  assert_int_equal(renew(f, "a", token, NULL), ENGINE_RENEWED);
  assert_int_equal(held(f, ANNA), 2);
  assert_int_equal(held(f, BEN), 1);
  assert_int_equal(release(f, "a", token), ENGINE_RELEASED);
  claimed(f, by(ANNA, as("e", "1")));
}

static void a_claim_counts_until_it_ends_however_that_is(void **state) {
  struct fixture *f = *state;
  struct binding *connection = binding_create(f->engine);
  const char *const keys[] = {"stored", "released", "unsure", "shared", "deleted", "left", "bound"};
  uint64_t tokens[7];
  for (int i = 0; i < 7; i++)
    tokens[i] = claimed(f, by(ANNA, bound(keys[i], "1", i == 6 ? connection : NULL)));
  assert_int_equal(held(f, ANNA), 7);
  assert_int_equal(store(f, "stored", tokens[0], "body"), ENGINE_STORED);
  assert_int_equal(held(f, ANNA), 6);
  assert_int_equal(release(f, "released", tokens[1]), ENGINE_RELEASED);
  assert_int_equal(held(f, ANNA), 5);
  assert_int_equal(release_with(f, "unsure", tokens[2], RULES_UNSURE), ENGINE_RELEASED);
  assert_int_equal(held(f, ANNA), 4);
  assert_int_equal(share(f, "shared", tokens[3], RULES_DID_NOTHING), ENGINE_STORED);
  assert_int_equal(held(f, ANNA), 3);
  assert_true(keys_delete(f->engine, span_of("deleted"), f->now));
  assert_int_equal(held(f, ANNA), 2);
  binding_close(f->engine, connection, f->now);
  tick_until_done(f);
  assert_int_equal(held(f, ANNA), 1);
  f->now += 100;
  tick_until_done(f); /* the lease */
  assert_int_equal(held(f, ANNA), 0);
}

static void what_lapsed_counts_again_when_it_is_held_again(void **state) {
  struct fixture *f = *state;
  allow(f, QUOTAS_CLAIMS, ANNA, 1);
  uint64_t token = claimed(f, by(ANNA, as("a", "1")));
  f->now += 100;
  tick_until_done(f);
  claimed(f, by(ANNA, as("b", "1")));
  assert_int_equal(renew(f, "a", token, NULL), ENGINE_CLAIM_QUOTA);
  assert_int_equal(f->answer.count, 1);
  expect_refused(f, by(ANNA, as("a", "2")), 1);
  assert_int_equal(fetch(f, "a"), ENGINE_LAPSED); /* as it was */
  assert_int_equal(f->answer.token, token);
  claimed(f, by(BEN, as("a", "2")));
  assert_int_equal(held(f, BEN), 1);
  assert_int_equal(held(f, ANNA), 1);
}

static void store_of_what_lapsed_needs_no_place(void **state) {
  struct fixture *f = *state;
  allow(f, QUOTAS_CLAIMS, ANNA, 1);
  uint64_t token = claimed(f, by(ANNA, as("a", "1")));
  f->now += 100;
  tick_until_done(f);
  claimed(f, by(ANNA, as("b", "1")));
  assert_int_equal(store(f, "a", token, "late"), ENGINE_STORED);
  assert_int_equal(held(f, ANNA), 1);
}

static void a_smaller_quota_takes_nothing_away(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, by(ANNA, as("a", "1")));
  claimed(f, by(ANNA, as("b", "1")));
  allow(f, QUOTAS_CLAIMS, ANNA, 1);
  assert_int_equal(renew(f, "a", token, NULL), ENGINE_RENEWED);
  assert_int_equal(release(f, "a", token), ENGINE_RELEASED);
  expect_refused(f, by(ANNA, as("c", "1")), 1);
  quotas_clear_most(of(f));
  claimed(f, by(ANNA, as("c", "1")));
}

static void flushall_gives_everything_back(void **state) {
  struct fixture *f = *state;
  allow(f, QUOTAS_CLAIMS, ANNA, 1);
  claimed(f, by(ANNA, as("a", "1")));
  struct waiter *next = queued(f, by(BEN, waiting("a", "2")));
  keys_flush(f->engine, f->now);
  quotas_forget_claims(of(f));
  claimed(f, by(ANNA, as("b", "1"))); /* though the former one is not swept yet */
  tick_until_done(f);
  assert_int_equal(held(f, ANNA), 1);
  assert_int_equal(held(f, BEN), 1); /* was granted */
  expect_settled(f, next, ENGINE_CLAIMED);
  f->now += 100;
  tick_until_done(f);
  assert_int_equal(held(f, ANNA) + held(f, BEN), 0);
}

/* ---- hand-over ---- */

static void a_hand_over_within_a_user_is_none_more(void **state) {
  struct fixture *f = *state;
  allow(f, QUOTAS_CLAIMS, ANNA, 1);
  claimed(f, by(ANNA, as("a", "1")));
  struct waiter *next = queued(f, by(ANNA, waiting("a", "2")));
  f->now += 100;
  tick_until_done(f);
  expect_settled(f, next, ENGINE_CLAIMED);
  assert_int_equal(held(f, ANNA), 1);
}

static void a_hand_over_passes_the_count_on(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, by(ANNA, as("a", "1")));
  struct waiter *next = queued(f, by(BEN, waiting("a", "2")));
  assert_int_equal(queueing(f, BEN), 1);
  assert_int_equal(release(f, "a", token), ENGINE_RELEASED);
  assert_int_equal(queueing(f, BEN), 0);
  assert_int_equal(held(f, ANNA), 0);
  assert_int_equal(held(f, BEN), 1);
  expect_settled(f, next, ENGINE_CLAIMED);
}

static void a_waiter_over_its_quota_is_told_and_the_next_is_granted(void **state) {
  struct fixture *f = *state;
  allow(f, QUOTAS_CLAIMS, BEN, 1);
  uint64_t token = claimed(f, by(ANNA, as("a", "1")));
  claimed(f, by(BEN, as("b", "1")));
  struct waiter *second = queued(f, by(BEN, waiting("a", "2")));
  struct waiter *third = queued(f, by(ANNA, waiting("a", "3")));
  assert_int_equal(release(f, "a", token), ENGINE_RELEASED);
  assert_int_equal(expect_ready(f, second, ENGINE_CLAIM_QUOTA)->count, 1);
  waiter_settle(f->engine, second);
  expect_settled(f, third, ENGINE_CLAIMED);
  assert_int_equal(held(f, ANNA), 1);
  assert_int_equal(held(f, BEN), 1);
}

static void a_grant_that_is_taken_back_counts_for_nobody(void **state) {
  struct fixture *f = *state;
  allow(f, QUOTAS_CLAIMS, ANNA, 1);
  uint64_t token = claimed(f, by(ANNA, as("a", "1")));
  struct waiter *second = queued(f, by(BEN, waiting("a", "2")));
  f->now += 100;
  tick_until_done(f);
  claimed(f, by(ANNA, as("b", "1")));
  assert_int_equal(held(f, BEN), 1);
  expect_ready(f, second, ENGINE_CLAIMED);
  waiter_cancel(f->engine, second, f->now);
  assert_int_equal(fetch(f, "a"), ENGINE_LAPSED);
  assert_int_equal(held(f, BEN), 0);
  assert_int_equal(held(f, ANNA), 1);
  assert_int_equal(renew(f, "a", token, NULL), ENGINE_CLAIM_QUOTA); /* it is Anna's again */
}

/* ---- waiters ---- */

static void over_the_quota_no_caller_of_the_user_waits(void **state) {
  struct fixture *f = *state;
  allow(f, QUOTAS_WAITERS, ANNA, 2);
  claimed(f, as("a", "1"));
  struct waiter *one = queued(f, by(ANNA, waiting("a", "2")));
  struct engine_read read = {.key = span_of("a"), .wait_ms = FOREVER, .user = ANNA};
  engine_read(f->engine, &read, f->now, &f->answer);
  assert_int_equal(f->answer.status, ENGINE_QUEUED);
  assert_int_equal(claim(f, by(ANNA, waiting("a", "3"))), ENGINE_WAITER_QUOTA);
  assert_int_equal(f->answer.count, 2);
  engine_read(f->engine, &read, f->now, &f->answer);
  assert_int_equal(f->answer.status, ENGINE_WAITER_QUOTA);
  assert_int_equal(quotas_refused(of(f), QUOTAS_WAITERS, ANNA), 2);
  queued(f, by(BEN, waiting("a", "3")));
  struct waiter *again =
      queued(f, by(ANNA, waiting("a", "2"))); /* takes a place that counts already */
  expect_settled(f, one, ENGINE_BUSY);
  assert_int_equal(queueing(f, ANNA), 2);
  waiter_cancel(f->engine, again, f->now);
  assert_int_equal(queueing(f, ANNA), 1);
  queued(f, by(ANNA, waiting("a", "4")));
}

static void a_waiter_counts_until_it_is_answered(void **state) {
  struct fixture *f = *state;
  uint64_t token = claimed(f, as("a", "1"));
  struct engine_claim brief = by(ANNA, waiting("a", "2"));
  brief.wait_ms = 10;
  struct waiter *first = queued(f, brief);
  queued(f, by(ANNA, waiting("a", "3")));
  f->now += 10;
  tick_until_done(f);
  assert_int_equal(queueing(f, ANNA), 1);
  expect_settled(f, first, ENGINE_BUSY);
  assert_int_equal(store(f, "a", token, "body"), ENGINE_STORED);
  assert_int_equal(queueing(f, ANNA), 0);
}

/* ---- restarts ---- */

static struct engine *restarted(struct fixture *f, const struct outbox *outbox) {
  struct engine *engine = engine_create(&OPTIONS, START);
  assert_non_null(engine);
  for (size_t at = 0; at < outbox->len;) {
    struct image image;
    size_t size = image_read((struct span){outbox->bytes + at, outbox->len - at}, &image);
    assert_true(size > 0);
    struct name name;
    name_of(engine, image.key.bytes, &name);
    if (image.kind == IMAGE_FLUSH) restore_flush(engine, f->now);
    if (image.kind != IMAGE_FLUSH) assert_true(restore_image(engine, &name, &image));
    at += size;
  }
  return engine;
}

static void a_restart_knows_whose_claims_are_held(void **state) {
  struct fixture *f = *state;
  struct outbox outbox;
  assert_true(outbox_init(&outbox, 4096));
  assert_true(outbox_reserve(&outbox, 0, 1000000));
  f->engine->outbox = &outbox;
  claimed(f, by(BEN, as("flushed", "1")));
  keys_flush(f->engine, f->now);
  quotas_forget_claims(of(f));
  claimed(f, by(ANNA, as("a", "1")));
  uint64_t token = claimed(f, by(ANNA, as("b", "1")));
  release_with(f, "b", token, RULES_UNSURE);
  token = claimed(f, by(BEN, as("c", "1")));
  store(f, "c", token, "body");
  claimed(f, by(BEN, as("d", "1")));
  queued(f, by(ANNA, waiting("d", "2")));
  f->engine->outbox = NULL;
  struct quotas *quotas = quotas_create();
  assert_non_null(quotas);
  struct engine *engine = restarted(f, &outbox);
  holding_begin(engine, quotas);
  assert_int_equal(quotas_count(quotas, QUOTAS_CLAIMS, ANNA), 1);
  assert_int_equal(quotas_count(quotas, QUOTAS_CLAIMS, BEN), 1);
  assert_int_equal(quotas_count(quotas, QUOTAS_WAITERS, ANNA), 0);
  engine_destroy(engine);
  assert_int_equal(quotas_count(quotas, QUOTAS_CLAIMS, ANNA), 0);
  quotas_destroy(quotas);
  outbox_deinit(&outbox);
}

/* ---- threads ---- */

#define THREADS 4u
#define TRIES 20000u
#define MOST 3u

struct taker {
  struct quotas *quotas;
  _Atomic uint32_t *holding;
  bool over;
};

static void *take_and_give(void *context) {
  struct taker *taker = context;
  for (unsigned i = 0; i < TRIES; i++) {
    if (!quotas_take(taker->quotas, QUOTAS_CLAIMS, ANNA)) continue;
    taker->over |= atomic_fetch_add(taker->holding, 1) >= MOST;
    atomic_fetch_sub(taker->holding, 1);
    quotas_give(taker->quotas, QUOTAS_CLAIMS, ANNA);
  }
  return NULL;
}

static void threads_never_take_more_than_there_are(void **state) {
  (void)state;
  struct quotas *quotas = quotas_create();
  assert_non_null(quotas);
  quotas_set_most(quotas, QUOTAS_CLAIMS, ANNA, MOST);
  _Atomic uint32_t number = 0;
  struct taker takers[THREADS];
  pthread_t threads[THREADS];
  for (unsigned i = 0; i < THREADS; i++) {
    takers[i] = (struct taker){.quotas = quotas, .holding = &number};
    assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &takers[i]), 0);
  }
  for (unsigned i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    assert_false(takers[i].over);
  }
  assert_int_equal(quotas_count(quotas, QUOTAS_CLAIMS, ANNA), 0);
  quotas_destroy(quotas);
}

#define COUNTING(test) cmocka_unit_test_setup_teardown(test, setup_counting, teardown_counting)

int main(void) {
  const struct CMUnitTest tests[] = {
      COUNTING(over_the_quota_a_claim_is_refused_and_nothing_changes),
      COUNTING(a_claim_counts_until_it_ends_however_that_is),
      COUNTING(what_lapsed_counts_again_when_it_is_held_again),
      COUNTING(store_of_what_lapsed_needs_no_place),
      COUNTING(a_smaller_quota_takes_nothing_away),
      COUNTING(flushall_gives_everything_back),
      COUNTING(a_hand_over_within_a_user_is_none_more),
      COUNTING(a_hand_over_passes_the_count_on),
      COUNTING(a_waiter_over_its_quota_is_told_and_the_next_is_granted),
      COUNTING(a_grant_that_is_taken_back_counts_for_nobody),
      COUNTING(over_the_quota_no_caller_of_the_user_waits),
      COUNTING(a_waiter_counts_until_it_is_answered),
      COUNTING(a_restart_knows_whose_claims_are_held),
      cmocka_unit_test(threads_never_take_more_than_there_are),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
