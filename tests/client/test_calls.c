/*
 * test_calls.c - every synchronous call of idem.h against a server: what it answers, and what it
 * leaves on the server.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/idem.h"
#include "tests/client/harness.h"

static struct server server;

static struct idem_request request_of(const char *key) {
  struct idem_request request;
  memset(&request, 0, sizeof request);
  request.key = idem_text(key);
  return request;
}

static struct idem_result result_of(const char *body) {
  struct idem_result result;
  memset(&result, 0, sizeof result);
  result.body = idem_text(body);
  return result;
}

static void assert_bytes(struct idem_bytes bytes, const char *expected) {
  assert_non_null(bytes.data);
  assert_int_equal(bytes.len, strlen(expected));
  assert_memory_equal(bytes.data, expected, bytes.len);
  assert_int_equal(((const char *)bytes.data)[bytes.len], 0);
}

/* Asks, throws the answer away. */
static enum idem_status begin_status(struct idem_client *client,
                                     const struct idem_request *request) {
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  enum idem_status status = idem_begin(client, request, &claim, &answer);
  if (status == IDEM_RUN) idem_abandon(claim, IDEM_RELEASE_NOTHING);
  idem_claim_free(claim);
  idem_answer_clear(&answer);
  return status;
}

static struct idem_claim *must_begin(struct idem_client *client,
                                     const struct idem_request *request) {
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  enum idem_status status = idem_begin(client, request, &claim, &answer);
  CHECK(status == IDEM_RUN, "%s: %s", idem_status_name(status), answer.message);
  assert_non_null(claim);
  idem_answer_clear(&answer);
  return claim;
}

static void run_then_replay(void **state) {
  struct idem_client *client = *state;
  struct idem_request request = request_of("run_then_replay");
  struct idem_result result = result_of("{\"ok\":1}");
  struct idem_answer answer;
  int64_t start = now_ms();
  result.meta = idem_text("201");
  result.ttl_ms = 50000;
  struct idem_claim *claim = must_begin(client, &request);
  assert_int_equal(idem_claim_attempt(claim), 1);
  assert_int_equal(idem_claim_lease_ms(claim), 60000);
  assert_true(idem_claim_token(claim) > 0 && idem_claim_token(claim) < (uint64_t)1 << 53);
  assert_null(idem_claim_stage(claim).data);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_HELD);
  assert_int_equal(idem_finish(claim, &result), IDEM_OK);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_ENDED);
  assert_int_equal(idem_finish(claim, &result), IDEM_INVALID);
  assert_string_equal(idem_claim_message(claim), "the claim has ended");
  idem_claim_free(claim);

  assert_int_equal(idem_begin(client, &request, &claim, &answer), IDEM_REPLAY);
  assert_null(claim);
  assert_bytes(answer.body, "{\"ok\":1}");
  assert_bytes(answer.meta, "201");
  assert_true(answer.ttl_left_ms <= 50000 && answer.ttl_left_ms >= 49999 - (now_ms() - start));
  idem_answer_clear(&answer);
  idem_answer_clear(&answer);
}

static void busy_names_the_owner(void **state) {
  struct idem_client *client = *state;
  struct idem_options options;
  memset(&options, 0, sizeof options);
  options.name = "web-3";
  struct idem_client *other = must_open(server.port, &options);
  struct idem_request request = request_of("busy");
  struct idem_answer answer;
  int64_t start = now_ms();
  struct idem_claim *claim = must_begin(other, &request), *second = NULL;
  assert_int_equal(idem_begin(client, &request, &second, &answer), IDEM_BUSY);
  assert_true(answer.retry_after_ms <= 60000);
  assert_true(answer.retry_after_ms >= 59999 - (now_ms() - start));
  assert_int_equal(answer.owner.len, strlen("web-3:") + 32);
  assert_memory_equal(answer.owner.data, "web-3:", strlen("web-3:"));
  idem_answer_clear(&answer);
  assert_int_equal(idem_abandon(claim, IDEM_RELEASE_NOTHING), IDEM_OK);
  assert_int_equal(begin_status(client, &request), IDEM_RUN);
  idem_claim_free(claim);
  idem_close(other);
}

