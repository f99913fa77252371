/*
 * test_stranger.c - servers that answer what they should not: twice, unasked, in another protocol,
 * without an end, with words of other commands. In both halves of idem.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/idem.h"
#include "tests/client/harness.h"
#include "tests/client/stranger.h"
#include "tests/client/world.h"

#define NONE idem_data(NULL, 0)
#define GRANT(token) "*5\r\n$7\r\nCLAIMED\r\n:" token "\r\n:60000\r\n:1\r\n$-1\r\n"

/* Says the same to everything. */
static const char *say_always(const struct command *command, void *context) {
  (void)command;
  return context;
}

/* ---- one reply too many ---- */

static void a_stray_reply_ends_the_link_and_not_the_process(void **state) {
  (void)state;
  static const char *const strays[] = {"+OK\r\n", ":1\r\n", "*-1\r\n", "-ERR stray\r\n", "$"};
  for (size_t i = 0; i < sizeof strays / sizeof strays[0]; i++) {
    struct stranger *stranger = stranger_open(say_always, "*-1\r\n");
    struct world world;
    struct seen seen;
    const struct idem_options options = {.async_connections = 1};
    world_open(&world, stranger_port(stranger), &options);
    world_fetch(&world, "stray", &seen);
    assert_int_equal(seen.status, IDEM_ABSENT);
    idem_answer_clear(&seen.answer);
    stranger_say(stranger, 0, strays[i]);
    world_run_for(&world, 1);
    world_fetch(&world, "stray", &seen);
    CHECK(seen.status == IDEM_ABSENT, "%s: %s", strays[i], idem_status_name(seen.status));
    idem_answer_clear(&seen.answer);
    assert_int_equal(stranger_connections(stranger), 2);
    world_close(&world);
    stranger_close(stranger);
  }
}

/* On the first connection two replies come in one piece. */
static const char *say_twice(const struct command *command, void *context) {
  (void)context;
  return command->connection == 0 ? "*-1\r\n:1\r\n" : "*-1\r\n";
}

static void a_stray_reply_after_a_good_one_is_no_answer(void **state) {
  (void)state;
  struct stranger *stranger = stranger_open(say_twice, NULL);
  struct world world;
  struct seen seen;
  world_open(&world, stranger_port(stranger), NULL);
  world_fetch(&world, "stray", &seen);
  assert_int_equal(seen.status, IDEM_ABSENT);
  idem_answer_clear(&seen.answer);
  assert_int_equal(stranger_connections(stranger), 2);
  world_close(&world);
  stranger_close(stranger);

  stranger = stranger_open(say_twice, NULL);
  struct idem_client *client = must_open(stranger_port(stranger), NULL);
  struct idem_answer answer;
  assert_int_equal(idem_fetch(client, idem_text("stray"), NONE, &answer), IDEM_ABSENT);
  idem_answer_clear(&answer);
  assert_int_equal(stranger_connections(stranger), 2);
  idem_close(client);
  stranger_close(stranger);
}

/* The first renewal is answered twice. */
static const char *renew_twice(const struct command *command, void *context) {
  int *renewals = context;
  if (!command_is(command, "IDEM.RENEW"))
    return "*5\r\n$7\r\nCLAIMED\r\n:5\r\n:300\r\n:1\r\n$-1\r\n";
  return ++*renewals == 1 ? ":300\r\n:300\r\n" : "-STALE gone\r\n";
}

/* The second renewal goes over a new connection, where nothing is left of the first. */
static void a_stray_reply_is_no_renewal(void **state) {
  (void)state;
  for (int in_background = 0; in_background < 2; in_background++) {
    int renewals = 0;
    struct stranger *stranger = stranger_open(renew_twice, &renewals);
    struct idem_client *client = must_open(stranger_port(stranger), NULL);
    const struct idem_request request = {.key = idem_text("renewed twice"),
                                         .flags = in_background ? 0 : IDEM_NO_RENEWAL};
    struct idem_answer answer;
    struct idem_claim *claim = NULL;
    assert_int_equal(idem_begin(client, &request, &claim, &answer), IDEM_RUN);
    if (!in_background) assert_int_equal(idem_renew(claim, 0), IDEM_STALE);
    for (int64_t until = now_ms() + HANG_MS; idem_claim_state(claim) != IDEM_CLAIM_LOST;) {
      pause_ms(1);
      CHECK(now_ms() < until, "not lost");
    }
    assert_int_equal(stranger_connections(stranger), in_background ? 3 : 2);
    idem_claim_free(claim);
    idem_close(client);
    stranger_close(stranger);
  }
}

