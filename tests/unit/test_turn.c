/* test_turn.c - the parts of a turn and their budgets: one connection's share, what is left for the
 * next turn, and in which order. */
#include "server/ops/acl_rules.h"
#include "server/ops/users.h"
#include "tests/unit/connections.h"

#define PING "*1\r\n$4\r\nPING\r\n"
#define PONG_BYTES 7u

/* So many PINGs at once. */
static void say_pings(struct connections *c, unsigned who, unsigned count) {
  size_t len = sizeof PING - 1;
  char *text = malloc(count * len + 1);
  for (unsigned i = 0; i < count; i++) memcpy(text + i * len, PING, len + 1);
  assert_int_equal(peer_say(&c->peer[who], text, count * len), count * len);
  free(text);
}

static size_t pongs(struct connections *c, unsigned who) {
  return strlen(heard(c, who)) / PONG_BYTES;
}

/* How many commands have run; those that are queued do now. */
static uint64_t run(struct connections *c) {
  serve_run_queued(&c->group);
  uint64_t sum = 0;
  for (size_t i = 0; i < c->instance.commands->count; i++) sum += c->group.worker.stats[i].calls;
  return sum;
}

/* ---- a share ---- */

static void a_share_is_512_commands(void **state) {
  struct connections *c = *state;
  struct conn *conn = connect_peer(c, 0);
  connect_peer(c, 1);
  say_pings(c, 0, 2000);
  assert_int_equal(run(c), TURN_SHARE_COMMANDS);
  assert_true(conn->unrun);
  assert_false(c->peer[0].reads);
  say_pings(c, 1, 1);
  assert_int_equal(run(c), TURN_SHARE_COMMANDS + 1); /* the other one has its share in this turn */
  end_turn(c);
  assert_int_equal(pongs(c, 0), TURN_SHARE_COMMANDS);
  assert_int_equal(pongs(c, 1), 1);
  for (unsigned turn = 0; turn < 2; turn++) {
    assert_true(is_work_left(c));
    end_turn(c);
    assert_int_equal(pongs(c, 0), TURN_SHARE_COMMANDS);
  }
  end_turn(c);
  assert_int_equal(pongs(c, 0), 2000 - 3 * TURN_SHARE_COMMANDS);
  assert_false(is_work_left(c));
  assert_true(c->peer[0].reads);
}

static void a_share_is_a_millisecond(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  number_clock.step_ns = TURN_SHARE_NS / 4; /* a look or two for each 16 commands */
  say_pings(c, 0, 500);
  assert_in_range(run(c), 1, 3 * BATCH_COMMANDS);
  number_clock.step_ns = 0;
  end_turns(c);
  assert_int_equal(pongs(c, 0), 500);
}

