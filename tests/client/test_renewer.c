/*
 * test_renewer.c - renewal in the background: a long job under a short lease, many claims together,
 * and what is told when a claim is in doubt, lost, or ends while it is renewed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/idem.h"
#include "tests/client/harness.h"

#define LEASES 10 /* that a long job lasts */
#define MANY 500

static struct server server;

struct losses {
  _Atomic int doubtful, lost;
};

static void on_lost(struct idem_claim *claim, enum idem_claim_state state, void *context) {
  struct losses *losses = context;
  CHECK(idem_claim_state(claim) == state || state == IDEM_CLAIM_DOUBTFUL, "told %d", (int)state);
  if (state == IDEM_CLAIM_DOUBTFUL) losses->doubtful++;
  if (state == IDEM_CLAIM_LOST) losses->lost++;
}

static struct idem_client *open_with_losses(int port, struct losses *losses) {
  struct idem_options options;
  memset(&options, 0, sizeof options);
  options.on_lost = on_lost;
  options.lost_context = losses;
  return must_open(port, &options);
}

static struct idem_claim *must_begin(struct idem_client *client, const char *key, int64_t lease_ms,
                                     int64_t wait_ms) {
  struct idem_answer answer;
  struct idem_request request;
  struct idem_claim *claim = NULL;
  memset(&request, 0, sizeof request);
  request.key = idem_text(key);
  request.lease_ms = lease_ms;
  request.wait_ms = wait_ms;
  enum idem_status status = idem_begin(client, &request, &claim, &answer);
  CHECK(status == IDEM_RUN, "%s: %s %s", key, idem_status_name(status), answer.message);
  idem_answer_clear(&answer);
  return claim;
}

static void await(_Atomic int *counter, int wanted) {
  int64_t until = now_ms() + HANG_MS;
  while (*counter < wanted) {
    CHECK(now_ms() < until, "%d of %d", *counter, wanted);
    pause_ms(2);
  }
}

/* Work that lasts for many leases while a rival asks for it. */
struct job {
  struct idem_client *rival;
  int64_t lease_ms;
  bool late; /* a lease ended all the same */
};

static int long_job(struct idem_claim *claim, void *context, struct idem_result *result) {
  struct job *job = context;
  int64_t until = now_ms() + LEASES * job->lease_ms;
  while (now_ms() < until && !job->late) {
    struct idem_answer answer;
    struct idem_claim *second = NULL;
    struct idem_request request;
    memset(&request, 0, sizeof request);
    request.key = idem_claim_key(claim);
    enum idem_status status = idem_begin(job->rival, &request, &second, &answer);
    CHECK(status == IDEM_BUSY || status == IDEM_RUN, "a rival got %s", idem_status_name(status));
    job->late = status != IDEM_BUSY || idem_claim_state(claim) != IDEM_CLAIM_HELD;
    if (status == IDEM_RUN) idem_abandon(second, IDEM_RELEASE_NOTHING);
    idem_claim_free(second);
    idem_answer_clear(&answer);
    pause_ms(20);
  }
  result->body = idem_text("long");
  return IDEM_WORK_DONE;
}

/* False: the machine was too slow for the lease. */
static bool long_job_under(int64_t lease_ms) {
  struct losses losses = {0, 0};
  struct idem_client *client = open_with_losses(server.port, &losses);
  struct job job = {.rival = must_open(server.port, NULL), .lease_ms = lease_ms};
  struct idem_answer answer;
  struct idem_request request;
  char key[32];
  snprintf(key, sizeof key, "long job %lld", (long long)lease_ms);
  memset(&request, 0, sizeof request);
  request.key = idem_text(key);
  request.lease_ms = lease_ms;
  enum idem_status status = idem_once(client, &request, long_job, &job, &answer);
  bool in_time = !job.late && losses.doubtful + losses.lost == 0;
  if (in_time) {
    assert_int_equal(status, IDEM_RUN);
    assert_int_equal(answer.attempt, 1);
  }
  idem_answer_clear(&answer);
  idem_close(client);
  idem_close(job.rival);
  return in_time;
}

static void a_long_job_under_a_short_lease(void **state) {
  (void)state;
  int64_t lease_ms = 300;
  for (int i = 1; !long_job_under(lease_ms); i++, lease_ms *= SCALE) {
    CHECK(i < PATIENCE, "not even a lease of %lld ms is renewed", (long long)lease_ms);
  }
}