/* Each connection grants one token, again and again. */
static const char *grant_by_connection(const struct command *command, void *context) {
  static const char *const grants[] = {GRANT("5"), GRANT("6"), GRANT("7"), GRANT("8")};
  (void)context;
  CHECK(command->connection < 4, "too many connections");
  return command_is(command, "IDEM.CLAIM") ? grants[command->connection] : ":1\r\n";
}

static void a_reply_that_came_twice_grants_nothing(void **state) {
  (void)state;
  struct stranger *stranger = stranger_open(grant_by_connection, NULL);
  struct idem_client *client = must_open(stranger_port(stranger), NULL);
  struct idem_claim *first = must_begin_key(client, "first");
  assert_int_equal(idem_claim_token(first), 5);
  stranger_say(stranger, 0, GRANT("5")); /* lies in the connection before it is used again */
  int before = stranger_commands(stranger);
  struct idem_claim *second = must_begin_key(client, "second");
  assert_int_equal(idem_claim_token(second), 6);
  assert_int_equal(stranger_commands(stranger), before + 1);
  struct idem_claim *third = must_begin_key(client, "third"); /* comes as the answer */
  assert_int_equal(idem_claim_token(third), 7);
  idem_claim_free(first);
  idem_claim_free(second);
  idem_claim_free(third);
  idem_close(client);
  stranger_close(stranger);
}

static void async_a_reply_that_came_twice_grants_nothing(void **state) {
  (void)state;
  struct stranger *stranger = stranger_open(grant_by_connection, NULL);
  struct world world;
  const struct idem_options options = {.async_connections = 1};
  struct idem_claim *claims[3];
  world_open(&world, stranger_port(stranger), &options);
  for (size_t i = 0; i < 3; i++) {
    claims[i] = world_must_begin(
        &world, &(struct idem_request){.key = idem_text("twice"), .flags = IDEM_NO_RENEWAL});
    assert_int_equal(idem_claim_token(claims[i]), 5 + i);
  }
  for (size_t i = 0; i < 3; i++) idem_claim_free(claims[i]);
  world_close(&world);
  stranger_close(stranger);
}

#define MANY 200

/* Tokens from 1 to MANY, twice; then one of them again; over another connection a new one. */
static const char *grant_by_number(const struct command *command, void *context) {
  char *text = context;
  int token = command->connection > 0 ? MANY + 1 : 1 + command->number % MANY;
  snprintf(text, 128, GRANT("%d"), token);
  return text;
}

/* So many that the set of tokens grows. */
static void tokens_are_known_until_the_claim_is_freed(void **state) {
  (void)state;
  char text[128];
  struct stranger *stranger = stranger_open(grant_by_number, text);
  struct idem_client *client = must_open(stranger_port(stranger), NULL);
  struct idem_claim *claims[MANY];
  for (int round = 0; round < 2; round++) {
    for (size_t i = 0; i < MANY; i++) {
      claims[i] = must_begin_key(client, "many");
      assert_int_equal(idem_claim_token(claims[i]), 1 + i);
    }
    assert_int_equal(stranger_connections(stranger), 1);
    for (size_t i = 0; round == 0 && i < MANY; i++) idem_claim_free(claims[i]);
  }
  struct idem_claim *another = must_begin_key(client, "many");
  assert_int_equal(idem_claim_token(another), MANY + 1);
  assert_int_equal(stranger_connections(stranger), 2);
  idem_claim_free(another);
  for (size_t i = 0; i < MANY; i++) idem_claim_free(claims[i]);
  idem_close(client);
  stranger_close(stranger);
}

/* ---- other protocols, other servers ---- */

static void another_protocol_is_refused_at_once(void **state) {
  (void)state;
  static const char *const words[] = {"HTTP/1.1 400 Bad Request\r\n\r\n",
                                      "SSH-2.0-OpenSSH_9.2\r\n",
                                      "220 mail.example ESMTP\r\n",
                                      "+OK POP3 server ready\r\n",
                                      "-ERR unknown command 'CLAIM'\r\n",
                                      "\x15\x03\x01",
                                      "*1\r\n$5\r\nHELLO\r\n",
                                      "*x\r\n"};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    struct stranger *stranger = stranger_open(say_always, (void *)(uintptr_t)words[i]);
    struct idem_client *client = must_open(stranger_port(stranger), NULL);
    struct idem_request request = {.key = idem_text("x"), .flags = IDEM_FAIL_OPEN};
    struct idem_answer answer;
    int runs = 0;
    enum idem_status status = idem_once(client, &request, count_work, &runs, &answer);
    CHECK(status == IDEM_REFUSED, "%s: %s %s", words[i], idem_status_name(status), answer.message);
    assert_int_equal(runs, 0);
    assert_int_equal(stranger_commands(stranger), 1);
    assert_true(answer.message[0] != '\0');
    idem_answer_clear(&answer);
    idem_close(client);
    struct world world;
    struct seen seen;
    request.flags = 0;
    world_open(&world, stranger_port(stranger), NULL);
    world_begin(&world, &request, &seen, NULL);
    world_finish_all(&world);
    CHECK(seen.status == IDEM_REFUSED, "%s: %s", words[i], idem_status_name(seen.status));
    assert_int_equal(stranger_commands(stranger), 2);
    idem_answer_clear(&seen.answer);
    world_close(&world);
    stranger_close(stranger);
  }
}

