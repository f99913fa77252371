/* test_queued.c - connections whose commands arrive in one turn: they run together, in the order in
 * which they were read, and what happens to a connection meanwhile is as if it had been read then.
 */
#include <time.h>

#include "tests/unit/connections.h"

static unsigned queued(const struct connections *c) { return c->group.queued_count; }

static void say_bytes(struct connections *c, unsigned who, const char *bytes) {
  size_t len = strlen(bytes);
  assert_int_equal(peer_say(&c->peer[who], bytes, len), len);
}

static void connect_peers(struct connections *c, unsigned count) {
  for (unsigned i = 0; i < count; i++) connect_peer(c, i);
}

/* ---- the order ---- */

static void commands_of_a_turn_run_in_the_order_in_which_they_were_read(void **state) {
  struct connections *c = *state;
  connect_peers(c, 4);
  say(c, 2, "SET k two");
  say(c, 0, "GET k");
  say(c, 3, "SET k three");
  say(c, 1, "GET k");
  assert_int_equal(queued(c), 4);
  end_turn(c);
  assert_int_equal(queued(c), 0);
  assert_string_equal(heard(c, 0), "$3\r\ntwo\r\n");
  assert_string_equal(heard(c, 1), "$5\r\nthree\r\n");
  assert_string_equal(heard(c, 2), "+OK\r\n");
  assert_string_equal(heard(c, 3), "+OK\r\n");
}

/* Each is told who came before. */
static void a_full_batch_runs_at_once(void **state) {
  struct connections *c = *state;
  char text[32];
  connect_peers(c, BATCH_COMMANDS + 1);
  for (unsigned i = 0; i <= BATCH_COMMANDS; i++) {
    assert_int_equal(queued(c), i % BATCH_COMMANDS);
    snprintf(text, sizeof text, "GETSET last %02u", i);
    say(c, i, text);
  }
  assert_int_equal(queued(c), 1);
  end_turn(c);
  assert_int_equal(c->group.queued_bytes, 0);
  assert_string_equal(heard(c, 0), "$-1\r\n");
  for (unsigned i = 1; i <= BATCH_COMMANDS; i++) {
    snprintf(text, sizeof text, "$2\r\n%02u\r\n", i - 1);
    assert_string_equal(heard(c, i), text);
  }
}

static const char *command_of_bytes(size_t bytes) {
  static char text[SERVE_QUEUED_BYTES + 64];
  size_t value = bytes - strlen("*2\r\n$4\r\nECHO\r\n$1000\r\n\r\n");
  assert_in_range(value, 1000, 9999);
  int at = snprintf(text, sizeof text, "*2\r\n$4\r\nECHO\r\n$%zu\r\n", value);
  memset(text + at, 'v', value);
  memcpy(text + at + value, "\r\n", 3);
  return text;
}

/* Whatever is no single short command runs at once, after all that was read before it. */
static void anything_else_runs_after_what_is_queued(void **state) {
#define SET_B "*3\r\n$6\r\nGETSET\r\n$1\r\nk\r\n$1\r\nb\r\n"
  struct connections *c = *state;
  static const char *const others[] = {
      SET_B "*1\r\n$4\r\nPING\r\n", /* a pipeline */
      SET_B "*1\r\n$4\r\nPI",       /* and a half one */
      "GETSET k b\r\n",             /* an inline command */
  };
  connect_peers(c, 2);
  for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++) {
    connect_peer(c, 2 + i);
    say(c, 0, "SET k a");
    assert_int_equal(queued(c), 1);
    say_bytes(c, 2 + i, others[i]);
    assert_int_equal(queued(c), 0);
    say(c, 1, "GETSET k c");
    end_turns(c);
    assert_string_equal(heard(c, 0), "+OK\r\n");
    assert_memory_equal(heard(c, 2 + i), "$1\r\na\r\n", 7);
    assert_string_equal(heard(c, 1), "$1\r\nb\r\n");
  }
}

