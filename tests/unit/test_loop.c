/* test_loop.c - loops with connections on streams of memory: sleeping and waking, what is handed
 * over, the housekeeping, the drain. No socket is opened, and none sleeps: a turn is asked for. */
#include "tests/unit/connections.h"

#include "server/net/drain.h"

#define LOOPS 2

struct world {
  struct options options;
  struct log log; /* writes nothing */
  struct instance instance;
  struct loop_set loops;
  struct listener listener;
  struct drain drain;
  struct peer peer[PEERS];
  unsigned turns, crons;
  bool keeps_busy;
};

/* ---- the duties of rooms above ---- */

static void on_end_turn(struct loop *loop) {
  struct world *w = loop->context;
  w->turns++;
  drain_end_turn(&w->drain, loop);
}

static bool on_left_work(struct loop *loop) {
  struct world *w = loop->context;
  return w->keeps_busy || drain_left_work(&w->drain, loop);
}

static void on_cron_tick(struct loop *loop) {
  struct world *w = loop->context;
  w->crons++;
  drain_cron(&w->drain, loop);
}

static const struct loop_duties DUTIES = {
    .end_turn = on_end_turn, .left_work = on_left_work, .cron = on_cron_tick};

/* ---- the world ---- */

static void wake(struct instance *instance, uint64_t loops) {
  struct world *w = LIST_ENTRY(instance, struct world, instance);
  loop_set_wake(&w->loops, loops);
}

/* Time is the test's. */
static void see_time(struct worker *worker) { (void)worker; }

static int setup_loops(void **state, unsigned count) {
  struct world *w = calloc(1, sizeof *w);
  assert_non_null(w);
  options_init(&w->options);
  w->log.fd = -1;
  struct engine_options engine = {
      .first_token = 1, .retention_ms = 60000, .waiters_per_key = 100, .waiters_total = 100};
  int64_t now_ms = (int64_t)(number_clock.now_ns / 1000000);
  struct keyspace *keyspace = keyspace_create(&engine, count, now_ms);
  assert_true(setup_instance_init(&w->instance, keyspace, &w->options, &w->log, now_ms));
  w->instance.describe = conn_describe;
  w->instance.wake = wake;
  w->instance.see_time = see_time;
  assert_true(loop_set_init(&w->loops));
  const struct loop_setup setup = {
      .instance = &w->instance, .descriptors = 64, .duties = &DUTIES, .context = w};
  for (unsigned i = 0; i < count; i++) assert_int_equal(loop_set_add(&w->loops, &setup), 0);
  listener_init(&w->listener, &w->instance, &w->loops);
  drain_init(&w->drain, &w->instance, &w->loops, &w->listener);
  *state = w;
  return 0;
}

static int setup(void **state) { return setup_loops(state, 1); }
static int setup_several(void **state) { return setup_loops(state, LOOPS); }

static struct loop *loop_number(struct world *w, unsigned number) { return w->loops.loops[number]; }

static void finish(struct world *w) {
  for (unsigned i = 0; i < PEERS; i++) peer_finish(&w->peer[i]);
}

static int teardown(void **state) {
  struct world *w = *state;
  for (unsigned i = 0; i < w->loops.count; i++) loop_close_connections(loop_number(w, i));
  finish(w);
  assert_int_equal(w->loops.connections, 0);
  loop_set_deinit(&w->loops);
  setup_instance_deinit(&w->instance);
  keyspace_destroy(w->instance.keyspace);
  options_deinit(&w->options);
  for (unsigned i = 0; i < PEERS; i++) free(w->peer[i].heard);
  free(w);
  return 0;
}

/* What one poll that waits for nothing brings. */
static void turn(struct world *w, unsigned number) {
  uv_run(&loop_number(w, number)->uv, UV_RUN_NOWAIT);
  finish(w);
}

static bool is_busy(struct world *w, unsigned number) {
  return uv_is_active((const uv_handle_t *)&loop_number(w, number)->busy) != 0;
}

static struct conn *join(struct world *w, unsigned who, unsigned number) {
  struct conn_group *group = &loop_number(w, number)->group;
  struct conn *conn = conn_create(group, sizeof(struct stream_memory));
  assert_non_null(conn);
  peer_connect(&w->peer[who], &conn->stream, &ON_MEMORY);
  conn_group_count(group);
  gate_enter(group->gate);
  conn_begin(conn, HANDED_TCP);
  return conn;
}

static void tell(struct world *w, unsigned who, const char *line) {
  char text[4096];
  peer_say(&w->peer[who], text, write_command(text, sizeof text, line));
}

