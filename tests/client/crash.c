/*
 * crash.c - kill -9 of the server in the middle of CALLS idem_once from THREADS threads. It comes
 * back on its port after a while, with empty memory, and at the end it dies for good. Every call
 * has to end in one of its outcomes, the work has to have run if and only if the outcome says so,
 * and nothing may hang or be left over.
 *
 *     crash [calls]
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/idem.h"
#include "tests/client/harness.h"

#define THREADS 8
#define DEADLINE_MS 2000
#define LAST_CALLS 16

static struct {
  struct idem_client *client;
  int calls;
  _Atomic int next, done, worked;
  _Atomic int outcomes[32];
  _Atomic int64_t slowest_ms;
} test;

static int work(struct idem_claim *claim, void *context, struct idem_result *result) {
  (void)claim;
  ++*(int *)context;
  atomic_fetch_add(&test.worked, 1);
  result->body = idem_text("made");
  return IDEM_WORK_DONE;
}

static void call(int number) {
  char key[32];
  int runs = 0;
  struct idem_answer answer;
  struct idem_request request;
  memset(&request, 0, sizeof request);
  snprintf(key, sizeof key, "order %d",
           number / 2); /* each is asked for twice, mostly at the same time */
  request.key = idem_text(key);
  request.lease_ms = 2000;
  request.wait_ms = 1000;
  int64_t start = now_ms();
  enum idem_status status = idem_once(test.client, &request, work, &runs, &answer);
  int64_t took = now_ms() - start;
  bool ran = status == IDEM_RUN || status == IDEM_UNSTORED;
  CHECK(ran || status == IDEM_REPLAY || status == IDEM_BUSY || status == IDEM_UNAVAILABLE,
        "%s: %s %s", key, idem_status_name(status), answer.message);
  CHECK(runs == ran, "%s: %s, and the work ran %d times", key, idem_status_name(status), runs);
  CHECK(status != IDEM_UNSTORED || answer.store == IDEM_UNAVAILABLE || answer.store == IDEM_STALE,
        "%s", idem_status_name(answer.store));
  if (ran || status == IDEM_REPLAY)
    CHECK(memcmp(answer.body.data, "made", 5) == 0, "%s: other bytes", key);
  idem_answer_clear(&answer);
  atomic_fetch_add(&test.outcomes[status], 1);
  int64_t slowest = test.slowest_ms;
  while (took > slowest && !atomic_compare_exchange_weak(&test.slowest_ms, &slowest, took))
    continue;
}

static void *caller(void *unused) {
  (void)unused;
  for (int number = atomic_fetch_add(&test.next, 1); number < test.calls;
       number = atomic_fetch_add(&test.next, 1)) {
    call(number);
    atomic_fetch_add(&test.done, 1);
  }
  return NULL;
}

static void await_done(int count) {
  int64_t until = now_ms() + HANG_MS;
  for (int done = test.done; done < count; pause_ms(1)) {
    CHECK(now_ms() < until, "only %d calls of %d ended", done, count);
    if (test.done == done) continue;
    done = test.done;
    until = now_ms() + HANG_MS;
  }
}

int main(int argc, char **argv) {
  test.calls = argc > 1 ? atoi(argv[1]) : 10000;
  struct server server;
  struct idem_options options;
  memset(&options, 0, sizeof options);
  options.deadline_ms = DEADLINE_MS;
  options.command_timeout_ms = 500;
  server_start(&server, 0, NULL);
  int before = open_descriptors();
  test.client = must_open(server.port, &options);
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, caller, NULL);
  for (int kills = 1; kills <= 2; kills++) {
    await_done(test.calls * kills / 3);
    server_kill(&server, SIGKILL);
    pause_ms(200); /* down for a while, on purpose */
    server_start(&server, server.port, NULL);
  }
  await_done(test.calls - LAST_CALLS);
  server_kill(&server, SIGKILL);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  CHECK(test.done == test.calls, "%d", test.done);
  CHECK(test.worked == test.outcomes[IDEM_RUN] + test.outcomes[IDEM_UNSTORED], "%d runs",
        test.worked);
  idem_close(test.client);
  CHECK(open_descriptors() <= before - 1,
        "descriptors are left over"); /* less the log of the server */
  printf("  %d calls:", test.calls);
  for (int i = 0; i < 32; i++) {
    if (test.outcomes[i] > 0)
      printf(" %s %d", idem_status_name((enum idem_status)i), test.outcomes[i]);
  }
  printf(", slowest %lld ms\n", (long long)test.slowest_ms);
  return 0;
}
