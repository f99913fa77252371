/*
 * test_async.c - the asynchronous half of idem.h in a libuv loop: outcomes, few connections,
 * cancelling, renewal, a dead server, and connections that are cut at every byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "client/idem.h"
#include "client/idem_uv.h"
#include "tests/client/harness.h"
#include "tests/client/proxy.h"

#define NONE idem_data(NULL, 0)

static struct server server;

struct world {
  uv_loop_t loop;
  struct idem_async *async;
  int open; /* calls that have not ended */
};

/* What one call ended with. */
struct seen {
  struct world *world;
  int times;
  enum idem_status status;
  struct idem_claim *claim;
  struct idem_answer answer;
};

static void on_done(struct idem_answer *answer, struct idem_claim *claim, void *context) {
  struct seen *seen = context;
  seen->times++;
  seen->status = answer->status;
  seen->claim = claim;
  idem_answer_move(&seen->answer, answer);
  seen->world->open--;
}

static void world_open(struct world *world, int port, const struct idem_options *options) {
  char url[64];
  struct idem_error error;
  memset(world, 0, sizeof *world);
  assert_int_equal(uv_loop_init(&world->loop), 0);
  struct idem_loop loop = idem_uv_loop(&world->loop);
  const struct idem_options patient = patient_options(options);
  url_of(url, sizeof url, port);
  enum idem_status status = idem_async_open(url, &patient, &loop, &world->async, &error);
  CHECK(status == IDEM_OK, "%s", error.text);
}

static void world_close(struct world *world) {
  idem_async_close(world->async);
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&world->loop), 0);
}

/* Runs the loop until all calls have ended. */
static void finish_all(struct world *world) {
  int64_t deadline = now_ms() + 2 * HANG_MS;
  while (world->open > 0) {
    uv_run(&world->loop, UV_RUN_ONCE);
    CHECK(now_ms() < deadline, "%d calls hang", world->open);
  }
}

static void on_wake(uv_timer_t *timer) { *(int *)timer->data = 1; }

static void run_for(struct world *world, uint64_t ms) {
  uv_timer_t timer;
  int over = 0;
  uv_timer_init(&world->loop, &timer);
  timer.data = &over;
  uv_timer_start(&timer, on_wake, ms, 0);
  while (!over) uv_run(&world->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&world->loop, UV_RUN_NOWAIT);
}

static void await_waiters(struct world *world, long count) {
  for (int64_t until = now_ms() + HANG_MS; server_count(server.port, "waiters") != count;) {
    run_for(world, 5);
    CHECK(now_ms() < until, "%ld wait", server_count(server.port, "waiters"));
  }
}

static struct idem_request request_of(const char *key) {
  struct idem_request request;
  memset(&request, 0, sizeof request);
  request.key = idem_text(key);
  return request;
}

static void begin(struct world *world, const struct idem_request *request, struct seen *seen,
                  struct idem_call **call) {
  memset(seen, 0, sizeof *seen);
  seen->world = world;
  assert_int_equal(idem_async_begin(world->async, request, on_done, seen, call), IDEM_OK);
  assert_int_equal(seen->times, 0);
  world->open++;
}

static void finish(struct world *world, struct idem_claim *claim, const char *body, int uncached,
                   struct seen *seen) {
  struct idem_result result;
  memset(&result, 0, sizeof result);
  result.body = idem_text(body);
  result.uncached = uncached;
  memset(seen, 0, sizeof *seen);
  seen->world = world;
  assert_int_equal(idem_async_finish(claim, &result, on_done, seen, NULL), IDEM_OK);
  world->open++;
}

static void fetch(struct world *world, const char *key, struct seen *seen) {
  memset(seen, 0, sizeof *seen);
  seen->world = world;
  assert_int_equal(idem_async_fetch(world->async, idem_text(key), NONE, on_done, seen, NULL),
                   IDEM_OK);
  world->open++;
  while (seen->times == 0) uv_run(&world->loop, UV_RUN_ONCE);
}

static struct idem_claim *must_begin(struct world *world, const struct idem_request *request) {
  struct seen seen;
  begin(world, request, &seen, NULL);
  finish_all(world);
  CHECK(seen.status == IDEM_RUN, "%s %s", idem_status_name(seen.status), seen.answer.message);
  idem_answer_clear(&seen.answer);
  return seen.claim;
}

