/*
 * test_agree.c - the synchronous and the asynchronous calls of idem.h say the same of the same
 * answers. Each case is asked of both halves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client/idem.h"
#include "tests/client/harness.h"
#include "tests/client/pair.h"
#include "tests/client/stranger.h"
#include "tests/client/world.h"

#define NONE idem_data(NULL, 0)
#define GRANT "*5\r\n$7\r\nCLAIMED\r\n:5\r\n:60000\r\n:1\r\n$-1\r\n"
#define BUSY "*5\r\n$4\r\nBUSY\r\n:700\r\n:5\r\n$3\r\nhim\r\n$-1\r\n"

/* ---- whether a STORE may have been done ---- */

/* Grants, and answers each STORE with the next of the texts. */
struct stores {
  const char *const *texts;
  int count;
};

static const char *answer_stores(const struct command *command, void *context) {
  struct stores *stores = context;
  if (command_is(command, "IDEM.CLAIM")) return GRANT;
  return command_is(command, "IDEM.STORE") ? stores->texts[stores->count++] : ":1\r\n";
}

/* The server says that it has not done it: a STALE after that is a STALE. */
static void a_refusal_for_now_leaves_no_doubt(void **state) {
  (void)state;
  static const char *const texts[] = {"-LOADING later\r\n", "-STALE gone\r\n"};
  for (enum half half = 0; half < HALVES; half++) {
    struct stores stores = {texts, 0};
    struct pair pair;
    pair_open(&pair, half, answer_stores, &stores, NULL);
    struct idem_claim *claim = pair_must_begin(&pair, "x");
    enum idem_status status = pair_finish(&pair, claim, IDEM_RELEASE_NOTHING);
    CHECK_STATUS(&pair, status, IDEM_STALE);
    assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_LOST);
    idem_claim_free(claim);
    pair_close(&pair);
  }
}

/* A STORE that ran into the deadline may have been done: a STALE after that may be its doing. */
static void a_silence_until_the_deadline_leaves_doubt(void **state) {
  (void)state;
  static const char *const texts[] = {NULL, "-STALE gone\r\n", "-STALE gone\r\n"};
  const struct idem_options options = {.deadline_ms = 1000};
  for (enum half half = 0; half < HALVES; half++) {
    struct stores stores = {texts, 0};
    struct pair pair;
    pair_open(&pair, half, answer_stores, &stores, &options);
    struct idem_claim *claim = pair_must_begin(&pair, "x");
    enum idem_status status = pair_finish(&pair, claim, IDEM_RELEASE_NOTHING);
    CHECK_STATUS(&pair, status, IDEM_UNAVAILABLE);
    status = pair_finish(&pair, claim, IDEM_RELEASE_NOTHING);
    CHECK_STATUS(&pair, status, IDEM_UNAVAILABLE);
    CHECK(strstr(idem_claim_message(claim), "the reply was lost") != NULL, "%s",
          idem_claim_message(claim));
    status = pair_finish(&pair, claim, 0); /* which would have been kept */
    CHECK_STATUS(&pair, status, IDEM_STALE);
    idem_claim_free(claim);
    pair_close(&pair);
  }
}

static void a_cancelled_store_leaves_doubt(void **state) {
  (void)state;
  static const char *const texts[] = {NULL, "-STALE gone\r\n"};
  const struct idem_result result = {.body = idem_text("b"), .uncached = IDEM_RELEASE_NOTHING};
  struct stores stores = {texts, 0};
  struct pair pair;
  pair_open(&pair, ASYNC, answer_stores, &stores, NULL);
  struct idem_claim *claim = pair_must_begin(&pair, "x");
  struct seen seen = {.world = &pair.world};
  struct idem_call *call = NULL;
  assert_int_equal(idem_async_finish(claim, &result, world_on_done, &seen, &call), IDEM_OK);
  pair.world.open++;
  while (stranger_commands(pair.stranger) < 2) world_run_for(&pair.world, 1);
  idem_async_cancel(call);
  world_finish_all(&pair.world);
  CHECK_STATUS(&pair, seen.status, IDEM_CANCELLED);
  enum idem_status status = pair_finish(&pair, claim, IDEM_RELEASE_NOTHING);
  CHECK_STATUS(&pair, status, IDEM_UNAVAILABLE);
  idem_claim_free(claim);
  pair_close(&pair);
}

