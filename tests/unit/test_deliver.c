/*
 * test_deliver.c - every kind of answer as it goes over the wire, at once and to those who waited.
 *
 * Which fields an answer has is test_answer.c's; that the values are right is test_engine.c's.
 */
#include "server/commands/reply.h"
#include "tests/unit/peers.h"

#define SMALL (REPLY_PINNED_BYTES - 1)
#define LARGE REPLY_PINNED_BYTES

/* ---- answers that the engine could give ---- */

/* What deliver_answer writes for it. */
static void expect(const struct engine_answer *answer, int version, const char *expected) {
  struct resp_output out = {0};
  struct resp_writer writer = {&out, version};
  deliver_answer(&writer, NULL, answer);
  resp_output_append(&out, "", 1);
  assert_false(out.failed);
  assert_int_equal(out.ref_count, 0);
  assert_string_equal(out.bytes, expected);
  resp_output_deinit(&out);
}

static void expect_status(enum engine_status status, const char *expected) {
  const struct engine_answer answer = {.status = status, .count = 5};
  expect(&answer, 2, expected);
  expect(&answer, 3, expected);
}

static void numbers_are_written_in_their_order(void **state) {
  (void)state;
  const struct engine_answer claimed = {
      .status = ENGINE_CLAIMED, .token = 9007199254740991, .lease_ms = 60000, .attempt = 3};
  expect(&claimed, 2, "*5\r\n$7\r\nCLAIMED\r\n:9007199254740991\r\n:60000\r\n:3\r\n$-1\r\n");
  expect(&claimed, 3, "*5\r\n$7\r\nCLAIMED\r\n:9007199254740991\r\n:60000\r\n:3\r\n_\r\n");
  const struct engine_answer busy = {.status = ENGINE_BUSY, .left_ms = 70, .age_ms = 800};
  expect(&busy, 2, "*5\r\n$4\r\nBUSY\r\n:70\r\n:800\r\n$-1\r\n$-1\r\n");
  struct engine_answer ended = {
      .status = ENGINE_UNKNOWN, .token = 9007199254740991, .age_ms = 800, .attempt = 3};
  expect(&ended, 2, "*6\r\n$7\r\nUNKNOWN\r\n:9007199254740991\r\n:800\r\n:3\r\n$-1\r\n$-1\r\n");
  ended.status = ENGINE_LAPSED;
  expect(&ended, 3, "*6\r\n$6\r\nLAPSED\r\n:9007199254740991\r\n:800\r\n:3\r\n_\r\n_\r\n");
  const struct engine_answer forgotten = {.status = ENGINE_FORGOTTEN, .horizon_ms = 1700000000123};
  expect(&forgotten, 2, "*2\r\n$9\r\nFORGOTTEN\r\n:1700000000123\r\n");
  const struct engine_answer renewed = {.status = ENGINE_RENEWED, .lease_ms = 60000};
  expect(&renewed, 2, ":60000\r\n");
}

static void a_response_is_written_with_what_it_has(void **state) {
  (void)state;
  struct engine_answer done = {.status = ENGINE_DONE,
                               .body_bytes = SPAN_LITERAL("body"),
                               .meta_bytes = SPAN_LITERAL(""),
                               .age_ms = 1,
                               .left_ms = 2};
  expect(&done, 2, "*5\r\n$4\r\nDONE\r\n$4\r\nbody\r\n$0\r\n\r\n:1\r\n:2\r\n");
  done.meta_bytes = SPAN_ABSENT;
  expect(&done, 2, "*5\r\n$4\r\nDONE\r\n$4\r\nbody\r\n$-1\r\n:1\r\n:2\r\n");
  expect(&done, 3, "*5\r\n$4\r\nDONE\r\n$4\r\nbody\r\n_\r\n:1\r\n:2\r\n");
}