/* BUSY, and then the server is gone. */
static const char *say_busy_once(const struct command *command, void *context) {
  (void)context;
  return command->number == 0 ? "*5\r\n$4\r\nBUSY\r\n:700\r\n:5\r\n$3\r\nhim\r\n$-1\r\n"
                              : STRANGER_HANGS_UP;
}

static void busy_once_heard_stays_busy(void **state) {
  (void)state;
  const struct idem_options options = {.deadline_ms = 500};
  struct idem_request request = {
      .key = idem_text("x"), .wait_ms = HANG_MS, .flags = IDEM_FAIL_OPEN};
  struct stranger *stranger = stranger_open(say_busy_once, NULL);
  struct idem_client *client = must_open(stranger_port(stranger), &options);
  struct idem_answer answer;
  int runs = 0;
  enum idem_status status = idem_once(client, &request, count_work, &runs, &answer);
  CHECK(status == IDEM_BUSY, "%s %s", idem_status_name(status), answer.message);
  assert_int_equal(runs, 0);
  assert_int_equal(answer.retry_after_ms, 700);
  assert_int_equal(answer.owner.len, 3);
  CHECK(strstr(answer.message, "no answer") != NULL, "%s", answer.message);
  idem_answer_clear(&answer);
  idem_close(client);
  stranger_close(stranger);

  struct world world;
  struct seen seen;
  request.flags = 0;
  stranger = stranger_open(say_busy_once, NULL);
  world_open(&world, stranger_port(stranger), &options);
  world_begin(&world, &request, &seen, NULL);
  world_finish_all(&world);
  CHECK(seen.status == IDEM_BUSY, "%s", idem_status_name(seen.status));
  assert_int_equal(seen.answer.retry_after_ms, 700);
  assert_int_equal(seen.answer.owner.len, 3);
  idem_answer_clear(&seen.answer);
  world_close(&world);
  stranger_close(stranger);
}

/* ---- words that a command cannot be answered with ---- */

static const char *grant_then_say(const struct command *command, void *context) {
  return command_is(command, "IDEM.CLAIM") ? GRANT("5") : context;
}

static void only_the_statuses_that_are_listed(void **state) {
  (void)state;
  static const char *const to_claim[] = {"-STALE x\r\n", "-CONFLICT x\r\n", "*-1\r\n", ":1\r\n"};
  for (size_t i = 0; i < sizeof to_claim / sizeof to_claim[0]; i++) {
    struct stranger *stranger = stranger_open(say_always, (void *)(uintptr_t)to_claim[i]);
    struct idem_client *client = must_open(stranger_port(stranger), NULL);
    const struct idem_request request = {.key = idem_text("x")};
    struct idem_answer answer;
    int runs = 0;
    enum idem_status status = idem_once(client, &request, count_work, &runs, &answer);
    CHECK(status == IDEM_REFUSED, "%s: %s", to_claim[i], idem_status_name(status));
    idem_answer_clear(&answer);
    idem_close(client);
    stranger_close(stranger);
  }
  static const char *const to_store[] = {"-MISMATCH x\r\n", "-BUSYKEY x\r\n"};
  for (size_t i = 0; i < sizeof to_store / sizeof to_store[0]; i++) {
    struct stranger *stranger = stranger_open(grant_then_say, (void *)(uintptr_t)to_store[i]);
    struct idem_client *client = must_open(stranger_port(stranger), NULL);
    struct idem_claim *claim = must_begin_key(client, "x");
    const struct idem_result result = {.body = idem_text("b")};
    assert_int_equal(idem_finish(claim, &result), IDEM_REFUSED);
    assert_int_equal(idem_stage(claim, idem_text("s")), IDEM_REFUSED);
    assert_int_equal(idem_abandon(claim, IDEM_RELEASE_NOTHING), IDEM_REFUSED);
    idem_claim_free(claim);
    idem_close(client);
    stranger_close(stranger);
  }
}

