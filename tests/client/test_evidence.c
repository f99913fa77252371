/*
 * test_evidence.c - what libidem sends and hears of work that may have happened: the words of its
 * commands, and the replies that tell of earlier attempts. Both halves of idem.h, against a server
 * that says what the test wants.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "client/idem.h"
#include "tests/client/harness.h"
#include "tests/client/pair.h"
#include "tests/client/stranger.h"

#define GRANT "*5\r\n$7\r\nCLAIMED\r\n:5\r\n:60000\r\n:1\r\n$-1\r\n"
#define BORN_MS INT64_C(1764417600123)

/* ---- what is sent ---- */

/* Writes down every command. The value of OWNER is random, what is left of a wait depends on the
 * machine: both count as "*". */
struct clerk {
  const char *refusal; /* the answer to the first CLAIM; NULL: a grant */
  pthread_mutex_t lock;
  int claims;
  char lines[1024];
};

static void write_line(struct clerk *clerk, const struct command *command) {
  size_t len = strlen(clerk->lines);
  for (int i = 0; i < command->count; i++) {
    bool any = i > 0 && (strcmp(command->words[i - 1], "OWNER") == 0 ||
                         strcmp(command->words[i - 1], "WAIT") == 0 ||
                         (i == 2 && command_is(command, "IDEM.WAIT")));
    len += (size_t)snprintf(clerk->lines + len, sizeof clerk->lines - len, "%s%s", i > 0 ? " " : "",
                            any ? "*" : command->words[i]);
    CHECK(len < sizeof clerk->lines, "too many commands: %s", clerk->lines);
  }
  snprintf(clerk->lines + len, sizeof clerk->lines - len, "\n");
}

static const char *write_down(const struct command *command, void *context) {
  struct clerk *clerk = context;
  pthread_mutex_lock(&clerk->lock);
  write_line(clerk, command);
  bool claims = command_is(command, "IDEM.CLAIM");
  bool first = claims && clerk->claims++ == 0;
  pthread_mutex_unlock(&clerk->lock);
  if (!claims) return ":1\r\n";
  return first && clerk->refusal != NULL ? clerk->refusal : GRANT;
}

#define CLERK(text) \
  { .refusal = (text), .lock = PTHREAD_MUTEX_INITIALIZER }

static void check_lines(const struct pair *pair, struct clerk *clerk, const char *wanted) {
  pthread_mutex_lock(&clerk->lock);
  CHECK(strcmp(clerk->lines, wanted) == 0, "%s:\n%s", pair_name(pair->half), clerk->lines);
  pthread_mutex_unlock(&clerk->lock);
}

static void a_claim_says_all_that_the_request_says(void **state) {
  (void)state;
  const struct idem_request request = {.key = idem_text("x"),
                                       .fingerprint = idem_text("f"),
                                       .lease_ms = 60000,
                                       .born_unix_ms = BORN_MS,
                                       .takeover = 77,
                                       .flags = IDEM_HOLD | IDEM_NO_RENEWAL};
  for (enum half half = 0; half < HALVES; half++) {
    struct clerk clerk = CLERK("-LOADING later\r\n");
    struct pair pair;
    struct idem_answer answer;
    struct idem_claim *claim = NULL;
    pair_open(&pair, half, write_down, &clerk, NULL);
    CHECK_STATUS(&pair, pair_begin(&pair, &request, &claim, &answer), IDEM_RUN);
#define LINE "IDEM.CLAIM x FP f OWNER * LEASE 60000 BORN 1764417600123 HOLD TAKEOVER 77\n"
    check_lines(&pair, &clerk, LINE LINE); /* and says it again when it asks again */
#undef LINE
    idem_claim_free(claim);
    idem_answer_clear(&answer);
    pair_close(&pair);
  }
}

static void a_request_that_makes_no_sense_is_not_sent(void **state) {
  (void)state;
  const struct idem_request requests[] = {
      {.key = idem_text("x"), .born_unix_ms = -1},
      {.key = idem_text("x"), .takeover = UINT64_MAX},
      {.key = idem_text("x"), .flags = 16},
  };
  struct idem_client *client = must_open(1, NULL);
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
    enum idem_status status = idem_begin(client, &requests[i], &claim, &answer);
    CHECK(status == IDEM_INVALID, "%zu: %s", i, idem_status_name(status));
    idem_answer_clear(&answer);
  }
  idem_close(client);
}