static void everything_else_is_a_number_a_null_or_an_error(void **state) {
  (void)state;
  expect_status(ENGINE_STORED, ":5\r\n");
  expect_status(ENGINE_RELEASED, ":1\r\n");
  expect_status(ENGINE_NOT_YOURS, ":0\r\n");
  const struct engine_answer nothing = {.status = ENGINE_NOTHING};
  expect(&nothing, 2, "*-1\r\n");
  expect(&nothing, 3, "_\r\n");
  expect_status(ENGINE_MISMATCH,
                "-MISMATCH the key is in use by a request with another fingerprint\r\n");
  expect_status(ENGINE_STALE_ABSENT, "-STALE ABSENT the key has no record\r\n");
  expect_status(ENGINE_STALE_STORED, "-STALE STORED a response is stored already\r\n");
  expect_status(ENGINE_STALE_OVERTAKEN,
                "-STALE OVERTAKEN the token is not the current owner's\r\n");
  expect_status(ENGINE_DRAINING,
                "-DRAINING the server is leaving; no claim is granted any more\r\n");
  expect_status(ENGINE_CONFLICT,
                "-CONFLICT this grant has already stored other bytes; the first ones stay\r\n");
  expect_status(ENGINE_OOM, "-OOM the memory limit is reached; nothing is evicted\r\n");
  expect_status(ENGINE_BUSYKEY, "-BUSYKEY too many callers wait\r\n");
  expect_status(ENGINE_WRONGTYPE,
                "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
  expect_status(ENGINE_NO_MEMORY, "-ERR out of memory\r\n");
}

static void nothing_is_added_to_an_output_that_has_failed(void **state) {
  (void)state;
  for (int status = 0; status <= ENGINE_NO_MEMORY; status++) {
    if (status == ENGINE_QUEUED) continue;
    struct resp_output out = {.failed = true};
    struct resp_writer writer = {&out, 2};
    const struct engine_answer answer = {.status = (enum engine_status)status};
    deliver_answer(&writer, NULL, &answer);
    assert_int_equal(resp_output_size(&out), 0);
  }
}

/* ---- what records have ---- */

static void owners_and_stages_are_shown(void **state) {
  struct peers *p = *state;
  assert_string_equal(ask(p, 0, "CLAIM k OWNER me LEASE 100 HOLD"),
                      "*5\r\n$7\r\nCLAIMED\r\n:1\r\n:100\r\n:1\r\n$-1\r\n");
  assert_string_equal(ask(p, 0, "RENEW k 1 STAGE half"), ":100\r\n");
  assert_string_equal(ask(p, 0, "CLAIM k OWNER me LEASE 100 HOLD"),
                      "*5\r\n$7\r\nCLAIMED\r\n:1\r\n:100\r\n:1\r\n$4\r\nhalf\r\n");
  assert_string_equal(ask(p, 1, "FETCH k"),
                      "*5\r\n$4\r\nBUSY\r\n:100\r\n:0\r\n$2\r\nme\r\n$4\r\nhalf\r\n");
  peers_pass_ms(p, 100);
  assert_string_equal(ask(p, 1, "FETCH k"),
                      "*6\r\n$7\r\nUNKNOWN\r\n:1\r\n:100\r\n:1\r\n$2\r\nme\r\n$4\r\nhalf\r\n");
}

/* A response of so many bytes under k, and as many of meta as it is to have, if any. */
static void store(struct peers *p, size_t body, size_t meta) {
  const char *granted = "*5\r\n$7\r\nCLAIMED\r\n:";
  char *bytes = malloc(LARGE), token[24];
  assert_non_null(bytes);
  memset(bytes, 'b', LARGE);
  ask(p, 0, "FLUSHALL");
  const char *reply = ask(p, 0, "CLAIM k");
  assert_memory_equal(reply, granted, strlen(granted));
  snprintf(token, sizeof token, "%llu", strtoull(reply + strlen(granted), NULL, 10));
  const struct span argv[] = {SPAN_LITERAL("STORE"), SPAN_LITERAL("k"),    span_of(token),
                              {bytes, body},         SPAN_LITERAL("META"), {bytes, meta}};
  say_spans(p, 0, argv, meta > 0 ? 6 : 4);
  assert_string_equal(heard(p, 0), ":0\r\n");
  free(bytes);
}

/* `text`, then `count` times the letter b. Returns what stands after them. */
static const char *expect_bytes(const char *at, const char *text, size_t count) {
  assert_memory_equal(at, text, strlen(text));
  at += strlen(text);
  assert_int_equal(strspn(at, "b"), count);
  return at + count;
}

/* Body and meta arrive whole, and so many of the two are sent from where they lie. */
static void expect_done(struct peers *p, size_t body, size_t meta, size_t pinned) {
  char head[64], middle[32] = "\r\n$-1";
  store(p, body, meta);
  say(p, 1, "FETCH k");
  assert_int_equal(p->session[1].out->ref_count, pinned);
  snprintf(head, sizeof head, "*5\r\n$4\r\nDONE\r\n$%zu\r\n", body);
  if (meta > 0) snprintf(middle, sizeof middle, "\r\n$%zu\r\n", meta);
  const char *at = expect_bytes(heard(p, 1), head, body);
  at = expect_bytes(at, middle, meta);
  assert_string_equal(at, "\r\n:0\r\n:86400000\r\n");
}

static void what_is_large_is_sent_from_where_it_lies(void **state) {
  struct peers *p = *state;
  expect_done(p, 1, 0, 0);
  expect_done(p, SMALL, SMALL, 0);
  expect_done(p, SMALL, 0, 0);
  expect_done(p, LARGE, 0, 1);
  expect_done(p, LARGE, 1, 1);
  expect_done(p, 1, LARGE, 1);
  expect_done(p, LARGE, LARGE, 2);
}

/* ---- those who wait ---- */

static void a_waiter_gets_the_response(void **state) {
  struct peers *p = *state;
  ask(p, 0, "CLAIM k");
  assert_string_equal(ask(p, 1, "WAIT k 500"), "");
  assert_true(p->session[1].waiting);
  assert_int_equal(p->worker.waiting_count, 1);
  peers_pass_ms(p, 7);
  assert_string_equal(ask(p, 0, "STORE k 1 body"), ":1\r\n");
  end_turn(p, 0);
  assert_string_equal(heard(p, 1), "*5\r\n$4\r\nDONE\r\n$4\r\nbody\r\n$-1\r\n:0\r\n:86400000\r\n");
  assert_false(p->session[1].waiting);
  assert_null(p->session[1].waiter);
  assert_int_equal(p->worker.waiting_count, 0);
  assert_int_equal(p->session[1].active_ms, p->worker.monotonic_ms);
}

/* A grant counts when its reply is written; until then it can be taken back. */
static void a_grant_is_settled_when_its_reply_is_written(void **state) {
  struct peers *p = *state;
  ask(p, 0, "CLAIM k");
  assert_string_equal(ask(p, 1, "CLAIM k WAIT 500 LEASE 100"), "");
  deliver_written(&p->session[1], &p->worker);
  assert_true(p->session[1].waiting); /* what was written was not the grant */
  assert_string_equal(ask(p, 0, "RELEASE k 1"), ":1\r\n");
  end_turn(p, 0);
  assert_string_equal(heard(p, 1), "*5\r\n$7\r\nCLAIMED\r\n:2\r\n:100\r\n:1\r\n$-1\r\n");
  assert_false(p->session[1].waiting);
  assert_non_null(p->session[1].waiter);
  deliver_written(&p->session[1], &p->worker);
  assert_null(p->session[1].waiter);
  assert_string_equal(ask(p, 1, "RENEW k 2"), ":100\r\n");
}

static void a_silent_session_is_not_answered(void **state) {
  struct peers *p = *state;
  ask(p, 0, "CLAIM k");
  ask(p, 1, "CLIENT REPLY SKIP");
  assert_string_equal(ask(p, 1, "WAIT k 500"), "");
  ask(p, 0, "RELEASE k 1");
  end_turn(p, 0);
  assert_string_equal(heard(p, 1), "");
  assert_false(p->session[1].waiting);
  /* SKIP was for that wait only. */
  ask(p, 0, "CLAIM k");
  assert_string_equal(ask(p, 1, "WAIT k 500"), "");
  ask(p, 0, "RELEASE k 2");
  end_turn(p, 0);
  assert_string_equal(heard(p, 1), "*-1\r\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(numbers_are_written_in_their_order),
      TEST(a_response_is_written_with_what_it_has),
      TEST(everything_else_is_a_number_a_null_or_an_error),
      TEST(nothing_is_added_to_an_output_that_has_failed),
      TEST(owners_and_stages_are_shown),
      TEST(what_is_large_is_sent_from_where_it_lies),
      TEST(a_waiter_gets_the_response),
      TEST(a_grant_is_settled_when_its_reply_is_written),
      TEST(a_silent_session_is_not_answered),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
