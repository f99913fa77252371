/*
 * test_inbox.c - several hosts of one server: what clients of one are told of what those of another
 * do, and what belongs to all. Client n is with host n modulo 3, so 0, 3, 6 are neighbours.
 */
#include "server/commands/access.h"
#include "server/commands/check.h"
#include "server/commands/inbox.h"
#include "server/commands/monitor.h"
#include "server/commands/shards.h"
#include "tests/unit/peers.h"
#include "server/engine/effect.h"
#include "server/engine/engine.h"

#define HOSTS 3

#define MESSAGE(text) "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n" text "\r\n"
#define PMESSAGE(text) "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$1\r\n" text "\r\n"
#define LINE(who, words) "+1700000000.123000 [0 127.0.0.1:500" who "] " words "\r\n"

static int setup(void **state) { return peers_setup_workers(state, HOSTS); }

static void end_all_turns(struct peers *p) {
  for (size_t i = 0; i < HOSTS; i++) end_turn(p, i);
}

/* ---- messages ---- */

static void a_message_is_counted_at_once_and_arrives_with_the_turn(void **state) {
  struct peers *p = *state;
  ask(p, 0, "SUBSCRIBE c");
  ask(p, 1, "SUBSCRIBE c");
  ask(p, 4, "PSUBSCRIBE *");
  ask(p, 2, "SUBSCRIBE other");
  p->woken = 0;
  assert_string_equal(ask(p, 3, "PUBLISH c 1"), ":3\r\n");
  assert_int_equal(p->woken, 2); /* host 2 has nobody who listens */
  assert_true(inbox_empty(&p->further[1]));
  assert_string_equal(heard(p, 0), MESSAGE("1")); /* the publisher's own neighbour */
  assert_string_equal(heard(p, 1), "");
  assert_false(inbox_empty(&p->further[0]));
  end_turn(p, 1);
  assert_true(inbox_empty(&p->further[0]));
  assert_string_equal(heard(p, 1), MESSAGE("1"));
  assert_string_equal(heard(p, 4), PMESSAGE("1"));
  assert_string_equal(heard(p, 2), "");
}

static void a_loop_is_woken_once_until_it_looks(void **state) {
  struct peers *p = *state;
  ask(p, 1, "SUBSCRIBE c");
  ask(p, 0, "PUBLISH c 1");
  assert_int_equal(p->woken, 2);
  p->woken = 0;
  ask(p, 0, "PUBLISH c 2");
  ask(p, 2, "PUBLISH c 3");
  assert_int_equal(p->woken, 0);
  end_turn(p, 1);
  ask(p, 0, "PUBLISH c 4");
  assert_int_equal(p->woken, 2);
  end_turn(p, 1);
  assert_string_equal(heard(p, 1), MESSAGE("1") MESSAGE("2") MESSAGE("3") MESSAGE("4"));
}

static void the_order_of_each_publisher_is_kept(void **state) {
  struct peers *p = *state;
  ask(p, 2, "SUBSCRIBE c");
  for (char n = '1'; n <= '9'; n++) {
    const char text[] = {'P', 'U', 'B', 'L', 'I', 'S', 'H', ' ', 'c', ' ', n, '\0'};
    ask(p, n % 2 == 0 ? 0 : 1, text);
    if (n == '5') end_turn(p, 2);
  }
  end_turn(p, 2);
  assert_string_equal(heard(p, 2), MESSAGE("1") MESSAGE("2") MESSAGE("3") MESSAGE("4") MESSAGE("5")
                                       MESSAGE("6") MESSAGE("7") MESSAGE("8") MESSAGE("9"));
}

/* The other loop looks without a shard's lock, and would send what is not in the journal yet. */
static void what_a_transaction_tells_waits_for_its_end(void **state) {
  struct peers *p = *state;
  ask(p, 1, "SUBSCRIBE c");
  ask(p, 4, "MONITOR");
  int64_t now_ms = p->worker.now_ms;
  access_lock_all(&p->worker, &now_ms);
  ask(p, 0, "PUBLISH c 1");
  assert_true(inbox_empty(&p->further[0]));
  access_unlock_all(&p->worker);
  assert_false(inbox_empty(&p->further[0]));
  end_turn(p, 1);
  assert_string_equal(heard(p, 1), MESSAGE("1"));
  assert_string_equal(heard(p, 4), LINE("1", "\"PUBLISH\" \"c\" \"1\""));
}