static void runs_and_replays(void **state) {
  (void)state;
  struct world world;
  struct seen seen;
  world_open(&world, server.port, NULL);
  struct idem_request request = request_of("async run");
  struct idem_claim *claim = must_begin(&world, &request);
  assert_int_equal(idem_claim_attempt(claim), 1);
  begin(&world, &request, &seen, NULL);
  finish_all(&world);
  assert_int_equal(seen.status, IDEM_BUSY);
  assert_null(seen.claim);
  idem_answer_clear(&seen.answer);
  finish(&world, claim, "made", 0, &seen);
  assert_int_equal(idem_async_stage(claim, idem_text("x"), on_done, &seen, NULL), IDEM_INVALID);
  finish_all(&world);
  assert_int_equal(seen.status, IDEM_OK);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_ENDED);
  idem_claim_free(claim);
  fetch(&world, "async run", &seen);
  assert_int_equal(seen.status, IDEM_REPLAY);
  assert_int_equal(seen.answer.body.len, 4);
  assert_memory_equal(seen.answer.body.data, "made", 4);
  idem_answer_clear(&seen.answer);
  world_close(&world);
}

static int established(int port) {
  char line[512], wanted[16];
  int count = 0;
  FILE *file = fopen("/proc/self/net/tcp", "r");
  snprintf(wanted, sizeof wanted, ":%04X 01 ", port); /* remote port, established */
  while (fgets(line, sizeof line, file) != NULL) count += strstr(line, wanted) != NULL;
  fclose(file);
  return count;
}

#define MANY 2000

static void many_claims_few_connections(void **state) {
  (void)state;
  struct world world;
  world_open(&world, server.port, NULL);
  struct seen *seen = calloc(MANY, sizeof *seen);
  char key[32];
  int most = 0;
  for (int i = 0; i < MANY; i++) {
    snprintf(key, sizeof key, "many %d", i);
    struct idem_request request = request_of(key);
    begin(&world, &request, &seen[i], NULL);
  }
  while (world.open > 0) {
    uv_run(&world.loop, UV_RUN_ONCE);
    int now = established(server.port);
    most = now > most ? now : most;
  }
  assert_true(most >= 1 && most <= 2 + 1); /* the group's own client may have one */
  struct seen *stored = calloc(MANY, sizeof *stored);
  for (int i = 0; i < MANY; i++) {
    assert_int_equal(seen[i].status, IDEM_RUN);
    finish(&world, seen[i].claim, "x", 0, &stored[i]);
  }
  finish_all(&world);
  for (int i = 0; i < MANY; i++) {
    assert_int_equal(stored[i].status, IDEM_OK);
    assert_int_equal(stored[i].times, 1);
    idem_claim_free(seen[i].claim);
    idem_answer_clear(&seen[i].answer);
    idem_answer_clear(&stored[i].answer);
  }
  free(seen);
  free(stored);
  world_close(&world);
}

static void waiters_have_connections_of_their_own(void **state) {
  (void)state;
  struct world world;
  struct idem_options options;
  memset(&options, 0, sizeof options);
  options.async_waits = 3; /* the others stand in line, and are served as well */
  world_open(&world, server.port, &options);
  struct idem_request request = request_of("async wait");
  struct idem_claim *claim = must_begin(&world, &request);
  struct seen waiting[8], seen;
  request.wait_ms = HANG_MS;
  for (int i = 0; i < 8; i++) begin(&world, &request, &waiting[i], NULL);
  await_waiters(&world, 3);
  assert_int_equal(world.open, 8);
  fetch(&world, "async wait", &seen);
  idem_answer_clear(&seen.answer);
  assert_int_equal(seen.status, IDEM_BUSY);
  finish(&world, claim, "for all", 0, &seen);
  finish_all(&world);
  for (int i = 0; i < 8; i++) {
    assert_int_equal(waiting[i].status, IDEM_REPLAY);
    idem_answer_clear(&waiting[i].answer);
  }
  idem_claim_free(claim);
  world_close(&world);
}

