/* test_transaction.c - MULTI to EXEC. Replies are those of redis-server 7.0.15, byte by byte, but
 * for WATCH. */
#include "server/commands/queue.h"
#include "tests/unit/peers.h"

#define OK "+OK\r\n"
#define QUEUED "+QUEUED\r\n"
#define EXECABORT "-EXECABORT Transaction discarded because of previous errors.\r\n"

static void commands_run_at_exec_in_one_reply(void **state) {
  struct peers *p = *state;
  assert_string_equal(ask(p, 0, "MULTI"), OK);
  assert_string_equal(ask(p, 0, "CLAIM k"), QUEUED);
  assert_string_equal(ask(p, 0, "PING"), QUEUED);
  assert_string_equal(ask(p, 0, "STORE k 99 body"), QUEUED);
  assert_int_equal(queue_length(&p->session[0]), 3);
  assert_string_equal(ask(p, 1, "EXISTS k"), ":0\r\n");
  say(p, 0, "EXEC");
  const char *reply = heard(p, 0);
  static const char begin[] =
      "*3\r\n*5\r\n$7\r\nCLAIMED\r\n:1\r\n:60000\r\n:1\r\n$-1\r\n+PONG\r\n-STALE ";
  assert_memory_equal(reply, begin, sizeof begin - 1);
  assert_string_equal(ask(p, 1, "EXISTS k"), ":1\r\n");
  assert_int_equal(queue_length(&p->session[0]), -1);
}

static void an_empty_transaction_answers_an_empty_array(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MULTI");
  assert_string_equal(ask(p, 0, "EXEC"), "*0\r\n");
}

static void arguments_are_copied(void **state) {
  struct peers *p = *state;
  char bytes[] = {'a', '\0', '\n', '\xff'};
  ask(p, 0, "MULTI");
  say_spans(p, 0, (struct span[]){SPAN_LITERAL("ECHO"), {bytes, sizeof bytes}}, 2);
  say_spans(p, 0, (struct span[]){SPAN_LITERAL("ECHO"), {bytes, 0}}, 2);
  memset(bytes, 'x', sizeof bytes);
  heard(p, 0);
  say(p, 0, "EXEC");
  static const char expected[] = "*2\r\n$4\r\na\0\n\xff\r\n$0\r\n\r\n";
  struct span got = heard_bytes(p, 0);
  assert_int_equal(got.len, sizeof expected - 1);
  assert_memory_equal(got.data, expected, got.len);
}

static void each_word_has_its_place(void **state) {
  struct peers *p = *state;
  assert_string_equal(ask(p, 0, "EXEC"), "-ERR EXEC without MULTI\r\n");
  assert_string_equal(ask(p, 0, "DISCARD"), "-ERR DISCARD without MULTI\r\n");
  assert_string_equal(ask(p, 0, "UNWATCH"), OK);
  assert_string_equal(ask(p, 0, "MULTI"), OK);
  assert_string_equal(ask(p, 0, "MULTI"), "-ERR MULTI calls can not be nested\r\n");
  assert_string_equal(ask(p, 0, "WATCH k"), "-ERR WATCH inside MULTI is not allowed\r\n");
  assert_string_equal(ask(p, 0, "UNWATCH"), QUEUED);
  /* Neither of the two errors spoils it. */
  assert_string_equal(ask(p, 0, "EXEC"), "*1\r\n+OK\r\n");
  assert_memory_equal(ask(p, 0, "WATCH k"), "-ERR WATCH is not supported", 27);
}

static void discard_forgets(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MULTI");
  ask(p, 0, "CLAIM k");
  assert_string_equal(ask(p, 0, "DISCARD"), OK);
  assert_string_equal(ask(p, 0, "EXISTS k"), ":0\r\n");
  assert_string_equal(ask(p, 0, "EXEC"), "-ERR EXEC without MULTI\r\n");
}

static void an_error_while_queueing_spoils_it(void **state) {
  struct peers *p = *state;
  static const char *const wrong[] = {"NOPE", "CLAIM", "CLIENT NOPE"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    ask(p, 0, "MULTI");
    ask(p, 0, "CLAIM k");
    assert_memory_equal(ask(p, 0, wrong[i]), "-ERR ", 5);
    assert_string_equal(ask(p, 0, "CLAIM k2"), QUEUED);
    assert_string_equal(ask(p, 0, "EXEC"), EXECABORT);
    assert_string_equal(ask(p, 0, "DBSIZE"), ":0\r\n");
  }
  ask(p, 0, "MULTI");
  execute_toobig(&p->worker, &p->session[0], "key", 10);
  heard(p, 0);
  assert_string_equal(ask(p, 0, "EXEC"), EXECABORT);
}

static void an_error_at_exec_is_one_reply_among_the_others(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MULTI");
  ask(p, 0, "CLAIM k LEASE x");
  ask(p, 0, "PING");
  say(p, 0, "EXEC");
  const char *reply = heard(p, 0);
  assert_memory_equal(reply, "*2\r\n-ERR ", 9);
  assert_string_equal(reply + strlen(reply) - 7, "+PONG\r\n");
}

static void nothing_waits_in_exec(void **state) {
  struct peers *p = *state;
  ask(p, 1, "CLAIM k");
  ask(p, 0, "MULTI");
  ask(p, 0, "CLAIM k WAIT 1000");
  ask(p, 0, "WAIT k 1000");
  assert_string_equal(ask(p, 0, "EXEC"),
                      "*2\r\n*5\r\n$4\r\nBUSY\r\n:60000\r\n:0\r\n$-1\r\n$-1\r\n"
                      "*5\r\n$4\r\nBUSY\r\n:60000\r\n:0\r\n$-1\r\n$-1\r\n");
  assert_false(p->session[0].waiting);
  assert_null(p->session[0].waiter);
}