static void who_subscribes_later_gets_nothing_older(void **state) {
  struct peers *p = *state;
  ask(p, 1, "SUBSCRIBE c");
  assert_string_equal(ask(p, 0, "PUBLISH c 1"), ":1\r\n");
  ask(p, 4, "SUBSCRIBE c");
  assert_string_equal(heard(p, 1), MESSAGE("1")); /* before the other one joined */
  ask(p, 7, "PSUBSCRIBE *");
  ask(p, 0, "PUBLISH c 2");
  end_turn(p, 1);
  assert_string_equal(heard(p, 1), MESSAGE("2"));
  assert_string_equal(heard(p, 4), MESSAGE("2"));
  assert_string_equal(heard(p, 7), PMESSAGE("2"));
}

static void who_left_meanwhile_gets_nothing(void **state) {
  struct peers *p = *state;
  ask(p, 1, "SUBSCRIBE c");
  ask(p, 4, "SUBSCRIBE c");
  assert_string_equal(ask(p, 0, "PUBLISH c 1"), ":2\r\n");
  setup_session_deinit(&p->session[1], &p->further[0]);
  setup_session_init(&p->session[1], &p->further[0]);
  ask(p, 4, "UNSUBSCRIBE c");
  assert_string_equal(ask(p, 0, "PUBLISH c 2"), ":0\r\n");
  end_turn(p, 1);
  assert_string_equal(heard(p, 1), "");
  assert_string_equal(heard(p, 4), "");
}

static void any_bytes_cross(void **state) {
  struct peers *p = *state;
  static const char channel[] = {'a', '\0', '\r', '\n'}, message[] = {'\0', '\xff'};
  say_spans(p, 1, (struct span[]){SPAN_LITERAL("SUBSCRIBE"), {channel, sizeof channel}}, 2);
  heard(p, 1);
  struct span publish[] = {
      SPAN_LITERAL("PUBLISH"), {channel, sizeof channel}, {message, sizeof message}};
  say_spans(p, 0, publish, 3);
  end_turn(p, 1);
  static const char expected[] = "*3\r\n$7\r\nmessage\r\n$4\r\na\0\r\n\r\n$2\r\n\0\xff\r\n";
  struct span got = heard_bytes(p, 1);
  assert_int_equal(got.len, sizeof expected - 1);
  assert_memory_equal(got.data, expected, got.len);
  publish[2] = SPAN_LITERAL("");
  say_spans(p, 0, publish, 3);
  end_turn(p, 1);
  assert_int_equal(heard_bytes(p, 1).len, sizeof expected - 1 - 2);
}

/* ---- over the limit ---- */

#define LARGE (8u * 1024 * 1024)

static void publish_large(struct peers *p, size_t who, unsigned count) {
  char *bytes = calloc(1, LARGE);
  assert_non_null(bytes);
  for (unsigned i = 0; i < count; i++) {
    say_spans(p, who, (struct span[]){SPAN_LITERAL("PUBLISH"), SPAN_LITERAL("c"), {bytes, LARGE}},
              3);
    heard(p, who);
  }
  free(bytes);
}

static void who_may_have_missed_something_is_closed(void **state) {
  struct peers *p = *state;
  p->options.client_output_limit = INT64_C(1) << 30;
  p->options.client_output_total = INT64_C(1) << 30;
  ask(p, 1, "SUBSCRIBE c");
  ask(p, 4, "MONITOR");
  ask(p, 7, "SET value 1");
  ask(p, 2, "SUBSCRIBE c");
  ask(p, 3, "SUBSCRIBE other");
  for (unsigned i = 0; i < 8; i++) { /* the eighth does not fit */
    publish_large(p, 0, 1);
    end_turn(p, 2);
    heard(p, 2);
  }
  end_turn(p, 1);
  assert_true(p->session[1].close_now);
  assert_true(p->session[4].close_now);
  const size_t others[] = {0, 2, 3, 5, 6, 7};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    assert_false(p->session[others[i]].close_now);
  assert_int_equal(p->further[0].counters.closed_for_unread_replies, 2);
  assert_int_equal(p->worker.counters.closed_for_unread_replies, 0);
  assert_int_equal(p->further[1].counters.closed_for_unread_replies, 0);
  /* What came before the gap was given in full. */
  assert_in_range(heard_bytes(p, 1).len, 7 * LARGE, 7 * LARGE + 1000);
  /* It is over: others may listen there. */
  ask(p, 7, "SUBSCRIBE c");
  ask(p, 0, "PUBLISH c 1");
  end_turn(p, 1);
  assert_string_equal(heard(p, 7), MESSAGE("1"));
  assert_false(p->session[7].close_now);
}

