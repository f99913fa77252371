/*
 * test_contract.c - work that may have happened, with a real server: what one owner leaves is what
 * the next one is told. Both halves of idem.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <time.h>

#include "client/idem.h"
#include "tests/client/harness.h"
#include "tests/client/pair.h"

#define KEY idem_text("x")

static int64_t unix_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool is_text(struct idem_bytes bytes, const char *text) {
  if (bytes.data == NULL || text == NULL) return bytes.data == NULL && text == NULL;
  return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

/* A server of its own, whose memory begins now. */
static void open_pair(struct pair *pair, struct server *server, enum half half) {
  static const char *const arguments[] = {"--born-skew", "0", NULL};
  server_start(server, 0, arguments);
  pair_open_port(pair, half, server->port, NULL);
}

static void close_pair(struct pair *pair, struct server *server) {
  pair_close(pair);
  server_kill(server, SIGTERM);
}

/* A claim under these flags, with a lease that does not end. */
static struct idem_claim *must_claim(struct pair *pair, unsigned flags, uint64_t takeover) {
  const struct idem_request request = {
      .key = KEY, .lease_ms = 3600000, .takeover = takeover, .flags = flags | IDEM_NO_RENEWAL};
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  CHECK_STATUS(pair, pair_begin(pair, &request, &claim, &answer), IDEM_RUN);
  idem_answer_clear(&answer);
  return claim;
}

static void end(struct pair *pair, struct idem_claim *claim, enum idem_release how) {
  CHECK_STATUS(pair, pair_abandon(pair, claim, how), IDEM_OK);
  idem_claim_free(claim);
}

static void work_that_is_unsure_is_told_to_the_next_owner(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct server server;
    struct pair pair;
    struct idem_answer answer;
    open_pair(&pair, &server, half);
    struct idem_claim *claim = must_claim(&pair, 0, 0);
    const uint64_t token = idem_claim_token(claim);
    CHECK_STATUS(&pair, pair_stage(&pair, claim, "charged"), IDEM_OK);
    CHECK_STATUS(&pair, pair_fetch(&pair, &answer), IDEM_BUSY);
    CHECK(is_text(answer.stage, "charged"), "%s: who waits sees no progress", pair_name(half));
    idem_answer_clear(&answer);
    end(&pair, claim, IDEM_RELEASE_UNSURE);
    CHECK_STATUS(&pair, pair_fetch(&pair, &answer), IDEM_LAPSED);
    assert_int_equal(answer.token, token);
    assert_int_equal(answer.attempt, 1);
    CHECK(is_text(answer.stage, "charged") && answer.owner.len > 0, "%s", pair_name(half));
    idem_answer_clear(&answer);
    CHECK_STATUS(&pair, pair_wait(&pair, HANG_MS, &answer), IDEM_LAPSED);
    idem_answer_clear(&answer);
    claim = must_claim(&pair, 0, 0);
    assert_int_equal(idem_claim_attempt(claim), 2);
    CHECK(is_text(idem_claim_stage(claim), "charged"), "%s: the stage is lost", pair_name(half));
    /* It did nothing itself, which says nothing of the first one. */
    end(&pair, claim, IDEM_RELEASE_NOTHING);
    claim = must_claim(&pair, 0, 0);
    assert_int_equal(idem_claim_attempt(claim), 2);
    CHECK(is_text(idem_claim_stage(claim), "charged"), "%s: the stage is lost", pair_name(half));
    end(&pair, claim, IDEM_RELEASE_CLEAR);
    claim = must_claim(&pair, 0, 0);
    assert_int_equal(idem_claim_attempt(claim), 1);
    CHECK(is_text(idem_claim_stage(claim), NULL), "%s: a stage is left", pair_name(half));
    idem_claim_free(claim);
    close_pair(&pair, &server);
  }
}

static void an_error_that_is_shared_may_be_unsure_too(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct server server;
    struct pair pair;
    open_pair(&pair, &server, half);
    struct idem_claim *claim = must_claim(&pair, 0, 0);
    CHECK_STATUS(&pair, pair_finish(&pair, claim, IDEM_RELEASE_NOTHING), IDEM_OK);
    idem_claim_free(claim);
    claim = must_claim(&pair, 0, 0);
    assert_int_equal(idem_claim_attempt(claim), 1);
    CHECK_STATUS(&pair, pair_finish(&pair, claim, IDEM_RELEASE_UNSURE), IDEM_OK);
    idem_claim_free(claim);
    claim = must_claim(&pair, 0, 0);
    assert_int_equal(idem_claim_attempt(claim), 2);
    CHECK_STATUS(&pair, pair_finish(&pair, claim, IDEM_RELEASE_CLEAR), IDEM_OK);
    idem_claim_free(claim);
    claim = must_claim(&pair, 0, 0);
    assert_int_equal(idem_claim_attempt(claim), 1);
    idem_claim_free(claim);
    close_pair(&pair, &server);
  }
}

