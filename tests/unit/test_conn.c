/* test_conn.c - a connection on a stream of memory: what arrives and leaves in any pieces, what
 * blocks it, how it ends. */
#include "tests/unit/connections.h"

static const char *const PHASES[] = {"OPEN", "CLOSING", "LINGERING", "CLOSED"};

#define assert_phase(conn, wanted) assert_string_equal(PHASES[(conn)->phase], wanted)

/* ---- bytes in any pieces ---- */

static const char DIALOGUE[] =
    "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nfirst\r\n"
    "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
    "PING inline\r\n"
    "*2\r\n$4\r\necho\r\n$0\r\n\r\n"
    "*2\r\n$4\r\nECHO\r\n$8\r\nof\r\nfour\r\n"
    "*3\r\n$3\r\nDEL\r\n$1\r\nk\r\n$1\r\nm\r\n"
    "*2\r\n$5\r\nFETCH\r\n$1\r\nk\r\n"
    "*1\r\n$4\r\nPING\r\n";
static const char ANSWERS[] =
    "+OK\r\n$5\r\nfirst\r\n$6\r\ninline\r\n$0\r\n\r\n$8\r\nof\r\nfour\r\n:1\r\n*5\r\n$6\r\nABSENT";

static void commands_may_arrive_in_two_pieces(void **state) {
  struct connections *c = *state;
  char *whole = NULL;
  connect_peer(c, 0);
  for (size_t at = 0; at < sizeof DIALOGUE; at++) {
    assert_int_equal(peer_say(&c->peer[0], DIALOGUE, at), at);
    end_turns(c);
    assert_int_equal(peer_say(&c->peer[0], DIALOGUE + at, sizeof DIALOGUE - 1 - at),
                     sizeof DIALOGUE - 1 - at);
    end_turns(c);
    const char *told = heard(c, 0);
    if (whole == NULL) {
      assert_memory_equal(told, ANSWERS, strlen("+OK\r\n$5\r\nfirst\r\n$6\r\ninline\r\n"));
      whole = strdup(told);
    }
    assert_string_equal(told, whole);
    assert_null(conn_number(c, 0)->input); /* an idle connection has none */
  }
  free(whole);
}

static void commands_may_arrive_byte_by_byte(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  connect_peer(c, 1);
  peer_say(&c->peer[1], DIALOGUE, sizeof DIALOGUE - 1);
  end_turns(c);
  char *whole = strdup(heard(c, 1));
  for (size_t at = 0; at < sizeof DIALOGUE - 1; at++) {
    assert_int_equal(peer_say(&c->peer[0], DIALOGUE + at, 1), 1);
    if (at % 3 == 0) end_turns(c);
  }
  end_turns(c);
  assert_string_equal(heard(c, 0), whole);
  free(whole);
}

#define LONG_BODY 200000u

/* It is long enough to be adopted as it arrives. */
static void a_long_body_may_arrive_in_any_pieces(void **state) {
  static const size_t pieces[] = {1, 7, 4096, 65535, 65536, 65537, 100000, LONG_BODY};
  struct connections *c = *state;
  connect_peer(c, 0);
  char *body = malloc(LONG_BODY), head[128], token[32] = "";
  for (size_t i = 0; i < LONG_BODY; i++) body[i] = (char)('a' + i % 23);
  for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
    const char *claimed = ask(c, 0, "CLAIM long");
    const char *number = strchr(claimed, ':');
    assert_non_null(number);
    snprintf(token, sizeof token, "%.*s", (int)strcspn(number + 1, "\r"), number + 1);
    int len =
        snprintf(head, sizeof head, "*4\r\n$5\r\nSTORE\r\n$4\r\nlong\r\n$%zu\r\n%s\r\n$%u\r\n",
                 strlen(token), token, LONG_BODY);
    assert_int_equal(peer_say(&c->peer[0], head, (size_t)len), len);
    for (size_t at = 0; at < LONG_BODY; at += pieces[p]) {
      size_t part = LONG_BODY - at < pieces[p] ? LONG_BODY - at : pieces[p];
      assert_int_equal(peer_say(&c->peer[0], body + at, part), part);
      if (pieces[p] > 1 || at % 1000 == 0) end_turns(c);
    }
    peer_say(&c->peer[0], "\r\n", 2);
    end_turns(c);
    assert_string_equal(heard(c, 0), ":0\r\n");
    assert_non_null(strstr(ask(c, 0, "FETCH long"), "DONE"));
    assert_string_equal(ask(c, 0, "DEL long"), ":1\r\n");
    assert_int_equal(c->instance.input_bytes, 0);
  }
  free(body);
}

