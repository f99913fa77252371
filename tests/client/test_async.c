/*
 * test_async.c - the asynchronous half of idem.h in a libuv loop: outcomes, few connections,
 * cancelling, renewal, a dead server, and connections that are cut at every byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/idem.h"
#include "tests/client/harness.h"
#include "tests/client/proxy.h"
#include "tests/client/world.h"

#define NONE idem_data(NULL, 0)

static struct server server;

static struct idem_request request_of(const char *key) {
  struct idem_request request;
  memset(&request, 0, sizeof request);
  request.key = idem_text(key);
  return request;
}

static void await_waiters(struct world *world, long count) {
  for (int64_t until = now_ms() + HANG_MS; server_count(server.port, "waiters") != count;) {
    world_run_for(world, 5);
    CHECK(now_ms() < until, "%ld wait", server_count(server.port, "waiters"));
  }
}

static void runs_and_replays(void **state) {
  (void)state;
  struct world world;
  struct seen seen;
  world_open(&world, server.port, NULL);
  struct idem_request request = request_of("async run");
  struct idem_claim *claim = world_must_begin(&world, &request);
  assert_int_equal(idem_claim_attempt(claim), 1);
  world_begin(&world, &request, &seen, NULL);
  world_finish_all(&world);
  assert_int_equal(seen.status, IDEM_BUSY);
  assert_null(seen.claim);
  idem_answer_clear(&seen.answer);
  world_finish(&world, claim, "made", 0, &seen);
  assert_int_equal(idem_async_stage(claim, idem_text("x"), world_on_done, &seen, NULL),
                   IDEM_INVALID);
  world_finish_all(&world);
  assert_int_equal(seen.status, IDEM_OK);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_ENDED);
  idem_claim_free(claim);
  world_fetch(&world, "async run", &seen);
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
    world_begin(&world, &request, &seen[i], NULL);
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
    world_finish(&world, seen[i].claim, "x", 0, &stored[i]);
  }
  world_finish_all(&world);
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
  struct idem_claim *claim = world_must_begin(&world, &request);
  struct seen waiting[8], seen;
  request.wait_ms = HANG_MS;
  for (int i = 0; i < 8; i++) world_begin(&world, &request, &waiting[i], NULL);
  await_waiters(&world, 3);
  assert_int_equal(world.open, 8);
  world_fetch(&world, "async wait", &seen);
  idem_answer_clear(&seen.answer);
  assert_int_equal(seen.status, IDEM_BUSY);
  world_finish(&world, claim, "for all", 0, &seen);
  world_finish_all(&world);
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
  world_begin(&world, &request, &seen, &call);
  await_waiters(&world, 1);
  idem_async_cancel(call);
  assert_int_equal(seen.times, 0);
  world_finish_all(&world);
  assert_int_equal(seen.status, IDEM_CANCELLED);
  await_waiters(&world, 0);
  assert_int_equal(idem_abandon(claim, IDEM_RELEASE_NOTHING), IDEM_OK);
  idem_claim_free(claim);
  assert_int_equal(idem_fetch(client, request.key, idem_data(NULL, 0), &answer), IDEM_ABSENT);
  idem_answer_clear(&answer);
  world_close(&world);
}

static void await_absent(struct world *world, struct idem_client *client, struct idem_bytes key) {
  struct idem_answer answer;
  enum idem_status status = IDEM_BUSY;
  for (int64_t until = now_ms() + HANG_MS; status != IDEM_ABSENT; idem_answer_clear(&answer)) {
    world_run_for(world, 5);
    status = idem_fetch(client, key, idem_data(NULL, 0), &answer);
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
  idem_claim_free(world_must_begin(&world, &(struct idem_request){.key = idem_text("warm up")}));
  struct idem_request request = request_of("async cancel at once");
  world_begin(&world, &request, &seen, &call);
  idem_async_cancel(call);
  world_finish_all(&world);
  assert_int_equal(seen.status, IDEM_CANCELLED);
  assert_null(seen.claim);
  await_absent(&world, client, request.key);

  request = request_of("async cancel with a past");
  request.flags = IDEM_NO_RENEWAL;
  struct idem_claim *claim = NULL, *next = NULL;
  assert_int_equal(idem_begin(client, &request, &claim, &answer), IDEM_RUN);
  assert_int_equal(idem_stage(claim, idem_text("half")), IDEM_OK);
  assert_int_equal(idem_renew(claim, 1), IDEM_OK);
  idem_claim_free(claim);
  pause_ms(5);
  world_begin(&world, &request, &seen, &call);
  idem_async_cancel(call);
  world_finish_all(&world);
  /* By the loop, which has to run for it. */
  for (int64_t until = now_ms() + HANG_MS; next == NULL; idem_answer_clear(&answer)) {
    world_run_for(&world, 5);
    enum idem_status status = idem_begin(client, &request, &next, &answer);
    CHECK(status == IDEM_RUN || (status == IDEM_BUSY && now_ms() < until), "%s",
          idem_status_name(status));
  }
  assert_int_equal(idem_claim_stage(next).len, 4);
  assert_true(idem_claim_attempt(next) >= 2);
  idem_abandon(next, IDEM_RELEASE_NOTHING);
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
    world_run_for(world, (uint64_t)lease_ms * 2 / 3);
    enum idem_status status =
        idem_fetch(client, idem_claim_key(claim), idem_data(NULL, 0), &answer);
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
  struct idem_claim *claim = world_must_begin(&world, &request);
  struct idem_answer answer;
  for (int i = 1; !stays_held(&world, client, claim, request.lease_ms); i++) {
    CHECK(i < PATIENCE, "not even a lease of %d ms is renewed", (int)request.lease_ms);
    world_finish(&world, claim, "late", 1, &(struct seen){.world = NULL});
    world_finish_all(&world);
    idem_claim_free(claim);
    request.lease_ms *= SCALE;
    claim = world_must_begin(&world, &request);
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
    world_run_for(&world, 10);
  assert_int_equal(losses.lost, 1);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_LOST);
  world_finish(&world, claim, "late", 0, &seen);
  world_finish_all(&world);
  assert_int_equal(seen.status, IDEM_STALE);
  idem_answer_clear(&seen.answer);
  idem_claim_free(claim);
  idem_abandon(thief, IDEM_RELEASE_NOTHING);
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
  struct idem_claim *claim = world_must_begin(&world, &request);
  struct seen seen[50], stored;
  server_kill(&mortal, SIGKILL);
  for (int i = 0; i < 50; i++) {
    request.wait_ms = i % 2 == 0 ? 0 : 10 * HANG_MS; /* for which nobody waits without a server */
    world_begin(&world, &request, &seen[i], NULL);
  }
  world_finish(&world, claim, "x", 0, &stored);
  world_finish_all(&world);
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
  idem_claim_free(world_must_begin(&world, &(struct idem_request){.key = idem_text("warm up")}));
  kill(frozen.pid, SIGSTOP);
  struct seen seen;
  int64_t start_ms = now_ms();
  world_begin(&world, &request, &seen, NULL);
  world_finish_all(&world);
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
  ours = world_must_begin(&world, &(struct idem_request){.key = idem_text("async close ours")});
  request.wait_ms = HANG_MS;
  for (int i = 0; i < 10; i++) world_begin(&world, &request, &seen[i], NULL);
  world_run_for(&world, 20);
  world_close(&world);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(seen[i].times, 1);
    assert_int_equal(seen[i].status, IDEM_CANCELLED);
  }
  struct idem_result result;
  memset(&result, 0, sizeof result);
  assert_int_equal(idem_async_finish(ours, &result, world_on_done, &seen[0], NULL), IDEM_INVALID);
  assert_int_equal(idem_finish(ours, &result), IDEM_INVALID);
  idem_claim_free(ours);
  idem_abandon(claim, IDEM_RELEASE_NOTHING);
  idem_claim_free(claim);
}