static void queue_echo(struct peers *p, size_t len, const char *expected) {
  char *text = malloc(len);
  assert_non_null(text);
  memset(text, 't', len);
  say_spans(p, 0, (struct span[]){SPAN_LITERAL("ECHO"), {text, len}}, 2);
  free(text);
  assert_string_equal(heard(p, 0), expected);
}

#define TOO_LONG "-ERR a transaction may take 1048576 bytes, and 16777216 for bodies\r\n"

static void a_transaction_may_take_a_mebibyte_beside_bodies(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MULTI");
  size_t most = QUEUE_MAX_BYTES / sizeof(struct span), queued = 0;
  while (queued < most && strcmp(ask(p, 0, "PING"), QUEUED) == 0) queued++;
  assert_in_range(queued, most / 8, most / 2);
  assert_string_equal(ask(p, 0, "PING"), QUEUED); /* acknowledged, as Redis does, and not kept */
  assert_int_equal(queue_length(&p->session[0]), queued);
  assert_string_equal(ask(p, 0, "EXEC"), EXECABORT);
  assert_string_equal(ask(p, 0, "PING"), "+PONG\r\n");
}

static void bodies_of_a_transaction_may_take_the_body_limit(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MULTI");
  for (int i = 0; i < 4; i++) queue_echo(p, (size_t)p->options.limits.body_bytes / 4, QUEUED);
  queue_echo(p, QUEUE_BODY_BYTES, QUEUED); /* not one of them */
  queue_echo(p, QUEUE_BODY_BYTES + 1, TOO_LONG);
  assert_string_equal(ask(p, 0, "EXEC"), EXECABORT);
}

static void client_list_says_what_a_transaction_takes(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MULTI");
  assert_non_null(strstr(ask(p, 1, "CLIENT LIST ID 1"), " multi-mem=0 "));
  queue_echo(p, 40000, QUEUED);
  const char *text = strstr(ask(p, 1, "CLIENT LIST ID 1"), " multi-mem=");
  assert_non_null(text);
  assert_in_range(strtoul(text + strlen(" multi-mem="), NULL, 10), 40000, 50000);
}

static void what_transactions_queue_counts_in_client_input_total(void **state) {
  struct peers *p = *state;
  p->options.client_input_total = 64 * 1024;
  ask(p, 0, "MULTI");
  ask(p, 1, "MULTI");
  queue_echo(p, 40000, QUEUED);
  assert_in_range(p->instance.input_bytes, 40000, 50000);
  assert_non_null(strstr(ask(p, 2, "INFO clients"), "client_input_bytes:40"));
  const char *refused =
      "-ERR all transactions and half-received commands together reach client-input-total\r\n";
  queue_echo(p, 40000, refused);
  assert_string_equal(ask(p, 0, "EXEC"), EXECABORT);
  assert_int_equal(p->instance.input_bytes, 0);
  ask(p, 0, "MULTI");
  queue_echo(p, 40000, QUEUED);
  setup_session_deinit(&p->session[0], &p->worker);
  setup_session_init(&p->session[0], &p->worker);
  assert_int_equal(p->instance.input_bytes, 0);
}

static void a_client_that_goes_takes_its_transaction_along(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MULTI");
  ask(p, 0, "CLAIM k");
  setup_session_deinit(&p->session[0], &p->worker);
  setup_session_init(&p->session[0], &p->worker);
  assert_string_equal(ask(p, 0, "EXISTS k"), ":0\r\n");
  ask(p, 1, "MULTI");
  assert_string_equal(ask(p, 1, "RESET"), "+RESET\r\n");
  assert_string_equal(ask(p, 1, "EXEC"), "-ERR EXEC without MULTI\r\n");
}

static void hello_inside_changes_the_replies_behind_it(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MULTI");
  ask(p, 0, "CLIENT GETNAME");
  ask(p, 0, "HELLO 3");
  ask(p, 0, "CLIENT GETNAME");
  say(p, 0, "EXEC");
  const char *reply = heard(p, 0);
  assert_memory_equal(reply, "*3\r\n$-1\r\n%7\r\n", 13);
  assert_string_equal(reply + strlen(reply) - 3, "_\r\n");
}

static void listening_inside_works_as_in_redis(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MULTI");
  ask(p, 0, "SUBSCRIBE c");
  ask(p, 0, "PUBLISH c yo");
  ask(p, 0, "EXISTS x");
  assert_string_equal(ask(p, 0, "EXEC"),
                      "*3\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$"
                      "1\r\nc\r\n$2\r\nyo\r\n:1\r\n:0\r\n");
  assert_true(session_only_listens(&p->session[0]));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(commands_run_at_exec_in_one_reply),
      TEST(an_empty_transaction_answers_an_empty_array),
      TEST(arguments_are_copied),
      TEST(each_word_has_its_place),
      TEST(discard_forgets),
      TEST(an_error_while_queueing_spoils_it),
      TEST(an_error_at_exec_is_one_reply_among_the_others),
      TEST(nothing_waits_in_exec),
      TEST(a_transaction_may_take_a_mebibyte_beside_bodies),
      TEST(bodies_of_a_transaction_may_take_the_body_limit),
      TEST(client_list_says_what_a_transaction_takes),
      TEST(what_transactions_queue_counts_in_client_input_total),
      TEST(a_client_that_goes_takes_its_transaction_along),
      TEST(hello_inside_changes_the_replies_behind_it),
      TEST(listening_inside_works_as_in_redis),
  };
  return cmocka_run_group_tests_name("transaction", tests, NULL, NULL);
}
