/* test_silence.c - CLIENT REPLY: what a silenced session is still sent. Replies are those of
 * redis-server 7.0.15, byte by byte. */
#include "tests/unit/peers.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

#define C_AND_COUNT "\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
#define NOTHING_LEFT "\r\n$11\r\nunsubscribe\r\n"

static void off_silences_until_on(void **state) {
  struct peers *p = *state;
  assert_string_equal(ask(p, 0, "CLIENT REPLY OFF"), "");
  assert_string_equal(ask(p, 0, "PING"), "");
  assert_string_equal(ask(p, 0, "NOSUCH"), "");
  assert_string_equal(ask(p, 0, "CLIENT REPLY SKIP"), "");
  assert_string_equal(ask(p, 0, "PING"), "");
  assert_string_equal(ask(p, 0, "CLIENT REPLY ON"), "+OK\r\n");
  assert_string_equal(ask(p, 0, "PING"), "+PONG\r\n");
}

static void skip_silences_one_command(void **state) {
  struct peers *p = *state;
  assert_string_equal(ask(p, 0, "CLIENT REPLY SKIP"), "");
  assert_string_equal(ask(p, 0, "NOSUCH"), "");
  assert_string_equal(ask(p, 0, "PING"), "+PONG\r\n");
}

static void reset_ends_it(void **state) {
  struct peers *p = *state;
  ask(p, 0, "CLIENT REPLY OFF");
  assert_string_equal(ask(p, 0, "RESET"), "+RESET\r\n");
  assert_string_equal(ask(p, 0, "PING"), "+PONG\r\n");
}

static void confirmations_of_subscriptions_are_sent_all_the_same(void **state) {
  struct peers *p = *state;
  ask(p, 0, "CLIENT REPLY OFF");
  assert_string_equal(ask(p, 0, "SUBSCRIBE c"), "*3" C_AND_COUNT);
  assert_string_equal(ask(p, 0, "PING"), "");
  assert_string_equal(ask(p, 0, "UNSUBSCRIBE c"), "*3" NOTHING_LEFT "$1\r\nc\r\n:0\r\n");
  assert_string_equal(ask(p, 0, "SUBSCRIBE"), "");
  ask(p, 1, "HELLO 3");
  ask(p, 1, "CLIENT REPLY OFF");
  assert_string_equal(ask(p, 1, "SUBSCRIBE c"), ">3" C_AND_COUNT);
}

/* QUEUED is a reply; the confirmation comes when EXEC runs the command, without the array around
 * it, which is EXEC's reply. */
static void off_silences_queued_and_exec_but_no_confirmation_within(void **state) {
  static const char *const hellos[] = {"HELLO 2", "HELLO 3"};
  static const char *const joined[] = {"*3" C_AND_COUNT, ">3" C_AND_COUNT};
  static const char *const left[] = {"*3" NOTHING_LEFT "$-1\r\n:0\r\n",
                                     ">3" NOTHING_LEFT "_\r\n:0\r\n"};
  struct peers *p = *state;
  for (size_t who = 0; who < 2; who++) {
    ask(p, who, hellos[who]);
    ask(p, who, "CLIENT REPLY OFF");
    assert_string_equal(ask(p, who, "MULTI"), "");
    assert_string_equal(ask(p, who, "UNSUBSCRIBE"), "");
    assert_string_equal(ask(p, who, "EXEC"), left[who]);
    assert_string_equal(ask(p, who, "MULTI"), "");
    assert_string_equal(ask(p, who, "SET k v"), "");
    assert_string_equal(ask(p, who, "SUBSCRIBE c"), "");
    assert_string_equal(ask(p, who, "GET k"), "");
    assert_string_equal(ask(p, who, "EXEC"), joined[who]);
  }
}

static void without_it_a_confirmation_stands_in_the_array_of_exec(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MULTI");
  assert_string_equal(ask(p, 0, "SUBSCRIBE c"), "+QUEUED\r\n");
  ask(p, 0, "ECHO a");
  assert_string_equal(ask(p, 0, "EXEC"), "*2\r\n*3" C_AND_COUNT "$1\r\na\r\n");
}

/* The error after the last confirmation is a reply. */
static void the_error_of_a_subscription_is_silenced(void **state) {
  struct peers *p = *state;
  ask(p, 1, "SUBSCRIBE x");
  uint64_t of_one = p->instance.input_bytes;
  p->options.client_input_total = (int64_t)(p->instance.input_bytes + of_one);
  ask(p, 0, "CLIENT REPLY OFF");
  assert_string_equal(ask(p, 0, "SUBSCRIBE c d"), "*3" C_AND_COUNT);
}

static void a_reply_that_comes_later_is_silenced(void **state) {
  struct peers *p = *state;
  ask(p, 0, "CLAIM k");
  ask(p, 1, "CLIENT REPLY SKIP");
  assert_string_equal(ask(p, 1, "WAIT k 500"), "");
  ask(p, 0, "RELEASE k 1");
  end_turn(p, 0);
  assert_string_equal(heard(p, 1), "");
  assert_string_equal(ask(p, 1, "PING"), "+PONG\r\n");
}

/* As in Redis: an error counts, whoever gets it. */
static void errors_that_are_dropped_are_counted(void **state) {
  struct peers *p = *state;
  const struct resp_errors *errors = p->worker.errors;
  ask(p, 0, "CLAIM k");
  ask(p, 1, "CLIENT REPLY OFF");
  assert_string_equal(ask(p, 1, "CLAIM k FP"), "");
  assert_int_equal(errors->total, 1);
  execute_toobig(&p->worker, &p->session[1], "key", 10);
  assert_int_equal(errors->total, 2);
  execute_malformed(&p->worker, &p->session[1], "bad");
  assert_int_equal(errors->total, 3);
  assert_string_equal(heard(p, 1), "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(off_silences_until_on),
      TEST(skip_silences_one_command),
      TEST(reset_ends_it),
      TEST(confirmations_of_subscriptions_are_sent_all_the_same),
      TEST(off_silences_queued_and_exec_but_no_confirmation_within),
      TEST(without_it_a_confirmation_stands_in_the_array_of_exec),
      TEST(the_error_of_a_subscription_is_silenced),
      TEST(a_reply_that_comes_later_is_silenced),
      TEST(errors_that_are_dropped_are_counted),
  };
  return cmocka_run_group_tests_name("silence", tests, NULL, NULL);
}