/* What belongs to a claim outlives the half that granted it, whatever the claim's end was. */
static void claims_of_every_end_outlive_the_close(void **state) {
  struct idem_client *client = *state;
  struct world world;
  struct seen seen;
  struct idem_answer answer;
  struct idem_claim *claims[3], *thief = NULL; /* held, ended, lost */
  world_open(&world, server.port, NULL);
  for (size_t i = 0; i < 3; i++) {
    char key[32];
    snprintf(key, sizeof key, "outlives %zu", i);
    struct idem_request request = request_of(key);
    request.flags = IDEM_NO_RENEWAL;
    request.lease_ms = i == 2 ? 1000 : 0;
    claims[i] = world_must_begin(&world, &request);
  }
  world_finish(&world, claims[1], "made", 0, &seen);
  world_finish_all(&world);
  idem_answer_clear(&seen.answer);
  struct idem_request theft = {.key = idem_claim_key(claims[2]), .wait_ms = HANG_MS};
  assert_int_equal(idem_begin(client, &theft, &thief, &answer), IDEM_RUN);
  world_finish(&world, claims[2], "late", 0, &seen);
  world_finish_all(&world);
  assert_int_equal(seen.status, IDEM_STALE);
  idem_answer_clear(&seen.answer);
  assert_int_equal(idem_claim_state(claims[1]), IDEM_CLAIM_ENDED);
  assert_int_equal(idem_claim_state(claims[2]), IDEM_CLAIM_LOST);
  world_close(&world);
  const struct idem_result result = {.body = idem_text("x")};
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(idem_async_finish(claims[i], &result, world_on_done, &seen, NULL),
                     IDEM_INVALID);
    assert_int_equal(
        idem_async_abandon(claims[i], IDEM_RELEASE_NOTHING, world_on_done, &seen, NULL),
        IDEM_INVALID);
    assert_int_equal(idem_async_stage(claims[i], idem_text("s"), world_on_done, &seen, NULL),
                     IDEM_INVALID);
    assert_int_equal(idem_finish(claims[i], &result), IDEM_INVALID);
    assert_true(idem_claim_token(claims[i]) > 0);
    idem_claim_free(claims[i]);
  }
  idem_abandon(thief, IDEM_RELEASE_NOTHING);
  idem_claim_free(thief);
}

