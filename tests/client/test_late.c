/*
 * test_late.c - answers that come late: after the lease that they grant, after the loop stood
 * still, after the call was given up. In both halves of idem.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "client/idem.h"
#include "tests/client/harness.h"
#include "tests/client/proxy.h"
#include "tests/client/world.h"

#define LEASE_MS 500
#define NONE idem_data(NULL, 0)

static struct server server;

/* A caller whose answers the proxy holds back. */
struct late {
  struct idem_client *client;
  struct idem_request request;
  struct idem_answer answer;
  int runs;
};

static int work(struct idem_claim *claim, void *context, struct idem_result *result) {
  (void)claim;
  ++*(int *)context;
  result->body = idem_text("late");
  return IDEM_WORK_DONE;
}

static void *run_once(void *argument) {
  struct late *late = argument;
  (void)!idem_once(late->client, &late->request, work, &late->runs, &late->answer);
  return NULL;
}

static long granted(void) { return server_count(server.port, "claims_granted"); }

static void await_count(const char *field, long wanted) {
  for (int64_t until = now_ms() + HANG_MS; server_count(server.port, field) != wanted; pause_ms(2))
    CHECK(now_ms() < until, "%s: %ld", field, server_count(server.port, field));
}

static struct idem_claim *must_begin(struct idem_client *client, const struct idem_request *asked) {
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  enum idem_status status = idem_begin(client, asked, &claim, &answer);
  CHECK(status == IDEM_RUN, "%s: %s", idem_status_name(status), answer.message);
  idem_answer_clear(&answer);
  return claim;
}

static void must_finish(struct idem_claim *claim, const char *body) {
  const struct idem_result result = {.body = idem_text(body)};
  enum idem_status status = idem_finish(claim, &result);
  CHECK(status == IDEM_OK, "%s: %s", idem_status_name(status), idem_claim_message(claim));
  idem_claim_free(claim);
}

/* The one that gets what the late caller was granted, once that is over. */
static struct idem_claim *take_over(struct idem_client *client, struct idem_bytes key) {
  const struct idem_request request = {.key = key, .wait_ms = HANG_MS};
  struct idem_claim *claim = must_begin(client, &request);
  assert_int_equal(idem_claim_attempt(claim), 2);
  return claim;
}

static void a_late_grant_is_renewed_before_the_work(void **state) {
  struct idem_client *direct = *state;
  struct proxy *proxy = proxy_open(server.port);
  struct late late = {.client = must_open(proxy_port(proxy), NULL)};
  late.request = (struct idem_request){
      .key = idem_text("late"), .lease_ms = LEASE_MS, .wait_ms = IDEM_NO_WAIT};
  pthread_t thread;
  long before = granted();
  proxy_hold(proxy, true);
  pthread_create(&thread, NULL, run_once, &late);
  await_count("claims_granted", before + 1);
  struct idem_claim *rival = take_over(direct, late.request.key);
  proxy_hold(proxy, false);
  pthread_join(thread, NULL);
  assert_int_equal(late.runs, 0);
  assert_int_equal(late.answer.status, IDEM_BUSY);
  idem_answer_clear(&late.answer);
  must_finish(rival, "rival's");
  idem_close(late.client);
  proxy_close(proxy);
}

/* The grant comes out of the queue at a time that only the server knows. */
static void a_late_grant_after_a_wait_is_renewed_before_the_work(void **state) {
  struct idem_client *direct = *state;
  struct proxy *proxy = proxy_open(server.port);
  struct late late = {.client = must_open(proxy_port(proxy), NULL)};
  late.request = (struct idem_request){
      .key = idem_text("late wait"), .lease_ms = LEASE_MS, .wait_ms = HANG_MS};
  struct idem_claim *first = must_begin(direct, &(struct idem_request){.key = late.request.key});
  pthread_t thread;
  pthread_create(&thread, NULL, run_once, &late);
  await_count("waiters", 1);
  proxy_hold(proxy, true);
  assert_int_equal(idem_abandon(first, IDEM_RELEASE_NOTHING), IDEM_OK);
  idem_claim_free(first);
  struct idem_claim *rival = take_over(direct, late.request.key);
  proxy_hold(proxy, false);
  await_count("waiters", 1); /* it asks again, with what is left of its wait */
  must_finish(rival, "rival's");
  pthread_join(thread, NULL);
  assert_int_equal(late.runs, 0);
  assert_int_equal(late.answer.status, IDEM_REPLAY);
  idem_answer_clear(&late.answer);
  idem_close(late.client);
  proxy_close(proxy);
}

