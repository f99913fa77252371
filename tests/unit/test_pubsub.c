/* test_pubsub.c - who listens to what, and what they are told. Replies are those of
 * redis-server 7.0.15, byte by byte. */
#include "server/commands/access.h"
#include "server/commands/effects.h"
#include "server/commands/publish.h"
#include "server/commands/pubsub.h"
#include "server/commands/topics.h"
#include "tests/unit/peers.h"
#include "server/engine/effect.h"
#include "server/engine/engine.h"
#include "server/engine/keys.h"
#include "server/engine/tick.h"

#define SUBSCRIBED(name, count) "*3\r\n$9\r\nsubscribe\r\n" name "\r\n:" count "\r\n"
#define UNSUBSCRIBED(name, count) "*3\r\n$11\r\nunsubscribe\r\n" name "\r\n:" count "\r\n"
#define PUNSUBSCRIBED(name, count) "*3\r\n$12\r\npunsubscribe\r\n" name "\r\n:" count "\r\n"

/* ---- subscribing ---- */

static void subscribing_is_confirmed_per_channel_with_the_count(void **state) {
  struct peers *p = *state;
  assert_string_equal(ask(p, 0, "SUBSCRIBE a b a"), SUBSCRIBED("$1\r\na", "1") SUBSCRIBED(
                                                        "$1\r\nb", "2") SUBSCRIBED("$1\r\na", "2"));
  assert_string_equal(ask(p, 0, "PSUBSCRIBE x*"), "*3\r\n$10\r\npsubscribe\r\n$2\r\nx*\r\n:3\r\n");
  assert_int_equal(topics_count(&p->session[0], TOPICS_CHANNEL), 2);
  assert_int_equal(topics_count(&p->session[0], TOPICS_PATTERN), 1);
}

static void unsubscribing_from_nothing_answers_null_and_the_count(void **state) {
  struct peers *p = *state;
  assert_string_equal(ask(p, 0, "UNSUBSCRIBE"), UNSUBSCRIBED("$-1", "0"));
  assert_string_equal(ask(p, 0, "UNSUBSCRIBE a b"),
                      UNSUBSCRIBED("$1\r\na", "0") UNSUBSCRIBED("$1\r\nb", "0"));
  ask(p, 0, "PSUBSCRIBE x*");
  assert_string_equal(ask(p, 0, "UNSUBSCRIBE"), UNSUBSCRIBED("$-1", "1"));
  assert_string_equal(ask(p, 0, "PUNSUBSCRIBE nope"), PUNSUBSCRIBED("$4\r\nnope", "1"));
  assert_string_equal(ask(p, 0, "PUNSUBSCRIBE"), PUNSUBSCRIBED("$2\r\nx*", "0"));
  assert_string_equal(ask(p, 0, "PUNSUBSCRIBE"), PUNSUBSCRIBED("$-1", "0"));
}

static void unsubscribing_from_all_channels_leaves_the_patterns(void **state) {
  struct peers *p = *state;
  ask(p, 0, "SUBSCRIBE a b");
  ask(p, 0, "PSUBSCRIBE x*");
  assert_string_equal(ask(p, 0, "UNSUBSCRIBE"),
                      UNSUBSCRIBED("$1\r\na", "2") UNSUBSCRIBED("$1\r\nb", "1"));
  assert_int_equal(pubsub_channel_count(&p->instance), 0);
  assert_int_equal(pubsub_pattern_count(&p->instance), 1);
}