static enum idem_status ask_once(const char *url, const struct idem_options *options,
                                 struct seen *seen) {
  struct world world;
  world_open_url(&world, url, options);
  world_fetch(&world, "asked once", seen);
  world_close(&world);
  return seen->status;
}

/* What a URL leads to is the same from both halves. */
static void both_halves_agree(void **state) {
  (void)state;
  static const struct {
    const char *front, *host; /* the port follows */
    enum idem_status status;
    const char *message;
  } cases[] = {{"redis://", "127.0.0.1", IDEM_ABSENT, ""},
               {"REDIS://", "127.0.0.1", IDEM_ABSENT, ""},
               {"redis://:a/password@", "127.0.0.1", IDEM_REFUSED, "the password"},
               {"redis://", "host.invalid", IDEM_UNAVAILABLE, "cannot resolve"}};
  const struct idem_options options = {.deadline_ms = 200};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char url[128];
    struct idem_client *client = NULL;
    struct idem_answer answer;
    struct seen seen;
    bool reached = cases[i].status != IDEM_UNAVAILABLE;
    snprintf(url, sizeof url, "%s%s:%d", cases[i].front, cases[i].host, server.port);
    const struct idem_options patient = patient_options(reached ? NULL : &options);
    assert_int_equal(idem_open(url, &patient, &client, NULL), IDEM_OK);
    enum idem_status status = idem_fetch(client, idem_text("asked once"), NONE, &answer);
    enum idem_status other = ask_once(url, &patient, &seen);
    CHECK(status == cases[i].status, "%s: %s %s", url, idem_status_name(status), answer.message);
    CHECK(other == cases[i].status, "%s: %s", url, idem_status_name(other));
    CHECK(strstr(answer.message, cases[i].message) != NULL, "%s", answer.message);
    CHECK(strstr(seen.answer.message, cases[i].message) != NULL, "%s", seen.answer.message);
    idem_answer_clear(&answer);
    idem_answer_clear(&seen.answer);
    idem_close(client);
  }
}

/* A password is taken before anything else is said. */
static void passwords_come_first(void **state) {
  (void)state;
  char path[] = "/tmp/idem-password-XXXXXX", url[128];
  int fd = mkstemp(path);
  assert_true(fd >= 0 && write(fd, "s3cret\n", 7) == 7);
  close(fd);
  const char *arguments[] = {"--requirepass-file", path, NULL};
  struct server closed;
  struct world world;
  struct seen seen;
  server_start(&closed, 0, arguments);
  for (int right = 0; right < 2; right++) {
    snprintf(url, sizeof url, "redis://:%s@127.0.0.1:%d", right ? "s3cret" : "wrong", closed.port);
    world_open_url(&world, url, NULL);
    struct idem_request request = request_of("behind a password");
    world_begin(&world, &request, &seen, NULL);
    world_finish_all(&world);
    CHECK(seen.status == (right ? IDEM_RUN : IDEM_REFUSED), "%s", idem_status_name(seen.status));
    idem_answer_clear(&seen.answer);
    idem_claim_free(seen.claim);
    world_close(&world);
  }
  server_kill(&closed, SIGTERM);
  unlink(path);
  long before = server_count(server.port, "claims_granted");
  snprintf(url, sizeof url, "redis://:unwanted@127.0.0.1:%d", server.port);
  world_open_url(&world, url, NULL);
  struct idem_request request = request_of("not asked for");
  world_begin(&world, &request, &seen, NULL);
  world_finish_all(&world);
  assert_int_equal(seen.status, IDEM_REFUSED);
  assert_int_equal(server_count(server.port, "claims_granted"), before);
  idem_answer_clear(&seen.answer);
  world_close(&world);
}