static void what_is_taken_makes_room(void **state) {
  struct peers *p = *state;
  ask(p, 1, "SUBSCRIBE c");
  for (unsigned i = 0; i < 4; i++) {
    publish_large(p, 0, 5);
    end_turn(p, 1);
    assert_in_range(heard_bytes(p, 1).len, 5 * LARGE, 5 * LARGE + 1000);
  }
  assert_false(p->session[1].close_now);
}

/* ---- MONITOR ---- */

static void watchers_see_all_hosts(void **state) {
  struct peers *p = *state;
  assert_string_equal(ask(p, 1, "MONITOR"), "+OK\r\n");
  ask(p, 1, "PING");
  assert_string_equal(heard(p, 1), "");
  p->woken = 0;
  ask(p, 0, "CLAIM k");
  ask(p, 2, "PING");
  ask(p, 4, "ECHO x");
  assert_true((p->woken & 2) != 0); /* the claim's shard may have woken another too */
  end_turn(p, 1);
  /* What others said before one's own host ran a command comes before it. */
  assert_string_equal(
      heard(p, 1), LINE("1", "\"CLAIM\" \"k\"") LINE("3", "\"PING\"") LINE("5", "\"ECHO\" \"x\""));
  ask(p, 1, "RESET");
  p->woken = 0;
  ask(p, 0, "PING");
  assert_int_equal(p->woken, 0);
  assert_int_equal(p->instance.monitor_count, 0);
}

static void a_transaction_is_seen_elsewhere_too(void **state) {
  struct peers *p = *state;
  ask(p, 2, "MONITOR");
  ask(p, 0, "MULTI");
  ask(p, 0, "SET a 1");
  ask(p, 0, "EXEC");
  end_turn(p, 2);
  assert_string_equal(
      heard(p, 2), LINE("1", "\"MULTI\"") LINE("1", "\"SET\" \"a\" \"1\"") LINE("1", "\"EXEC\""));
}

/* ---- PUBSUB ---- */

static void pubsub_tells_of_all_hosts_together(void **state) {
  struct peers *p = *state;
  ask(p, 0, "SUBSCRIBE ant bee");
  ask(p, 1, "SUBSCRIBE bee cat");
  ask(p, 2, "SUBSCRIBE bee");
  ask(p, 4, "PSUBSCRIBE a* b*");
  ask(p, 5, "PSUBSCRIBE b* bee");
  unsigned stops = p->stops;
  assert_string_equal(ask(p, 3, "PUBSUB CHANNELS"),
                      "*3\r\n$3\r\nant\r\n$3\r\nbee\r\n$3\r\ncat\r\n");
  assert_string_equal(ask(p, 6, "PUBSUB CHANNELS [bc]*"), "*2\r\n$3\r\nbee\r\n$3\r\ncat\r\n");
  assert_string_equal(ask(p, 3, "PUBSUB NUMSUB bee cat dog"),
                      "*6\r\n$3\r\nbee\r\n:3\r\n$3\r\ncat\r\n:1\r\n$3\r\ndog\r\n:0\r\n");
  assert_string_equal(ask(p, 3, "PUBSUB NUMPAT"), ":3\r\n");
  assert_int_equal(p->stops, stops + 4); /* it looks at what is theirs */
  assert_int_equal(p->goings, p->stops);
  assert_string_equal(ask(p, 3, "PUBLISH bee 1"), ":6\r\n");
  ask(p, 0, "RESET");
  assert_string_equal(ask(p, 3, "PUBSUB CHANNELS"), "*2\r\n$3\r\nbee\r\n$3\r\ncat\r\n");
}

