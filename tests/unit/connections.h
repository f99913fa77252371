/*
 * connections.h - the connections of one loop on streams of memory: for tests of all that stands
 * between a socket and the commands. A test says what peers do, and ends the turns; time is a
 * number (number_clock.h).
 */
#ifndef IDEM_TESTS_UNIT_CONNECTIONS_H
#define IDEM_TESTS_UNIT_CONNECTIONS_H

#include "tests/unit/number_clock.h"
#include "tests/unit/stream_memory.h"

#include <stdio.h>

#include "server/commands/setup.h"
#include "server/net/cron.h"
#include "server/net/serve.h"
#include "server/net/turn_share.h"
#include "server/net/turn.h"

#define PEERS 40
#define PEER_WORDS 16
#define TURNS_MAX 10000

struct connections {
  struct options options;
  struct log log; /* writes nothing */
  struct instance instance;
  struct gate_set gates;
  struct gate gate;
  _Atomic uint64_t count;
  struct conn_group group;
  struct cron cron;
  struct peer peer[PEERS];
  char *text; /* what heard() gave last */
};

static const struct stream_type ON_MEMORY = {.ops = &STREAM_MEMORY, .events = &SERVE_EVENTS};

static inline void connections_wake(struct instance *instance, uint64_t loops) {
  (void)instance;
  (void)loops;
}

static inline int connections_setup(void **state) {
  struct connections *c = calloc(1, sizeof *c);
  assert_non_null(c);
  options_init(&c->options);
  c->log.fd = -1;
  struct engine_options engine = {
      .first_token = 1, .retention_ms = 60000, .waiters_per_key = 100, .waiters_total = 100};
  struct keyspace *keyspace = keyspace_create(&engine, 1, (int64_t)(number_clock.now_ns / 1000000));
  assert_non_null(keyspace);
  assert_true(setup_instance_init(&c->instance, keyspace, &c->options, &c->log, 1000));
  c->instance.describe = conn_describe;
  c->instance.wake = connections_wake;
  assert_true(gate_set_init(&c->gates));
  gate_init(&c->gate, &c->gates);
  assert_true(conn_group_init(&c->group, &c->instance, &c->gate, &c->count));
  cron_init(&c->cron, &c->group);
  *state = c;
  return 0;
}

/* ---- turns ---- */

static inline void finish_closed(struct connections *c) {
  for (unsigned i = 0; i < PEERS; i++) peer_finish(&c->peer[i]);
}

static inline void end_turn(struct connections *c) {
  turn_end(&c->group, false);
  c->group.part_ns = 0;
  finish_closed(c);
}

static inline bool is_work_left(struct connections *c) {
  return turn_left_work(&c->group, keyspace_next_due(c->instance.keyspace, 0));
}

/* Until nothing is left to do. Returns how many turns that took. */
static inline unsigned end_turns(struct connections *c) {
  unsigned turns = 0;
  do {
    end_turn(c);
    assert_true(++turns < TURNS_MAX);
  } while (is_work_left(c));
  return turns;
}

/* Time passes in steps of the housekeeping. */
static inline void pass_ms(struct connections *c, uint64_t ms) {
  for (uint64_t passed = 0; passed < ms; passed += CRON_MS) {
    number_clock_pass_ms(CRON_MS);
    cron_run(&c->cron, &c->group);
    end_turns(c);
  }
}

/* ---- peers ---- */

static inline struct conn *conn_number(struct connections *c, unsigned who) {
  return conn_of_stream(&c->peer[who].stream->stream);
}

static inline struct conn *connect_peer(struct connections *c, unsigned who) {
  struct conn *conn = conn_create(&c->group, sizeof(struct stream_memory));
  assert_non_null(conn);
  peer_connect(&c->peer[who], &conn->stream, &ON_MEMORY);
  conn_group_count(&c->group);
  conn_begin(conn, HANDED_TCP);
  return conn;
}

/* One command, its words separated by single blanks, as an array. Returns its length. */
static inline size_t write_command(char *to, size_t room, const char *line) {
  const char *words[PEER_WORDS];
  unsigned count = 0;
  for (const char *word = line;; word = strchr(word, ' ') + 1) {
    assert_true(count < PEER_WORDS);
    words[count++] = word;
    if (strchr(word, ' ') == NULL) break;
  }
  size_t len = (size_t)snprintf(to, room, "*%u\r\n", count);
  for (unsigned i = 0; i < count; i++) {
    size_t word = strcspn(words[i], " ");
    len += (size_t)snprintf(to + len, room - len, "$%zu\r\n%.*s\r\n", word, (int)word, words[i]);
  }
  assert_true(len < room);
  return len;
}

static inline size_t say(struct connections *c, unsigned who, const char *line) {
  char text[4096];
  return peer_say(&c->peer[who], text, write_command(text, sizeof text, line));
}

/* What the peer heard since it was last asked, until the next question. */
static inline const char *heard(struct connections *c, unsigned who) {
  struct peer *peer = &c->peer[who];
  free(c->text);
  c->text = strdup(peer->heard != NULL ? peer->heard : "");
  assert_non_null(c->text);
  peer->heard_len = 0;
  if (peer->heard != NULL) peer->heard[0] = '\0';
  return c->text;
}

/* Says one command, ends the turns, and returns what the peer heard. */
static inline const char *ask(struct connections *c, unsigned who, const char *line) {
  heard(c, who);
  say(c, who, line);
  end_turns(c);
  return heard(c, who);
}

static inline bool is_closed(const struct connections *c, unsigned who) {
  return c->peer[who].stream == NULL;
}

static inline int connections_teardown(void **state) {
  struct connections *c = *state;
  number_clock.step_ns = 0;
  for (unsigned i = 0; i < PEERS; i++) {
    if (c->peer[i].stream != NULL) conn_close(conn_number(c, i));
    peer_finish(&c->peer[i]);
    free(c->peer[i].heard);
  }
  end_turns(c);
  assert_int_equal(c->count, 0);
  assert_int_equal(c->group.connections, 0);
  assert_int_equal(c->group.worker.session_count, 0);
  assert_int_equal(c->group.worker.waiting_count, 0);
  assert_int_equal(c->instance.input_bytes, 0);
  assert_int_equal(c->instance.sending_bytes, 0);
  conn_group_deinit(&c->group);
  gate_deinit(&c->gate);
  gate_set_deinit(&c->gates);
  setup_instance_deinit(&c->instance);
  keyspace_destroy(c->instance.keyspace);
  options_deinit(&c->options);
  free(c->text);
  free(c);
  return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, connections_setup, connections_teardown)

#endif