static void an_owner_says_what_it_knows_of_its_work(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct clerk clerk = CLERK(NULL);
    struct pair pair;
    pair_open(&pair, half, write_down, &clerk, NULL);
    for (enum idem_release how = IDEM_RELEASE_NOTHING; how <= IDEM_RELEASE_CLEAR; how++) {
      struct idem_claim *claim = pair_must_begin(&pair, "x");
      CHECK_STATUS(&pair, pair_abandon(&pair, claim, how), IDEM_OK);
      idem_claim_free(claim);
      claim = pair_must_begin(&pair, "x");
      CHECK_STATUS(&pair, pair_finish(&pair, claim, (int)how), IDEM_OK);
      idem_claim_free(claim);
    }
    check_lines(&pair, &clerk,
                "IDEM.CLAIM x OWNER *\nIDEM.RELEASE x 5\n"
                "IDEM.CLAIM x OWNER *\nIDEM.STORE x 5 b TTL 0\n"
                "IDEM.CLAIM x OWNER *\nIDEM.RELEASE x 5 UNSURE\n"
                "IDEM.CLAIM x OWNER *\nIDEM.STORE x 5 b TTL 0 UNSURE\n"
                "IDEM.CLAIM x OWNER *\nIDEM.RELEASE x 5 CLEAR\n"
                "IDEM.CLAIM x OWNER *\nIDEM.STORE x 5 b TTL 0 CLEAR\n");
    pair_close(&pair);
  }
}

static void a_word_that_there_is_not_is_not_sent(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct clerk clerk = CLERK(NULL);
    struct pair pair;
    pair_open(&pair, half, write_down, &clerk, NULL);
    struct idem_claim *claim = pair_must_begin(&pair, "x");
    CHECK_STATUS(&pair, pair_abandon(&pair, claim, (enum idem_release)0), IDEM_INVALID);
    CHECK_STATUS(&pair, pair_abandon(&pair, claim, (enum idem_release)4), IDEM_INVALID);
    CHECK_STATUS(&pair, pair_finish(&pair, claim, 4), IDEM_INVALID);
    CHECK_STATUS(&pair, pair_finish(&pair, claim, 0), IDEM_OK);
    check_lines(&pair, &clerk, "IDEM.CLAIM x OWNER *\nIDEM.STORE x 5 b\n");
    idem_claim_free(claim);
    pair_close(&pair);
  }
}

static void every_command_goes_by_its_long_name(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct clerk clerk = CLERK(NULL);
    struct pair pair;
    struct idem_answer answer;
    pair_open(&pair, half, write_down, &clerk, NULL);
    struct idem_claim *claim = pair_must_begin(&pair, "x");
    CHECK_STATUS(&pair, pair_stage(&pair, claim, "s"), IDEM_OK);
    idem_claim_free(claim);
    CHECK_STATUS(&pair, pair_fetch(&pair, &answer), IDEM_REFUSED);
    idem_answer_clear(&answer);
    CHECK_STATUS(&pair, pair_wait(&pair, 60000, &answer), IDEM_REFUSED);
    idem_answer_clear(&answer);
    check_lines(&pair, &clerk,
                "IDEM.CLAIM x OWNER *\nIDEM.RENEW x 5 STAGE s\nIDEM.FETCH x\nIDEM.WAIT x *\n");
    pair_close(&pair);
  }
}

/* ---- what is heard ---- */

static const char *say(const struct command *command, void *context) {
  (void)command;
  return context;
}

enum asked { BEGIN, FETCH, WAIT, ASKED };

static enum idem_status ask(struct pair *pair, enum asked asked, struct idem_answer *answer) {
  const struct idem_request request = {.key = idem_text("x"), .born_unix_ms = BORN_MS};
  struct idem_claim *claim = NULL;
  switch (asked) {
    case BEGIN: return pair_begin(pair, &request, &claim, answer);
    case FETCH: return pair_fetch(pair, answer);
    default: return pair_wait(pair, 1, answer);
  }
}