static void in_resp3_confirmations_and_messages_are_pushes(void **state) {
  struct peers *p = *state;
  ask(p, 0, "HELLO 3");
  assert_string_equal(ask(p, 0, "SUBSCRIBE c"), ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
  ask(p, 0, "PSUBSCRIBE *");
  /* To the one who sends it the message comes before the reply. */
  assert_string_equal(ask(p, 0, "PUBLISH c hi"),
                      ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n"
                      ">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$2\r\nhi\r\n:2\r\n");
  ask(p, 0, "PUNSUBSCRIBE");
  ask(p, 0, "UNSUBSCRIBE");
  assert_string_equal(ask(p, 0, "UNSUBSCRIBE"), ">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n");
}

static void a_listening_resp2_client_may_only_listen(void **state) {
  struct peers *p = *state;
  ask(p, 0, "SUBSCRIBE c");
  assert_string_equal(
      ask(p, 0, "FETCH k"),
      "-ERR Can't execute 'fetch': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
      "are allowed in this context\r\n");
  assert_string_equal(ask(p, 0, "PING"), "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
  ask(p, 0, "UNSUBSCRIBE c");
  assert_string_equal(ask(p, 0, "PING"), "+PONG\r\n");
  ask(p, 1, "HELLO 3");
  ask(p, 1, "SUBSCRIBE c");
  assert_string_equal(ask(p, 1, "PING"), "+PONG\r\n");
}

static void a_name_may_be_as_long_as_the_channel_of_the_longest_key(void **state) {
  struct peers *p = *state;
  size_t longest = (size_t)p->options.limits.key_bytes + strlen(EFFECTS_PREFIX);
  char *name = calloc(1, longest + 1);
  assert_non_null(name);
  struct span argv[] = {SPAN_LITERAL("PSUBSCRIBE"), {name, longest}};
  say_spans(p, 0, argv, 2);
  assert_int_equal(heard(p, 0)[0], '*');
  argv[1].len++;
  say_spans(p, 0, argv, 2);
  assert_memory_equal(heard(p, 0), "-TOOBIG", 7);
  /* A message is as long as a body. */
  struct span publish[] = {SPAN_LITERAL("PUBLISH"), SPAN_LITERAL("c"), {name, longest + 1}};
  say_spans(p, 0, (struct span[]){SPAN_LITERAL("RESET")}, 1);
  heard(p, 0);
  say_spans(p, 0, publish, 3);
  assert_string_equal(heard(p, 0), ":0\r\n");
  free(name);
}

static void one_client_may_not_subscribe_without_end(void **state) {
  struct peers *p = *state;
  char name[16];
  for (unsigned i = 0; i < TOPICS_MAX_PER_SESSION; i++) {
    int len = snprintf(name, sizeof name, "%u", i);
    say_spans(p, 0, (struct span[]){SPAN_LITERAL("SUBSCRIBE"), {name, (size_t)len}}, 2);
  }
  heard(p, 0);
  assert_int_equal(topics_count(&p->session[0], TOPICS_CHANNEL), TOPICS_MAX_PER_SESSION);
  assert_string_equal(ask(p, 0, "PSUBSCRIBE one-more"),
                      "-ERR a connection may have 100000 subscriptions\r\n");
  assert_string_equal(ask(p, 1, "PUBLISH 99999 x"), ":1\r\n");
  ask(p, 0, "RESET");
  assert_int_equal(pubsub_channel_count(&p->instance), 0);
  assert_string_equal(ask(p, 1, "PUBLISH 99999 x"), ":0\r\n");
}

/* Ids that differ by a multiple of the table's size share every chain. */
static void clients_in_one_chain_are_told_apart(void **state) {
  struct peers *p = *state;
  p->session[1].id = p->session[0].id + (1u << 20);
  ask(p, 0, "SUBSCRIBE c");
  ask(p, 1, "SUBSCRIBE d");
  assert_string_equal(ask(p, 1, "UNSUBSCRIBE c"), UNSUBSCRIBED("$1\r\nc", "1"));
  assert_string_equal(ask(p, 1, "SUBSCRIBE c"), SUBSCRIBED("$1\r\nc", "2"));
  assert_string_equal(ask(p, 2, "PUBLISH c x"), ":2\r\n");
}

/* ---- messages ---- */

static void a_message_goes_to_channel_and_pattern_listeners(void **state) {
  struct peers *p = *state;
  ask(p, 0, "SUBSCRIBE news.art");
  ask(p, 1, "PSUBSCRIBE news.* *");
  ask(p, 2, "SUBSCRIBE news.music");
  assert_string_equal(ask(p, 3, "PUBLISH news.art hello"), ":3\r\n");
  assert_string_equal(heard(p, 0), "*3\r\n$7\r\nmessage\r\n$8\r\nnews.art\r\n$5\r\nhello\r\n");
  assert_string_equal(heard(p, 1),
                      "*4\r\n$8\r\npmessage\r\n$6\r\nnews.*\r\n$8\r\nnews.art\r\n$5\r\nhello\r\n"
                      "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$8\r\nnews.art\r\n$5\r\nhello\r\n");
  assert_string_equal(heard(p, 2), "");
}

static void names_and_messages_are_any_bytes(void **state) {
  struct peers *p = *state;
  static const char channel[] = {'a', '\0', '\r', '\n', '\xff'}, message[] = {'\0', '\n'};
  say_spans(
      p, 0,
      (struct span[]){
          SPAN_LITERAL("SUBSCRIBE"), {channel, sizeof channel}, {channel, 1}, SPAN_LITERAL("")},
      4);
  heard(p, 0);
  struct span publish[] = {
      SPAN_LITERAL("PUBLISH"), {channel, sizeof channel}, {message, sizeof message}};
  say_spans(p, 1, publish, 3);
  assert_string_equal(heard(p, 1), ":1\r\n");
  static const char expected[] = "*3\r\n$7\r\nmessage\r\n$5\r\na\0\r\n\xff\r\n$2\r\n\0\n\r\n";
  struct span got = heard_bytes(p, 0);
  assert_int_equal(got.len, sizeof expected - 1);
  assert_memory_equal(got.data, expected, got.len);
}

static void who_leaves_hears_no_more(void **state) {
  struct peers *p = *state;
  ask(p, 0, "SUBSCRIBE c d");
  ask(p, 0, "PSUBSCRIBE c*");
  ask(p, 1, "SUBSCRIBE c");
  setup_session_deinit(&p->session[0], &p->worker);
  assert_string_equal(ask(p, 2, "PUBLISH c x"), ":1\r\n");
  assert_string_equal(ask(p, 2, "PUBSUB CHANNELS"), "*1\r\n$1\r\nc\r\n");
  assert_string_equal(ask(p, 2, "PUBSUB NUMPAT"), ":0\r\n");
  setup_session_init(&p->session[0], &p->worker);
  assert_string_equal(heard(p, 0), "");
}

static void pubsub_tells_of_channels_and_counts(void **state) {
  struct peers *p = *state;
  ask(p, 0, "SUBSCRIBE ant bee");
  ask(p, 1, "SUBSCRIBE bee");
  ask(p, 1, "PSUBSCRIBE a* bee");
  assert_string_equal(ask(p, 2, "PUBSUB CHANNELS"), "*2\r\n$3\r\nant\r\n$3\r\nbee\r\n");
  assert_string_equal(ask(p, 2, "PUBSUB CHANNELS *e"), "*1\r\n$3\r\nbee\r\n");
  assert_string_equal(ask(p, 2, "PUBSUB CHANNELS x"), "*0\r\n");
  assert_string_equal(
      ask(p, 2, "pubsub channels x y"),
      "-ERR unknown subcommand or wrong number of arguments for 'channels'. Try PUBSUB HELP.\r\n");
  assert_string_equal(ask(p, 2, "PUBSUB NUMSUB"), "*0\r\n");
  assert_string_equal(ask(p, 2, "PUBSUB NUMSUB bee cat bee"),
                      "*6\r\n$3\r\nbee\r\n:2\r\n$3\r\ncat\r\n:0\r\n$3\r\nbee\r\n:2\r\n");
  assert_string_equal(ask(p, 2, "PUBSUB NUMPAT"), ":2\r\n");
  /* A pattern counts once however many listen to it. */
  ask(p, 0, "PSUBSCRIBE a*");
  assert_string_equal(ask(p, 2, "PUBSUB NUMPAT"), ":2\r\n");
}

static void who_does_not_read_is_closed_at_the_limit(void **state) {
  struct peers *p = *state;
  p->options.client_output_limit = 2000;
  ask(p, 0, "SUBSCRIBE c");
  ask(p, 1, "SUBSCRIBE c");
  char message[500];
  memset(message, 'm', sizeof message);
  const struct span publish[] = {
      SPAN_LITERAL("PUBLISH"), SPAN_LITERAL("c"), {message, sizeof message}};
  for (int i = 0; i < 8; i++) {
    say_spans(p, 2, publish, 3);
    heard(p, 1);
    if (p->session[0].out != NULL) assert_true(resp_output_size(p->session[0].out) <= 2000);
  }
  assert_true(p->session[0].close_now);
  assert_false(list_empty(&p->session[0].unsent));
  assert_false(p->session[1].close_now);
  assert_int_equal(p->worker.counters.closed_for_unread_replies, 1);
}

static void one_message_over_the_limit_closes_an_idle_listener(void **state) {
  struct peers *p = *state;
  p->options.client_output_limit = 100;
  ask(p, 0, "SUBSCRIBE c");
  assert_true(list_empty(&p->session[0].unsent));
  char message[101] = {0};
  say_spans(p, 1,
            (struct span[]){SPAN_LITERAL("PUBLISH"), SPAN_LITERAL("c"), {message, sizeof message}},
            3);
  assert_true(p->session[0].close_now);
  /* The network looks at those who have something to send. */
  assert_false(list_empty(&p->session[0].unsent));
}

static void who_is_going_is_told_nothing(void **state) {
  struct peers *p = *state;
  ask(p, 0, "SUBSCRIBE c");
  p->session[0].close_when_sent = true;
  assert_string_equal(ask(p, 1, "PUBLISH c x"), ":1\r\n");
  assert_string_equal(heard(p, 0), "");
}

/* ---- effects ---- */

static void effects_are_told_on_the_channel_of_the_key(void **state) {
  struct peers *p = *state;
  ask(p, 0, "SUBSCRIBE __idem__:k");
  assert_string_equal(ask(p, 1, "CLAIM k"), "*5\r\n$7\r\nCLAIMED\r\n:1\r\n:60000\r\n:1\r\n$-1\r\n");
  incoming_deliver(&p->worker);
  assert_string_equal(heard(p, 0), "");
  ask(p, 1, "STORE k 1 body");
  incoming_deliver(&p->worker);
  assert_string_equal(heard(p, 0), "*3\r\n$7\r\nmessage\r\n$10\r\n__idem__:k\r\n$4\r\ndone\r\n");
  ask(p, 1, "DEL k");
  incoming_deliver(&p->worker);
  assert_string_equal(heard(p, 0), "*3\r\n$7\r\nmessage\r\n$10\r\n__idem__:k\r\n$4\r\nfree\r\n");
  ask(p, 1, "CLAIM k HOLD LEASE 10");
  peers_pass_ms(p, 10);
  struct shard *shard = keyspace_shard(p->instance.keyspace, 0);
  int64_t now_ms = p->worker.now_ms;
  tick_run(access_lock(&p->worker, shard, &now_ms), now_ms, 1000);
  access_unlock(&p->worker, shard);
  incoming_deliver(&p->worker);
  assert_string_equal(heard(p, 0), "*3\r\n$7\r\nmessage\r\n$10\r\n__idem__:k\r\n$7\r\nunknown\r\n");
}

static bool effects_are_kept(struct peers *p) {
  struct engine *engine = shard_engine(keyspace_shard(p->instance.keyspace, 0));
  struct effect effect;
  struct engine_answer answer;
  const struct engine_claim claim = {.key = SPAN_LITERAL("seen"), .lease_ms = 1000};
  engine_claim(engine, &claim, p->worker.now_ms, &answer);
  keys_delete(engine, claim.key, p->worker.now_ms);
  bool kept = effect_next(engine, &effect);
  while (kept && effect_next(engine, &effect)) continue;
  return kept;
}

static void effects_are_kept_exactly_while_somebody_listens(void **state) {
  struct peers *p = *state;
  assert_false(effects_are_kept(p));
  ask(p, 0, "SUBSCRIBE c __idem__");
  assert_false(effects_are_kept(p));
  ask(p, 0, "SUBSCRIBE __idem__:other");
  ask(p, 1, "SUBSCRIBE __idem__:other");
  assert_true(effects_are_kept(p));
  ask(p, 0, "UNSUBSCRIBE");
  assert_true(effects_are_kept(p));
  ask(p, 1, "RESET");
  assert_false(effects_are_kept(p));
  ask(p, 1, "PSUBSCRIBE __idem__:*");
  assert_true(effects_are_kept(p));
  ask(p, 1, "PUNSUBSCRIBE");
  assert_false(effects_are_kept(p));
}

static void an_effect_reaches_patterns_with_the_key_in_full(void **state) {
  struct peers *p = *state;
  ask(p, 0, "PSUBSCRIBE __idem__:*");
  heard(p, 0);
  static const char key[] = {'\0', '*', '\n'};
  char long_key[1024];
  memset(long_key, 'k', sizeof long_key);
  say_spans(p, 1, (struct span[]){SPAN_LITERAL("CLAIM"), {long_key, sizeof long_key}}, 2);
  say_spans(p, 1, (struct span[]){SPAN_LITERAL("DEL"), {long_key, sizeof long_key}}, 2);
  say_spans(p, 1, (struct span[]){SPAN_LITERAL("CLAIM"), {key, sizeof key}}, 2);
  say_spans(p, 1, (struct span[]){SPAN_LITERAL("DEL"), {key, sizeof key}}, 2);
  incoming_deliver(&p->worker);
  static const char last[] =
      "*4\r\n$8\r\npmessage\r\n$10\r\n__idem__:*\r\n$12\r\n__idem__:\0*\n\r\n$4\r\nfree\r\n";
  struct span got = heard_bytes(p, 0);
  assert_int_equal(
      got.len, strlen("*4\r\n$8\r\npmessage\r\n$10\r\n__idem__:*\r\n$1033\r\n\r\n$4\r\nfree\r\n") +
                   1033 + sizeof last - 1);
  assert_memory_equal(got.data + got.len - (sizeof last - 1), last, sizeof last - 1);
}

/* ---- against a naive model ---- */

#define MODEL_NAMES 40
#define MODEL_STEPS 60000

static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

struct model {
  bool listens[2][PEERS][MODEL_NAMES]; /* channels, patterns */
};

static size_t listeners(const struct model *model, int kind, size_t name) {
  size_t count = 0;
  for (size_t who = 0; who < PEERS; who++) count += model->listens[kind][who][name];
  return count;
}

static size_t names_heard(const struct model *model, int kind) {
  size_t count = 0;
  for (size_t name = 0; name < MODEL_NAMES; name++) count += listeners(model, kind, name) > 0;
  return count;
}

/* Names have no wildcard in them, so a pattern matches the channel of its own name. */
static void model_step(struct peers *p, struct model *model, uint64_t random) {
  static const char *const words[2][2] = {{"SUBSCRIBE", "UNSUBSCRIBE"},
                                          {"PSUBSCRIBE", "PUNSUBSCRIBE"}};
  size_t who = random % PEERS, name = random >> 8 & 0xff, what = random >> 16 & 0xff;
  int kind = random >> 24 & 1;
  char line[64];
  name %= MODEL_NAMES;
  if (what < 100) {
    bool joins = what < 60;
    snprintf(line, sizeof line, "%s name-%zu", words[kind][!joins], name);
    model->listens[kind][who][name] = joins;
    ask(p, who, line);
  } else if (what < 105) {
    memset(model->listens[kind][who], 0, sizeof model->listens[kind][who]);
    ask(p, who, words[kind][1]);
  } else if (what < 115) {
    memset(model->listens[0][who], 0, sizeof model->listens[0][who]);
    memset(model->listens[1][who], 0, sizeof model->listens[1][who]);
    setup_session_deinit(&p->session[who], &p->worker);
    setup_session_init(&p->session[who], &p->worker);
  } else {
    snprintf(line, sizeof line, "name-%zu", name);
    size_t expected = listeners(model, 0, name) + listeners(model, 1, name);
    assert_int_equal(publish_message(&p->worker, span_of(line), SPAN_LITERAL("m")), expected);
    for (size_t i = 0; i < PEERS; i++) {
      size_t messages = 0;
      const char *text = heard(p, i);
      while ((text = strstr(text, "message\r\n")) != NULL) messages++, text++;
      assert_int_equal(messages, model->listens[0][i][name] + model->listens[1][i][name]);
    }
  }
}

static void any_order_of_joining_and_leaving_agrees_with_a_naive_model(void **state) {
  struct peers *p = *state;
  struct model model = {0};
  uint64_t seed = 88172645463325252u;
  for (int step = 0; step < MODEL_STEPS; step++) {
    model_step(p, &model, next_random(&seed));
    assert_int_equal(pubsub_channel_count(&p->instance), names_heard(&model, 0));
    assert_int_equal(pubsub_pattern_count(&p->instance), names_heard(&model, 1));
  }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

static void names_listened_to_count_in_client_input_total(void **state) {
  struct peers *p = *state;
  p->options.client_input_total = 64 * 1024;
  unsigned heard_of = 0;
  char line[64];
  do {
    snprintf(line, sizeof line, "SUBSCRIBE channel-%u", heard_of);
  } while (ask(p, 0, line)[0] != '-' && ++heard_of < 10000);
  assert_in_range(heard_of, 100, 1000);
  assert_in_range(p->instance.input_bytes, 60 * 1024, 64 * 1024);
  ask(p, 0, "UNSUBSCRIBE");
  assert_int_equal(p->instance.input_bytes, 0);
  ask(p, 0, "PSUBSCRIBE a*");
  assert_true(p->instance.input_bytes > 0);
  setup_session_deinit(&p->session[0], &p->worker);
  setup_session_init(&p->session[0], &p->worker);
  assert_int_equal(p->instance.input_bytes, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(names_listened_to_count_in_client_input_total),
      TEST(subscribing_is_confirmed_per_channel_with_the_count),
      TEST(unsubscribing_from_nothing_answers_null_and_the_count),
      TEST(unsubscribing_from_all_channels_leaves_the_patterns),
      TEST(in_resp3_confirmations_and_messages_are_pushes),
      TEST(a_listening_resp2_client_may_only_listen),
      TEST(a_name_may_be_as_long_as_the_channel_of_the_longest_key),
      TEST(one_client_may_not_subscribe_without_end),
      TEST(clients_in_one_chain_are_told_apart),
      TEST(a_message_goes_to_channel_and_pattern_listeners),
      TEST(names_and_messages_are_any_bytes),
      TEST(who_leaves_hears_no_more),
      TEST(pubsub_tells_of_channels_and_counts),
      TEST(who_does_not_read_is_closed_at_the_limit),
      TEST(one_message_over_the_limit_closes_an_idle_listener),
      TEST(who_is_going_is_told_nothing),
      TEST(effects_are_told_on_the_channel_of_the_key),
      TEST(effects_are_kept_exactly_while_somebody_listens),
      TEST(an_effect_reaches_patterns_with_the_key_in_full),
      TEST(any_order_of_joining_and_leaving_agrees_with_a_naive_model),
  };
  return cmocka_run_group_tests_name("pubsub", tests, NULL, NULL);
}