static void replies_may_be_taken_in_any_pieces(void **state) {
  struct connections *c = *state;
  char *whole = NULL, big[20000];
  memset(big, 'b', sizeof big);
  connect_peer(c, 1);
  int len = snprintf(big, sizeof big, "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n", 19000);
  big[len] = 'b';
  memcpy(big + len + 19000, "\r\n", 2);
  peer_say(&c->peer[1], big, (size_t)len + 19002);
  end_turns(c);
  for (size_t piece = 0; piece < 30000; piece = piece * 3 / 2 + 1) {
    struct conn *conn = connect_peer(c, 0);
    c->peer[0].room = piece; /* what the kernel takes at once */
    say(c, 0, "ECHO before");
    say(c, 0, "GET big"); /* sent from where it lies */
    say(c, 0, "ECHO after");
    end_turns(c);
    size_t left = conn->session.sending_bytes;
    assert_int_equal(left, c->instance.sending_bytes);
    while (peer_take(&c->peer[0], piece + 1) > 0) end_turns(c);
    assert_int_equal(conn->session.sending_bytes, 0);
    assert_int_equal(conn->left_count, 0);
    const char *told = heard(c, 0);
    if (whole == NULL) whole = strdup(told);
    assert_int_equal(strlen(told), 12 + 8 + 19002 + 11);
    assert_string_equal(told, whole);
    conn_close(conn);
    finish_closed(c);
  }
  free(whole);
}

/* ---- output ---- */

static void output_leaves_at_the_end_of_the_turn(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  say(c, 0, "PING");
  say(c, 0, "ECHO x");
  assert_string_equal(heard(c, 0), "");
  end_turn(c);
  assert_string_equal(heard(c, 0), "+PONG\r\n$1\r\nx\r\n");
  assert_false(is_work_left(c));
}

static void much_output_leaves_at_once(void **state) {
  struct connections *c = *state;
  char text[70000];
  connect_peer(c, 0);
  int len = snprintf(text, sizeof text, "*2\r\n$4\r\nECHO\r\n$60000\r\n");
  memset(text + len, 'x', 60000);
  memcpy(text + len + 60000, "\r\n", 2);
  size_t said = 0;
  while (c->peer[0].heard_len == 0 && said++ < 20)
    assert_true(peer_say(&c->peer[0], text, (size_t)len + 60002) > 0);
  assert_in_range(said, 2, 18); /* a MiB, in which what is read in several parts counts twice */
  assert_int_equal(c->peer[0].heard_len, said * 60010);
  assert_int_equal(c->group.gathered_bytes, 0);
}

/* What a slow reader holds is what it has yet to take. */
static void the_room_of_what_was_taken_is_given_back(void **state) {
  struct connections *c = *state;
  char text[60100];
  int len = snprintf(text, sizeof text, "*2\r\n$4\r\nECHO\r\n$60000\r\n");
  memset(text + len, 'x', 60000);
  memcpy(text + len + 60000, "\r\n", 2);
  connect_peer(c, 0);
  c->peer[0].room = 50000;
  peer_say(&c->peer[0], text, (size_t)len + 60002);
  end_turns(c);
  const struct resp_output *left = c->peer[0].left[0].later;
  assert_int_equal(resp_output_size(left), 10010);
  assert_in_range(left->capacity, 10010, 2 * 10010);
}