static bool has_heard(struct world *w, unsigned who, const char *text) {
  const char *found = w->peer[who].heard != NULL ? strstr(w->peer[who].heard, text) : NULL;
  w->peer[who].heard_len = 0;
  if (w->peer[who].heard != NULL) w->peer[who].heard[0] = '\0';
  return found != NULL;
}

static bool is_gone(const struct world *w, unsigned who) { return w->peer[who].stream == NULL; }

/* So much passes while nothing happens: the loops turn, for their housekeeping. */
static void rest_ms(struct world *w, unsigned ms) {
  for (unsigned passed = 0; passed < ms; passed += CRON_MS) {
    number_clock_pass_ms(CRON_MS);
    for (unsigned number = 0; number < w->loops.count; number++) turn(w, number);
  }
}

/* ---- sleeping ---- */

static void it_sleeps_when_nothing_is_left(void **state) {
  struct world *w = *state;
  join(w, 0, 0);
  tell(w, 0, "PING");
  turn(w, 0);
  assert_true(has_heard(w, 0, "+PONG"));
  turn(w, 0);
  assert_false(is_busy(w, 0));
  assert_int_equal(loop_number(w, 0)->due_ms, INT64_MAX);
}

static void it_does_not_sleep_while_commands_are_left(void **state) {
  struct world *w = *state;
  struct conn *conn = join(w, 0, 0);
  char text[14 * 1000 + 1];
  for (unsigned i = 0; i < 1000; i++) memcpy(text + 14 * i, "*1\r\n$4\r\nPING\r\n", 15);
  peer_say(&w->peer[0], text, sizeof text - 1);
  turn(w, 0);
  assert_true(conn->unrun);
  assert_int_equal(w->peer[0].heard_len, 7 * TURN_SHARE_COMMANDS);
  turn(w, 0);
  assert_true(is_busy(w, 0));
  assert_int_equal(w->peer[0].heard_len, 7 * 1000);
  turn(w, 0);
  assert_false(is_busy(w, 0));
}

static void it_wakes_for_the_next_deadline(void **state) {
  struct world *w = *state;
  struct loop *loop = loop_number(w, 0);
  join(w, 0, 0);
  join(w, 1, 0);
  tell(w, 0, "CLAIM k LEASE 5000");
  tell(w, 1, "CLAIM k WAIT 60000");
  turn(w, 0);
  turn(w, 0);
  assert_false(is_busy(w, 0));
  assert_in_range(loop->due_ms - loop->group.worker.now_ms, 1, 5001);
  rest_ms(w, 4900);
  assert_false(has_heard(w, 1, "CLAIMED"));
  rest_ms(w, 200);
  turn(w, 0);
  assert_true(has_heard(w, 1, "CLAIMED"));
}

static bool sleeps_until_due(struct world *w) {
  struct loop *loop = loop_number(w, 0);
  return uv_is_active((const uv_handle_t *)&loop->due) != 0 &&
         uv_timer_get_due_in(&loop->due) <=
             (uint64_t)(loop->due_ms - loop->group.worker.now_ms) + 1;
}

/* The timer was set for a time that the engines' clock had not reached when it fired. */
static void a_deadline_comes_later_by_what_a_stall_cut(void **state) {
  struct world *w = *state;
  join(w, 0, 0);
  join(w, 1, 0);
  tell(w, 0, "CLAIM k LEASE 1000");
  tell(w, 1, "CLAIM k WAIT 60000");
  turn(w, 0);
  number_clock_pass_ms(10000);
  turn(w, 0);
  turn(w, 0);
  assert_false(is_busy(w, 0));
  assert_true(sleeps_until_due(w));
  rest_ms(w, 1000 - SERVED_CLOCK_MOST_MS - 100);
  assert_false(has_heard(w, 1, "CLAIMED"));
  rest_ms(w, 200);
  turn(w, 0);
  assert_true(has_heard(w, 1, "CLAIMED"));
}

static void a_loop_does_not_spin_while_the_clock_stands(void **state) {
  struct world *w = *state;
  join(w, 0, 0);
  join(w, 1, 0);
  tell(w, 0, "CLAIM k LEASE 100");
  tell(w, 1, "CLIENT PAUSE 60000 WRITE");
  turn(w, 0);
  rest_ms(w, 59000);
  assert_false(is_busy(w, 0));
  assert_false(uv_is_active((const uv_handle_t *)&loop_number(w, 0)->due));
  assert_true(has_heard(w, 1, "+OK"));
  tell(w, 1, "FETCH k");
  turn(w, 0);
  assert_true(has_heard(w, 1, "BUSY"));
  rest_ms(w, 2000);
  tell(w, 1, "FETCH k");
  turn(w, 0);
  assert_false(has_heard(w, 1, "BUSY"));
}