/* A STORE that found no server was not done: the STALE of a server without memory is a STALE. */
static void a_refused_connection_leaves_no_doubt(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct server mortal;
    struct pair pair;
    const struct idem_options options = {.deadline_ms = 1000};
    server_start(&mortal, 0, NULL);
    pair_open_port(&pair, half, mortal.port, &options);
    struct idem_claim *claim = pair_must_begin(&pair, "x");
    int port = mortal.port;
    server_kill(&mortal, SIGKILL);
    if (half == ASYNC) world_run_for(&pair.world, 20); /* the loop sees the connection end */
    enum idem_status status = pair_finish(&pair, claim, IDEM_RELEASE_NOTHING);
    CHECK_STATUS(&pair, status, IDEM_UNAVAILABLE);
    server_start(&mortal, port, NULL);
    for (int64_t until = now_ms() + HANG_MS; status == IDEM_UNAVAILABLE && now_ms() < until;)
      status = pair_finish(&pair, claim, IDEM_RELEASE_NOTHING);
    CHECK_STATUS(&pair, status, IDEM_STALE);
    idem_claim_free(claim);
    pair_close(&pair);
    server_kill(&mortal, SIGTERM);
  }
}

/* ---- what a call ends with ---- */

static const char *busy_then_full(const struct command *command, void *context) {
  (void)context;
  return command->number == 0 ? BUSY : "-OOM no room\r\n";
}

static void busy_stays_busy_when_the_server_has_no_room(void **state) {
  (void)state;
  const struct idem_request request = {.key = idem_text("x"), .wait_ms = HANG_MS};
  for (enum half half = 0; half < HALVES; half++) {
    struct pair pair;
    struct idem_answer answer;
    struct idem_claim *claim = NULL;
    pair_open(&pair, half, busy_then_full, NULL, NULL);
    enum idem_status status = pair_begin(&pair, &request, &claim, &answer);
    CHECK_STATUS(&pair, status, IDEM_BUSY);
    assert_int_equal(answer.retry_after_ms, 700);
    CHECK(strstr(answer.message, "no room") != NULL, "%s: %s", pair_name(half), answer.message);
    idem_answer_clear(&answer);
    pair_close(&pair);
  }
}

static int note_run(struct idem_claim *claim, void *context, struct idem_result *result) {
  (void)claim;
  (void)result;
  ++*(int *)context;
  return IDEM_WORK_DONE;
}

/* The owner that was heard of is at work: nothing may run beside it. */
static void nothing_runs_beside_an_owner_that_was_heard_of(void **state) {
  (void)state;
  const struct idem_request request = {
      .key = idem_text("x"), .wait_ms = HANG_MS, .flags = IDEM_FAIL_OPEN};
  struct pair pair;
  struct idem_answer answer;
  int runs = 0;
  pair_open(&pair, SYNC, busy_then_full, NULL, NULL);
  enum idem_status status = idem_once(pair.client, &request, note_run, &runs, &answer);
  CHECK_STATUS(&pair, status, IDEM_BUSY);
  assert_int_equal(runs, 0);
  idem_answer_clear(&answer);
  pair_close(&pair);
}

static const char *say_nothing(const struct command *command, void *context) {
  (void)command;
  (void)context;
  return NULL;
}

/* A frozen server accepts, and does not answer AUTH: the call is never sent, so it does not wait.
 */
static void no_call_waits_for_its_connection(void **state) {
  (void)state;
  const struct idem_request request = {.key = idem_text("x"), .wait_ms = HANG_MS / 10};
  const struct idem_options options = {
      .command_timeout_ms = 100, .deadline_ms = 500, .backoff_max_ms = 20};
  for (enum half half = 0; half < HALVES; half++) {
    char url[64];
    struct pair pair = {.half = half, .stranger = stranger_open(say_nothing, NULL)};
    struct idem_answer answer;
    struct idem_claim *claim = NULL;
    snprintf(url, sizeof url, "redis://:secret@127.0.0.1:%d", stranger_port(pair.stranger));
    if (half == SYNC) {
      assert_int_equal(idem_open(url, &options, &pair.client, NULL), IDEM_OK);
    } else {
      world_open_url(&pair.world, url, &options);
    }
    int64_t start_ms = now_ms();
    enum idem_status status = pair_begin(&pair, &request, &claim, &answer);
    CHECK_STATUS(&pair, status, IDEM_UNAVAILABLE);
    CHECK(now_ms() - start_ms < request.wait_ms, "%s: it waited for %lld ms", pair_name(half),
          (long long)(now_ms() - start_ms));
    idem_answer_clear(&answer);
    pair_close(&pair);
  }
}