static void a_half_command_runs_what_is_queued(void **state) {
  struct connections *c = *state;
  connect_peers(c, 2);
  say(c, 0, "PING");
  say_bytes(c, 1, "*1\r\n$4\r\nPI");
  assert_int_equal(queued(c), 0);
  say(c, 0, "PING");
  assert_int_equal(queued(c), 1);
  say_bytes(c, 1, "NG\r\n");
  assert_int_equal(queued(c), 0);
  end_turn(c);
  assert_string_equal(heard(c, 0), "+PONG\r\n+PONG\r\n");
  assert_string_equal(heard(c, 1), "+PONG\r\n");
  assert_null(conn_number(c, 1)->input);
}

static void a_long_command_is_not_queued(void **state) {
  struct connections *c = *state;
  connect_peers(c, 2);
  say_bytes(c, 0, command_of_bytes(SERVE_QUEUED_BYTES));
  assert_int_equal(queued(c), 1);
  say_bytes(c, 1, command_of_bytes(SERVE_QUEUED_BYTES + 1));
  assert_int_equal(queued(c), 0);
  end_turn(c);
  assert_int_equal(strlen(heard(c, 0)), SERVE_QUEUED_BYTES - 14);
  assert_int_equal(strlen(heard(c, 1)), SERVE_QUEUED_BYTES - 13);
}

static void a_connection_that_is_read_again_runs_what_it_said_first(void **state) {
  struct connections *c = *state;
  connect_peers(c, 2);
  say(c, 1, "SET k one");
  say(c, 0, "GET k");
  say(c, 0, "SET k zero");
  say(c, 1, "GET k");
  end_turn(c);
  assert_string_equal(heard(c, 0), "$3\r\none\r\n+OK\r\n");
  assert_string_equal(heard(c, 1), "+OK\r\n$4\r\nzero\r\n");
}

/* The second half of a command is kept where its first half is. */
static void a_half_command_goes_on_beside_what_is_queued(void **state) {
  struct connections *c = *state;
  connect_peers(c, 3);
  say_bytes(c, 0, "*2\r\n$4\r\nECHO\r\n$5\r\nhe");
  say(c, 1, "ECHO other");
  say_bytes(c, 0, "llo\r\n");
  say(c, 2, "ECHO third");
  end_turns(c);
  assert_string_equal(heard(c, 0), "$5\r\nhello\r\n");
  assert_string_equal(heard(c, 1), "$5\r\nother\r\n");
  assert_string_equal(heard(c, 2), "$5\r\nthird\r\n");
  assert_null(conn_number(c, 0)->input);
}

/* ---- what happens to a connection whose command is queued ---- */

static void its_end_comes_after_its_command(void **state) {
  struct connections *c = *state;
  connect_peers(c, 2);
  say(c, 0, "SET k zero");
  peer_end(&c->peer[0], 0);
  say(c, 1, "GET k");
  end_turns(c);
  assert_string_equal(heard(c, 0), "+OK\r\n");
  assert_true(is_closed(c, 0));
  assert_string_equal(heard(c, 1), "$4\r\nzero\r\n");
}

static void one_that_breaks_has_run_its_command(void **state) {
  struct connections *c = *state;
  connect_peers(c, 2);
  say(c, 0, "SET k zero");
  peer_end(&c->peer[0], -ECONNRESET);
  end_turns(c);
  assert_true(is_closed(c, 0));
  assert_string_equal(ask(c, 1, "GET k"), "$4\r\nzero\r\n");
}

/* By CLIENT KILL, or because it takes no messages: it is closed at the end of the turn. */
static void one_that_will_be_closed_does_not_run(void **state) {
  struct connections *c = *state;
  connect_peers(c, 2);
  say(c, 0, "SET k zero");
  session_close(&conn_number(c, 0)->session, &c->group.worker);
  say(c, 1, "GET k");
  end_turns(c);
  assert_true(is_closed(c, 0));
  assert_string_equal(heard(c, 1), "$-1\r\n");
}