static void fingerprints_differ(void **state) {
  struct idem_client *client = *state;
  struct idem_request request = request_of("fp");
  request.fingerprint = idem_text("one");
  struct idem_claim *claim = must_begin(client, &request);
  struct idem_answer answer;
  request.fingerprint = idem_text("two");
  assert_int_equal(begin_status(client, &request), IDEM_MISMATCH);
  assert_int_equal(idem_fetch(client, request.key, request.fingerprint, &answer), IDEM_MISMATCH);
  idem_answer_clear(&answer);
  assert_int_equal(idem_fetch(client, request.key, idem_text(NULL), &answer), IDEM_BUSY);
  idem_answer_clear(&answer);
  idem_abandon(claim, IDEM_RELEASE_NOTHING);
  idem_claim_free(claim);
}

struct waiter {
  struct idem_client *client;
  const char *key;
  struct idem_answer answer;
};

static void *wait_for_it(void *argument) {
  struct waiter *waiter = argument;
  idem_wait(waiter->client, idem_text(waiter->key), idem_text(NULL), HANG_MS, &waiter->answer);
  return NULL;
}

static void *claim_it(void *argument) {
  struct waiter *waiter = argument;
  struct idem_request request = request_of(waiter->key);
  struct idem_claim *claim = NULL;
  request.wait_ms = HANG_MS;
  enum idem_status status = idem_begin(waiter->client, &request, &claim, &waiter->answer);
  CHECK(status != IDEM_RUN, "the second one ran as well");
  return NULL;
}

static void waiters_get_the_result(void **state) {
  struct idem_client *client = *state;
  struct idem_request request = request_of("waiters");
  struct idem_claim *claim = must_begin(client, &request);
  struct waiter reader = {.client = client, .key = "waiters"}, queued = reader;
  pthread_t threads[2];
  pthread_create(&threads[0], NULL, wait_for_it, &reader);
  pthread_create(&threads[1], NULL, claim_it, &queued);
  struct idem_result result = result_of("shared");
  result.uncached = 1;
  for (int64_t until = now_ms() + HANG_MS; server_count(server.port, "waiters") < 2; pause_ms(2)) {
    CHECK(now_ms() < until, "they do not wait");
  }
  assert_int_equal(idem_finish(claim, &result), IDEM_OK);
  pthread_join(threads[0], NULL);
  pthread_join(threads[1], NULL);
  assert_int_equal(idem_claim_answered(claim), 2);
  assert_int_equal(reader.answer.status, IDEM_REPLAY);
  assert_int_equal(queued.answer.status, IDEM_REPLAY);
  assert_bytes(reader.answer.body, "shared");
  assert_bytes(queued.answer.body, "shared");
  idem_answer_clear(&reader.answer);
  idem_answer_clear(&queued.answer);
  idem_claim_free(claim);
  assert_int_equal(idem_fetch(client, request.key, idem_text(NULL), &reader.answer), IDEM_ABSENT);
  idem_answer_clear(&reader.answer);
}

static void stages_survive_the_owner(void **state) {
  struct idem_client *client = *state;
  struct idem_request request = request_of("stages");
  request.lease_ms = 60;
  request.flags = IDEM_NO_RENEWAL;
  struct idem_claim *claim = must_begin(client, &request);
  assert_int_equal(idem_stage(claim, idem_text("charged")), IDEM_OK);
  struct idem_request next = request_of("stages");
  next.wait_ms = HANG_MS;
  struct idem_claim *second = must_begin(client, &next);
  assert_int_equal(idem_claim_attempt(second), 2);
  assert_bytes(idem_claim_stage(second), "charged");
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_DOUBTFUL);
  struct idem_result result = result_of("late");
  assert_int_equal(idem_finish(claim, &result), IDEM_STALE);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_LOST);
  assert_int_equal(idem_abandon(claim, IDEM_RELEASE_NOTHING), IDEM_STALE);
  assert_int_equal(idem_abandon(second, IDEM_RELEASE_NOTHING), IDEM_OK);
  idem_claim_free(claim);
  idem_claim_free(second);
}