static const char *say_loading(const struct command *command, void *context) {
  (void)command;
  (void)context;
  return "-LOADING it reads its disk\r\n";
}

/* How long it was tried, and what was said. */
static void an_end_without_an_answer_says_why(void **state) {
  (void)state;
  /* No time for a second attempt, whose end would be told instead. */
  const struct idem_options options = {.backoff_first_ms = 10 * HANG_MS,
                                       .backoff_max_ms = 10 * HANG_MS};
  for (enum half half = 0; half < HALVES; half++) {
    struct pair pair;
    struct idem_answer answer;
    pair_open(&pair, half, say_loading, NULL, &options);
    enum idem_status status = pair_fetch(&pair, &answer);
    CHECK_STATUS(&pair, status, IDEM_UNAVAILABLE);
    CHECK(strstr(answer.message, "127.0.0.1") == answer.message &&
              strstr(answer.message, " did not serve the call in ") != NULL &&
              strstr(answer.message, "it reads its disk") != NULL,
          "%s: %s", pair_name(half), answer.message);
    idem_answer_clear(&answer);
    pair_close(&pair);
  }
}

static const char *release_nothing(const struct command *command, void *context) {
  (void)context;
  return command_is(command, "IDEM.CLAIM") ? GRANT : ":0\r\n";
}

static void an_abandon_that_came_too_late_says_so(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct pair pair;
    pair_open(&pair, half, release_nothing, NULL, NULL);
    struct idem_claim *claim = pair_must_begin(&pair, "x");
    enum idem_status status = pair_abandon(&pair, claim, IDEM_RELEASE_NOTHING);
    CHECK_STATUS(&pair, status, IDEM_STALE);
    assert_string_equal(idem_claim_message(claim), "no longer the owner");
    assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_ENDED);
    idem_claim_free(claim);
    pair_close(&pair);
  }
}

static const char *grant_all(const struct command *command, void *context) {
  (void)context;
  return command_is(command, "IDEM.CLAIM") ? GRANT : ":1\r\n";
}

static void a_key_that_no_server_takes_is_too_big(void **state) {
  (void)state;
  size_t len = 64 << 10;
  char *key = malloc(len);
  memset(key, 'k', len);
  const struct idem_request request = {.key = idem_data(key, len)};
  for (enum half half = 0; half < HALVES; half++) {
    struct pair pair;
    struct idem_answer answer;
    struct idem_claim *claim = NULL;
    pair_open(&pair, half, grant_all, NULL, NULL);
    enum idem_status status = pair_begin(&pair, &request, &claim, &answer);
    CHECK_STATUS(&pair, status, IDEM_TOOBIG);
    assert_null(claim);
    assert_int_equal(stranger_commands(pair.stranger), 0);
    idem_answer_clear(&answer);
    pair_close(&pair);
  }
  free(key);
}

/* It is about idem_once; a begin has nothing to run. */
static void a_begin_takes_the_flag_of_once(void **state) {
  (void)state;
  const struct idem_request request = {.key = idem_text("x"), .flags = IDEM_FAIL_OPEN};
  for (enum half half = 0; half < HALVES; half++) {
    struct pair pair;
    struct idem_answer answer;
    struct idem_claim *claim = NULL;
    pair_open(&pair, half, grant_all, NULL, NULL);
    enum idem_status status = pair_begin(&pair, &request, &claim, &answer);
    CHECK_STATUS(&pair, status, IDEM_RUN);
    idem_claim_free(claim);
    pair_close(&pair);
  }
}

static void a_mistake_on_a_claim_has_a_message(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct pair pair;
    pair_open(&pair, half, grant_all, NULL, NULL);
    struct idem_claim *claim = pair_must_begin(&pair, "x");
    enum idem_status status = pair_stage(&pair, claim, NULL);
    CHECK_STATUS(&pair, status, IDEM_INVALID);
    assert_string_equal(idem_claim_message(claim), "no stage");
    idem_claim_free(claim);
    pair_close(&pair);
  }
}

static const char *say_busy(const struct command *command, void *context) {
  (void)context;
  if (command_is(command, "IDEM.WAIT") || command_is(command, "IDEM.FETCH")) return BUSY;
  return ":1\r\n";
}