static void one_that_is_closed_does_not_run(void **state) {
  struct connections *c = *state;
  connect_peers(c, 3);
  say(c, 0, "SET k zero");
  say(c, 1, "SET m one");
  conn_close(conn_number(c, 0)); /* its earlier replies could not be written, for instance */
  end_turns(c);
  assert_true(is_closed(c, 0));
  assert_string_equal(ask(c, 2, "GET k"), "$-1\r\n");
  assert_string_equal(ask(c, 2, "GET m"), "$3\r\none\r\n");
}

/* It is closed while its end is being told. */
static void one_that_is_closed_is_not_told_of_its_end(void **state) {
  struct connections *c = *state;
  connect_peers(c, 2);
  say(c, 0, "PING");
  c->peer[0].write_error = -EPIPE;
  c->group.gathered_bytes = 1u << 30; /* so output leaves at once */
  peer_end(&c->peer[0], 0);
  assert_true(c->peer[0].closed);
  assert_string_equal(ask(c, 1, "PING"), "+PONG\r\n");
  assert_true(is_closed(c, 0));
}

/* What was read of it already is forgotten. */
static void one_that_is_closed_by_what_is_queued_does_not_run(void **state) {
  static const char pipeline[] = "*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n";
  struct connections *c = *state;
  connect_peers(c, 3);
  say_bytes(c, 0, "PING\r\nPING\r\n"); /* their replies will leave */
  say(c, 1, "PING");
  c->peer[0].write_error = -EPIPE;
  c->group.gathered_bytes = 1u << 30; /* at once */
  peer_say(&c->peer[0], pipeline, sizeof pipeline - 1);
  assert_true(c->peer[0].closed);
  assert_int_equal(c->group.batch.count, 0);
  end_turn(c);
  assert_true(is_closed(c, 0));
  assert_string_equal(heard(c, 1), "+PONG\r\n");
  say(c, 1, "GET k");
  say(c, 2, "PING");
  assert_int_equal(queued(c), 2);
  end_turn(c);
  assert_string_equal(heard(c, 1), "$-1\r\n");
  assert_string_equal(heard(c, 2), "+PONG\r\n");
}

static void one_that_is_paused_is_kept(void **state) {
  struct connections *c = *state;
  connect_peers(c, 3);
  say(c, 2, "CLIENT PAUSE 1000");
  say(c, 0, "ECHO zero");
  say(c, 1, "ECHO one");
  assert_int_equal(queued(c), 3);
  end_turns(c);
  assert_string_equal(heard(c, 2), "+OK\r\n");
  assert_string_equal(heard(c, 0), "");
  assert_false(c->peer[0].reads);
  memset(c->group.read_buffer, 'x', sizeof c->group.read_buffer); /* others are read to there */
  pass_ms(c, 1200);
  assert_string_equal(heard(c, 0), "$4\r\nzero\r\n");
  assert_string_equal(heard(c, 1), "$3\r\none\r\n");
  assert_null(conn_number(c, 0)->input);
  assert_true(c->peer[0].reads);
}

static void what_follows_a_wait_is_kept(void **state) {
  struct connections *c = *state;
  connect_peers(c, 2);
  const char *claimed = strchr(ask(c, 1, "CLAIM k"), ':');
  char line[64];
  snprintf(line, sizeof line, "STORE k %.*s body", (int)strcspn(claimed + 1, "\r"), claimed + 1);
  say(c, 0, "CLAIM k WAIT 60000");
  say(c, 0, "ECHO after");
  say(c, 0, "ECHO more");
  end_turns(c);
  assert_string_equal(heard(c, 0), "");
  assert_string_equal(ask(c, 1, line), ":1\r\n");
  const char *told = heard(c, 0);
  assert_non_null(strstr(told, "DONE"));
  assert_non_null(strstr(told, "body"));
  assert_non_null(strstr(told, "$5\r\nafter\r\n$4\r\nmore\r\n"));
}