static void the_output_limit_blocks_and_frees(void **state) {
  struct connections *c = *state;
  struct conn *conn = connect_peer(c, 0);
  c->options.client_output_limit = 2000;
  c->peer[0].room = 0;
  char text[4096];
  for (unsigned i = 0; i < 40; i++) {
    snprintf(text, sizeof text, "ECHO %0100u", i);
    if (say(c, 0, text) == 0) break;
    end_turns(c);
  }
  assert_int_equal(conn_blocked_by(conn), CONN_BLOCKED_BY_OUTPUT);
  assert_false(conn_may_run(conn));
  assert_false(c->peer[0].reads);
  assert_in_range(conn->session.sending_bytes, 2000, 2200);
  peer_take(&c->peer[0], SIZE_MAX);
  end_turns(c);
  assert_int_equal(conn_blocked_by(conn), 0);
  assert_true(c->peer[0].reads);
  c->peer[0].room = SIZE_MAX;
  heard(c, 0);
  assert_string_equal(ask(c, 0, "PING"), "+PONG\r\n");
}

/* They were read with those that ran, and run when the peer has taken their replies. */
static void commands_that_output_held_back_run_later(void **state) {
  struct connections *c = *state;
  char text[40 * 128];
  size_t len = 0;
  struct conn *conn = connect_peer(c, 0);
  c->options.client_output_limit = 2000;
  c->peer[0].room = 0;
  for (unsigned i = 0; i < 40; i++) {
    char line[128];
    snprintf(line, sizeof line, "ECHO %0100u", i);
    len += write_command(text + len, sizeof text - len, line);
  }
  peer_say(&c->peer[0], text, len);
  end_turns(c);
  assert_true(conn->unrun);
  assert_int_equal(conn_blocked_by(conn), CONN_BLOCKED_BY_OUTPUT);
  while (peer_take(&c->peer[0], SIZE_MAX) > 0) end_turns(c);
  assert_false(conn->unrun);
  assert_int_equal(strlen(heard(c, 0)), 40 * (6 + 102));
}

static void a_write_that_fails_closes(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  c->peer[0].write_error = -EPIPE;
  say(c, 0, "PING");
  end_turn(c);
  assert_true(is_closed(c, 0));

  connect_peer(c, 1); /* what was left to it fails later */
  c->peer[1].room = 3;
  say(c, 1, "PING");
  end_turn(c);
  assert_int_equal(c->instance.sending_bytes, 4);
  peer_fail(&c->peer[1], -ECONNRESET);
  finish_closed(c);
  assert_true(is_closed(c, 1));
  assert_int_equal(c->instance.sending_bytes, 0);
}

static void what_is_left_when_it_closes_is_given_back(void **state) {
  struct connections *c = *state;
  struct conn *conn = connect_peer(c, 0);
  c->peer[0].room = 0;
  for (unsigned i = 0; i < 3; i++) {
    say(c, 0, "PING");
    end_turns(c);
  }
  assert_int_equal(conn->left_count, 3);
  conn_close(conn);
  finish_closed(c);
  assert_int_equal(c->instance.sending_bytes, 0);
}

/* ---- waiters ---- */

/* Peers 0 to 2: an owner, and two that wait for its claim. */
static void owner_and_two_waiters(struct connections *c, char token[32]) {
  for (unsigned i = 0; i < 3; i++) connect_peer(c, i);
  const char *claimed = strchr(ask(c, 0, "CLAIM k"), ':');
  snprintf(token, 32, "%.*s", (int)strcspn(claimed + 1, "\r"), claimed + 1);
  for (unsigned i = 1; i < 3; i++) {
    assert_string_equal(ask(c, i, "CLAIM k WAIT 60000"), "");
    assert_int_equal(conn_blocked_by(conn_number(c, i)), CONN_BLOCKED_BY_WAIT);
    assert_true(c->peer[i].reads); /* its end ends the wait */
  }
}

static void release(struct connections *c, const char *token) {
  char line[64];
  snprintf(line, sizeof line, "RELEASE k %s", token);
  assert_string_equal(ask(c, 0, line), ":1\r\n");
}

static void a_grant_is_told_and_its_commands_go_on(void **state) {
  struct connections *c = *state;
  char token[32];
  owner_and_two_waiters(c, token);
  say(c, 1, "PING");
  end_turns(c);
  assert_true(conn_number(c, 1)->unrun);
  release(c, token);
  const char *told = heard(c, 1);
  assert_non_null(strstr(told, "CLAIMED"));
  assert_non_null(strstr(told, "+PONG\r\n"));
  assert_int_equal(conn_blocked_by(conn_number(c, 1)), 0);
  assert_string_equal(heard(c, 2), "");
}

