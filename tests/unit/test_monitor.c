/* test_monitor.c - what those who watch are shown, and what nobody is. */
#include "server/commands/monitor.h"
#include "tests/unit/peers.h"

#define LINE(who, words) "+1700000000.123000 [0 127.0.0.1:500" who "] " words "\r\n"

static void commands_are_shown_with_time_and_address(void **state) {
  struct peers *p = *state;
  assert_string_equal(ask(p, 0, "MONITOR"), "+OK\r\n");
  ask(p, 1, "claim k WAIT 5");
  ask(p, 1, "ping");
  assert_string_equal(heard(p, 0),
                      LINE("2", "\"claim\" \"k\" \"WAIT\" \"5\"") LINE("2", "\"ping\""));
}

static void bytes_are_escaped(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MONITOR");
  say_spans(p, 1,
            (struct span[]){SPAN_LITERAL("ECHO"), SPAN_LITERAL("a\r\n\t\0\a\b\"\\\x7f\xff~ ")}, 2);
  assert_string_equal(heard(p, 0),
                      LINE("2", "\"ECHO\" \"a\\r\\n\\t\\x00\\a\\b\\\"\\\\\\x7f\\xff~ \""));
}

static void passwords_are_not_shown(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MONITOR");
  ask(p, 1, "AUTH secret");
  ask(p, 1, "auth user secret");
  ask(p, 1, "HELLO 3 auth default secret SETNAME n");
  ask(p, 1, "HELLO 3 SETNAME n AUTH AUTH secret");
  assert_string_equal(
      heard(p, 0),
      LINE("2", "\"AUTH\" \"(redacted)\"") LINE("2", "\"auth\" \"(redacted)\" \"(redacted)\"") LINE(
          "2", "\"HELLO\" \"3\" \"auth\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"n\"")
          LINE("2", "\"HELLO\" \"3\" \"SETNAME\" \"n\" \"AUTH\" \"(redacted)\" \"(redacted)\""));
}

static void admin_commands_and_refused_ones_are_not_shown(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MONITOR");
  ask(p, 1, "CONFIG GET port");
  ask(p, 1, "MONITOR");
  ask(p, 2, "NOPE");
  ask(p, 2, "CLAIM");
  assert_string_equal(heard(p, 0), "");
}

static void a_transaction_is_shown_when_it_runs(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MONITOR");
  ask(p, 1, "MULTI");
  ask(p, 1, "PING");
  assert_string_equal(heard(p, 0), LINE("2", "\"MULTI\""));
  ask(p, 1, "EXEC");
  assert_string_equal(heard(p, 0), LINE("2", "\"PING\"") LINE("2", "\"EXEC\""));
}

static void monitor_is_refused_inside_exec(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MULTI");
  ask(p, 0, "MONITOR");
  assert_string_equal(ask(p, 0, "EXEC"),
                      "*1\r\n-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n");
  assert_false(p->session[0].monitors);
}

static void watching_ends_with_reset_or_the_connection(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MONITOR");
  assert_string_equal(ask(p, 0, "MONITOR"), "+OK\r\n");
  ask(p, 3, "MONITOR");
  assert_int_equal(p->worker.monitor_count, 2);
  assert_string_equal(ask(p, 0, "RESET"), "+RESET\r\n");
  assert_int_equal(p->worker.monitor_count, 1);
  ask(p, 1, "RESET");
  assert_int_equal(p->worker.monitor_count, 1);
  heard(p, 3);
  ask(p, 1, "PING");
  assert_string_equal(heard(p, 0), "");
  assert_string_equal(heard(p, 3), LINE("2", "\"PING\""));
  setup_session_deinit(&p->session[3], &p->worker);
  setup_session_init(&p->session[3], &p->worker);
  assert_int_equal(p->worker.monitor_count, 0);
  ask(p, 1, "PING");
  assert_string_equal(heard(p, 3), "");
}

static void a_long_line_is_cut(void **state) {
  struct peers *p = *state;
  ask(p, 0, "MONITOR");
  char big[MONITOR_MAX_LINE];
  memset(big, '\n', sizeof big);
  say_spans(p, 1, (struct span[]){SPAN_LITERAL("ECHO"), {big, sizeof big}, SPAN_LITERAL("never")},
            2);
  struct span got = heard_bytes(p, 0);
  assert_true(got.len <= MONITOR_MAX_LINE && got.len > MONITOR_MAX_LINE - 16);
  assert_memory_equal(got.data + got.len - 7, "\\n...\r\n", 7);
  assert_null(strstr(got.data, "never"));
}

static void a_watcher_that_does_not_read_is_closed(void **state) {
  struct peers *p = *state;
  p->options.client_output_limit = 1000;
  ask(p, 0, "MONITOR");
  for (int i = 0; i < 30; i++) ask(p, 1, "PING");
  assert_true(p->session[0].close_now);
  assert_true(resp_output_size(p->session[0].out) <= 1000);
  assert_int_equal(p->worker.counters.closed_for_unread_replies, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(commands_are_shown_with_time_and_address),
      TEST(bytes_are_escaped),
      TEST(passwords_are_not_shown),
      TEST(admin_commands_and_refused_ones_are_not_shown),
      TEST(a_transaction_is_shown_when_it_runs),
      TEST(monitor_is_refused_inside_exec),
      TEST(watching_ends_with_reset_or_the_connection),
      TEST(a_long_line_is_cut),
      TEST(a_watcher_that_does_not_read_is_closed),
  };
  return cmocka_run_group_tests_name("monitor", tests, NULL, NULL);
}