static void a_late_grant_that_nobody_took_is_renewed_and_runs(void **state) {
  (void)state;
  struct proxy *proxy = proxy_open(server.port);
  struct late late = {.client = must_open(proxy_port(proxy), NULL)};
  /* The renewal that is counted is not one of the background. */
  late.request = (struct idem_request){
      .key = idem_text("late alone"), .lease_ms = LEASE_MS, .flags = IDEM_NO_RENEWAL};
  pthread_t thread;
  long before = granted();
  proxy_hold(proxy, true);
  pthread_create(&thread, NULL, run_once, &late);
  await_count("claims_granted", before + 1);
  await_count("held", 0); /* the lease is over */
  long renewed = server_count(server.port, "renewed");
  proxy_hold(proxy, false);
  pthread_join(thread, NULL);
  assert_int_equal(late.runs, 1);
  assert_true(server_count(server.port, "renewed") > renewed);
  assert_int_equal(late.answer.status, IDEM_RUN);
  assert_int_equal(late.answer.attempt, 1);
  idem_answer_clear(&late.answer);
  idem_close(late.client);
  proxy_close(proxy);
}

static void run_until(struct world *world, const char *field, long wanted) {
  for (int64_t until = now_ms() + HANG_MS; server_count(server.port, field) != wanted;) {
    world_run_for(world, 2);
    CHECK(now_ms() < until, "%s: %ld", field, server_count(server.port, field));
  }
}

static void async_a_late_grant_is_renewed_before_the_work(void **state) {
  struct idem_client *direct = *state;
  struct proxy *proxy = proxy_open(server.port);
  struct world world;
  struct seen seen;
  world_open(&world, proxy_port(proxy), NULL);
  long before;
  struct idem_request request = {.key = idem_text("async late"), .lease_ms = LEASE_MS};
  proxy_hold(proxy, true);
  before = granted();
  world_begin(&world, &request, &seen, NULL);
  run_until(&world, "claims_granted", before + 1);
  struct idem_claim *rival = take_over(direct, request.key);
  proxy_hold(proxy, false);
  world_finish_all(&world);
  CHECK(seen.status == IDEM_BUSY, "%s", idem_status_name(seen.status));
  assert_null(seen.claim);
  idem_answer_clear(&seen.answer);
  must_finish(rival, "rival's");

  request.key = idem_text("async late alone");
  proxy_hold(proxy, true);
  before = granted();
  world_begin(&world, &request, &seen, NULL);
  run_until(&world, "claims_granted", before + 1);
  run_until(&world, "held", 0); /* the lease is over */
  proxy_hold(proxy, false);
  world_finish_all(&world);
  CHECK(seen.status == IDEM_RUN, "%s %s", idem_status_name(seen.status), seen.answer.message);
  assert_int_equal(seen.answer.attempt, 1);
  idem_answer_clear(&seen.answer);
  idem_claim_free(seen.claim);
  world_close(&world);
  proxy_close(proxy);
}

/* The wait goes on after another one has taken over. */
static void async_a_late_grant_after_a_wait_is_renewed_before_the_work(void **state) {
  struct idem_client *direct = *state;
  struct proxy *proxy = proxy_open(server.port);
  struct world world;
  struct seen seen;
  world_open(&world, proxy_port(proxy), NULL);
  struct idem_request request = {
      .key = idem_text("async late wait"), .lease_ms = LEASE_MS, .wait_ms = HANG_MS};
  struct idem_claim *first = must_begin(direct, &(struct idem_request){.key = request.key});
  world_begin(&world, &request, &seen, NULL);
  while (server_count(server.port, "waiters") != 1) world_run_for(&world, 2);
  proxy_hold(proxy, true);
  assert_int_equal(idem_abandon(first, IDEM_RELEASE_NOTHING), IDEM_OK);
  idem_claim_free(first);
  struct idem_claim *rival = take_over(direct, request.key);
  proxy_hold(proxy, false);
  while (server_count(server.port, "waiters") != 1 && seen.times == 0) world_run_for(&world, 2);
  must_finish(rival, "rival's");
  world_finish_all(&world);
  CHECK(seen.status == IDEM_REPLAY, "%s", idem_status_name(seen.status));
  idem_answer_clear(&seen.answer);
  world_close(&world);
  proxy_close(proxy);
}

/* Server and network answer at once, but nobody looks until all times are over. False: the machine
 * was too slow for the time. */
