/*
 * async_libevent.c - libidem in a libevent loop: many pieces of work at once in one thread, on few
 * connections.
 *
 * For each KEY: claim it; when granted, work for a while (a timer stands for it) and store; when
 * another one runs it, wait for its result. Prints "KEY ran", "KEY replayed BODY" or "KEY failed
 * WHY". SIGINT or SIGTERM cancels: what was claimed and has not acted yet is given back.
 *
 *     build/release/examples/async_libevent [--server URL] [--work-ms N] [--lease-ms N] KEY ...
 */
#include <event2/event.h>
#include <idem_event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/examples/demo.h"

#define LEASE_MS 5000
#define WAIT_MS 60000

struct shop {
  struct event_base *base;
  struct idem_async *async;
  struct demo demo;
  size_t open; /* jobs that have not ended */
  int failed;
  int stopping;
};

struct job {
  struct shop *shop;
  const char *key;
  struct idem_claim *claim; /* while it is ours */
  struct event *timer;
  char body[64];
};

static void job_end(struct job *job, const char *what, const char *detail) {
  struct shop *shop = job->shop;
  printf("%s %s%s%s\n", job->key, what, *detail != '\0' ? " " : "", detail);
  fflush(stdout);
  if (strcmp(what, "failed") == 0) shop->failed = 1;
  idem_claim_free(job->claim);
  job->claim = NULL;
  shop->open--;
  if (shop->open == 0) event_base_loopbreak(shop->base);
}

static void on_stored(struct idem_answer *answer, struct idem_claim *claim, void *context) {
  (void)claim;
  if (answer->status == IDEM_OK) {
    job_end(context, "ran", "");
  } else {
    job_end(context, "failed", idem_status_name(answer->status));
  }
}

static void on_given_back(struct idem_answer *answer, struct idem_claim *claim, void *context) {
  (void)claim;
  job_end(context, "cancelled", answer->status == IDEM_OK ? "" : "its lease runs on");
}

static void on_worked(evutil_socket_t none, short what, void *context) {
  struct job *job = context;
  (void)none, (void)what;
  snprintf(job->body, sizeof job->body, "by process %ld", (long)getpid());
  const struct idem_result result = {.body = idem_text(job->body)};
  if (idem_async_finish(job->claim, &result, on_stored, job, NULL) != IDEM_OK) {
    job_end(job, "failed", "not stored");
  }
}

static void start_work(struct job *job) {
  const int work_ms = job->shop->demo.work_ms;
  const struct timeval time = {work_ms / 1000, work_ms % 1000 * 1000};
  evtimer_add(job->timer, &time);
}

/* Only because its timer has not fired: the work has done nothing yet, and that is known. Work that
 * may have acted says IDEM_RELEASE_UNSURE instead, and the next one is told that it is attempt 2.
 */
static void give_back(struct job *job) {
  evtimer_del(job->timer);
  if (idem_async_abandon(job->claim, IDEM_RELEASE_NOTHING, on_given_back, job, NULL) != IDEM_OK) {
    job_end(job, "failed", "not given back");
  }
}

static void on_begun(struct idem_answer *answer, struct idem_claim *claim, void *context) {
  struct job *job = context;
  switch (answer->status) {
    case IDEM_RUN:
      job->claim = claim;
      if (job->shop->stopping) {
        give_back(job);
      } else {
        start_work(job);
      }
      break;
    case IDEM_REPLAY: job_end(job, "replayed", answer->body.data); break;
    default: job_end(job, "failed", idem_status_name(answer->status));
  }
}

static void on_signal(evutil_socket_t number, short what, void *context) {
  (void)number, (void)what;
  struct shop *shop = context;
  if (shop->stopping) return;
  shop->stopping = 1;
  event_base_loopbreak(shop->base);
}

static int job_start(struct job *job) {
  struct shop *shop = job->shop;
  const struct idem_request request = {
      .key = idem_text(job->key), .lease_ms = shop->demo.lease_ms, .wait_ms = WAIT_MS};
  job->timer = evtimer_new(shop->base, on_worked, job);
  if (job->timer == NULL) return -1;
  if (idem_async_begin(shop->async, &request, on_begun, job, NULL) != IDEM_OK) return -1;
  shop->open++;
  return 0;
}

/* Stopped in the middle: nothing that is under way is waited for but what ends the claims. */
static void stop(struct shop *shop, struct job *jobs, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (jobs[i].claim != NULL && evtimer_pending(jobs[i].timer, NULL)) give_back(&jobs[i]);
  }
  const struct timeval patience = {2, 0};
  event_base_loopexit(shop->base, &patience);
  if (shop->open > 0) event_base_dispatch(shop->base);
}

static int run(struct shop *shop, char **keys, size_t count) {
  struct job *jobs = calloc(count, sizeof *jobs);
  struct event *signals[2] = {evsignal_new(shop->base, SIGINT, on_signal, shop),
                              evsignal_new(shop->base, SIGTERM, on_signal, shop)};
  if (jobs == NULL || signals[0] == NULL || signals[1] == NULL) return 1;
  event_add(signals[0], NULL);
  event_add(signals[1], NULL);
  for (size_t i = 0; i < count; i++) {
    jobs[i].shop = shop;
    jobs[i].key = keys[i];
    if (job_start(&jobs[i]) != 0) shop->failed = 1;
  }
  if (shop->open > 0) event_base_dispatch(shop->base);
  if (shop->stopping) stop(shop, jobs, count);
  idem_async_close(shop->async); /* ends what is left with CANCELLED: on_begun says so */
  for (size_t i = 0; i < count; i++) {
    idem_claim_free(jobs[i].claim);
    if (jobs[i].timer != NULL) event_free(jobs[i].timer);
  }
  event_free(signals[0]);
  event_free(signals[1]);
  free(jobs);
  return shop->failed || shop->stopping;
}

int main(int argc, char **argv) {
  struct shop shop = {.demo = {.work_ms = 100, .lease_ms = LEASE_MS}};
  struct idem_error error;
  int first = demo_options(&shop.demo, argc, argv);
  if (first == argc) {
    fprintf(stderr, "usage: async_libevent [--server URL] [--work-ms N] [--lease-ms N] KEY ...\n");
    return 64;
  }
  shop.base = event_base_new();
  if (shop.base == NULL) return 1;
  const struct idem_loop loop = idem_event_loop(shop.base);
  int result = 1;
  if (idem_async_open(shop.demo.server, NULL, &loop, &shop.async, &error) != IDEM_OK) {
    fprintf(stderr, "%s\n", error.text);
  } else {
    result = run(&shop, argv + first, (size_t)(argc - first));
  }
  event_base_free(shop.base);
  return result;
}