/* ---- effects ---- */

/* Whether every engine keeps effects: 1 yes, 0 no, -1 some do. */
static int effects_kept(struct peers *p) {
  unsigned count = keyspace_shards(p->instance.keyspace), kept = 0;
  for (unsigned i = 0; i < count; i++) {
    int64_t now_ms = 1000;
    struct shard *shard = keyspace_shard(p->instance.keyspace, i);
    struct engine *engine = shard_lock(shard, &now_ms);
    struct engine_claim claim = {.key = SPAN_LITERAL("probe"), .lease_ms = 1000};
    struct engine_answer answer;
    engine_claim(engine, &claim, now_ms, &answer);
    const struct engine_release release = {.key = claim.key, .token = answer.token};
    engine_release(engine, &release, now_ms, &answer);
    kept += effect_any(engine);
    for (struct effect effect; effect_next(engine, &effect);) continue;
    shard_unlock(shard);
  }
  if (kept == count) return 1;
  return kept == 0 ? 0 : -1;
}

static void engines_keep_effects_while_anybody_anywhere_listens(void **state) {
  struct peers *p = *state;
  assert_int_equal(effects_kept(p), 0);
  ask(p, 0, "SUBSCRIBE news");
  assert_int_equal(effects_kept(p), 0);
  ask(p, 1, "SUBSCRIBE __idem__:a");
  assert_int_equal(effects_kept(p), 1);
  ask(p, 2, "PSUBSCRIBE *");
  ask(p, 4, "SUBSCRIBE __idem__:b");
  ask(p, 1, "UNSUBSCRIBE");
  assert_int_equal(effects_kept(p), 1);
  setup_session_deinit(&p->session[4], &p->further[0]);
  setup_session_init(&p->session[4], &p->further[0]);
  assert_int_equal(effects_kept(p), 1);
  ask(p, 2, "RESET");
  assert_int_equal(effects_kept(p), 0);
  ask(p, 2, "PSUBSCRIBE *");
  assert_int_equal(effects_kept(p), 1);
  ask(p, 2, "PUNSUBSCRIBE *");
  assert_int_equal(effects_kept(p), 0);
}

#define EFFECT(key, what, len) \
  "*3\r\n$7\r\nmessage\r\n$10\r\n__idem__:" key "\r\n$" len "\r\n" what "\r\n"

static void effects_reach_listeners_of_other_hosts(void **state) {
  struct peers *p = *state;
  ask(p, 1, "SUBSCRIBE __idem__:k");
  ask(p, 3, "SUBSCRIBE __idem__:k");
  ask(p, 0, "CLAIM k");
  ask(p, 0, "RELEASE k 1");
  end_turn(p, 0);
  end_turn(p, 1);
  assert_string_equal(heard(p, 3), EFFECT("k", "free", "4"));
  assert_string_equal(heard(p, 1), EFFECT("k", "free", "4"));
  /* In a transaction, over keys of many shards, too. */
  ask(p, 2, "MULTI");
  ask(p, 2, "CLAIM k");
  ask(p, 2, "CLAIM l");
  ask(p, 2, "DEL k l");
  ask(p, 2, "EXEC");
  end_turn(p, 2);
  end_turn(p, 1);
  assert_string_equal(heard(p, 1), EFFECT("k", "free", "4"));
}

/* ---- clients of all hosts ---- */

static unsigned count_lines(const char *text) {
  unsigned lines = 0;
  for (; (text = strstr(text, "id=")) != NULL; text += 3) lines++;
  return lines;
}

static void client_list_shows_all_hosts(void **state) {
  struct peers *p = *state;
  ask(p, 4, "SUBSCRIBE c");
  ask(p, 5, "CLIENT SETNAME five");
  say(p, 0, "CLIENT LIST");
  const char *text = heard(p, 0);
  assert_int_equal(count_lines(text), PEERS);
  assert_non_null(strstr(text, "name=five"));
  assert_int_equal(count_lines(ask(p, 2, "CLIENT LIST TYPE pubsub")), 1);
  assert_int_equal(count_lines(ask(p, 2, "CLIENT LIST ID 1 2 3")), 3);
  assert_true(p->stops >= 3); /* in each slice */
}