static void cancelled_waiter_leaves_the_queue(void **state) {
  struct idem_client *client = *state;
  struct world world;
  struct seen seen;
  struct idem_call *call = NULL;
  world_open(&world, server.port, NULL);
  struct idem_request request = request_of("async cancel");
  struct idem_claim *claim = NULL;
  struct idem_answer answer;
  assert_int_equal(idem_begin(client, &request, &claim, &answer), IDEM_RUN);
  request.wait_ms = HANG_MS;
  begin(&world, &request, &seen, &call);
  await_waiters(&world, 1);
  idem_async_cancel(call);
  assert_int_equal(seen.times, 0);
  finish_all(&world);
  assert_int_equal(seen.status, IDEM_CANCELLED);
  await_waiters(&world, 0);
  assert_int_equal(idem_abandon(claim), IDEM_OK);
  idem_claim_free(claim);
  assert_int_equal(idem_fetch(client, request.key, NONE, &answer), IDEM_ABSENT);
  idem_answer_clear(&answer);
  world_close(&world);
}

static void await_absent(struct world *world, struct idem_client *client, struct idem_bytes key) {
  struct idem_answer answer;
  enum idem_status status = IDEM_BUSY;
  for (int64_t until = now_ms() + HANG_MS; status != IDEM_ABSENT; idem_answer_clear(&answer)) {
    run_for(world, 5);
    status = idem_fetch(client, key, NONE, &answer);
    CHECK(now_ms() < until, "%s", idem_status_name(status));
  }
}

/* Sent, perhaps granted: what the server grants to a cancelled call is given back, or shortened
 * when it has a past. */
static void cancelled_grant_is_given_back(void **state) {
  struct idem_client *client = *state;
  struct world world;
  struct seen seen;
  struct idem_call *call = NULL;
  struct idem_answer answer;
  world_open(&world, server.port, NULL);
  idem_claim_free(must_begin(&world, &(struct idem_request){.key = idem_text("warm up")}));
  struct idem_request request = request_of("async cancel at once");
  begin(&world, &request, &seen, &call);
  idem_async_cancel(call);
  finish_all(&world);
  assert_int_equal(seen.status, IDEM_CANCELLED);
  assert_null(seen.claim);
  await_absent(&world, client, request.key);

  request = request_of("async cancel with a past");
  request.lease_ms = 1;
  request.flags = IDEM_NO_RENEWAL;
  struct idem_claim *claim = NULL, *next = NULL;
  assert_int_equal(idem_begin(client, &request, &claim, &answer), IDEM_RUN);
  assert_int_equal(idem_stage(claim, idem_text("half")), IDEM_OK);
  idem_claim_free(claim);
  request.lease_ms = 0;
  pause_ms(5);
  begin(&world, &request, &seen, &call);
  idem_async_cancel(call);
  finish_all(&world);
  /* By the loop, which has to run for it. */
  for (int64_t until = now_ms() + HANG_MS; next == NULL; idem_answer_clear(&answer)) {
    run_for(&world, 5);
    enum idem_status status = idem_begin(client, &request, &next, &answer);
    CHECK(status == IDEM_RUN || (status == IDEM_BUSY && now_ms() < until), "%s",
          idem_status_name(status));
  }
  assert_int_equal(idem_claim_stage(next).len, 4);
  assert_true(idem_claim_attempt(next) >= 2);
  idem_abandon(next);
  idem_claim_free(next);
  world_close(&world);
}

struct losses {
  int doubtful, lost;
};

static void on_lost(struct idem_claim *claim, enum idem_claim_state state, void *context) {
  struct losses *losses = context;
  (void)claim;
  if (state == IDEM_CLAIM_DOUBTFUL) losses->doubtful++;
  if (state == IDEM_CLAIM_LOST) losses->lost++;
}

/* False: the machine was too slow for the lease. */
static bool stays_held(struct world *world, struct idem_client *client, struct idem_claim *claim,
                       int64_t lease_ms) {
  bool held = true;
  struct idem_answer answer;
  for (int i = 0; i < 10 && held; i++) {
    run_for(world, (uint64_t)lease_ms * 2 / 3);
    enum idem_status status = idem_fetch(client, idem_claim_key(claim), NONE, &answer);
    CHECK(status == IDEM_BUSY || status == IDEM_ABSENT, "%s", idem_status_name(status));
    held = status == IDEM_BUSY && idem_claim_state(claim) == IDEM_CLAIM_HELD;
    idem_answer_clear(&answer);
  }
  return held;
}

