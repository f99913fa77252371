/* test_effects.c - what an engine has done to its keys, as it lies in inboxes. */
#include "server/commands/effects.h"

#include "server/commands/inbox.h"
#include "server/commands/shards.h"
#include "tests/unit/peers.h"
#include "server/engine/effect.h"
#include "server/engine/engine.h"
#include "server/engine/keys.h"

static int setup(void **state) { return peers_setup_workers(state, 2); }

static struct engine *engine_of(struct peers *p, struct span key) {
  return shard_engine(keyspace_find(p->instance.keyspace, key));
}

/* Posts what claiming and deleting the key does. */
static void post_free(struct peers *p, struct span key) {
  struct engine *engine = engine_of(p, key);
  const struct engine_claim claim = {.key = key, .lease_ms = 1000};
  struct engine_answer answer;
  engine_claim(engine, &claim, 1000, &answer);
  assert_true(keys_delete(engine, key, 1000));
  effects_post(&p->worker, engine);
  assert_false(effect_any(engine));
}

/* The oldest entry has to be this one. */
static void expect(struct list *entries, const char *channel, size_t len, const char *payload) {
  struct list *node = list_pop(entries);
  assert_non_null(node);
  struct inbox_entry *entry = LIST_ENTRY(node, struct inbox_entry, link);
  assert_int_equal(entry->kind, INBOX_MESSAGE);
  assert_int_equal(entry->channel_len, len);
  assert_memory_equal(entry->bytes, channel, len);
  assert_int_equal(entry->payload_len, strlen(payload));
  assert_memory_equal(entry->bytes + len, payload, entry->payload_len);
  free(entry);
}

static void they_are_messages_on_the_channel_of_the_key(void **state) {
  struct peers *p = *state;
  struct list entries;
  shards_want_effects(&p->further[0], true);
  p->woken = 0;
  post_free(p, SPAN_LITERAL("a"));
  post_free(p, SPAN_LITERAL("b"));
  assert_int_equal(p->woken, 2);
  assert_true(inbox_empty(&p->worker));
  assert_false(inbox_take(&p->further[0], &entries));
  expect(&entries, EFFECTS_PREFIX "a", 10, "free");
  expect(&entries, EFFECTS_PREFIX "b", 10, "free");
  assert_true(list_empty(&entries));
  shards_want_effects(&p->further[0], false);
}

static void each_worker_that_wants_them_gets_them(void **state) {
  struct peers *p = *state;
  struct list entries;
  shards_want_effects(&p->worker, true);
  shards_want_effects(&p->further[0], true);
  post_free(p, SPAN_LITERAL("k"));
  for (unsigned i = 0; i < 2; i++) {
    assert_false(inbox_take(worker_number(p, i), &entries));
    expect(&entries, EFFECTS_PREFIX "k", 10, "free");
  }
  shards_want_effects(&p->worker, false);
  shards_want_effects(&p->further[0], false);
}

static void keys_are_any_bytes_of_any_length(void **state) {
  struct peers *p = *state;
  struct list entries;
  char channel[9 + 1024] = EFFECTS_PREFIX;
  memset(channel + 9, '\0', 1024);
  shards_want_effects(&p->worker, true);
  post_free(p, (struct span){channel + 9, 3});
  post_free(p, (struct span){channel + 9, 1024});
  post_free(p, (struct span){channel + 9, 3});
  assert_false(inbox_take(&p->worker, &entries));
  expect(&entries, channel, 9 + 3, "free");
  expect(&entries, channel, 9 + 1024, "free");
  expect(&entries, channel, 9 + 3, "free");
  assert_in_range(p->worker.effect_channel_capacity, 9 + 1024, 2 * (9 + 1024));
  shards_want_effects(&p->worker, false);
}

static void engines_keep_them_while_any_worker_wants_them(void **state) {
  struct peers *p = *state;
  struct engine *engine = engine_of(p, SPAN_LITERAL("k"));
  const bool wants[][2] = {
      {false, false}, {true, false}, {true, true}, {false, true}, {false, false}};
  for (size_t i = 0; i < sizeof wants / sizeof wants[0]; i++) {
    shards_want_effects(&p->worker, wants[i][0]);
    shards_want_effects(&p->further[0], wants[i][1]);
    const struct engine_claim claim = {.key = SPAN_LITERAL("k"), .lease_ms = 1000};
    struct engine_answer answer;
    engine_claim(engine, &claim, 1000, &answer);
    keys_delete(engine, claim.key, 1000);
    assert_int_equal(effect_any(engine), wants[i][0] || wants[i][1]);
    effects_post(&p->worker, engine);
  }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, peers_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(they_are_messages_on_the_channel_of_the_key),
      TEST(each_worker_that_wants_them_gets_them),
      TEST(keys_are_any_bytes_of_any_length),
      TEST(engines_keep_them_while_any_worker_wants_them),
  };
  return cmocka_run_group_tests_name("effects", tests, NULL, NULL);
}