static void a_peer_that_hung_up_gets_no_grant(void **state) {
  struct connections *c = *state;
  char token[32];
  owner_and_two_waiters(c, token);
  c->peer[1].hung_up = true; /* the loop has not come to its event yet */
  release(c, token);
  assert_true(is_closed(c, 1));
  assert_non_null(strstr(heard(c, 2), "CLAIMED"));
}

/* Between the hand-over and the moment in which its reply leaves, which others' output delays. */
static void expect_no_grant_after_end(struct connections *c, bool is_read) {
  char token[32];
  owner_and_two_waiters(c, token);
  c->peer[0].ends_other = &c->peer[1];
  c->peer[0].other_is_read = is_read;
  release(c, token);
  assert_true(is_closed(c, 1));
  assert_null(strstr(heard(c, 1), "CLAIMED"));
  assert_non_null(strstr(heard(c, 2), "CLAIMED"));
}

static void a_peer_that_hangs_up_before_its_grant_leaves_gets_none(void **state) {
  expect_no_grant_after_end(*state, false);
}

static void a_peer_whose_end_is_heard_before_its_grant_leaves_gets_none(void **state) {
  expect_no_grant_after_end(*state, true);
}

static void a_grant_that_cannot_be_written_is_taken_back(void **state) {
  struct connections *c = *state;
  char token[32];
  owner_and_two_waiters(c, token);
  c->peer[1].write_error = -EPIPE;
  release(c, token);
  assert_true(is_closed(c, 1));
  assert_non_null(strstr(heard(c, 2), "CLAIMED"));
}

static void a_grant_in_flight_is_taken_back_when_its_peer_closes(void **state) {
  struct connections *c = *state;
  char token[32];
  owner_and_two_waiters(c, token);
  c->peer[1].room = 5;
  release(c, token);
  assert_int_equal(conn_blocked_by(conn_number(c, 1)), CONN_BLOCKED_BY_GRANT);
  assert_string_equal(heard(c, 2), "");
  peer_fail(&c->peer[1], -ECONNRESET);
  end_turns(c);
  assert_true(is_closed(c, 1));
  assert_non_null(strstr(heard(c, 2), "CLAIMED"));
}

static void a_grant_is_kept_when_its_peer_closes_after_it_was_taken(void **state) {
  struct connections *c = *state;
  char token[32];
  owner_and_two_waiters(c, token);
  c->peer[1].room = 5;
  release(c, token);
  peer_take(&c->peer[1], SIZE_MAX);
  end_turns(c);
  assert_int_equal(conn_blocked_by(conn_number(c, 1)), 0);
  conn_close(conn_number(c, 1));
  end_turns(c);
  assert_string_equal(heard(c, 2), "");
}

static void a_grant_is_kept_from_the_moment_in_which_it_was_taken(void **state) {
  struct connections *c = *state;
  char token[32];
  owner_and_two_waiters(c, token);
  c->peer[1].room = 5;
  release(c, token);
  peer_take(&c->peer[1], SIZE_MAX);
  conn_close(conn_number(c, 1)); /* in the same turn */
  end_turns(c);
  assert_string_equal(heard(c, 2), "");
}

static void a_wait_ends_with_its_peer(void **state) {
  struct connections *c = *state;
  char token[32];
  owner_and_two_waiters(c, token);
  assert_int_equal(c->group.worker.waiting_count, 2);
  peer_end(&c->peer[1], 0);
  assert_int_equal(c->group.worker.waiting_count, 1); /* before any grant of this turn */
  end_turns(c);
  assert_true(is_closed(c, 1));
  peer_end(&c->peer[2], -ECONNRESET);
  end_turns(c);
  assert_true(is_closed(c, 2));
  assert_int_equal(c->group.worker.waiting_count, 0);
}