static bool finds_the_grant_under(int64_t ms) {
  struct proxy *proxy = proxy_open(server.port);
  struct world world;
  struct seen seen;
  char key[48];
  const struct idem_options options = {.command_timeout_ms = ms, .deadline_ms = ms};
  snprintf(key, sizeof key, "blocked %lld", (long long)ms);
  world_open(&world, proxy_port(proxy), &options);
  idem_claim_free(world_must_begin(&world, &(struct idem_request){.key = idem_text(key + 1)}));
  long before = granted();
  proxy_hold(proxy, true);
  proxy_arm(proxy, (struct proxy_plan){PROXY_REQUEST, 0, false, 0});
  world_begin(&world, &(struct idem_request){.key = idem_text(key)}, &seen, NULL);
  while (seen.times == 0 && granted() == before) world_run_for(&world, 1);
  proxy_hold(proxy, false);
  bool in_time = seen.times == 0;
  while (in_time && proxy_passed(proxy, PROXY_REPLY) == 0) pause_ms(1);
  if (in_time) pause_ms(ms + 1); /* the loop stands still */
  world_finish_all(&world);
  if (in_time)
    CHECK(seen.status == IDEM_RUN, "%s %s", idem_status_name(seen.status), seen.answer.message);
  idem_answer_clear(&seen.answer);
  idem_claim_free(seen.claim);
  world_close(&world);
  proxy_close(proxy);
  return in_time;
}

static void a_blocked_loop_finds_the_grant_in_the_socket(void **state) {
  (void)state;
  int64_t ms = 300;
  for (int i = 1; !finds_the_grant_under(ms); i++, ms *= SCALE)
    CHECK(i < PATIENCE, "no grant in %lld ms", (long long)ms);
}

/* A server stands still for longer than the call has patience, then grants it. False: the machine
 * was too slow for the time. */
static bool gives_back_under(struct idem_client *direct, struct server *frozen, int64_t ms) {
  struct world world;
  struct seen seen;
  struct idem_answer answer;
  char key[48];
  const struct idem_options options = {.command_timeout_ms = ms, .deadline_ms = ms};
  snprintf(key, sizeof key, "abandoned %lld", (long long)ms);
  world_open(&world, frozen->port, &options);
  idem_claim_free(world_must_begin(&world, &(struct idem_request){.key = idem_text(key + 1)}));
  kill(frozen->pid, SIGSTOP);
  const struct idem_request request = {.key = idem_text(key), .lease_ms = 20 * HANG_MS};
  world_begin(&world, &request, &seen, NULL);
  world_finish_all(&world);
  assert_int_equal(seen.status, IDEM_UNAVAILABLE);
  idem_answer_clear(&seen.answer);
  kill(frozen->pid, SIGCONT);
  enum idem_status status = IDEM_BUSY;
  bool granted = false;
  for (int64_t until = now_ms() + 2 * ms;
       now_ms() < until && !(granted && status == IDEM_ABSENT);) {
    world_run_for(&world, 2);
    status = idem_fetch(direct, request.key, NONE, &answer);
    idem_answer_clear(&answer);
    granted = server_count(frozen->port, "claims_granted") >= 2;
  }
  world_close(&world);
  return granted && status == IDEM_ABSENT;
}

static void grants_of_abandoned_attempts_are_given_back(void **state) {
  (void)state;
  int64_t ms = 500;
  for (int i = 1;; i++, ms *= SCALE) {
    struct server frozen;
    server_start(&frozen, 0, NULL);
    struct idem_client *direct = must_open(frozen.port, NULL);
    bool good = gives_back_under(direct, &frozen, ms);
    idem_close(direct);
    server_kill(&frozen, SIGTERM);
    if (good) break;
    CHECK(i < PATIENCE, "a grant is not given back in %lld ms", (long long)ms);
  }
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
      cmocka_unit_test(a_late_grant_is_renewed_before_the_work),
      cmocka_unit_test(a_late_grant_after_a_wait_is_renewed_before_the_work),
      cmocka_unit_test(a_late_grant_that_nobody_took_is_renewed_and_runs),
      cmocka_unit_test(async_a_late_grant_is_renewed_before_the_work),
      cmocka_unit_test(async_a_late_grant_after_a_wait_is_renewed_before_the_work),
      cmocka_unit_test(a_blocked_loop_finds_the_grant_in_the_socket),
      cmocka_unit_test(grants_of_abandoned_attempts_are_given_back),
  };
  return cmocka_run_group_tests_name("late", tests, open_client, close_client);
}