static void rooms_above_have_their_turn(void **state) {
  struct world *w = *state;
  turn(w, 0);
  unsigned turns = w->turns;
  turn(w, 0);
  assert_true(w->turns > turns);
  w->keeps_busy = true;
  turn(w, 0);
  assert_true(is_busy(w, 0));
  w->keeps_busy = false;
  turn(w, 0);
  assert_false(is_busy(w, 0));
}

static void the_housekeeping_comes_ten_times_a_second(void **state) {
  struct world *w = *state;
  join(w, 0, 0);
  peer_say(&w->peer[0], "*1\r\n$4", 6);
  for (unsigned i = 0; i < 99; i++) {
    turn(w, 0);
    number_clock_pass_ms(CRON_MS);
  }
  assert_in_range(w->crons, 97, 99);
  assert_false(has_heard(w, 0, "did not arrive"));
  for (unsigned i = 0; i < 3; i++) {
    number_clock_pass_ms(CRON_MS);
    turn(w, 0);
  }
  turn(w, 0);
  assert_true(has_heard(w, 0, "did not arrive"));
}

/* ---- several loops ---- */

static int64_t engine_ms(struct world *w, unsigned number) {
  return loop_number(w, number)->group.worker.now_ms;
}

static void one_loop_that_is_stuck_stops_the_clock_of_all(void **state) {
  struct world *w = *state;
  turn(w, 0);
  turn(w, 1);
  int64_t before_ms = engine_ms(w, 0);
  for (unsigned ms = 0; ms < 5000; ms += CRON_MS) {
    number_clock_pass_ms(CRON_MS);
    turn(w, 0);
  }
  assert_in_range(engine_ms(w, 0) - before_ms, 1, SERVED_CLOCK_MOST_MS);
  rest_ms(w, 2000);
  assert_in_range(engine_ms(w, 0) - before_ms, 1900, 2000 + SERVED_CLOCK_MOST_MS);
  assert_int_equal(engine_ms(w, 0), engine_ms(w, 1));
}

static void a_loop_that_sleeps_is_woken_once(void **state) {
  struct world *w = *state;
  struct loop *second = loop_number(w, 1);
  turn(w, 1);
  second->gate.asleep = true; /* in its poll */
  loop_set_wake(&w->loops, 2);
  assert_false(second->gate.asleep);
  unsigned turns = w->turns;
  turn(w, 1);
  assert_int_equal(w->turns, turns + 1);
}

static void a_waiter_of_another_loop_is_answered_by_it(void **state) {
  struct world *w = *state;
  join(w, 0, 0);
  join(w, 1, 1);
  tell(w, 0, "CLAIM k BIND");
  turn(w, 0);
  assert_true(has_heard(w, 0, "CLAIMED"));
  tell(w, 1, "CLAIM k WAIT 60000");
  turn(w, 1);
  turn(w, 1);
  assert_false(has_heard(w, 1, "CLAIMED"));
  peer_end(&w->peer[0], 0); /* the claim ends with its connection */
  turn(w, 0);
  assert_true(is_gone(w, 0));
  turn(w, 1);
  assert_true(has_heard(w, 1, "CLAIMED"));
}

static void connections_go_to_the_loop_with_fewest(void **state) {
  struct world *w = *state;
  assert_ptr_equal(loop_set_fewest(&w->loops), loop_number(w, 0));
  join(w, 0, 0);
  assert_ptr_equal(loop_set_fewest(&w->loops), loop_number(w, 1));
  join(w, 1, 1);
  join(w, 2, 1);
  assert_ptr_equal(loop_set_fewest(&w->loops), loop_number(w, 0));
  assert_int_equal(w->loops.connections, 3);
}

/* A socket that is none cannot be watched: it is refused, and forgotten. */
static void what_is_handed_over_is_bounded_and_taken_at_the_end_of_a_turn(void **state) {
  struct world *w = *state;
  struct loop *second = loop_number(w, 1);
  const struct handed_socket none = {.fd = -1};
  for (unsigned i = 0; i < HANDED_MAX; i++) {
    conn_group_count(&second->group);
    assert_true(loop_hand(second, none));
  }
  assert_false(loop_hand(second, none));
  assert_int_equal(w->loops.connections, HANDED_MAX);
  turn(w, 1);
  assert_int_equal(second->group.worker.counters.connections_refused, HANDED_MAX);
  assert_int_equal(w->loops.connections, 0);
  assert_int_equal(second->handed.count, 0);
}

