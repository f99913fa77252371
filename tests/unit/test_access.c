/* test_access.c - locks of shards and pauses, and what an unlock brings about for other loops. */
#include "server/commands/access.h"

#include "server/commands/inbox.h"
#include "server/commands/shards.h"
#include "tests/unit/peers.h"
#include "server/engine/engine.h"
#include "server/engine/keys.h"

#define WORKERS 3

static int setup(void **state) { return peers_setup_workers(state, WORKERS); }

static struct shard *shard_of(struct peers *p, const char *key) {
  return keyspace_find(p->instance.keyspace, span_of(key));
}

/* Whether another loop would have to wait for it. */
static bool is_locked(struct shard *shard) {
  int64_t now_ms = 1000;
  struct engine *engine = shard_try_lock(shard, &now_ms);
  if (engine != NULL) shard_unlock(shard);
  return engine == NULL;
}

static void claim(struct engine *engine, const char *key, unsigned loop_id, int64_t wait_ms) {
  const struct engine_claim claim = {
      .key = span_of(key), .lease_ms = 1000, .wait_ms = wait_ms, .loop_id = loop_id};
  struct engine_answer answer;
  engine_claim(engine, &claim, 1000, &answer);
  assert_int_equal(answer.status, wait_ms > 0 ? ENGINE_QUEUED : ENGINE_CLAIMED);
}

static void a_shard_is_locked_until_it_is_unlocked(void **state) {
  struct peers *p = *state;
  struct shard *shard = shard_of(p, "k");
  int64_t now_ms = 1000;
  assert_ptr_equal(access_lock(&p->worker, shard, &now_ms), shard_engine(shard));
  assert_true(is_locked(shard));
  access_unlock(&p->worker, shard);
  assert_false(is_locked(shard));
}

static void all_shards_are_locked_and_each_may_be_used(void **state) {
  struct peers *p = *state;
  struct shard *shard = shard_of(p, "k");
  int64_t now_ms = 1000;
  access_lock_all(&p->worker, &now_ms);
  for (unsigned i = 0; i < keyspace_shards(p->instance.keyspace); i++)
    assert_true(is_locked(keyspace_shard(p->instance.keyspace, i)));
  assert_ptr_equal(access_lock(&p->worker, shard, &now_ms), shard_engine(shard));
  access_unlock(&p->worker, shard);
  assert_true(is_locked(shard));
  access_unlock_all(&p->worker);
  for (unsigned i = 0; i < keyspace_shards(p->instance.keyspace); i++)
    assert_false(is_locked(keyspace_shard(p->instance.keyspace, i)));
}

/* It may have waited for others meanwhile. */
static void the_clock_is_read_after_all_are_locked(void **state) {
  struct peers *p = *state;
  int64_t now_ms = 1000;
  access_lock_all(&p->worker, &now_ms);
  access_unlock_all(&p->worker);
  assert_int_equal(p->times_seen, 1);
}

/* Gives back the claim of k, for which the waiter of a loop waits. Returns the loops woken. */
static uint64_t woken_by_release(struct peers *p, unsigned loop_id) {
  struct shard *shard = shard_of(p, "k");
  int64_t now_ms = 1000;
  struct engine *engine = access_lock(&p->worker, shard, &now_ms);
  claim(engine, "k", 0, 0);
  claim(engine, "k", loop_id, 500);
  access_unlock(&p->worker, shard);
  p->woken = 0;
  engine = access_lock(&p->worker, shard, &now_ms);
  keys_delete(engine, span_of("k"), now_ms);
  access_unlock(&p->worker, shard);
  uint64_t woken = p->woken;
  struct waiter *waiter = waiter_next_ready(engine, loop_id);
  assert_non_null(waiter);
  waiter_settle(engine, waiter);
  return woken;
}

/* Its own clock is behind, as it read it earlier. */
static void what_a_loop_does_is_not_dated_before_what_another_one_has_seen(void **state) {
  struct peers *p = *state;
  ask(p, 0, "CLAIM k BIND");
  worker_of(p, 1)->now_ms += 10;
  ask(p, 1, "FETCH k");
  session_unbind(&p->session[0], worker_of(p, 0));
  const char *left = strstr(ask(p, 1, "INSPECT k"), "ttl-left-ms");
  assert_non_null(left);
  assert_memory_equal(left, "ttl-left-ms\r\n:60000\r\n", 21); /* all of the retention */
}

static void an_unlock_wakes_the_loop_whose_waiter_is_ready(void **state) {
  assert_int_equal(woken_by_release(*state, 2) & 7, 4);
}

/* It looks by itself at the end of its turn. */
static void ones_own_loop_is_not_woken(void **state) {
  assert_int_equal(woken_by_release(*state, 0) & 1, 0);
}

static void an_unlock_posts_effects_to_those_who_want_them(void **state) {
  struct peers *p = *state;
  struct shard *shard = shard_of(p, "k");
  int64_t now_ms = 1000;
  shards_want_effects(&p->further[0], true);
  claim(access_lock(&p->worker, shard, &now_ms), "k", 0, 0);
  keys_delete(shard_engine(shard), span_of("k"), now_ms);
  assert_true(inbox_empty(&p->further[0]));
  access_unlock(&p->worker, shard);
  assert_false(inbox_empty(&p->further[0]));
  assert_true(inbox_empty(&p->worker) && inbox_empty(&p->further[1]));
  shards_want_effects(&p->further[0], false);
}

static void so_does_unlocking_all(void **state) {
  struct peers *p = *state;
  int64_t now_ms = 1000;
  shards_want_effects(&p->worker, true);
  access_lock_all(&p->worker, &now_ms);
  struct engine *engine = shard_engine(shard_of(p, "k"));
  claim(engine, "k", 0, 0);
  keys_delete(engine, span_of("k"), now_ms);
  access_unlock_all(&p->worker);
  assert_false(inbox_empty(&p->worker));
  shards_want_effects(&p->worker, false);
}

static void others_are_paused_and_resumed(void **state) {
  struct peers *p = *state;
  access_pause_others(&p->worker);
  assert_int_equal(p->stops, 1);
  assert_int_equal(p->goings, 0);
  access_resume_others(&p->worker);
  assert_int_equal(p->goings, 1);
}

static void a_worker_alone_locks_pauses_and_waits_for_nothing(void **state) {
  struct peers *p = *state;
  int64_t now_ms = 1000;
  access_pause_others(&p->worker);
  access_lock_all(&p->worker, &now_ms);
  access_unlock_all(&p->worker);
  access_resume_others(&p->worker);
  struct shard *shard = shard_of(p, "k");
  assert_ptr_equal(access_lock(&p->worker, shard, &now_ms), shard_engine(shard));
  access_unlock(&p->worker, shard);
  assert_int_equal(p->stops + p->goings + p->times_seen, 0);
  assert_int_equal(p->woken, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, peers_teardown)
#define ALONE(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_shard_is_locked_until_it_is_unlocked),
      TEST(all_shards_are_locked_and_each_may_be_used),
      TEST(the_clock_is_read_after_all_are_locked),
      TEST(what_a_loop_does_is_not_dated_before_what_another_one_has_seen),
      TEST(an_unlock_wakes_the_loop_whose_waiter_is_ready),
      TEST(ones_own_loop_is_not_woken),
      TEST(an_unlock_posts_effects_to_those_who_want_them),
      TEST(so_does_unlocking_all),
      TEST(others_are_paused_and_resumed),
      ALONE(a_worker_alone_locks_pauses_and_waits_for_nothing),
  };
  return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