static void hold_makes_unknown(void **state) {
  struct idem_client *client = *state;
  struct idem_request request = request_of("hold");
  struct idem_answer answer;
  request.flags = IDEM_HOLD | IDEM_NO_RENEWAL;
  struct idem_claim *claim = must_begin(client, &request), *second = NULL;
  assert_int_equal(idem_renew(claim, 1), IDEM_OK);
  pause_ms(5);
  request.wait_ms = HANG_MS;
  assert_int_equal(idem_begin(client, &request, &second, &answer), IDEM_UNKNOWN);
  assert_int_equal(answer.attempt, 1);
  assert_int_equal(answer.owner.len, 32);
  assert_int_equal(answer.token, idem_claim_token(claim));
  const uint64_t token = answer.token;
  idem_answer_clear(&answer);
  request.takeover = token;
  second = must_begin(client, &request);
  assert_int_equal(idem_claim_attempt(second), 2);
  assert_int_equal(idem_abandon(second, IDEM_RELEASE_NOTHING), IDEM_OK);
  idem_claim_free(second);
  idem_claim_free(claim);
}

static void bind_ends_with_the_claim(void **state) {
  struct idem_client *client = *state;
  struct idem_request request = request_of("bind");
  request.flags = IDEM_BIND;
  request.lease_ms = 10 * HANG_MS;
  struct idem_claim *claim = must_begin(client, &request);
  assert_int_equal(begin_status(client, &request), IDEM_BUSY);
  idem_claim_free(claim);
  struct idem_request next = request_of("bind");
  next.wait_ms = HANG_MS;
  claim = must_begin(client, &next);
  /* One that already stands in line counts the owner before it; one that comes later finds nothing.
   */
  assert_true(idem_claim_attempt(claim) <= 2);
  idem_abandon(claim, IDEM_RELEASE_NOTHING);
  idem_claim_free(claim);
}

/* Opened now, it lies idle until the server's timeout ends it. */
static void await_idle_timeout(int port) {
  redisContext *idle = redisConnect("127.0.0.1", port);
  CHECK(idle != NULL && idle->err == 0, "no connection");
  struct pollfd wanted = {.fd = idle->fd, .events = POLLIN};
  CHECK(poll(&wanted, 1, HANG_MS) == 1, "an idle connection is not ended");
  redisFree(idle);
}

/* Its renewals travel on other connections, so the bound one is silent. */
static void bind_outlives_the_timeout_of_idle_connections(void **state) {
  (void)state;
  const char *arguments[] = {"--timeout", "1", NULL};
  struct server hasty;
  server_start(&hasty, 0, arguments);
  struct idem_client *client = must_open(hasty.port, NULL);
  struct idem_request request = request_of("bound and silent");
  request.flags = IDEM_BIND | IDEM_NO_RENEWAL; /* which would revive a claim that has lapsed */
  request.lease_ms = 10 * HANG_MS;
  struct idem_claim *claim = must_begin(client, &request);
  for (int i = 0; i < 2; i++) { /* the second one opened after the bound one was idle too long */
    await_idle_timeout(hasty.port);
    request.flags = 0;
    assert_int_equal(begin_status(client, &request), IDEM_BUSY);
    assert_int_equal(idem_renew(claim, 0), IDEM_OK);
  }
  struct idem_result result = result_of("made");
  assert_int_equal(idem_finish(claim, &result), IDEM_OK);
  idem_claim_free(claim);
  idem_close(client);
  server_kill(&hasty, SIGTERM);
}

static void too_big_keeps_the_claim(void **state) {
  struct idem_client *client = *state;
  struct idem_request request = request_of("toobig");
  struct idem_claim *claim = must_begin(client, &request);
  size_t size = (size_t)17 << 20;
  char *large = calloc(1, size);
  struct idem_result result = result_of("");
  result.body = idem_data(large, size);
  assert_int_equal(idem_finish(claim, &result), IDEM_TOOBIG);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_HELD);
  result.body = idem_data(large, (size_t)4 << 20);
  assert_int_equal(idem_finish(claim, &result), IDEM_OK);
  idem_claim_free(claim);
  struct idem_answer answer;
  assert_int_equal(idem_fetch(client, request.key, idem_text(NULL), &answer), IDEM_REPLAY);
  assert_int_equal(answer.body.len, (size_t)4 << 20);
  assert_memory_equal(answer.body.data, large, answer.body.len);
  idem_answer_clear(&answer);
  free(large);
  char key[2000];
  memset(key, 'k', sizeof key);
  request.key = idem_data(key, sizeof key);
  assert_int_equal(begin_status(client, &request), IDEM_TOOBIG);
}