/* ---- the drain ---- */

static void turns_of_all(struct world *w, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    for (unsigned number = 0; number < w->loops.count; number++) turn(w, number);
  }
}

/* Peer 0 owns k, with the token 1; 1 wants it; 2 waits for its response. */
static void join_a_claim(struct world *w) {
  for (unsigned who = 0; who < 3; who++) join(w, who, 0);
  tell(w, 0, "CLAIM k");
  turn(w, 0);
  assert_true(has_heard(w, 0, "CLAIMED"));
  tell(w, 1, "CLAIM k WAIT 60000");
  tell(w, 2, "WAIT k 60000");
  turn(w, 0);
}

static void a_drain_lets_owners_finish(void **state) {
  struct world *w = *state;
  join_a_claim(w);
  drain_begin(&w->drain, "test");
  rest_ms(w, 5000);
  assert_true(has_heard(w, 1, "BUSY"));
  assert_false(has_heard(w, 2, "*"));
  assert_false(w->peer[0].shut || w->peer[1].shut || w->peer[2].shut);
  assert_false(is_busy(w, 0));
  join(w, 3, 0); /* still */
  tell(w, 3, "CLAIM other");
  turn(w, 0);
  assert_true(has_heard(w, 3, "-DRAINING"));
  tell(w, 3, "CLAIM k WAIT 60000");
  turn(w, 0);
  assert_true(has_heard(w, 3, "BUSY"));
  tell(w, 0, "STORE k 1 body");
  turns_of_all(w, 2);
  assert_true(has_heard(w, 0, ":1"));
  assert_true(has_heard(w, 2, "DONE"));
  rest_ms(w, 2 * CRON_MS);
  turns_of_all(w, 10);
  for (unsigned who = 0; who <= 3; who++) assert_true(w->peer[who].shut);
}

static void owners_have_until_the_deadline(void **state) {
  struct world *w = *state;
  w->options.drain_timeout_ms = 3000;
  join_a_claim(w);
  drain_begin(&w->drain, "test");
  rest_ms(w, 2800);
  assert_false(w->peer[0].shut || has_heard(w, 2, "*"));
  rest_ms(w, 300);
  turns_of_all(w, 10);
  assert_true(has_heard(w, 2, "BUSY"));
  assert_true(w->peer[0].shut && w->peer[2].shut);
  assert_false(is_gone(w, 0));
  rest_ms(w, DRAIN_LAST_MS + CRON_MS);
  assert_true(is_gone(w, 0) && is_gone(w, 2));
}

static void who_is_told_to_leave_waits_for_no_owner(void **state) {
  struct world *w = *state;
  join_a_claim(w);
  tell(w, 0, "SHUTDOWN");
  turns_of_all(w, 10);
  assert_false(w->peer[0].shut);
  tell(w, 0, "SHUTDOWN ABORT");
  turn(w, 0);
  assert_true(has_heard(w, 0, "-ERR a drain that has begun"));
  tell(w, 0, "SHUTDOWN NOW");
  turns_of_all(w, 10);
  assert_true(has_heard(w, 2, "BUSY"));
  assert_true(w->peer[0].shut && w->peer[2].shut);
}

static void no_pause_begins_during_a_drain(void **state) {
  struct world *w = *state;
  join_a_claim(w);
  drain_begin(&w->drain, "test");
  tell(w, 1, "CLIENT PAUSE 600000");
  turn(w, 0);
  tell(w, 0, "RELEASE k 1");
  turns_of_all(w, 2);
  assert_true(has_heard(w, 0, ":1"));
}

static void a_drain_answers_and_closes(void **state) {
  struct world *w = *state;
  join(w, 0, 0);
  join(w, 1, 0);
  turn(w, 0);
  tell(w, 0, "PING"); /* was sent before it */
  drain_begin(&w->drain, "test");
  turns_of_all(w, 10);
  assert_true(has_heard(w, 0, "+PONG"));
  assert_true(w->peer[0].shut && w->peer[1].shut);
  assert_false(is_busy(w, 0)); /* it waits for the peers */
  peer_end(&w->peer[0], 0);
  peer_end(&w->peer[1], 0);
  turns_of_all(w, 2);
  assert_true(is_gone(w, 0) && is_gone(w, 1));
}