static bool is_text(struct idem_bytes bytes, const char *text) {
  if (bytes.data == NULL || text == NULL) return bytes.data == NULL && text == NULL;
  return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

struct heard {
  const char *reply;
  enum idem_status status[ASKED];
  uint64_t token;
  int64_t age_ms, attempt, horizon_unix_ms;
  const char *owner, *stage;
};

static const struct heard HEARD[] = {
    {"*5\r\n$4\r\nBUSY\r\n:700\r\n:9\r\n$3\r\nhim\r\n$4\r\npaid\r\n",
     .status = {IDEM_BUSY, IDEM_BUSY, IDEM_BUSY}, .age_ms = 9, .owner = "him", .stage = "paid"},
    {"*6\r\n$7\r\nUNKNOWN\r\n:7\r\n:9\r\n:2\r\n$3\r\nhim\r\n$4\r\npaid\r\n",
     .status = {IDEM_UNKNOWN, IDEM_UNKNOWN, IDEM_UNKNOWN}, .token = 7, .age_ms = 9, .attempt = 2,
     .owner = "him", .stage = "paid"},
    {"*6\r\n$6\r\nLAPSED\r\n:7\r\n:9\r\n:2\r\n$-1\r\n$0\r\n\r\n",
     .status = {IDEM_REFUSED, IDEM_LAPSED, IDEM_LAPSED}, .token = 7, .age_ms = 9, .attempt = 2,
     .stage = ""},
    {"*2\r\n$9\r\nFORGOTTEN\r\n:1764417600999\r\n",
     .status = {IDEM_FORGOTTEN, IDEM_REFUSED, IDEM_REFUSED},
     .horizon_unix_ms = INT64_C(1764417600999)},
    /* A later server may say more. */
    {"*6\r\n$4\r\nBUSY\r\n:700\r\n:9\r\n$-1\r\n$-1\r\n:1\r\n",
     .status = {IDEM_BUSY, IDEM_BUSY, IDEM_BUSY}, .age_ms = 9},
    {"*7\r\n$7\r\nUNKNOWN\r\n:7\r\n:9\r\n:2\r\n$-1\r\n$-1\r\n:1\r\n",
     .status = {IDEM_UNKNOWN, IDEM_UNKNOWN, IDEM_UNKNOWN}, .token = 7, .age_ms = 9, .attempt = 2},
    {"*7\r\n$6\r\nLAPSED\r\n:7\r\n:9\r\n:2\r\n$-1\r\n$-1\r\n:1\r\n",
     .status = {IDEM_REFUSED, IDEM_LAPSED, IDEM_LAPSED}, .token = 7, .age_ms = 9, .attempt = 2},
    {"*3\r\n$9\r\nFORGOTTEN\r\n:1764417600999\r\n:1\r\n",
     .status = {IDEM_FORGOTTEN, IDEM_REFUSED, IDEM_REFUSED},
     .horizon_unix_ms = INT64_C(1764417600999)},
    /* One that says less is not idem's. */
    {"*4\r\n$4\r\nBUSY\r\n:700\r\n:9\r\n$-1\r\n",
     .status = {IDEM_REFUSED, IDEM_REFUSED, IDEM_REFUSED}},
    {"*5\r\n$7\r\nUNKNOWN\r\n:7\r\n:9\r\n:2\r\n$-1\r\n",
     .status = {IDEM_REFUSED, IDEM_REFUSED, IDEM_REFUSED}},
    {"*5\r\n$6\r\nLAPSED\r\n:7\r\n:9\r\n:2\r\n$-1\r\n",
     .status = {IDEM_REFUSED, IDEM_REFUSED, IDEM_REFUSED}},
    {"*1\r\n$9\r\nFORGOTTEN\r\n", .status = {IDEM_REFUSED, IDEM_REFUSED, IDEM_REFUSED}},
    {"*2\r\n$9\r\nFORGOTTEN\r\n$-1\r\n", .status = {IDEM_REFUSED, IDEM_REFUSED, IDEM_REFUSED}},
    {"*6\r\n$7\r\nUNKNOWN\r\n:0\r\n:9\r\n:2\r\n$-1\r\n$-1\r\n",
     .status = {IDEM_REFUSED, IDEM_REFUSED, IDEM_REFUSED}},
};

static void check_heard(const struct pair *pair, const struct heard *heard, enum asked asked,
                        const struct idem_answer *answer) {
  const char *half = pair_name(pair->half);
  CHECK(answer->status == heard->status[asked], "%s %d: %s to %s", half, (int)asked,
        idem_status_name(answer->status), heard->reply);
  if (answer->status == IDEM_REFUSED) return;
  CHECK(answer->token == heard->token && answer->age_ms == heard->age_ms &&
            answer->attempt == heard->attempt && answer->horizon_unix_ms == heard->horizon_unix_ms,
        "%s %d: %s", half, (int)asked, heard->reply);
  CHECK(is_text(answer->owner, heard->owner) && is_text(answer->stage, heard->stage), "%s %d: %s",
        half, (int)asked, heard->reply);
}

static void each_reply_tells_what_is_left(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof HEARD / sizeof HEARD[0]; i++) {
    for (enum half half = 0; half < HALVES; half++) {
      struct pair pair;
      pair_open(&pair, half, say, (void *)(uintptr_t)HEARD[i].reply, NULL);
      for (enum asked asked = 0; asked < ASKED; asked++) {
        struct idem_answer answer;
        (void)ask(&pair, asked, &answer);
        check_heard(&pair, &HEARD[i], asked, &answer);
        idem_answer_clear(&answer);
      }
      pair_close(&pair);
    }
  }
}