static void one_that_may_not_run_late_in_a_turn_comes_later(void **state) {
  struct connections *c = *state;
  connect_peers(c, 3);
  say_bytes(c, 0, "PING\r\n"); /* the turn has begun */
  number_clock.now_ns += TURN_SHARE_PART_NS;
  say(c, 1, "KEYS *");
  say(c, 2, "PING");
  end_turn(c);
  assert_string_equal(heard(c, 2), "+PONG\r\n");
  assert_string_equal(heard(c, 1), "");
  end_turn(c);
  assert_string_equal(heard(c, 1), "*0\r\n");
  assert_null(conn_number(c, 1)->input);
}

static void a_write_takes_time(void) { number_clock_pass_ms(50); }

/* Sending is not the time of the command that comes next, and its lease begins after it. */
static void one_runs_as_of_when_what_was_gathered_has_left(void **state) {
  struct connections *c = *state;
  connect_peers(c, 3);
  c->peer[0].on_write = a_write_takes_time;
  say(c, 0, "PING");
  say(c, 1, "CLAIM k LEASE 1000");
  c->group.gathered_bytes = (size_t)1 << 30;
  uint64_t began_ns = number_clock.now_ns;
  end_turn(c);
  assert_in_range(number_clock.now_ns - began_ns, 50000000, 60000000);
  assert_string_equal(ask(c, 2, "SLOWLOG LEN"), ":0\r\n");
  assert_non_null(strstr(ask(c, 2, "CLAIM k"), "BUSY\r\n:1000\r\n:0\r\n"));
}

static void one_that_quits_is_answered_and_ends(void **state) {
  struct connections *c = *state;
  connect_peers(c, 2);
  say(c, 0, "QUIT");
  say(c, 1, "PING");
  end_turns(c);
  assert_string_equal(heard(c, 0), "+OK\r\n");
  assert_true(c->peer[0].shut);
  assert_string_equal(heard(c, 1), "+PONG\r\n");
}