static void all_that_was_sent_runs_however_much(void **state) {
  struct world *w = *state;
  char *text = malloc(14 * 4000 + 1);
  for (unsigned i = 0; i < 4000; i++) memcpy(text + 14 * i, "*1\r\n$4\r\nPING\r\n", 15);
  join(w, 0, 0);
  peer_say(&w->peer[0], text, 14 * 4000);
  drain_begin(&w->drain, "test");
  turns_of_all(w, 15);
  assert_int_equal(w->peer[0].heard_len, 7 * 4000);
  assert_true(w->peer[0].shut);
  free(text);
}

static void what_client_pause_held_back_runs_before_the_end(void **state) {
  struct world *w = *state;
  join(w, 0, 0);
  join(w, 1, 0);
  tell(w, 1, "CLIENT PAUSE 60000 ALL");
  turn(w, 0);
  tell(w, 0, "ECHO held-back");
  turn(w, 0);
  assert_false(has_heard(w, 0, "held-back"));
  drain_begin(&w->drain, "test");
  turns_of_all(w, 10);
  assert_true(has_heard(w, 0, "held-back"));
  assert_true(w->peer[0].shut);
}

static void a_peer_that_goes_on_sending_is_cut_off(void **state) {
  struct world *w = *state;
  join(w, 0, 0);
  w->peer[0].arrived = 1000;
  drain_begin(&w->drain, "test");
  turns_of_all(w, 100);
  assert_false(w->peer[0].shut);
  turns_of_all(w, 60);
  assert_true(w->peer[0].shut);
}

static void a_peer_that_takes_nothing_is_closed_at_the_deadline(void **state) {
  struct world *w = *state;
  w->options.drain_timeout_ms = 3000;
  join(w, 0, 0);
  w->peer[0].room = 0;
  tell(w, 0, "PING");
  drain_begin(&w->drain, "test");
  turns_of_all(w, 10);
  number_clock_pass_ms(2900);
  turns_of_all(w, 2);
  assert_false(is_gone(w, 0));
  number_clock_pass_ms(200);
  turns_of_all(w, 2);
  assert_true(is_gone(w, 0));
}

static void a_second_call_does_not_wait(void **state) {
  struct world *w = *state;
  join(w, 0, 0);
  join(w, 1, 1);
  w->peer[0].room = w->peer[1].room = 0;
  tell(w, 0, "PING");
  tell(w, 1, "PING");
  drain_begin(&w->drain, "test");
  turns_of_all(w, 10);
  assert_false(is_gone(w, 0) || is_gone(w, 1));
  drain_begin(&w->drain, "test");
  turns_of_all(w, 2);
  assert_true(is_gone(w, 0) && is_gone(w, 1));
}

static void shutdown_is_a_drain(void **state) {
  struct world *w = *state;
  join(w, 0, 0);
  tell(w, 0, "SHUTDOWN");
  turns_of_all(w, 10);
  assert_true(drain_has_begun(&w->drain));
  assert_true(is_gone(w, 0) || w->peer[0].shut);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_SEVERAL(name) cmocka_unit_test_setup_teardown(name, setup_several, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(it_sleeps_when_nothing_is_left),
      TEST(it_does_not_sleep_while_commands_are_left),
      TEST(it_wakes_for_the_next_deadline),
      TEST(a_deadline_comes_later_by_what_a_stall_cut),
      TEST(a_loop_does_not_spin_while_the_clock_stands),
      TEST(rooms_above_have_their_turn),
      TEST(the_housekeeping_comes_ten_times_a_second),
      TEST_SEVERAL(one_loop_that_is_stuck_stops_the_clock_of_all),
      TEST_SEVERAL(a_loop_that_sleeps_is_woken_once),
      TEST_SEVERAL(a_waiter_of_another_loop_is_answered_by_it),
      TEST_SEVERAL(connections_go_to_the_loop_with_fewest),
      TEST_SEVERAL(what_is_handed_over_is_bounded_and_taken_at_the_end_of_a_turn),
      TEST(a_drain_lets_owners_finish),
      TEST(owners_have_until_the_deadline),
      TEST(who_is_told_to_leave_waits_for_no_owner),
      TEST(no_pause_begins_during_a_drain),
      TEST(a_drain_answers_and_closes),
      TEST(all_that_was_sent_runs_however_much),
      TEST(what_client_pause_held_back_runs_before_the_end),
      TEST(a_peer_that_goes_on_sending_is_cut_off),
      TEST(a_peer_that_takes_nothing_is_closed_at_the_deadline),
      TEST_SEVERAL(a_second_call_does_not_wait),
      TEST(shutdown_is_a_drain),
  };
  return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