static void messages_have_no_control_characters(void **state) {
  (void)state;
  struct stranger *stranger = stranger_open(say_always, "-ERR \x1b[31mred\a\r\n");
  struct idem_client *client = must_open(stranger_port(stranger), NULL);
  struct idem_error error;
  assert_int_equal(idem_ping(client, &error), IDEM_REFUSED);
  assert_string_equal(error.text, "ERR ?[31mred?");
  idem_close(client);
  stranger_close(stranger);
}

/* ---- numbers and sizes ---- */

static void a_lease_without_end_does_not_overflow(void **state) {
  (void)state;
  struct stranger *stranger = stranger_open(
      say_always, "*5\r\n$7\r\nCLAIMED\r\n:7\r\n:9223372036854775807\r\n:1\r\n$-1\r\n");
  struct idem_client *client = must_open(stranger_port(stranger), NULL);
  const struct idem_request request = {.key = idem_text("x")};
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  assert_int_equal(idem_begin(client, &request, &claim, &answer), IDEM_RUN);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_HELD);
  idem_claim_free(claim);
  idem_close(client);
  struct world world;
  world_open(&world, stranger_port(stranger), NULL);
  claim = world_must_begin(&world, &request);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_HELD);
  idem_claim_free(claim);
  world_close(&world);
  stranger_close(stranger);
}

/* Both halves are refused, and soon: what takes longer hangs. */
static void check_refused(const char *reply, const struct idem_options *options) {
  struct stranger *stranger = stranger_open(say_always, (void *)(uintptr_t)reply);
  struct idem_client *client = must_open(stranger_port(stranger), options);
  struct idem_answer answer;
  enum idem_status status = idem_fetch(client, idem_text("x"), NONE, &answer);
  CHECK(status == IDEM_REFUSED, "%.40s: %s", reply, idem_status_name(status));
  CHECK(strstr(answer.message, "a reply over") != NULL || strstr(answer.message, "depth") != NULL,
        "%s", answer.message);
  idem_answer_clear(&answer);
  idem_close(client);
  struct world world;
  struct seen seen;
  world_open(&world, stranger_port(stranger), options);
  world_fetch(&world, "x", &seen);
  CHECK(seen.status == IDEM_REFUSED, "%.40s: %s", reply, idem_status_name(seen.status));
  idem_answer_clear(&seen.answer);
  world_close(&world);
  stranger_close(stranger);
}

static void a_reply_has_a_size(void **state) {
  (void)state;
  const struct idem_options options = {.reply_limit_bytes = 1 << 20};
  const struct idem_options too_small = {.reply_limit_bytes = 1};
  struct idem_client *none = NULL;
  assert_int_equal(idem_open("redis://h", &too_small, &none, NULL), IDEM_INVALID);
  check_refused("*2147483647\r\n", NULL);
  check_refused("*1000\r\n", NULL);
  size_t size = 4 << 20;
  char *text = malloc(size + 64);
  memset(text, 'x', size);
  text[size] = '\0';
  memcpy(text, "$4000000\r\n", 10); /* in one piece */
  check_refused(text, &options);
  memcpy(text, "+xxxxxxxxx", 10); /* a line without an end */
  check_refused(text, &options);
  size_t len = (size_t)snprintf(text, size, "*64\r\n"); /* in many */
  for (int i = 0; i < 40; i++) {
    len += (size_t)sprintf(text + len, "$50000\r\n");
    memset(text + len, 'y', 50000);
    len += 50000;
    len += (size_t)sprintf(text + len, "\r\n");
  }
  check_refused(text, &options);
  for (len = 0; len < 300 * 5; len += 5) memcpy(text + len, "*64\r\n", 6);
  check_refused(text, &options); /* arrays of arrays: hiredis 0.14 ends at a depth of 7 */
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_stray_reply_ends_the_link_and_not_the_process),
      cmocka_unit_test(a_stray_reply_after_a_good_one_is_no_answer),
      cmocka_unit_test(a_stray_reply_is_no_renewal),
      cmocka_unit_test(a_reply_that_came_twice_grants_nothing),
      cmocka_unit_test(async_a_reply_that_came_twice_grants_nothing),
      cmocka_unit_test(tokens_are_known_until_the_claim_is_freed),
      cmocka_unit_test(another_protocol_is_refused_at_once),
      cmocka_unit_test(busy_once_heard_stays_busy),
      cmocka_unit_test(only_the_statuses_that_are_listed),
      cmocka_unit_test(messages_have_no_control_characters),
      cmocka_unit_test(a_lease_without_end_does_not_overflow),
      cmocka_unit_test(a_reply_has_a_size),
  };
  return cmocka_run_group_tests_name("stranger", tests, NULL, NULL);
}