static void any_bytes(void **state) {
  struct idem_client *client = *state;
  static const char bytes[] = {0, '\r', '\n', (char)0xff, '*', '1', 0};
  struct idem_request request = request_of("");
  request.key = idem_data(bytes, sizeof bytes);
  request.fingerprint = idem_data(bytes, 3);
  struct idem_claim *claim = must_begin(client, &request);
  struct idem_result result = result_of("");
  result.body = idem_data(bytes, sizeof bytes);
  result.meta = idem_data(bytes, 0);
  assert_int_equal(idem_claim_key(claim).len, sizeof bytes);
  assert_int_equal(idem_finish(claim, &result), IDEM_OK);
  idem_claim_free(claim);
  struct idem_answer answer;
  assert_int_equal(idem_fetch(client, request.key, request.fingerprint, &answer), IDEM_REPLAY);
  assert_int_equal(answer.body.len, sizeof bytes);
  assert_memory_equal(answer.body.data, bytes, sizeof bytes);
  assert_non_null(answer.meta.data);
  assert_int_equal(answer.meta.len, 0);
  idem_answer_clear(&answer);
}

/* As many servers as one URL may have. */
#define FOUR "g.invalid,g.invalid,g.invalid,g.invalid"
#define SIXTEEN "redis://" FOUR "," FOUR "," FOUR "," FOUR

static void mistakes_are_invalid(void **state) {
  struct idem_client *client = *state, *none = NULL;
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  struct idem_error error;
  struct idem_request request = request_of(NULL);
  assert_int_equal(idem_begin(client, &request, &claim, &answer), IDEM_INVALID);
  request = request_of("x");
  request.lease_ms = -1;
  assert_int_equal(idem_begin(client, &request, &claim, &answer), IDEM_INVALID);
  request = request_of("x");
  request.flags = 1u << 20;
  assert_int_equal(idem_begin(client, &request, &claim, &answer), IDEM_INVALID);
  assert_int_equal(idem_begin(NULL, &request, &claim, &answer), IDEM_INVALID);
  request = request_of("x");
  request.lease_ms = 7200000; /* over the server's cap of an hour */
  assert_int_equal(idem_begin(client, &request, &claim, &answer), IDEM_REFUSED);
  CHECK(strstr(answer.message, "LEASE") != NULL, "%s", answer.message);
  idem_answer_clear(&answer);
  assert_int_equal(idem_wait(client, idem_text("x"), idem_text(NULL), 0, &answer), IDEM_INVALID);
  static const char *const urls[] = {"",
                                     "http://x",
                                     "redis://",
                                     "redis://:70000",
                                     "redis://h:0",
                                     "redis://h:99999",
                                     "redis://h/1",
                                     "redis://user@h",
                                     "redis://:%zz@h",
                                     "redis://[::1",
                                     "redis://::1",
                                     "unix://relative",
                                     "redis://h?db=1",
                                     "redis://a,,b",
                                     "redis://a,",
                                     "redis://,a",
                                     "redis://a:0,b",
                                     "redis://a/0,b",
                                     "redis://a,b/1",
                                     "redis://[::1],::2",
                                     SIXTEEN ",h",
                                     "redis://:a%00b@h"};
  for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
    CHECK(idem_open(urls[i], NULL, &none, &error) == IDEM_INVALID, "%s", urls[i]);
    assert_null(none);
    assert_true(error.text[0] != '\0');
  }
  assert_int_equal(idem_open(NULL, NULL, &none, NULL), IDEM_INVALID);
}

/* What each URL names, as the messages say it. */
static void urls_name_their_server(void **state) {
  (void)state;
  static const struct {
    const char *url, *name;
  } cases[] = {{"redis://h.invalid", "h.invalid"},
               {"REDIS://h.invalid:5/0", "h.invalid"},
               {"redis://u:p@@h.invalid", "h.invalid"},
               {"redis://:a/b:c@h.invalid", "h.invalid"},
               {"redis://[fe80::1%25none]:7", "[fe80::1%none]:7"},
               {"redis://[fe80::1%none]:7", "[fe80::1%none]:7"},
               {"redis://u:a,b@h.invalid", "h.invalid"},
               {"redis://:p@g.invalid,[::1]:9,h.invalid:5/", "g.invalid:4336,[::1]:9,h.invalid:5"},
               {SIXTEEN, "g.invalid:4336,g.invalid:4336,g.invalid:4336"},
               {"unix:///tmp/none.a@b", "/tmp/none.a@b"},
               {"Unix://:a/b@/tmp/none.a@b", "/tmp/none.a@b"}};
  const struct idem_options options = {.deadline_ms = 1};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct idem_client *client = NULL;
    struct idem_error error;
    assert_int_equal(idem_open(cases[i].url, &options, &client, &error), IDEM_OK);
    enum idem_status status = idem_ping(client, &error);
    CHECK(status == IDEM_UNAVAILABLE, "%s: %s", cases[i].url, idem_status_name(status));
    CHECK(strstr(error.text, cases[i].name) != NULL, "%s: %s", cases[i].url, error.text);
    idem_close(client);
  }
}