static void client_kill_reaches_other_hosts(void **state) {
  struct peers *p = *state;
  char line[64];
  snprintf(line, sizeof line, "CLIENT KILL ID %d", (int)p->session[4].id);
  p->woken = 0;
  assert_string_equal(ask(p, 0, line), ":1\r\n");
  assert_true(p->session[4].close_now);
  assert_int_equal(p->woken, 2);
  /* It is among those whom its own loop looks after. */
  assert_ptr_equal(p->further[0].unsent.next, &p->session[4].unsent);
  assert_string_equal(ask(p, 2, "CLIENT KILL TYPE normal"), ":7\r\n"); /* the dying one too */
  for (size_t i = 0; i < PEERS; i++) assert_int_equal(p->session[i].close_now, i != 2);
}

static void client_unblock_wakes_the_loop_of_the_waiter(void **state) {
  struct peers *p = *state;
  char line[64];
  ask(p, 0, "CLAIM k");
  assert_string_equal(ask(p, 1, "CLAIM k WAIT 5000"), "");
  assert_string_equal(ask(p, 2, "WAIT k 5000"), "");
  assert_true(p->session[1].waiting);
  snprintf(line, sizeof line, "CLIENT UNBLOCK %d", (int)p->session[1].id);
  p->woken = 0;
  assert_string_equal(ask(p, 0, line), ":1\r\n");
  assert_int_equal(p->woken, 2);
  end_turn(p, 1);
  assert_memory_equal(heard(p, 1), "*5\r\n$4\r\nBUSY", 12);
  assert_string_equal(ask(p, 0, line), ":0\r\n");
  p->woken = 0;
  ask(p, 0, "STORE k 1 body");
  assert_int_equal(p->woken, 4);
  end_turn(p, 2);
  struct resp_output *out = p->session[2].out;
  assert_non_null(out);
  assert_memory_equal(out->bytes, "*5\r\n$4\r\nDONE", 12);
}

static bool postponed(struct peers *p, size_t who, const char *name) {
  const struct span argv[] = {span_of(name)};
  const struct request request = {
      .argv = argv, .argc = 1, .command = lookup_find(p->worker.commands, argv[0])};
  return check_postponed(worker_of(p, who), &p->session[who], &request);
}

static void a_pause_is_for_all_hosts(void **state) {
  struct peers *p = *state;
  ask(p, 0, "CLIENT PAUSE 100 WRITE");
  for (size_t i = 0; i < HOSTS; i++) {
    assert_true(postponed(p, i, "CLAIM"));
    assert_false(postponed(p, i, "FETCH"));
  }
  ask(p, 1, "CLIENT PAUSE 100");
  for (size_t i = 0; i < HOSTS; i++) assert_true(postponed(p, i, "FETCH"));
  ask(p, 2, "CLIENT UNPAUSE");
  for (size_t i = 0; i < HOSTS; i++) assert_false(postponed(p, i, "CLAIM"));
  assert_int_equal(p->stops, 3);
  ask(p, 0, "CLIENT PAUSE 100");
  peers_pass_ms(p, 100);
  for (size_t i = 0; i < HOSTS; i++) assert_false(postponed(p, i, "CLAIM"));
}

static void a_pause_holds_back_transactions_too(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MULTI");
  ask(p, 0, "SET a 1");
  ask(p, 3, "MULTI");
  ask(p, 3, "GET a");
  assert_false(postponed(p, 0, "EXEC"));
  ask(p, 1, "CLIENT PAUSE 100 WRITE");
  assert_true(postponed(p, 0, "EXEC"));
  assert_true(postponed(p, 0, "SET"));
  assert_false(postponed(p, 0, "GET"));
  assert_false(postponed(p, 3, "EXEC")); /* it only reads */
  assert_false(postponed(p, 6, "EXEC"));
  ask(p, 1, "CLIENT PAUSE 100");
  assert_true(postponed(p, 3, "EXEC"));
  assert_true(postponed(p, 3, "GET"));
}