/* A server that does not let it wait is asked again until the wait is over, with pauses. */
static void a_wait_lasts_as_long_as_was_asked(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct pair pair;
    struct idem_answer answer = {0};
    pair_open(&pair, half, say_busy, NULL, NULL);
    assert_int_equal(pair_wait(&pair, 0, &answer), IDEM_INVALID);
    enum idem_status status = pair_wait(&pair, 300, &answer);
    CHECK_STATUS(&pair, status, IDEM_BUSY);
    int commands = stranger_commands(pair.stranger);
    CHECK(commands >= 2 && commands <= 30, "%s: %d commands", pair_name(half), commands);
    idem_answer_clear(&answer);
    pair_close(&pair);
  }
}

/* ---- connections ---- */

/* The second command finds the connection closed. */
static const char *hang_up_at_the_second(const struct command *command, void *context) {
  (void)context;
  return command->number == 1 ? STRANGER_HANGS_UP : "*-1\r\n";
}

/* What stood idle may have been closed long ago: no pause for that. */
static void an_old_connection_that_fails_is_replaced_at_once(void **state) {
  (void)state;
  const struct idem_options options = {
      .backoff_first_ms = 10 * HANG_MS, .backoff_max_ms = 10 * HANG_MS, .async_connections = 1};
  for (enum half half = 0; half < HALVES; half++) {
    struct pair pair;
    pair_open(&pair, half, hang_up_at_the_second, NULL, &options);
    for (int i = 0; i < 2; i++) {
      struct idem_answer answer;
      enum idem_status status = pair_fetch(&pair, &answer);
      CHECK(status == IDEM_ABSENT, "%s: %s %s", pair_name(half), idem_status_name(status),
            answer.message);
      idem_answer_clear(&answer);
    }
    assert_int_equal(stranger_connections(pair.stranger), 2);
    pair_close(&pair);
  }
}

/* The option of the socket of this process that is connected to the port. */
static int option_of(int port, int level, int name) {
  for (int fd = 3; fd < 256; fd++) {
    struct sockaddr_in there;
    socklen_t len = sizeof there;
    if (getpeername(fd, (struct sockaddr *)&there, &len) != 0) continue;
    if (there.sin_family != AF_INET || ntohs(there.sin_port) != port) continue;
    int value = 0;
    len = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
  }
  return -1;
}

static void a_server_that_vanishes_is_probed_for(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct pair pair;
    struct idem_answer answer;
    pair_open(&pair, half, say_busy, NULL, NULL);
    pair_fetch(&pair, &answer);
    idem_answer_clear(&answer);
    int port = stranger_port(pair.stranger);
    CHECK(option_of(port, SOL_SOCKET, SO_KEEPALIVE) == 1, "%s", pair_name(half));
    CHECK(option_of(port, IPPROTO_TCP, TCP_KEEPIDLE) == 15, "%s: after %d s", pair_name(half),
          option_of(port, IPPROTO_TCP, TCP_KEEPIDLE));
    assert_int_equal(option_of(port, IPPROTO_TCP, TCP_KEEPINTVL), 5);
    assert_int_equal(option_of(port, IPPROTO_TCP, TCP_KEEPCNT), 3);
    pair_close(&pair);
  }
}

int __real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);

/* "two.test" has two addresses. */
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found) {
  if (node == NULL || strcmp(node, "two.test") != 0)
    return __real_getaddrinfo(node, service, hints, found);
  assert_int_equal(__real_getaddrinfo("127.0.0.2", service, hints, found), 0);
  return __real_getaddrinfo("127.0.0.1", service, hints, &(*found)->ai_next);
}

/* The server listens on the second address of its name; the first one refuses. */
static void every_address_of_a_name_is_tried(void **state) {
  (void)state;
  struct stranger *stranger = stranger_open(say_busy, NULL);
  char url[64];
  snprintf(url, sizeof url, "redis://two.test:%d", stranger_port(stranger));
  struct world world;
  struct seen seen;
  world_open_url(&world, url, NULL);
  world_fetch(&world, "x", &seen);
  CHECK(seen.status == IDEM_BUSY, "async: %s %s", idem_status_name(seen.status),
        seen.answer.message);
  idem_answer_clear(&seen.answer);
  world_close(&world);
  struct idem_client *client = NULL;
  struct idem_answer answer;
  assert_int_equal(idem_open(url, NULL, &client, NULL), IDEM_OK);
  assert_int_equal(idem_fetch(client, idem_text("x"), NONE, &answer), IDEM_BUSY);
  idem_answer_clear(&answer);
  idem_close(client);
  stranger_close(stranger);
}

#define SLOW_MS 100