/* A program of a later version has a longer struct: what this library does not know of it has to be
 * zeros. */
struct later_request {
  struct idem_request now;
  uint64_t new_member;
};

struct later_options {
  struct idem_options now;
  uint64_t new_member;
};

static void structs_may_grow(void **state) {
  struct idem_client *client = *state, *other = NULL;
  struct later_request later = {.now = request_of("later")};
  struct later_options options = {.new_member = 1};
  struct idem_error error;
  assert_int_equal(begin_status(client, &later.now), IDEM_RUN); /* a size of 0 is that of 0.1 */
  later.new_member = 1;
  assert_int_equal(begin_status(client, &later.now), IDEM_RUN);
  later.now.size = sizeof later;
  assert_int_equal(begin_status(client, &later.now), IDEM_INVALID);
  later.new_member = 0;
  assert_int_equal(begin_status(client, &later.now), IDEM_RUN);
  later.now.size = sizeof later.now;
  assert_int_equal(begin_status(client, &later.now), IDEM_RUN);
  later.now.size = sizeof(size_t);
  assert_int_equal(begin_status(client, &later.now), IDEM_INVALID);
  later.now.size = 0;
  later.now.reserved = 1; /* what would have been padding */
  assert_int_equal(begin_status(client, &later.now), IDEM_INVALID);
  options.now.size = sizeof options;
  assert_int_equal(idem_open("redis://h", &options.now, &other, &error), IDEM_INVALID);
  CHECK(strstr(error.text, "version") != NULL, "%s", error.text);
  struct idem_request request = request_of("later");
  struct idem_claim *claim = must_begin(client, &request);
  struct idem_result result = result_of("x");
  result.size = sizeof(size_t);
  assert_int_equal(idem_finish(claim, &result), IDEM_INVALID);
  result.size = sizeof result;
  assert_int_equal(idem_finish(claim, &result), IDEM_OK);
  idem_claim_free(claim);
}

/* The server was replaced while a connection lay idle: a large body is half sent when that shows.
 * No SIGPIPE (it would end this program), no use of that connection any more, and the truth in the
 * end. */
static void a_large_body_meets_a_new_server(void **state) {
  (void)state;
  struct server mortal;
  server_start(&mortal, 0, NULL);
  struct idem_client *client = must_open(mortal.port, NULL);
  struct idem_request request = request_of("large");
  struct idem_claim *claim = must_begin(client, &request);
  size_t size = (size_t)12 << 20;
  char *large = calloc(1, size);
  struct idem_result result = result_of("");
  result.body = idem_data(large, size);
  int port = mortal.port;
  server_kill(&mortal, SIGKILL);
  server_start(&mortal, port, NULL);
  enum idem_status status = idem_finish(claim, &result);
  CHECK(status == IDEM_STALE, "%s %s", idem_status_name(status), idem_claim_message(claim));
  idem_claim_free(claim);
  claim = must_begin(client, &request);
  assert_int_equal(idem_finish(claim, &result), IDEM_OK);
  idem_claim_free(claim);
  free(large);
  idem_close(client);
  server_kill(&mortal, SIGTERM);
}