static void a_transaction_stops_the_others_once(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MULTI");
  ask(p, 0, "CLIENT LIST");
  ask(p, 0, "SET a 1");
  ask(p, 0, "CLIENT UNPAUSE");
  ask(p, 0, "GET a");
  assert_int_equal(p->stops, 0);
  const char *reply = ask(p, 0, "EXEC");
  assert_memory_equal(reply, "*4\r\n", 4);
  assert_string_equal(reply + strlen(reply) - 12, "+OK\r\n$1\r\n1\r\n");
  assert_int_equal(p->stops, 1);
  ask(p, 0, "MULTI");
  ask(p, 0, "SET a 2");
  ask(p, 0, "EXEC");
  assert_int_equal(p->stops, 1); /* shards are enough */
}

static void a_waiter_of_another_host_is_granted(void **state) {
  struct peers *p = *state;
  ask(p, 0, "CLAIM k BIND");
  assert_string_equal(ask(p, 1, "CLAIM k WAIT 5000"), "");
  p->woken = 0;
  setup_session_deinit(&p->session[0], &p->worker);
  setup_session_init(&p->session[0], &p->worker);
  /* The shard's loop is to look after what was bound, and then the waiter's has an answer. */
  for (unsigned turns = 0; p->session[1].out == NULL && turns < 10; turns++) {
    for (unsigned i = 0; i < HOSTS; i++) shards_tick(worker_number(p, i), 100);
    end_all_turns(p);
  }
  assert_memory_equal(heard(p, 1), "*5\r\n$7\r\nCLAIMED\r\n:", 18);
  /* Its reply is not written yet, but it waits no more. */
  assert_string_equal(ask(p, 0, "CLIENT UNBLOCK 2"), ":0\r\n");
  deliver_written(&p->session[1], &p->further[0]);
}

#define LEASES 900u

static uint64_t leases_over(struct peers *p) {
  struct stats stats;
  shards_stats(&p->worker, &stats);
  return stats.lapsed;
}

/* Each of 16 shards has more to do than its share of the steps. */
static void what_is_due_in_many_shards_takes_the_steps_of_one(void **state) {
  struct peers *p = *state;
  char line[64];
  for (unsigned i = 0; i < LEASES; i++) {
    snprintf(line, sizeof line, "CLAIM k%u LEASE 100", i);
    ask(p, 0, line);
  }
  peers_pass_ms(p, 1000);
  uint64_t before = 0, most = 0;
  for (unsigned turns = 0; turns < LEASES && leases_over(p) < LEASES; turns++) {
    for (unsigned i = 0; i < HOSTS; i++) {
      shards_tick(worker_number(p, i), SHARDS_TICK_LEAST);
      uint64_t ended = leases_over(p) - before;
      before += ended;
      if (ended > most) most = ended;
    }
  }
  assert_int_equal(leases_over(p), LEASES);
  assert_in_range(most, 1, SHARDS_TICK_LEAST);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, peers_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_message_is_counted_at_once_and_arrives_with_the_turn),
      TEST(a_loop_is_woken_once_until_it_looks),
      TEST(the_order_of_each_publisher_is_kept),
      TEST(what_a_transaction_tells_waits_for_its_end),
      TEST(who_subscribes_later_gets_nothing_older),
      TEST(who_left_meanwhile_gets_nothing),
      TEST(any_bytes_cross),
      TEST(who_may_have_missed_something_is_closed),
      TEST(what_is_taken_makes_room),
      TEST(watchers_see_all_hosts),
      TEST(a_transaction_is_seen_elsewhere_too),
      TEST(pubsub_tells_of_all_hosts_together),
      TEST(engines_keep_effects_while_anybody_anywhere_listens),
      TEST(effects_reach_listeners_of_other_hosts),
      TEST(client_list_shows_all_hosts),
      TEST(client_kill_reaches_other_hosts),
      TEST(client_unblock_wakes_the_loop_of_the_waiter),
      TEST(a_pause_is_for_all_hosts),
      TEST(a_pause_holds_back_transactions_too),
      TEST(a_transaction_stops_the_others_once),
      TEST(a_waiter_of_another_host_is_granted),
      TEST(what_is_due_in_many_shards_takes_the_steps_of_one),
  };
  return cmocka_run_group_tests_name("inbox", tests, NULL, NULL);
}