static void claims_are_renewed_and_losses_told(void **state) {
  struct idem_client *client = *state;
  struct world world;
  struct losses losses = {0, 0};
  struct idem_options options;
  memset(&options, 0, sizeof options);
  options.on_lost = on_lost;
  options.lost_context = &losses;
  world_open(&world, server.port, &options);
  struct idem_request request = request_of("async renew");
  request.lease_ms = 150;
  struct idem_claim *claim = must_begin(&world, &request);
  struct idem_answer answer;
  for (int i = 1; !stays_held(&world, client, claim, request.lease_ms); i++) {
    CHECK(i < PATIENCE, "not even a lease of %d ms is renewed", (int)request.lease_ms);
    finish(&world, claim, "late", 1, &(struct seen){.world = NULL});
    finish_all(&world);
    idem_claim_free(claim);
    request.lease_ms *= SCALE;
    claim = must_begin(&world, &request);
  }
  /* Another one gives it back behind the owner's back. */
  struct seen seen;
  memset(&seen, 0, sizeof seen);
  pause_ms(request.lease_ms + 50); /* the loop stands still: the lease lapses */
  struct idem_claim *thief = NULL;
  request.wait_ms = HANG_MS;
  request.lease_ms = 0;
  assert_int_equal(idem_begin(client, &request, &thief, &answer), IDEM_RUN);
  for (int64_t until = now_ms() + HANG_MS; losses.lost == 0 && now_ms() < until;)
    run_for(&world, 10);
  assert_int_equal(losses.lost, 1);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_LOST);
  finish(&world, claim, "late", 0, &seen);
  finish_all(&world);
  assert_int_equal(seen.status, IDEM_STALE);
  idem_answer_clear(&seen.answer);
  idem_claim_free(claim);
  idem_abandon(thief);
  idem_claim_free(thief);
  world_close(&world);
}

static void a_dead_server_is_unavailable(void **state) {
  (void)state;
  struct server mortal;
  struct world world;
  struct idem_options options;
  memset(&options, 0, sizeof options);
  options.deadline_ms = 2000;
  server_start(&mortal, 0, NULL);
  world_open(&world, mortal.port, &options);
  struct idem_request request = request_of("mortal");
  struct idem_claim *claim = must_begin(&world, &request);
  struct seen seen[50], stored;
  server_kill(&mortal, SIGKILL);
  for (int i = 0; i < 50; i++) {
    request.wait_ms = i % 2 == 0 ? 0 : 10 * HANG_MS; /* for which nobody waits without a server */
    begin(&world, &request, &seen[i], NULL);
  }
  finish(&world, claim, "x", 0, &stored);
  finish_all(&world);
  for (int i = 0; i < 50; i++) {
    assert_int_equal(seen[i].status, IDEM_UNAVAILABLE);
    assert_null(seen[i].claim);
    assert_true(seen[i].answer.message[0] != '\0');
    idem_answer_clear(&seen[i].answer);
  }
  assert_int_equal(stored.status, IDEM_UNAVAILABLE);
  idem_claim_free(claim);
  world_close(&world);
}

/* A server that accepts and says nothing. */
static void silence_is_unavailable(void **state) {
  (void)state;
  struct server frozen;
  struct world world;
  struct idem_options options;
  memset(&options, 0, sizeof options);
  options.deadline_ms = 3000;
  options.command_timeout_ms = 1000;
  server_start(&frozen, 0, NULL);
  world_open(&world, frozen.port, &options);
  struct idem_request request = request_of("frozen");
  idem_claim_free(must_begin(&world, &(struct idem_request){.key = idem_text("warm up")}));
  kill(frozen.pid, SIGSTOP);
  struct seen seen;
  int64_t start_ms = now_ms();
  begin(&world, &request, &seen, NULL);
  finish_all(&world);
  assert_int_equal(seen.status, IDEM_UNAVAILABLE);
  assert_true(now_ms() - start_ms >= 990);
  idem_answer_clear(&seen.answer);
  server_kill(&frozen, SIGKILL);
  world_close(&world);
}