static void passwords(void **state) {
  (void)state;
  char path[] = "/tmp/idem-password-XXXXXX", url[128];
  int fd = mkstemp(path);
  assert_true(fd >= 0 && write(fd, "s3cret/pw\n", 10) == 10);
  close(fd);
  chmod(path, 0600);
  const char *arguments[] = {"--requirepass-file", path, NULL};
  struct server closed;
  server_start(&closed, 0, arguments);
  static const struct {
    const char *userinfo;
    enum idem_status expected;
  } cases[] = {{"", IDEM_REFUSED},
               {":wrong@", IDEM_REFUSED},
               {":s3cret%2Fpw@", IDEM_OK},
               {"default:s3cret%2Fpw@", IDEM_OK},
               {":s3cret/pw@", IDEM_OK}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct idem_client *client = NULL;
    struct idem_error error;
    snprintf(url, sizeof url, "redis://%s127.0.0.1:%d", cases[i].userinfo, closed.port);
    assert_int_equal(idem_open(url, NULL, &client, &error), IDEM_OK);
    enum idem_status status = idem_ping(client, &error);
    CHECK(status == cases[i].expected, "%s: %s %s", url, idem_status_name(status), error.text);
    assert_null(strstr(error.text, "s3cret"));
    idem_close(client);
  }
  server_kill(&closed, SIGTERM);
  unlink(path);
}

static void unix_socket(void **state) {
  (void)state;
  char path[64], url[128];
  snprintf(path, sizeof path, "/tmp/idem-test-%d.sock", (int)getpid());
  const char *arguments[] = {"--unixsocket", path, NULL};
  struct server local;
  server_start(&local, 0, arguments);
  struct idem_client *client = NULL;
  snprintf(url, sizeof url, "unix://%s", path);
  assert_int_equal(idem_open(url, NULL, &client, NULL), IDEM_OK);
  assert_int_equal(idem_ping(client, NULL), IDEM_OK);
  idem_close(client);
  server_kill(&local, SIGTERM);
}

/* In the child every call is refused; the parent's connections are not disturbed. */
static void fork_is_refused(void **state) {
  struct idem_client *client = *state;
  struct idem_request request = request_of("fork");
  struct idem_claim *claim = must_begin(client, &request);
  pid_t child = fork();
  if (child == 0) {
    struct idem_result result = result_of("child");
    bool good =
        idem_ping(client, NULL) == IDEM_INVALID && idem_finish(claim, &result) == IDEM_INVALID;
    idem_claim_free(claim);
    idem_close(client);
    /* By exec: what the client holds is left to the end of the child, which a leak checker would
     * complain about. */
    execl(good ? "/bin/true" : "/bin/false", "child", (char *)NULL);
    _exit(2);
  }
  int outcome = -1;
  waitpid(child, &outcome, 0);
  assert_int_equal(outcome, 0);
  struct idem_result result = result_of("parent");
  assert_int_equal(idem_finish(claim, &result), IDEM_OK);
  idem_claim_free(claim);
}

static void claims_outlive_the_client(void **state) {
  (void)state;
  struct idem_client *client = must_open(server.port, NULL);
  struct idem_request request = request_of("outlive");
  struct idem_claim *claim = must_begin(client, &request);
  idem_close(client);
  struct idem_result result = result_of("x");
  assert_int_equal(idem_finish(claim, &result), IDEM_INVALID);
  assert_true(idem_claim_token(claim) > 0);
  idem_claim_free(claim);
}

static int open_client(void **state) {
  server_start(&server, 0, NULL);
  *state = must_open(server.port, NULL);
  return 0;
}

static int close_client(void **state) {
  idem_close(*state);
  server_kill(&server, SIGTERM);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(run_then_replay),
      cmocka_unit_test(busy_names_the_owner),
      cmocka_unit_test(fingerprints_differ),
      cmocka_unit_test(waiters_get_the_result),
      cmocka_unit_test(stages_survive_the_owner),
      cmocka_unit_test(hold_makes_unknown),
      cmocka_unit_test(bind_ends_with_the_claim),
      cmocka_unit_test(bind_outlives_the_timeout_of_idle_connections),
      cmocka_unit_test(too_big_keeps_the_claim),
      cmocka_unit_test(any_bytes),
      cmocka_unit_test(mistakes_are_invalid),
      cmocka_unit_test(urls_name_their_server),
      cmocka_unit_test(structs_may_grow),
      cmocka_unit_test(a_large_body_meets_a_new_server),
      cmocka_unit_test(passwords),
      cmocka_unit_test(unix_socket),
      cmocka_unit_test(fork_is_refused),
      cmocka_unit_test(claims_outlive_the_client),
  };
  return cmocka_run_group_tests_name("calls", tests, open_client, close_client);
}