/* False: the machine was too slow for the lease. */
static bool many_claims_under(int64_t lease_ms) {
  struct losses losses = {0, 0};
  struct idem_client *client = open_with_losses(server.port, &losses);
  struct idem_claim *claims[MANY];
  struct idem_result result;
  int held = 0;
  memset(&result, 0, sizeof result);
  for (int i = 0; i < MANY; i++) {
    char key[32];
    snprintf(key, sizeof key, "many %d %lld", i, (long long)lease_ms);
    claims[i] = must_begin(client, key, lease_ms, 0);
  }
  pause_ms(lease_ms * LEASES / 3);
  for (int i = 0; i < MANY; i++) {
    held += idem_claim_state(claims[i]) == IDEM_CLAIM_HELD;
    assert_int_equal(idem_finish(claims[i], &result), IDEM_OK);
    idem_claim_free(claims[i]);
  }
  idem_close(client);
  assert_int_equal(losses.lost, 0);
  return held == MANY && losses.doubtful == 0;
}

static void many_claims_are_renewed_together(void **state) {
  (void)state;
  int64_t lease_ms = 600;
  for (int i = 1; !many_claims_under(lease_ms); i++, lease_ms *= SCALE) {
    CHECK(i < PATIENCE, "not even leases of %lld ms are renewed", (long long)lease_ms);
  }
}

static void await_doubt(struct losses *losses, int told, const struct idem_claim *claim) {
  int64_t until = now_ms() + HANG_MS;
  while (losses->doubtful < told || idem_claim_state(claim) != IDEM_CLAIM_DOUBTFUL) {
    CHECK(now_ms() < until, "told %d of %d times", losses->doubtful, told);
    pause_ms(2);
  }
}

static void a_dead_server_leaves_doubt_and_a_live_one_ends_it(void **state) {
  (void)state;
  struct losses losses = {0, 0};
  struct server mortal;
  server_start(&mortal, 0, NULL);
  struct idem_client *client = open_with_losses(mortal.port, &losses);
  struct idem_claim *claim = must_begin(client, "doubt", 200, 0);
  kill(mortal.pid, SIGSTOP);
  await_doubt(&losses, 1, claim);
  kill(mortal.pid, SIGCONT);
  int64_t until = now_ms() + HANG_MS;
  while (idem_claim_state(claim) != IDEM_CLAIM_HELD) {
    CHECK(now_ms() < until, "still in doubt");
    pause_ms(2);
  }
  assert_int_equal(losses.lost, 0);
  int port = mortal.port;
  server_kill(&mortal, SIGKILL);
  await_doubt(&losses, 2, claim);
  server_start(&mortal, port, NULL); /* with empty memory: the record is gone */
  await(&losses.lost, 1);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_LOST);
  struct idem_result result;
  memset(&result, 0, sizeof result);
  assert_int_equal(idem_finish(claim, &result), IDEM_STALE);
  idem_claim_free(claim);
  idem_close(client);
  server_kill(&mortal, SIGTERM);
}

/* It listens, and nobody can connect: packets are swallowed as by a firewall. */
struct swallower {
  int listener, guests[8];
};