/* The token to decide with. */
static uint64_t must_be_unknown(struct pair *pair, uint64_t takeover) {
  const struct idem_request request = {.key = KEY, .wait_ms = HANG_MS, .takeover = takeover};
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  CHECK_STATUS(pair, pair_begin(pair, &request, &claim, &answer), IDEM_UNKNOWN);
  const uint64_t token = answer.token;
  idem_answer_clear(&answer);
  CHECK_STATUS(pair, pair_fetch(pair, &answer), IDEM_UNKNOWN);
  assert_int_equal(answer.token, token);
  idem_answer_clear(&answer);
  return token;
}

static void what_is_held_waits_for_a_decision(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct server server;
    struct pair pair;
    struct idem_client *referee = NULL;
    open_pair(&pair, &server, half);
    referee = must_open(server.port, NULL);
    end(&pair, must_claim(&pair, IDEM_HOLD, 0), IDEM_RELEASE_UNSURE);
    const uint64_t token = must_be_unknown(&pair, 0);
    must_be_unknown(&pair, token + 1); /* old evidence */
    struct idem_claim *claim = must_claim(&pair, 0, token);
    assert_int_equal(idem_claim_attempt(claim), 2);
    end(&pair, claim, IDEM_RELEASE_UNSURE); /* HOLD has stayed */
    const uint64_t second = must_be_unknown(&pair, token);
    assert_true(second > token);
    assert_int_equal(idem_release(referee, KEY, token, IDEM_RELEASE_CLEAR, NULL), IDEM_STALE);
    assert_int_equal(idem_release(referee, KEY, second, IDEM_RELEASE_CLEAR, NULL), IDEM_OK);
    claim = must_claim(&pair, 0, 0);
    assert_int_equal(idem_claim_attempt(claim), 1);
    idem_claim_free(claim);
    idem_close(referee);
    close_pair(&pair, &server);
  }
}

static void what_may_have_been_forgotten_is_told(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct server server;
    struct pair pair;
    struct idem_answer answer;
    struct idem_claim *claim = NULL;
    struct idem_request request = {
        .key = KEY, .born_unix_ms = unix_ms() - 3600000, .flags = IDEM_NO_RENEWAL};
    open_pair(&pair, &server, half);
    CHECK_STATUS(&pair, pair_begin(&pair, &request, &claim, &answer), IDEM_FORGOTTEN);
    assert_null(claim);
    CHECK(answer.horizon_unix_ms >= request.born_unix_ms && answer.horizon_unix_ms <= unix_ms(),
          "%s: the horizon is %lld", pair_name(half), (long long)answer.horizon_unix_ms);
    request.born_unix_ms = answer.horizon_unix_ms + 1;
    idem_answer_clear(&answer);
    while (unix_ms() < request.born_unix_ms) pause_ms(1);
    CHECK_STATUS(&pair, pair_begin(&pair, &request, &claim, &answer), IDEM_RUN);
    idem_answer_clear(&answer);
    end(&pair, claim, IDEM_RELEASE_NOTHING);
    request.born_unix_ms = unix_ms() + 3600000;
    CHECK_STATUS(&pair, pair_begin(&pair, &request, &claim, &answer), IDEM_REFUSED);
    idem_answer_clear(&answer);
    request.born_unix_ms = 0; /* somebody has looked */
    CHECK_STATUS(&pair, pair_begin(&pair, &request, &claim, &answer), IDEM_RUN);
    idem_answer_clear(&answer);
    idem_claim_free(claim);
    close_pair(&pair, &server);
  }
}

static void a_late_result_tells_why_it_is_not_stored(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct server server;
    struct pair pair;
    open_pair(&pair, &server, half);
    struct idem_client *referee = must_open(server.port, NULL);
    struct idem_claim *claim = must_claim(&pair, 0, 0);
    const uint64_t token = idem_claim_token(claim);
    assert_int_equal(idem_release(referee, KEY, token, IDEM_RELEASE_UNSURE, NULL), IDEM_OK);
    struct idem_claim *heir = must_claim(&pair, 0, 0);
    CHECK_STATUS(&pair, pair_finish(&pair, claim, 0), IDEM_STALE);
    assert_int_equal(idem_claim_stale(claim), IDEM_STALE_OVERTAKEN);
    CHECK_STATUS(&pair, pair_finish(&pair, heir, 0), IDEM_OK);
    CHECK_STATUS(&pair, pair_stage(&pair, claim, "s"), IDEM_STALE);
    assert_int_equal(idem_claim_stale(claim), IDEM_STALE_STORED);
    idem_claim_free(claim);
    idem_claim_free(heir);
    idem_close(referee);
    close_pair(&pair, &server);
  }
}