static void too_many_bytes_after_a_wait_end_it(void **state) {
  struct connections *c = *state;
  char token[32], *many = calloc(1, SERVE_BYTES_AFTER_WAIT);
  owner_and_two_waiters(c, token);
  size_t said = peer_say(&c->peer[1], many, SERVE_BYTES_AFTER_WAIT);
  assert_int_equal(said, SERVE_BYTES_AFTER_WAIT);
  end_turns(c);
  assert_phase(conn_number(c, 1), "OPEN");
  peer_say(&c->peer[1], many, 1);
  end_turns(c);
  assert_phase(conn_number(c, 1), "LINGERING");
  assert_int_equal(c->group.worker.waiting_count, 1);
  free(many);
}

/* ---- CLIENT PAUSE ---- */

static void client_pause_holds_commands_back(void **state) {
  struct connections *c = *state;
  struct conn *conn = connect_peer(c, 0);
  connect_peer(c, 1);
  assert_string_equal(ask(c, 1, "CLIENT PAUSE 1000 ALL"), "+OK\r\n");
  assert_string_equal(ask(c, 0, "PING"), "");
  assert_int_equal(conn_blocked_by(conn), CONN_BLOCKED_BY_PAUSE);
  assert_false(c->peer[0].reads);
  pass_ms(c, 900);
  assert_string_equal(heard(c, 0), "");
  pass_ms(c, 200);
  assert_string_equal(heard(c, 0), "+PONG\r\n");
  assert_int_equal(conn_blocked_by(conn), 0);
  assert_true(c->peer[0].reads);
}

static void client_pause_write_lets_readers_on(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  assert_string_equal(ask(c, 0, "CLIENT PAUSE 1000 WRITE"), "+OK\r\n");
  assert_string_equal(ask(c, 0, "GET k"), "$-1\r\n");
  assert_string_equal(ask(c, 0, "SET k v"), "");
  pass_ms(c, 1100);
  assert_string_equal(heard(c, 0), "+OK\r\n");
}

/* ---- the end ---- */

static void after_quit_it_lingers_until_the_peer_closes(void **state) {
  struct connections *c = *state;
  struct conn *conn = connect_peer(c, 0);
  char text[128];
  size_t len = write_command(text, sizeof text, "QUIT");
  len += write_command(text + len, sizeof text - len, "PING");
  peer_say(&c->peer[0], text, len);
  end_turns(c);
  assert_string_equal(heard(c, 0), "+OK\r\n");
  assert_true(c->peer[0].shut);
  assert_phase(conn, "LINGERING");
  assert_true(c->peer[0].reads);
  uint64_t looked_at = c->group.worker.counters.bytes_in;
  assert_true(say(c, 0, "PING") > 0);
  end_turns(c);
  assert_string_equal(heard(c, 0), "");
  assert_int_equal(c->group.worker.counters.bytes_in, looked_at);
  peer_end(&c->peer[0], 0);
  finish_closed(c);
  assert_true(is_closed(c, 0));
}

static void it_lingers_a_second_at_most(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  assert_string_equal(ask(c, 0, "QUIT"), "+OK\r\n");
  pass_ms(c, 900);
  assert_false(is_closed(c, 0));
  pass_ms(c, 200);
  assert_true(is_closed(c, 0));
}

static void it_closes_when_it_cannot_linger(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  c->peer[0].shutdown_error = -ENOMEM;
  assert_string_equal(ask(c, 0, "QUIT"), "+OK\r\n");
  assert_true(is_closed(c, 0));
}

static void it_waits_for_its_replies_to_be_taken(void **state) {
  struct connections *c = *state;
  struct conn *conn = connect_peer(c, 0);
  c->peer[0].room = 2;
  say(c, 0, "QUIT");
  end_turns(c);
  assert_phase(conn, "CLOSING");
  assert_false(c->peer[0].reads || c->peer[0].shut);
  peer_take(&c->peer[0], SIZE_MAX);
  end_turns(c);
  assert_phase(conn, "LINGERING");
}

static void broken_framing_is_told_and_ends_it(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  say(c, 0, "PING");
  peer_say(&c->peer[0], "*1\r\n!", 5);
  end_turns(c);
  assert_non_null(strstr(heard(c, 0), "+PONG\r\n-ERR Protocol error: expected '$'"));
  assert_phase(conn_number(c, 0), "LINGERING");
  connect_peer(c, 1); /* the reader that they share knows nothing of it */
  assert_string_equal(ask(c, 1, "PING"), "+PONG\r\n");
}