/* Takes its time over the password, and notes how long a claim is to wait. */
struct porter {
  _Atomic long wait_ms;
};

static const char *admit_slowly(const struct command *command, void *context) {
  struct porter *porter = context;
  if (command_is(command, "AUTH")) {
    pause_ms(SLOW_MS);
    return "+OK\r\n";
  }
  for (int i = 2; command_is(command, "IDEM.CLAIM") && i + 1 < command->count; i++) {
    if (strcmp(command->words[i], "WAIT") == 0) porter->wait_ms = atol(command->words[i + 1]);
  }
  return command_is(command, "IDEM.CLAIM") ? GRANT : "*-1\r\n";
}

static void connecting_uses_up_the_wait(void **state) {
  (void)state;
  const struct idem_request request = {
      .key = idem_text("x"), .wait_ms = HANG_MS, .flags = IDEM_NO_RENEWAL};
  for (enum half half = 0; half < HALVES; half++) {
    struct porter porter = {0};
    struct pair pair = {.half = half, .stranger = stranger_open(admit_slowly, &porter)};
    char url[64];
    snprintf(url, sizeof url, "redis://:word@127.0.0.1:%d", stranger_port(pair.stranger));
    const struct idem_options options = patient_options(NULL);
    if (half == SYNC) {
      assert_int_equal(idem_open(url, &options, &pair.client, NULL), IDEM_OK);
    } else {
      world_open_url(&pair.world, url, &options);
    }
    struct idem_answer answer;
    struct idem_claim *claim = NULL;
    enum idem_status status = pair_begin(&pair, &request, &claim, &answer);
    CHECK_STATUS(&pair, status, IDEM_RUN);
    CHECK(porter.wait_ms > 0 && porter.wait_ms <= HANG_MS - SLOW_MS, "%s: WAIT %ld",
          pair_name(half), porter.wait_ms);
    idem_claim_free(claim);
    pair_close(&pair);
  }
}

/* A begin that is cancelled before a connection stands is not sent any more. */
static void what_was_cancelled_is_not_sent(void **state) {
  (void)state;
  struct porter porter = {0};
  struct stranger *stranger = stranger_open(admit_slowly, &porter);
  const struct idem_options options = {.async_connections = 1};
  const struct idem_options patient = patient_options(&options);
  struct world world;
  struct seen begun, seen;
  struct idem_call *call = NULL;
  char url[64];
  snprintf(url, sizeof url, "redis://:word@127.0.0.1:%d", stranger_port(stranger));
  world_open_url(&world, url, &patient);
  const struct idem_request request = {.key = idem_text("x")};
  world_begin(&world, &request, &begun, &call);
  idem_async_cancel(call);
  world_fetch(&world, "x", &seen);
  assert_int_equal(seen.status, IDEM_ABSENT);
  assert_int_equal(begun.status, IDEM_CANCELLED);
  assert_int_equal(stranger_commands(stranger), 2); /* AUTH, FETCH */
  idem_answer_clear(&seen.answer);
  idem_answer_clear(&begun.answer);
  world_close(&world);
  stranger_close(stranger);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_refusal_for_now_leaves_no_doubt),
      cmocka_unit_test(a_silence_until_the_deadline_leaves_doubt),
      cmocka_unit_test(a_cancelled_store_leaves_doubt),
      cmocka_unit_test(a_refused_connection_leaves_no_doubt),
      cmocka_unit_test(busy_stays_busy_when_the_server_has_no_room),
      cmocka_unit_test(nothing_runs_beside_an_owner_that_was_heard_of),
      cmocka_unit_test(no_call_waits_for_its_connection),
      cmocka_unit_test(an_end_without_an_answer_says_why),
      cmocka_unit_test(an_abandon_that_came_too_late_says_so),
      cmocka_unit_test(a_key_that_no_server_takes_is_too_big),
      cmocka_unit_test(a_begin_takes_the_flag_of_once),
      cmocka_unit_test(a_mistake_on_a_claim_has_a_message),
      cmocka_unit_test(a_wait_lasts_as_long_as_was_asked),
      cmocka_unit_test(an_old_connection_that_fails_is_replaced_at_once),
      cmocka_unit_test(a_server_that_vanishes_is_probed_for),
      cmocka_unit_test(every_address_of_a_name_is_tried),
      cmocka_unit_test(connecting_uses_up_the_wait),
      cmocka_unit_test(what_was_cancelled_is_not_sent),
  };
  return cmocka_run_group_tests_name("agree", tests, NULL, NULL);
}