static void swallower_open(struct swallower *swallower, int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  int on = 1;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  swallower->listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(swallower->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  CHECK(bind(swallower->listener, (struct sockaddr *)&address, sizeof address) == 0, "bind");
  CHECK(listen(swallower->listener, 0) == 0, "listen");
  for (size_t i = 0; i < sizeof swallower->guests / sizeof(int); i++) {
    swallower->guests[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)connect(swallower->guests[i], (struct sockaddr *)&address, sizeof address);
  }
}

static void swallower_close(struct swallower *swallower) {
  for (size_t i = 0; i < sizeof swallower->guests / sizeof(int); i++) close(swallower->guests[i]);
  close(swallower->listener);
}

/* False: the doubt came late, or the machine was too slow for the lease. */
static bool doubt_is_told_in_time(int64_t lease_ms) {
  struct losses losses = {0, 0};
  struct server mortal;
  struct swallower swallower;
  struct idem_claim *claims[MANY];
  server_start(&mortal, 0, NULL);
  struct idem_client *client = open_with_losses(mortal.port, &losses);
  for (int i = 0; i < MANY; i++) {
    char key[32];
    snprintf(key, sizeof key, "swallowed %d", i);
    claims[i] = must_begin(client, key, lease_ms, 0);
  }
  server_kill(&mortal, SIGKILL);
  swallower_open(&swallower, mortal.port);
  int64_t start_ms = now_ms();
  await(&losses.doubtful, MANY);
  bool in_time = now_ms() - start_ms < 2 * lease_ms;
  for (int i = 0; i < MANY; i++) idem_claim_free(claims[i]);
  idem_close(client);
  swallower_close(&swallower);
  return in_time;
}

/* More claims than fit into one batch: not each batch waits for the connection. */
static void a_server_that_cannot_be_reached_leaves_doubt_in_time(void **state) {
  (void)state;
  int64_t lease_ms = 600;
  for (int i = 1; !doubt_is_told_in_time(lease_ms); i++, lease_ms *= SCALE)
    CHECK(i < PATIENCE, "not even of leases of %lld ms", (long long)lease_ms);
}

static void a_longer_lease_is_kept(void **state) {
  (void)state;
  struct losses losses = {0, 0};
  struct idem_client *client = open_with_losses(server.port, &losses);
  struct idem_claim *claim = must_begin(client, "longer", 100, 0);
  assert_int_equal(idem_renew(claim, 30000), IDEM_OK);
  pause_ms(300);
  assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_HELD);
  assert_int_equal(idem_stage(claim, idem_text("s")), IDEM_OK);
  assert_int_equal(idem_abandon(claim, IDEM_RELEASE_NOTHING), IDEM_OK);
  idem_claim_free(claim);
  idem_close(client);
}

struct slow {
  _Atomic int entered, left;
};

static void on_lost_slowly(struct idem_claim *claim, enum idem_claim_state state, void *context) {
  struct slow *slow = context;
  (void)state;
  slow->entered = 1;
  pause_ms(50); /* the time in which a careless idem_claim_free would free what is used below */
  CHECK(idem_claim_token(claim) > 0, "a dead claim");
  slow->left = 1;
}

static void freeing_waits_for_the_callback(void **state) {
  (void)state;
  struct slow slow = {0, 0};
  struct idem_options options;
  memset(&options, 0, sizeof options);
  options.on_lost = on_lost_slowly;
  options.lost_context = &slow;
  struct idem_client *client = must_open(server.port, &options);
  struct idem_claim *claim = must_begin(client, "slow callback", 60, 0);
  kill(server.pid, SIGSTOP); /* renewals do not get through, the lease lapses */
  await(&slow.entered, 1);
  idem_claim_free(claim);
  assert_int_equal(slow.left, 1);
  kill(server.pid, SIGCONT);
  idem_close(client);
}

static void *claim_and_free(void *argument) {
  struct idem_client *client = argument;
  for (int i = 0; i < 100; i++) {
    char key[48];
    snprintf(key, sizeof key, "brief %p %d", (void *)&key, i);
    struct idem_claim *claim = must_begin(client, key, 3, 0);
    if (i % 4 == 0) pause_ms(1);
    if (i % 2 == 0) idem_abandon(claim, IDEM_RELEASE_NOTHING);
    idem_claim_free(claim);
  }
  return NULL;
}

/* Renewals every millisecond, and claims that end at any moment of one. For the race detectors. */
static void claims_end_while_they_are_renewed(void **state) {
  (void)state;
  struct losses losses = {0, 0};
  struct idem_client *client = open_with_losses(server.port, &losses);
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, claim_and_free, client);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  idem_close(client);
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
      cmocka_unit_test(a_long_job_under_a_short_lease),
      cmocka_unit_test(many_claims_are_renewed_together),
      cmocka_unit_test(a_dead_server_leaves_doubt_and_a_live_one_ends_it),
      cmocka_unit_test(a_server_that_cannot_be_reached_leaves_doubt_in_time),
      cmocka_unit_test(a_longer_lease_is_kept),
      cmocka_unit_test(freeing_waits_for_the_callback),
      cmocka_unit_test(claims_end_while_they_are_renewed),
  };
  return cmocka_run_group_tests_name("renewer", tests, start_server, stop_server);
}