/* As long as nobody took over. */
static void a_late_result_is_stored(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct server server;
    struct pair pair;
    struct idem_answer answer;
    open_pair(&pair, &server, half);
    struct idem_client *referee = must_open(server.port, NULL);
    struct idem_claim *claim = must_claim(&pair, IDEM_HOLD, 0);
    const uint64_t token = idem_claim_token(claim);
    assert_int_equal(idem_release(referee, KEY, token, IDEM_RELEASE_UNSURE, NULL), IDEM_OK);
    must_be_unknown(&pair, 0);
    CHECK_STATUS(&pair, pair_finish(&pair, claim, 0), IDEM_OK);
    CHECK_STATUS(&pair, pair_fetch(&pair, &answer), IDEM_REPLAY);
    idem_answer_clear(&answer);
    idem_claim_free(claim);
    idem_close(referee);
    close_pair(&pair, &server);
  }
}

/* ---- a server that is told to stop ---- */

/* Asks for another key until the server grants none; what it said then. */
static void await_drain(struct pair *pair, struct idem_answer *answer) {
  const struct idem_request request = {.key = idem_text("y"), .flags = IDEM_NO_RENEWAL};
  for (int64_t until = now_ms() + HANG_MS;; idem_answer_clear(answer)) {
    struct idem_claim *claim = NULL;
    if (pair_begin(pair, &request, &claim, answer) != IDEM_RUN) return;
    end(pair, claim, IDEM_RELEASE_NOTHING);
    CHECK(now_ms() < until, "%s: it still grants", pair_name(pair->half));
  }
}

static void owners_finish_while_the_server_drains(void **state) {
  (void)state;
  const struct idem_options options = {.deadline_ms = 300};
  for (enum half half = 0; half < HALVES; half++) {
    struct server server;
    struct pair pair;
    struct idem_answer answer;
    server_start(&server, 0, NULL);
    pair_open_port(&pair, half, server.port, &options);
    struct idem_claim *claim = must_claim(&pair, 0, 0);
    kill(server.pid, SIGTERM);
    await_drain(&pair, &answer);
    CHECK_STATUS(&pair, answer.status, IDEM_UNAVAILABLE);
    CHECK(strstr(answer.message, "DRAINING") != NULL, "%s: %s", pair_name(half), answer.message);
    idem_answer_clear(&answer);
    CHECK_STATUS(&pair, pair_stage(&pair, claim, "half"), IDEM_OK);
    CHECK_STATUS(&pair, pair_finish(&pair, claim, 0), IDEM_OK);
    idem_claim_free(claim);
    close_pair(&pair, &server);
  }
}

/* ---- the whole job ---- */

struct job {
  int result, runs;
  int64_t attempt;
};

static int work(struct idem_claim *claim, void *context, struct idem_result *result) {
  struct job *job = context;
  (void)result;
  job->runs++;
  job->attempt = idem_claim_attempt(claim);
  return job->result;
}

static void once_is_told_that_it_is_not_the_first(void **state) {
  (void)state;
  const struct {
    unsigned flags;
    int result;
    enum idem_status again;
    int64_t attempt;
  } cases[] = {
      {0, IDEM_WORK_NOTHING, IDEM_RUN, 1},
      {0, IDEM_WORK_UNSURE, IDEM_RUN, 2},
      {0, 1000, IDEM_RUN, 2},
      {IDEM_HOLD, IDEM_WORK_NOTHING, IDEM_RUN, 1},
      {IDEM_HOLD, IDEM_WORK_UNSURE, IDEM_UNKNOWN, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct server server;
    struct pair pair;
    struct idem_answer answer;
    const struct idem_request request = {
        .key = KEY, .lease_ms = 3600000, .wait_ms = IDEM_NO_WAIT, .flags = cases[i].flags};
    struct job failing = {.result = cases[i].result}, job = {.result = IDEM_WORK_DONE};
    open_pair(&pair, &server, SYNC);
    enum idem_status status = idem_once(pair.client, &request, work, &failing, &answer);
    CHECK_STATUS(&pair, status, IDEM_FAILED);
    idem_answer_clear(&answer);
    status = idem_once(pair.client, &request, work, &job, &answer);
    CHECK(status == cases[i].again && job.attempt == cases[i].attempt, "case %zu: %s %lld", i,
          idem_status_name(status), (long long)job.attempt);
    idem_answer_clear(&answer);
    close_pair(&pair, &server);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(work_that_is_unsure_is_told_to_the_next_owner),
      cmocka_unit_test(an_error_that_is_shared_may_be_unsure_too),
      cmocka_unit_test(what_is_held_waits_for_a_decision),
      cmocka_unit_test(what_may_have_been_forgotten_is_told),
      cmocka_unit_test(a_late_result_tells_why_it_is_not_stored),
      cmocka_unit_test(a_late_result_is_stored),
      cmocka_unit_test(owners_finish_while_the_server_drains),
      cmocka_unit_test(once_is_told_that_it_is_not_the_first),
  };
  return cmocka_run_group_tests_name("contract", tests, NULL, NULL);
}