static void a_share_is_a_mebibyte_of_replies(void **state) {
  struct connections *c = *state;
  char *text = malloc(300100);
  connect_peer(c, 0);
  int len = snprintf(text, 100, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$300000\r\n");
  memset(text + len, 'x', 300000);
  memcpy(text + len + 300000, "\r\n", 2);
  peer_say(&c->peer[0], text, (size_t)len + 300002);
  end_turns(c);
  assert_string_equal(heard(c, 0), "+OK\r\n");
  uint64_t before = run(c);
  len = 0;
  for (unsigned i = 0; i < 10; i++)
    len += (int)write_command(text + len, 300100 - (size_t)len, "GET k");
  peer_say(&c->peer[0], text, (size_t)len);
  assert_int_equal(run(c) - before, 4); /* the fourth goes over it */
  end_turns(c);
  assert_int_equal(strlen(heard(c, 0)), 10 * (300000 + 11));
  free(text);
}

/* When reading has lasted long, a short command does not wait for the shares of all in front. */
static void a_late_share_is_one_batch_of_short_commands(void **state) {
  struct connections *c = *state;
  for (unsigned i = 0; i < 3; i++) connect_peer(c, i);
  say_pings(c, 0, 1);
  assert_int_equal(run(c), 1); /* the turn has begun */
  number_clock.now_ns += TURN_SHARE_PART_NS;
  uint64_t before = run(c);
  say_pings(c, 1, 100);
  assert_int_equal(run(c) - before, BATCH_COMMANDS);
  before = run(c);
  say(c, 2, "KEYS *");
  assert_int_equal(run(c), before); /* is not short */
  assert_true(conn_number(c, 2)->unrun);
  end_turn(c); /* they were not runnable before it */
  assert_string_equal(heard(c, 2), "");
  end_turn(c); /* a part of its own */
  assert_string_equal(heard(c, 2), "*0\r\n");
  end_turns(c);
  assert_int_equal(pongs(c, 1), 100);
}

/* ---- budgets of the parts ---- */

static void connections_are_resumed_in_turns(void **state) {
  struct connections *c = *state;
  for (unsigned i = 0; i < 10; i++) {
    connect_peer(c, i);
    say_pings(c, i, 1000);
  }
  end_turn(c);
  for (unsigned i = 0; i < 10; i++) assert_int_equal(pongs(c, i), TURN_SHARE_COMMANDS);
  number_clock.step_ns = 500000; /* two looks a share, or three */
  unsigned resumed = 0;
  end_turn(c);
  number_clock.step_ns = 0;
  for (unsigned i = 0; i < 10; i++) resumed += pongs(c, i) > 0;
  assert_in_range(resumed, 1, 6);
  assert_true(is_work_left(c));
  end_turns(c);
  for (unsigned i = 0; i < 10; i++) assert_false(conn_number(c, i)->unrun);
}

/* A connection that is written to while it is to be resumed is told in order. */
static void what_is_told_to_a_runnable_one_is_in_order(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  connect_peer(c, 1);
  assert_non_null(strstr(ask(c, 0, "HELLO 3"), "proto"));
  assert_non_null(strstr(ask(c, 0, "SUBSCRIBE news"), "subscribe"));
  say_pings(c, 0, TURN_SHARE_COMMANDS + 1);
  end_turn(c);
  assert_int_equal(pongs(c, 0), TURN_SHARE_COMMANDS);
  assert_string_equal(ask(c, 1, "PUBLISH news hi"), ":1\r\n");
  assert_non_null(strstr(heard(c, 0), "hi"));
  assert_false(is_work_left(c));
}

static void what_cannot_be_sent_in_time_is_sent_in_the_next_turn(void **state) {
  struct connections *c = *state;
  for (unsigned i = 0; i < PEERS; i++) {
    connect_peer(c, i);
    say_pings(c, i, 1);
  }
  number_clock.step_ns = 4000000; /* the budget of sending is over at the second look */
  end_turn(c);
  number_clock.step_ns = 0;
  unsigned told = 0;
  for (unsigned i = 0; i < PEERS; i++) told += (unsigned)pongs(c, i);
  assert_in_range(told, 8, PEERS - 8);
  assert_true(is_work_left(c));
  end_turns(c);
  for (unsigned i = 0; i < PEERS; i++) told += (unsigned)pongs(c, i);
  assert_int_equal(told, PEERS);
}

static void waiters_have_a_budget_and_keep_their_order(void **state) {
  struct connections *c = *state;
  for (unsigned i = 0; i < 30; i++) connect_peer(c, i);
  const char *claimed = strchr(ask(c, 0, "CLAIM k"), ':');
  char line[64];
  snprintf(line, sizeof line, "STORE k %.*s body", (int)strcspn(claimed + 1, "\r"), claimed + 1);
  for (unsigned i = 1; i < 30; i++) assert_string_equal(ask(c, i, "CLAIM k WAIT 60000"), "");
  say(c, 0, line);
  number_clock.step_ns = TURN_WAITERS_NS / 8; /* a look for each */
  end_turn(c);
  number_clock.step_ns = 0;
  unsigned answered = 0, last = 0;
  for (unsigned i = 1; i < 30; i++) {
    if (conn_number(c, i)->session.waiting) continue;
    answered++;
    last = i;
  }
  assert_in_range(answered, 1, 10);
  assert_int_equal(last, answered); /* the first ones */
  assert_true(is_work_left(c));
  end_turns(c);
  for (unsigned i = 1; i < 30; i++) assert_non_null(strstr(heard(c, i), "DONE"));
}

/* ---- what is due ---- */

static void a_deadline_is_met_at_the_end_of_a_turn(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  connect_peer(c, 1);
  assert_non_null(strstr(ask(c, 0, "CLAIM k LEASE 5000"), "CLAIMED"));
  assert_string_equal(ask(c, 1, "CLAIM k WAIT 60000"), "");
  assert_false(is_work_left(c));
  number_clock_pass_ms(4998);
  end_turns(c);
  assert_string_equal(heard(c, 1), "");
  number_clock_pass_ms(4);
  end_turns(c);
  assert_non_null(strstr(heard(c, 1), "CLAIMED"));
}

/* SHA-256 of "right". */
#define RIGHT "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9"

static void a_wrong_password_is_told_a_second_later(void **state) {
  struct connections *c = *state;
  assert_true(acl_rules_set_passwords(c->instance.users->initial, RIGHT));
  struct conn *conn = connect_peer(c, 0);
  assert_string_equal(ask(c, 0, "AUTH wrong"), "");
  assert_int_equal(conn_blocked_by(conn), CONN_BLOCKED_BY_DELAYED_ERROR);
  pass_ms(c, 900);
  assert_string_equal(heard(c, 0), "");
  pass_ms(c, 100);
  assert_memory_equal(heard(c, 0), "-WRONGPASS", 10);
  assert_string_equal(ask(c, 0, "AUTH wrong"), "");
  turn_end(&c->group, true); /* a server that leaves does not wait */
  assert_memory_equal(heard(c, 0), "-WRONGPASS", 10);
}

/* ---- what waits for a commit ---- */

/* A PING in the place of a command that appends. */
static void say_appending(struct connections *c, unsigned who) {
  say_pings(c, who, 1);
  c->group.worker.appends++;
}

static void what_was_appended_waits_for_one_more_look(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  say_appending(c, 0);
  end_turn(c); /* syncs are not awaited */
  assert_int_equal(pongs(c, 0), 1);
  c->group.worker.awaits_sync = true;
  say_appending(c, 0);
  end_turn(c);
  assert_int_equal(pongs(c, 0), 0);
  assert_true(is_work_left(c));
  end_turn(c); /* it brought nothing */
  assert_int_equal(pongs(c, 0), 1);
  assert_false(is_work_left(c));
}

static void a_look_that_brings_more_is_followed_by_another_for_a_while(void **state) {
  struct connections *c = *state;
  c->group.worker.awaits_sync = true;
  for (unsigned who = 0; who < 4; who++) connect_peer(c, who);
  for (unsigned who = 0; who < 3; who++) {
    say_appending(c, who);
    end_turn(c);
    assert_int_equal(pongs(c, 0), 0);
  }
  number_clock.now_ns += TURN_AWAITS_NS;
  say_appending(c, 3);
  end_turn(c);
  for (unsigned who = 0; who < 4; who++) assert_int_equal(pongs(c, who), 1);
  assert_false(is_work_left(c));
}

static void what_did_not_arrive_is_not_waited_for(void **state) {
  struct connections *c = *state;
  c->group.worker.awaits_sync = true;
  connect_peer(c, 0);
  say_appending(c, 0);
  end_turn(c);
  c->group.looked_appends = ++c->group.worker.appends; /* the end of that turn appended */
  say_pings(c, 0, 1);                                  /* and this one does not append */
  end_turn(c);
  assert_int_equal(pongs(c, 0), 2);
}

static void who_leaves_does_not_look_again(void **state) {
  struct connections *c = *state;
  c->group.worker.awaits_sync = true;
  connect_peer(c, 0);
  say_appending(c, 0);
  turn_end(&c->group, true);
  assert_int_equal(pongs(c, 0), 1);
}

/* What was appended by a client that has gone is committed all the same. */
static void a_loop_does_not_sleep_before_the_commit(void **state) {
  struct connections *c = *state;
  c->group.worker.awaits_sync = true;
  connect_peer(c, 0);
  say_appending(c, 0);
  end_turn(c);
  peer_end(&c->peer[0], -1);
  assert_true(is_work_left(c));
  end_turns(c);
  assert_int_equal(c->group.looked_appends, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_share_is_512_commands),
      TEST(a_share_is_a_millisecond),
      TEST(a_share_is_a_mebibyte_of_replies),
      TEST(a_late_share_is_one_batch_of_short_commands),
      TEST(connections_are_resumed_in_turns),
      TEST(what_is_told_to_a_runnable_one_is_in_order),
      TEST(what_cannot_be_sent_in_time_is_sent_in_the_next_turn),
      TEST(waiters_have_a_budget_and_keep_their_order),
      TEST(a_deadline_is_met_at_the_end_of_a_turn),
      TEST(a_wrong_password_is_told_a_second_later),
      TEST(what_was_appended_waits_for_one_more_look),
      TEST(a_look_that_brings_more_is_followed_by_another_for_a_while),
      TEST(what_did_not_arrive_is_not_waited_for),
      TEST(who_leaves_does_not_look_again),
      TEST(a_loop_does_not_sleep_before_the_commit),
  };
  return cmocka_run_group_tests_name("turn", tests, NULL, NULL);
}