static void close_cancels_what_runs(void **state) {
  struct idem_client *client = *state;
  struct world world;
  struct seen seen[10];
  struct idem_answer answer;
  struct idem_claim *claim = NULL, *ours = NULL;
  world_open(&world, server.port, NULL);
  struct idem_request request = request_of("async close");
  assert_int_equal(idem_begin(client, &request, &claim, &answer), IDEM_RUN);
  ours = must_begin(&world, &(struct idem_request){.key = idem_text("async close ours")});
  request.wait_ms = HANG_MS;
  for (int i = 0; i < 10; i++) begin(&world, &request, &seen[i], NULL);
  run_for(&world, 20);
  world_close(&world);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(seen[i].times, 1);
    assert_int_equal(seen[i].status, IDEM_CANCELLED);
  }
  struct idem_result result;
  memset(&result, 0, sizeof result);
  assert_int_equal(idem_async_finish(ours, &result, on_done, &seen[0], NULL), IDEM_INVALID);
  assert_int_equal(idem_finish(ours, &result), IDEM_INVALID);
  idem_claim_free(ours);
  idem_abandon(claim);
  idem_claim_free(claim);
}

/* Every byte of a begin and a finish, cut once: both have to succeed, and what the server keeps has
 * to agree. */
static void cuts_at_every_byte(void **state) {
  struct idem_client *client = *state;
  struct proxy *proxy = proxy_open(server.port);
  struct world world;
  struct idem_options options;
  memset(&options, 0, sizeof options);
  options.backoff_first_ms = 1;
  options.backoff_max_ms = 2;
  options.async_connections = 1;
  world_open(&world, proxy_port(proxy), &options);
  const struct proxy_plan none = {PROXY_REQUEST, 0, false, 0};
  for (int side = 0; side < 2; side++) {
    size_t len[2] = {side == 0 ? 90 : 40, side == 0 ? 50 : 4};
    for (size_t at = 0; at <= len[0]; at++) {
      char key[32], body[40];
      struct seen seen;
      snprintf(key, sizeof key, "async cut %d %zu", side, at);
      snprintf(body, sizeof body, "body of %s", key);
      struct idem_request request = request_of(key);
      proxy_arm(proxy, (struct proxy_plan){(enum proxy_side)side, at, at % 2 == 1, 1});
      begin(&world, &request, &seen, NULL);
      finish_all(&world);
      CHECK(seen.status == IDEM_RUN, "%s: %s", key, idem_status_name(seen.status));
      struct idem_claim *claim = seen.claim;
      assert_int_equal(idem_claim_attempt(claim), 1);
      proxy_arm(proxy, (struct proxy_plan){(enum proxy_side)side, at < len[1] ? at : len[1],
                                           at % 2 == 0, 1});
      finish(&world, claim, body, 0, &seen);
      finish_all(&world);
      CHECK(seen.status == IDEM_OK, "%s: %s %s", key, idem_status_name(seen.status),
            seen.answer.message);
      proxy_arm(proxy, none);
      struct idem_answer answer;
      assert_int_equal(idem_fetch(client, idem_text(key), NONE, &answer), IDEM_REPLAY);
      assert_int_equal(answer.body.len, strlen(body));
      assert_memory_equal(answer.body.data, body, answer.body.len);
      idem_answer_clear(&answer);
      idem_claim_free(claim);
    }
  }
  world_close(&world);
  proxy_close(proxy);
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
      cmocka_unit_test(runs_and_replays),
      cmocka_unit_test(many_claims_few_connections),
      cmocka_unit_test(waiters_have_connections_of_their_own),
      cmocka_unit_test(cancelled_waiter_leaves_the_queue),
      cmocka_unit_test(cancelled_grant_is_given_back),
      cmocka_unit_test(claims_are_renewed_and_losses_told),
      cmocka_unit_test(a_dead_server_is_unavailable),
      cmocka_unit_test(silence_is_unavailable),
      cmocka_unit_test(close_cancels_what_runs),
      cmocka_unit_test(cuts_at_every_byte),
  };
  return cmocka_run_group_tests_name("async", tests, open_client, close_client);
}