static const struct {
  const char *reply;
  enum idem_stale stale;
} STALES[] = {
    {"-STALE ABSENT there is no record\r\n", IDEM_STALE_ABSENT},
    {"-STALE STORED\r\n", IDEM_STALE_STORED},
    {"-STALE OVERTAKEN the token is not the current owner's\r\n", IDEM_STALE_OVERTAKEN},
    {"-STALE ABSENTMINDED\r\n", IDEM_STALE_UNTOLD},
    {"-STALE\r\n", IDEM_STALE_UNTOLD},
};

static const char *grant_then_say(const struct command *command, void *context) {
  return command_is(command, "IDEM.CLAIM") ? GRANT : context;
}

static void stale_tells_what_there_is_instead(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof STALES / sizeof STALES[0]; i++) {
    for (enum half half = 0; half < HALVES; half++) {
      struct pair pair;
      pair_open(&pair, half, grant_then_say, (void *)(uintptr_t)STALES[i].reply, NULL);
      struct idem_claim *claim = pair_must_begin(&pair, "x");
      assert_int_equal(idem_claim_stale(claim), IDEM_STALE_UNTOLD);
      CHECK_STATUS(&pair, pair_finish(&pair, claim, 0), IDEM_STALE);
      CHECK(idem_claim_stale(claim) == STALES[i].stale, "%s: %s: %d", pair_name(half),
            STALES[i].reply, (int)idem_claim_stale(claim));
      idem_claim_free(claim);
      pair_close(&pair);
    }
  }
}

static void an_asynchronous_answer_tells_it_too(void **state) {
  (void)state;
  struct pair pair;
  struct seen seen;
  pair_open(&pair, ASYNC, grant_then_say, "-STALE OVERTAKEN\r\n", NULL);
  struct idem_claim *claim = pair_must_begin(&pair, "x");
  world_finish(&pair.world, claim, "b", 0, &seen);
  world_finish_all(&pair.world);
  CHECK_STATUS(&pair, seen.status, IDEM_STALE);
  assert_int_equal(seen.answer.stale, IDEM_STALE_OVERTAKEN);
  idem_answer_clear(&seen.answer);
  idem_claim_free(claim);
  pair_close(&pair);
}

#define SHORT_GRANT "*5\r\n$7\r\nCLAIMED\r\n:5\r\n:300\r\n:1\r\n$-1\r\n"

static const char *grant_shortly(const struct command *command, void *context) {
  return command_is(command, "IDEM.CLAIM") ? SHORT_GRANT : context;
}

/* In the background, from a renewal. */
static void a_claim_that_is_lost_tells_why(void **state) {
  (void)state;
  const struct idem_request request = {.key = idem_text("x")};
  for (enum half half = 0; half < HALVES; half++) {
    struct pair pair;
    struct idem_answer answer;
    struct idem_claim *claim = NULL;
    pair_open(&pair, half, grant_shortly, "-STALE STORED by another\r\n", NULL);
    CHECK_STATUS(&pair, pair_begin(&pair, &request, &claim, &answer), IDEM_RUN);
    for (int64_t until = now_ms() + HANG_MS; idem_claim_state(claim) != IDEM_CLAIM_LOST;) {
      CHECK(now_ms() < until, "%s: it is not lost", pair_name(half));
      if (half == SYNC) pause_ms(1);
      if (half == ASYNC) world_run_for(&pair.world, 1);
    }
    assert_int_equal(idem_claim_stale(claim), IDEM_STALE_STORED);
    idem_claim_free(claim);
    idem_answer_clear(&answer);
    pair_close(&pair);
  }
}

/* ---- a server that drains ---- */

#define DRAINING "-DRAINING the server is shutting down\r\n"

/* The first two claims come too early for the next server. */
static const char *drain_twice(const struct command *command, void *context) {
  _Atomic int *claims = context;
  if (!command_is(command, "IDEM.CLAIM")) return ":1\r\n";
  return ++*claims <= 2 ? DRAINING : GRANT;
}