static void what_was_sent_before_the_end_is_answered(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  say(c, 0, "PING");
  peer_say(&c->peer[0], "*1\r\n$4\r\nPI", 10); /* never becomes whole */
  peer_end(&c->peer[0], 0);
  end_turns(c);
  assert_string_equal(heard(c, 0), "+PONG\r\n");
  assert_true(is_closed(c, 0));
  assert_false(c->peer[0].shut); /* the peer knows */
}

static void a_killed_one_hears_nothing_more(void **state) {
  struct connections *c = *state;
  struct conn *conn = connect_peer(c, 0);
  connect_peer(c, 1);
  say(c, 0, "PING");
  char line[64];
  snprintf(line, sizeof line, "CLIENT KILL ID %llu", (unsigned long long)conn->session.id);
  say(c, 1, line);
  end_turns(c);
  assert_true(is_closed(c, 0));
  assert_string_equal(heard(c, 0), "");
  assert_string_equal(heard(c, 1), ":1\r\n");
}

static void it_closes_when_it_cannot_be_read(void **state) {
  struct connections *c = *state;
  struct conn *conn = conn_create(&c->group, sizeof(struct stream_memory));
  peer_connect(&c->peer[0], &conn->stream, &ON_MEMORY);
  c->peer[0].read_error = -ENOMEM;
  conn_group_count(&c->group);
  conn_begin(conn, HANDED_TCP);
  finish_closed(c);
  assert_true(is_closed(c, 0));
}

/* ---- too late, too long ---- */

static void a_command_has_ten_seconds(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  for (unsigned i = 0; i < 9; i++) { /* however it dribbles */
    peer_say(&c->peer[0], &"*1\r\n$4\r\nPING\r\n"[i], 1);
    end_turns(c);
    pass_ms(c, 1000);
  }
  assert_string_equal(heard(c, 0), "");
  pass_ms(c, 1200);
  assert_string_equal(heard(c, 0),
                      "-ERR Protocol error: the command did not arrive within 10 s\r\n");
  assert_phase(conn_number(c, 0), "LINGERING");
  assert_int_equal(c->group.worker.counters.closed_by_request_timeout, 1);
}

static void each_command_has_its_own_ten_seconds(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  peer_say(&c->peer[0], "*1\r\n", 4);
  end_turns(c);
  for (unsigned i = 0; i < 3; i++) {
    pass_ms(c, 9000);
    peer_say(&c->peer[0], "$4\r\nPING\r\n*1\r\n", 14);
    end_turns(c);
    assert_string_equal(heard(c, 0), "+PONG\r\n");
  }
  pass_ms(c, 10200);
  assert_memory_equal(heard(c, 0), "-ERR", 4);
}

static void none_is_late_because_the_loop_stood_still(void **state) {
  struct connections *c = *state;
  connect_peer(c, 0);
  peer_say(&c->peer[0], "*1\r\n$4", 6);
  end_turns(c);
  number_clock_pass_ms(11000);
  pass_ms(c, 100);
  assert_phase(conn_number(c, 0), "OPEN");
  pass_ms(c, CRON_AFTER_STALL_MS);
  assert_phase(conn_number(c, 0), "LINGERING");
}

static void the_idle_and_the_stuck_are_closed(void **state) {
  struct connections *c = *state;
  c->options.timeout_s = 2;
  c->options.client_output_timeout_ms = 5000;
  connect_peer(c, 0); /* says nothing */
  connect_peer(c, 1); /* takes nothing */
  connect_peer(c, 2); /* takes a little all the time */
  c->peer[1].room = c->peer[2].room = 0;
  say(c, 1, "PING");
  say(c, 2, "ECHO more-than-seven-bytes");
  end_turns(c);
  pass_ms(c, 1900);
  assert_false(is_closed(c, 0));
  pass_ms(c, 200);
  assert_true(is_closed(c, 0));
  peer_take(&c->peer[2], 1);
  pass_ms(c, 2800);
  assert_false(is_closed(c, 1));
  pass_ms(c, 300);
  assert_true(is_closed(c, 1));
  assert_int_equal(c->group.worker.counters.closed_for_unread_replies, 1);
  assert_false(is_closed(c, 2));
}

