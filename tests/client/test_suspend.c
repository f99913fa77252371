/*
 * test_suspend.c - the machine is suspended: CLOCK_MONOTONIC stands still and leases run on. The
 * test plays the kernel: clock_gettime passes through it (-Wl,--wrap), and CLOCK_BOOTTIME jumps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "client/idem.h"
#include "client/lane.h"
#include "tests/client/harness.h"
#include "tests/client/pair.h"
#include "tests/client/town.h"
#include "tests/client/world.h"

/* A third of it is far longer than HANG_MS: without a look at the clock nothing would be renewed.
 */
#define LEASE_MS (30 * 60000)

static struct server server;
static _Atomic int64_t suspended_s;

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now) {
  int code = __real_clock_gettime(clock, now);
  if (clock == CLOCK_BOOTTIME) now->tv_sec += (time_t)suspended_s;
  return code;
}

/* A claim that a renewal still finds its own was never in doubt for its owner. */
static void count_losses(struct idem_claim *claim, enum idem_claim_state claim_state,
                         void *context) {
  (void)claim;
  (void)claim_state;
  ++*(_Atomic int *)context;
}

static void suspend(void) { suspended_s += LEASE_MS / 1000; }

static void a_lease_runs_on_in_suspend(void **state) {
  (void)state;
  _Atomic int losses = 0;
  const struct idem_options options = {.on_lost = count_losses, .lost_context = &losses};
  struct idem_client *client = must_open(server.port, &options);
  const struct idem_request request = {.key = idem_text("suspended"), .lease_ms = LEASE_MS};
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  assert_int_equal(idem_begin(client, &request, &claim, &answer), IDEM_RUN);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_HELD);
  kill(server.pid, SIGSTOP); /* so that no renewal comes in between */
  suspend();
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_DOUBTFUL);
  kill(server.pid, SIGCONT);
  for (int64_t until = now_ms() + HANG_MS; idem_claim_state(claim) != IDEM_CLAIM_HELD;) {
    pause_ms(5);
    CHECK(now_ms() < until, "not renewed after the suspension");
  }
  assert_int_equal(idem_abandon(claim, IDEM_RELEASE_NOTHING), IDEM_OK);
  assert_int_equal(losses, 0);
  idem_claim_free(claim);
  idem_close(client);
}

static void async_a_lease_runs_on_in_suspend(void **state) {
  (void)state;
  struct world world;
  _Atomic int losses = 0;
  const struct idem_options options = {.on_lost = count_losses, .lost_context = &losses};
  world_open(&world, server.port, &options);
  const struct idem_request request = {.key = idem_text("async suspended"), .lease_ms = LEASE_MS};
  struct idem_claim *claim = world_must_begin(&world, &request);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_HELD);
  suspend();
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_DOUBTFUL);
  for (int64_t until = now_ms() + HANG_MS; idem_claim_state(claim) != IDEM_CLAIM_HELD;) {
    world_run_for(&world, 5);
    CHECK(now_ms() < until, "not renewed after the suspension");
  }
  assert_int_equal(losses, 0);
  idem_claim_free(claim);
  world_close(&world);
}

/* ---- a long time without work ---- */

/* "x" is at node 1, and all else at node 2. */
static const char *part(struct town *town, int node, const struct command *command, bool asked) {
  int owner = strcmp(command->words[1], "x") == 0 ? 1 : 2;
  (void)asked;
  return node == owner ? town_own(command) : town_redirect(town, node, "MOVED", owner);
}

static int threads(void) {
  int count = 0;
  DIR *tasks = opendir("/proc/self/task");
  CHECK(tasks != NULL, "no /proc");
  while (readdir(tasks) != NULL) count++;
  closedir(tasks);
  return count;
}

static void await_heard(const struct town *town, int node, int more) {
  int64_t until_ms = now_ms() + HANG_MS;
  for (int wanted = town->heard[node] + more; town->heard[node] < wanted; pause_ms(1))
    CHECK(now_ms() < until_ms, "node %d heard %d, not %d", node, town->heard[node], wanted);
}

static void the_thread_of_a_node_that_is_left_ends(void **state) {
  (void)state;
  struct town town;
  struct pair pair;
  char url[64];
  town_open(&town, part);
  town.no_table = "-NOPERM no table for you\r\n";
  town_url(&town, 0, 0, url, sizeof url);
  pair_open_url(&pair, SYNC, url, NULL);
  struct idem_claim *left = pair_must_hold(&pair, "x"), *kept = pair_must_hold(&pair, "y");
  await_heard(&town, 1, 2);
  await_heard(&town, 2, 2);
  int before = threads();
  CHECK_STATUS(&pair, pair_finish(&pair, left, 0), IDEM_OK);
  idem_claim_free(left);
  suspended_s += LANE_IDLE_MS / 1000 + 1;
  for (int64_t until_ms = now_ms() + HANG_MS; threads() != before - 1; pause_ms(5))
    CHECK(now_ms() < until_ms, "%d threads, before %d", threads(), before);
  await_heard(&town, 2, 2);
  left = pair_must_hold(&pair, "x"); /* and it is had again */
  await_heard(&town, 1, 2);
  idem_claim_free(left);
  idem_claim_free(kept);
  pair_close(&pair);
  town_close(&town);
}

static int start_server(void **state) {
  (void)state;
  server_start(&server, 0, NULL);
  return 0;
}

static int stop_server(void **state) {
  (void)state;
  server_kill(&server, SIGTERM);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_lease_runs_on_in_suspend),
      cmocka_unit_test(the_thread_of_a_node_that_is_left_ends),
      cmocka_unit_test(async_a_lease_runs_on_in_suspend),
  };
  return cmocka_run_group_tests_name("suspend", tests, start_server, stop_server);
}