static void a_claim_is_made_again_while_the_server_drains(void **state) {
  (void)state;
  const struct idem_options options = {.async_connections = 1};
  for (enum half half = 0; half < HALVES; half++) {
    struct pair pair;
    _Atomic int claims = 0;
    pair_open(&pair, half, drain_twice, &claims, &options);
    struct idem_claim *claim = pair_must_begin(&pair, "x");
    CHECK_STATUS(&pair, pair_finish(&pair, claim, 0), IDEM_OK);
    /* Claims that are held share the connection: it has to stay. */
    CHECK(stranger_connections(pair.stranger) == 1, "%s: %d", pair_name(half),
          stranger_connections(pair.stranger));
    assert_int_equal(claims, 3);
    idem_claim_free(claim);
    pair_close(&pair);
  }
}

static void a_server_that_drains_for_good_is_unavailable(void **state) {
  (void)state;
  const struct idem_request request = {.key = idem_text("x"), .flags = IDEM_NO_RENEWAL};
  /* No time for a second attempt. */
  const struct idem_options options = {.backoff_first_ms = 10 * HANG_MS,
                                       .backoff_max_ms = 10 * HANG_MS};
  for (enum half half = 0; half < HALVES; half++) {
    struct pair pair;
    struct idem_answer answer;
    struct idem_claim *claim = NULL;
    pair_open(&pair, half, say, DRAINING, &options);
    CHECK_STATUS(&pair, pair_begin(&pair, &request, &claim, &answer), IDEM_UNAVAILABLE);
    CHECK(strstr(answer.message, "DRAINING") != NULL && answer.retry_after_ms > 0, "%s",
          answer.message);
    idem_answer_clear(&answer);
    CHECK_STATUS(&pair, pair_fetch(&pair, &answer), IDEM_REFUSED); /* which is no answer to that */
    idem_answer_clear(&answer);
    pair_close(&pair);
  }
}

static void a_journal_without_room_is_unavailable(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct pair pair;
    pair_open(&pair, half, grant_then_say, "-MISCONF the journal has no room\r\n", NULL);
    struct idem_claim *claim = pair_must_begin(&pair, "x");
    CHECK_STATUS(&pair, pair_finish(&pair, claim, 0), IDEM_UNAVAILABLE);
    assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_HELD);
    idem_claim_free(claim);
    pair_close(&pair);
  }
}

/* ---- the whole job ---- */

struct job {
  int result, runs;
};

static int work(struct idem_claim *claim, void *context, struct idem_result *result) {
  struct job *job = context;
  (void)claim;
  (void)result;
  job->runs++;
  return job->result;
}

static void work_that_is_not_done_is_unsure_unless_it_says_so(void **state) {
  (void)state;
  const struct {
    int result;
    const char *lines;
  } cases[] = {
      {IDEM_WORK_NOTHING, "IDEM.CLAIM x OWNER * WAIT *\nIDEM.RELEASE x 5\n"},
      {IDEM_WORK_UNSURE, "IDEM.CLAIM x OWNER * WAIT *\nIDEM.RELEASE x 5 UNSURE\n"},
      {-1, "IDEM.CLAIM x OWNER * WAIT *\nIDEM.RELEASE x 5 UNSURE\n"},
      {IDEM_RELEASE_CLEAR, "IDEM.CLAIM x OWNER * WAIT *\nIDEM.RELEASE x 5 UNSURE\n"},
  };
  const struct idem_request request = {.key = idem_text("x"), .flags = IDEM_NO_RENEWAL};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct clerk clerk = CLERK(NULL);
    struct pair pair;
    struct idem_answer answer;
    struct job job = {.result = cases[i].result};
    pair_open(&pair, SYNC, write_down, &clerk, NULL);
    enum idem_status status = idem_once(pair.client, &request, work, &job, &answer);
    CHECK_STATUS(&pair, status, IDEM_FAILED);
    assert_int_equal(answer.work, cases[i].result);
    assert_int_equal(answer.store, IDEM_OK);
    check_lines(&pair, &clerk, cases[i].lines);
    idem_answer_clear(&answer);
    pair_close(&pair);
  }
}