/* ---- state ---- */

static void what_blocks_it_and_whether_it_may_run_are_one(void **state) {
  struct connections *c = *state;
  struct conn *conn = connect_peer(c, 0);
  struct session *session = &conn->session;
  assert_int_equal(conn_blocked_by(conn), 0);
  assert_true(conn_may_run(conn));
#define ALONE(flag, expected)                        \
  flag = true;                                       \
  assert_int_equal(conn_blocked_by(conn), expected); \
  assert_false(conn_may_run(conn));                  \
  flag = false
  ALONE(session->working, CONN_BLOCKED_BY_TASK);
  ALONE(session->delayed, CONN_BLOCKED_BY_DELAYED_ERROR);
  ALONE(session->waiting, CONN_BLOCKED_BY_WAIT);
  ALONE(session->close_when_sent, CONN_BLOCKED_BY_END);
  ALONE(session->close_now, CONN_BLOCKED_BY_END);
  ALONE(conn->paused, CONN_BLOCKED_BY_PAUSE);
#undef ALONE
  session->waiter = (void *)conn; /* any: it is not looked at */
  assert_int_equal(conn_blocked_by(conn), CONN_BLOCKED_BY_GRANT);
  assert_false(conn_may_run(conn));
  session->waiter = NULL;
  session->sending_bytes = (size_t)c->options.client_output_limit + 1;
  assert_int_equal(conn_blocked_by(conn), CONN_BLOCKED_BY_OUTPUT);
  assert_false(conn_may_run(conn));
  session->sending_bytes = 0;
  conn_end(conn);
  assert_phase(conn, "CLOSING");
  assert_false(conn_may_run(conn));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(commands_may_arrive_in_two_pieces),
      TEST(commands_may_arrive_byte_by_byte),
      TEST(a_long_body_may_arrive_in_any_pieces),
      TEST(replies_may_be_taken_in_any_pieces),
      TEST(output_leaves_at_the_end_of_the_turn),
      TEST(much_output_leaves_at_once),
      TEST(the_room_of_what_was_taken_is_given_back),
      TEST(the_output_limit_blocks_and_frees),
      TEST(commands_that_output_held_back_run_later),
      TEST(a_write_that_fails_closes),
      TEST(what_is_left_when_it_closes_is_given_back),
      TEST(a_grant_is_told_and_its_commands_go_on),
      TEST(a_peer_that_hung_up_gets_no_grant),
      TEST(a_peer_that_hangs_up_before_its_grant_leaves_gets_none),
      TEST(a_peer_whose_end_is_heard_before_its_grant_leaves_gets_none),
      TEST(a_grant_that_cannot_be_written_is_taken_back),
      TEST(a_grant_in_flight_is_taken_back_when_its_peer_closes),
      TEST(a_grant_is_kept_when_its_peer_closes_after_it_was_taken),
      TEST(a_grant_is_kept_from_the_moment_in_which_it_was_taken),
      TEST(a_wait_ends_with_its_peer),
      TEST(too_many_bytes_after_a_wait_end_it),
      TEST(client_pause_holds_commands_back),
      TEST(client_pause_write_lets_readers_on),
      TEST(after_quit_it_lingers_until_the_peer_closes),
      TEST(it_lingers_a_second_at_most),
      TEST(it_closes_when_it_cannot_linger),
      TEST(it_waits_for_its_replies_to_be_taken),
      TEST(broken_framing_is_told_and_ends_it),
      TEST(what_was_sent_before_the_end_is_answered),
      TEST(a_killed_one_hears_nothing_more),
      TEST(it_closes_when_it_cannot_be_read),
      TEST(a_command_has_ten_seconds),
      TEST(each_command_has_its_own_ten_seconds),
      TEST(none_is_late_because_the_loop_stood_still),
      TEST(the_idle_and_the_stuck_are_closed),
      TEST(what_blocks_it_and_whether_it_may_run_are_one),
  };
  return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