static void what_a_connection_set_up_before_holds(void **state) {
  struct connections *c = *state;
  connect_peers(c, 2);
  say(c, 0, "MULTI");
  say(c, 1, "SUBSCRIBE news");
  end_turn(c);
  say(c, 0, "SET n 1");
  say(c, 1, "PING");
  end_turn(c);
  say(c, 0, "EXEC");
  say(c, 1, "GET n");
  end_turn(c);
  assert_string_equal(heard(c, 0), "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
  const char *told = heard(c, 1);
  assert_non_null(strstr(told, "$4\r\npong\r\n"));
  assert_non_null(strstr(told, "Can't execute 'get'"));
}

/* ---- at random ----
 *
 * Peers say commands in pieces of any size, among each other; they end, break and are closed at any
 * byte. Time stands and nobody waits, so a command runs in the place of its last byte: what each
 * peer has to hear is known exactly, also of a key that all of them change. */

#define CROWD 24u
#define COMMANDS_MAX 40u
#define COMMAND_BYTES 4096u
#define STEPS 200000u

enum kind { PING, ECHO, SWAP, WRONG, KINDS };

struct spoken {
  enum kind kind;
  size_t start, end;
};

struct speaker {
  char says[COMMANDS_MAX * COMMAND_BYTES], hears[COMMANDS_MAX * COMMAND_BYTES];
  struct spoken commands[COMMANDS_MAX];
  unsigned count, done; /* commands, and how many of them have been said whole */
  size_t said, hears_len;
  bool lost; /* what it would hear is not known, or not sent */
};

struct crowd {
  struct connections *c;
  struct speaker speakers[CROWD];
  uint64_t chance; /* the generator's state */
  unsigned written, swaps, heard, together;
  char last[32]; /* the value of the key */
};

static unsigned below(struct crowd *crowd, unsigned limit) {
  crowd->chance = crowd->chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (unsigned)((crowd->chance >> 33) % limit);
}

/* Sometimes longer than what is queued. */
static size_t write_echo(struct crowd *crowd, char *to) {
  unsigned len = below(crowd, 10) == 0 ? 900 + below(crowd, 2000) : below(crowd, 60);
  int at = snprintf(to, COMMAND_BYTES, "*2\r\n$4\r\nECHO\r\n$%u\r\n", len);
  for (unsigned i = 0; i < len; i++) to[at++] = (char)('a' + below(crowd, 26));
  memcpy(to + at, "\r\n", 2);
  return (size_t)at + 2;
}

static size_t write_spoken(struct crowd *crowd, char *to, enum kind kind) {
  switch (kind) {
    case PING: return write_command(to, COMMAND_BYTES, "PING");
    case ECHO: return write_echo(crowd, to);
    case SWAP: {
      char line[64];
      snprintf(line, sizeof line, "GETSET last %08u", crowd->written++);
      return write_command(to, COMMAND_BYTES, line);
    }
    case WRONG:
    case KINDS:
    default: return (size_t)snprintf(to, COMMAND_BYTES, "GET\r\n");
  }
}

static void join(struct crowd *crowd, unsigned who) {
  struct speaker *speaker = &crowd->speakers[who];
  size_t len = 0;
  speaker->count = 1 + below(crowd, COMMANDS_MAX);
  for (unsigned i = 0; i < speaker->count; i++) {
    struct spoken *spoken = &speaker->commands[i];
    *spoken = (struct spoken){.kind = below(crowd, KINDS), .start = len};
    spoken->end = len += write_spoken(crowd, speaker->says + len, spoken->kind);
  }
  speaker->done = 0;
  speaker->said = speaker->hears_len = 0;
  speaker->lost = false;
  connect_peer(crowd->c, who);
}

/* What it hears when the last byte has been said. */
static void expect(struct crowd *crowd, struct speaker *speaker, const struct spoken *spoken) {
  static const size_t echo_head = sizeof "*2\r\n$4\r\nECHO\r\n" - 1;
  char *to = speaker->hears + speaker->hears_len;
  switch (spoken->kind) {
    case PING: speaker->hears_len += (size_t)sprintf(to, "+PONG\r\n"); break;
    case SWAP:
      speaker->hears_len += (size_t)sprintf(to, "%s", crowd->last);
      snprintf(crowd->last, sizeof crowd->last, "$8\r\n%.10s", speaker->says + spoken->end - 10);
      crowd->swaps++;
      break;
    case ECHO: {
      size_t len = spoken->end - spoken->start - echo_head;
      memcpy(to, speaker->says + spoken->start + echo_head, len);
      speaker->hears_len += len;
      break;
    }
    case WRONG:
    case KINDS:
    default:
      speaker->hears_len +=
          (size_t)sprintf(to, "-ERR wrong number of arguments for 'get' command\r\n");
  }
}

/* To the end of a command, or anywhere: a byte, or any number of them. */
static size_t piece(struct crowd *crowd, const struct speaker *speaker) {
  size_t left = speaker->commands[speaker->count - 1].end - speaker->said;
  size_t whole = speaker->commands[speaker->done].end - speaker->said;
  size_t most = left < 3000 ? left : 3000;
  switch (below(crowd, 20)) {
    case 0: return 1;
    case 1:
    case 2: return 1 + below(crowd, (unsigned)most);
    default: return whole;
  }
}

static void speak(struct crowd *crowd, unsigned who) {
  struct speaker *speaker = &crowd->speakers[who];
  size_t len = piece(crowd, speaker);
  assert_int_equal(peer_say(&crowd->c->peer[who], speaker->says + speaker->said, len), len);
  speaker->said += len;
  while (speaker->done < speaker->count && speaker->commands[speaker->done].end <= speaker->said)
    expect(crowd, speaker, &speaker->commands[speaker->done++]);
  if (crowd->c->group.queued_count > crowd->together)
    crowd->together = crowd->c->group.queued_count;
}

/* From the server's side. What is queued of it does not run; the order of the others' swaps is not
 * that which was expected, if it was one. */
static void close_one(struct crowd *crowd, unsigned who) {
  struct conn *conn = conn_number(crowd->c, who);
  struct speaker *speaker = &crowd->speakers[who];
  if (conn->queued && speaker->commands[speaker->done - 1].kind == SWAP) return;
  speaker->lost = true;
  if (below(crowd, 2) == 0) {
    conn_close(conn);
  } else {
    session_close(&conn->session, &crowd->c->group.worker);
  }
}

static void leave(struct crowd *crowd, unsigned who) {
  struct speaker *speaker = &crowd->speakers[who];
  bool breaks = below(crowd, 3) == 0;
  speaker->lost |= breaks;
  peer_end(&crowd->c->peer[who], breaks ? -ECONNRESET : 0);
}

static void act(struct crowd *crowd, unsigned who) {
  struct speaker *speaker = &crowd->speakers[who];
  struct peer *peer = &crowd->c->peer[who];
  unsigned chance = below(crowd, 200);
  if (peer->stream == NULL) {
    join(crowd, who);
  } else if (!peer->reads || conn_number(crowd->c, who)->session.close_now) {
    return; /* it ends with this turn */
  } else if (speaker->done == speaker->count || chance == 0) {
    leave(crowd, who);
  } else if (chance == 1) {
    close_one(crowd, who);
  } else {
    speak(crowd, who);
  }
}

static void end_crowds_turn(struct crowd *crowd) {
  end_turns(crowd->c);
  for (unsigned who = 0; who < CROWD; who++) {
    struct speaker *speaker = &crowd->speakers[who];
    const char *told = heard(crowd->c, who);
    speaker->hears[speaker->hears_len] = '\0';
    if (!speaker->lost) assert_string_equal(told, speaker->hears);
    crowd->heard += speaker->hears_len > 0;
    speaker->hears_len = 0;
  }
}

static void run_crowd(struct connections *c, uint64_t seed) {
  struct crowd *crowd = calloc(1, sizeof *crowd);
  assert_non_null(crowd);
  crowd->c = c;
  crowd->chance = seed;
  strcpy(crowd->last, "$-1\r\n");
  for (unsigned step = 0; step < STEPS; step++) {
    act(crowd, below(crowd, CROWD));
    if (below(crowd, 12) == 0) end_crowds_turn(crowd);
  }
  end_crowds_turn(crowd);
  assert_true(crowd->heard > STEPS / 4 && crowd->swaps > STEPS / 8 && crowd->together >= 8);
  free(crowd);
}

/* IDEM_SEED repeats a run. */
static void replies_are_exact_and_in_order_whatever_arrives_in_a_turn(void **state) {
  const char *given = getenv("IDEM_SEED");
  uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
  print_message("IDEM_SEED=%llu\n", (unsigned long long)seed);
  run_crowd(*state, seed);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(commands_of_a_turn_run_in_the_order_in_which_they_were_read),
      TEST(a_full_batch_runs_at_once),
      TEST(anything_else_runs_after_what_is_queued),
      TEST(a_half_command_runs_what_is_queued),
      TEST(a_long_command_is_not_queued),
      TEST(a_connection_that_is_read_again_runs_what_it_said_first),
      TEST(a_half_command_goes_on_beside_what_is_queued),
      TEST(its_end_comes_after_its_command),
      TEST(one_that_breaks_has_run_its_command),
      TEST(one_that_will_be_closed_does_not_run),
      TEST(one_that_is_closed_does_not_run),
      TEST(one_that_is_closed_is_not_told_of_its_end),
      TEST(one_that_is_closed_by_what_is_queued_does_not_run),
      TEST(one_that_is_paused_is_kept),
      TEST(what_follows_a_wait_is_kept),
      TEST(one_that_may_not_run_late_in_a_turn_comes_later),
      TEST(one_runs_as_of_when_what_was_gathered_has_left),
      TEST(one_that_quits_is_answered_and_ends),
      TEST(what_a_connection_set_up_before_holds),
      TEST(replies_are_exact_and_in_order_whatever_arrives_in_a_turn),
  };
  return cmocka_run_group_tests_name("queued", tests, NULL, NULL);
}