static void what_may_have_been_forgotten_is_not_run(void **state) {
  (void)state;
  static const char *const replies[] = {"*2\r\n$9\r\nFORGOTTEN\r\n:1764417600999\r\n",
                                        "*6\r\n$7\r\nUNKNOWN\r\n:7\r\n:9\r\n:2\r\n$-1\r\n$-1\r\n"};
  static const enum idem_status statuses[] = {IDEM_FORGOTTEN, IDEM_UNKNOWN};
  const struct idem_request request = {
      .key = idem_text("x"), .born_unix_ms = BORN_MS, .flags = IDEM_FAIL_OPEN};
  for (int i = 0; i < 2; i++) {
    struct pair pair;
    struct idem_answer answer;
    struct job job = {0};
    pair_open(&pair, SYNC, say, (void *)(uintptr_t)replies[i], NULL);
    enum idem_status status = idem_once(pair.client, &request, work, &job, &answer);
    CHECK_STATUS(&pair, status, statuses[i]);
    assert_int_equal(job.runs, 0);
    idem_answer_clear(&answer);
    pair_close(&pair);
  }
}

static void once_tells_what_there_is_instead(void **state) {
  (void)state;
  const struct idem_request request = {.key = idem_text("x"), .flags = IDEM_NO_RENEWAL};
  struct pair pair;
  struct idem_answer answer;
  struct job job = {.result = IDEM_WORK_DONE};
  pair_open(&pair, SYNC, grant_then_say, "-STALE OVERTAKEN\r\n", NULL);
  enum idem_status status = idem_once(pair.client, &request, work, &job, &answer);
  CHECK_STATUS(&pair, status, IDEM_UNSTORED);
  assert_int_equal(answer.store, IDEM_STALE);
  assert_int_equal(answer.stale, IDEM_STALE_OVERTAKEN);
  idem_answer_clear(&answer);
  pair_close(&pair);
}

/* ---- who has looked ---- */

static const char *release_once(const struct command *command, void *context) {
  write_down(command, context);
  return command->number < 3 ? ":1\r\n" : ":0\r\n";
}

static void a_token_is_enough_to_release(void **state) {
  (void)state;
  struct clerk clerk = CLERK(NULL);
  struct pair pair;
  struct idem_error error;
  const struct idem_bytes key = idem_text("x");
  pair_open(&pair, SYNC, release_once, &clerk, NULL);
  assert_int_equal(idem_release(pair.client, key, 7, IDEM_RELEASE_CLEAR, &error), IDEM_OK);
  assert_string_equal(error.text, "");
  assert_int_equal(idem_release(pair.client, key, 7, IDEM_RELEASE_UNSURE, NULL), IDEM_OK);
  assert_int_equal(idem_release(pair.client, key, 7, IDEM_RELEASE_NOTHING, NULL), IDEM_OK);
  assert_int_equal(idem_release(pair.client, key, 7, IDEM_RELEASE_CLEAR, &error), IDEM_STALE);
  CHECK(error.text[0] != '\0', "it does not say why");
  assert_int_equal(idem_release(pair.client, key, 7, (enum idem_release)0, &error), IDEM_INVALID);
  assert_int_equal(idem_release(pair.client, idem_text(NULL), 7, IDEM_RELEASE_CLEAR, NULL),
                   IDEM_INVALID);
  check_lines(&pair, &clerk,
              "IDEM.RELEASE x 7 CLEAR\nIDEM.RELEASE x 7 UNSURE\nIDEM.RELEASE x 7\n"
              "IDEM.RELEASE x 7 CLEAR\n");
  pair_close(&pair);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_claim_says_all_that_the_request_says),
      cmocka_unit_test(a_request_that_makes_no_sense_is_not_sent),
      cmocka_unit_test(an_owner_says_what_it_knows_of_its_work),
      cmocka_unit_test(a_word_that_there_is_not_is_not_sent),
      cmocka_unit_test(every_command_goes_by_its_long_name),
      cmocka_unit_test(each_reply_tells_what_is_left),
      cmocka_unit_test(stale_tells_what_there_is_instead),
      cmocka_unit_test(an_asynchronous_answer_tells_it_too),
      cmocka_unit_test(a_claim_that_is_lost_tells_why),
      cmocka_unit_test(a_claim_is_made_again_while_the_server_drains),
      cmocka_unit_test(a_server_that_drains_for_good_is_unavailable),
      cmocka_unit_test(a_journal_without_room_is_unavailable),
      cmocka_unit_test(work_that_is_not_done_is_unsure_unless_it_says_so),
      cmocka_unit_test(what_may_have_been_forgotten_is_not_run),
      cmocka_unit_test(once_tells_what_there_is_instead),
      cmocka_unit_test(a_token_is_enough_to_release),
  };
  return cmocka_run_group_tests_name("evidence", tests, NULL, NULL);
}