/* A port that takes no more connections: its queue is full. The listener and what fills it. */
static int full_port(int *fds, int count) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t len = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fds[0], (struct sockaddr *)&address, len), 0);
  assert_int_equal(listen(fds[0], 0), 0);
  getsockname(fds[0], (struct sockaddr *)&address, &len);
  for (int i = 1; i < count; i++) {
    fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    connect(fds[i], (struct sockaddr *)&address, len);
  }
  return ntohs(address.sin_port);
}

static void connecting_has_a_time_of_its_own(void **state) {
  (void)state;
  int fds[4];
  struct world world;
  struct seen seen;
  const struct idem_options options = {.connect_timeout_ms = 100, .deadline_ms = 1000};
  world_open(&world, full_port(fds, 4), &options);
  world_fetch(&world, "full", &seen);
  assert_int_equal(seen.status, IDEM_UNAVAILABLE);
  CHECK(strstr(seen.answer.message, "no connection to 127.0.0.1") != NULL, "%s",
        seen.answer.message);
  idem_answer_clear(&seen.answer);
  world_close(&world);
  for (int i = 0; i < 4; i++) close(fds[i]);
}

/* Without stdin, stdout or stderr: no connection takes their place, and none is left. */
static void standard_descriptors_stay_free(void **state) {
  (void)state;
  int kept[3];
  struct world world;
  struct seen seen;
  world_open(&world, server.port, NULL);
  world_close(&world); /* what the first loop of a process opens stays open */
  int descriptors = open_descriptors();
  world_open(&world, server.port, NULL);
  for (int i = 0; i < 3; i++) {
    kept[i] = fcntl(i, F_DUPFD_CLOEXEC, 3);
    close(i);
  }
  world_fetch(&world, "descriptors", &seen);
  bool taken = false;
  for (int i = 0; i < 3; i++) taken = taken || fcntl(i, F_GETFD) != -1;
  idem_answer_clear(&seen.answer);
  world_close(&world);
  for (int i = 0; i < 3; i++) {
    taken = taken || fcntl(i, F_GETFD) != -1;
    dup2(kept[i], i);
    close(kept[i]);
  }
  assert_int_equal(seen.status, IDEM_ABSENT);
  assert_false(taken);
  assert_int_equal(open_descriptors(), descriptors);
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
      world_begin(&world, &request, &seen, NULL);
      world_finish_all(&world);
      CHECK(seen.status == IDEM_RUN, "%s: %s", key, idem_status_name(seen.status));
      struct idem_claim *claim = seen.claim;
      assert_int_equal(idem_claim_attempt(claim), 1);
      proxy_arm(proxy, (struct proxy_plan){(enum proxy_side)side, at < len[1] ? at : len[1],
                                           at % 2 == 0, 1});
      world_finish(&world, claim, body, 0, &seen);
      world_finish_all(&world);
      CHECK(seen.status == IDEM_OK, "%s: %s %s", key, idem_status_name(seen.status),
            seen.answer.message);
      proxy_arm(proxy, none);
      struct idem_answer answer;
      assert_int_equal(idem_fetch(client, idem_text(key), idem_data(NULL, 0), &answer),
                       IDEM_REPLAY);
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
      cmocka_unit_test(claims_of_every_end_outlive_the_close),
      cmocka_unit_test(both_halves_agree),
      cmocka_unit_test(passwords_come_first),
      cmocka_unit_test(connecting_has_a_time_of_its_own),
      cmocka_unit_test(standard_descriptors_stay_free),
      cmocka_unit_test(cuts_at_every_byte),
  };
  return cmocka_run_group_tests_name("async", tests, open_client, close_client);
}
