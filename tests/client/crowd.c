/*
 * crowd.c - PROCESSES processes each ask for the same KEYS pieces of work with idem_once, in orders
 * of their own: every work function has to run exactly once, and everybody has to get the bytes of
 * that one run.
 *
 *     crowd [processes [keys]]
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/idem.h"
#include "tests/client/harness.h"

struct job {
  _Atomic int runs;
  int winner; /* pid of the process that ran it */
};

struct errand {
  struct job *job;
  char body[32];
};

static int work(struct idem_claim *claim, void *context, struct idem_result *result) {
  struct errand *errand = context;
  (void)claim;
  atomic_fetch_add(&errand->job->runs, 1);
  errand->job->winner = (int)getpid();
  snprintf(errand->body, sizeof errand->body, "%d", (int)getpid());
  result->body = idem_text(errand->body);
  return IDEM_WORK_DONE;
}

static void shuffle(int *order, int count, unsigned seed) {
  for (int i = 0; i < count; i++) order[i] = i;
  for (int i = count - 1; i > 0; i--) {
    int j = rand_r(&seed) % (i + 1), keep = order[i];
    order[i] = order[j];
    order[j] = keep;
  }
}

static void be_one(int port, struct job *jobs, int keys, unsigned seed) {
  struct idem_client *client = must_open(port, NULL);
  int *order = calloc((size_t)keys, sizeof *order);
  shuffle(order, keys, seed);
  for (int i = 0; i < keys; i++) {
    char key[32];
    struct errand errand = {.job = &jobs[order[i]]};
    struct idem_answer answer;
    struct idem_request request;
    memset(&request, 0, sizeof request);
    snprintf(key, sizeof key, "job %d", order[i]);
    request.key = idem_text(key);
    enum idem_status status = idem_once(client, &request, work, &errand, &answer);
    CHECK(status == IDEM_RUN || status == IDEM_REPLAY, "%s: %s %s", key, idem_status_name(status),
          answer.message);
    CHECK(answer.body.len > 0 && atoi(answer.body.data) == errand.job->winner, "%s: %s, ran by %d",
          key, (const char *)answer.body.data, errand.job->winner);
    idem_answer_clear(&answer);
  }
  free(order);
  idem_close(client);
}

int main(int argc, char **argv) {
  int processes = argc > 1 ? atoi(argv[1]) : 64, keys = argc > 2 ? atoi(argv[2]) : 1000;
  struct server server;
  server_start(&server, 0, NULL);
  size_t size = (size_t)keys * sizeof(struct job);
  struct job *jobs = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(jobs != MAP_FAILED, "no memory");
  int64_t start_ms = now_ms();
  for (int i = 0; i < processes; i++) {
    pid_t child = fork();
    CHECK(child >= 0, "fork");
    if (child == 0) {
      be_one(server.port, jobs, keys, (unsigned)i + 1);
      _exit(0);
    }
  }
  int failed = 0;
  for (int i = 0; i < processes; i++) {
    int outcome = -1;
    pid_t child = wait(&outcome);
    CHECK(child != server.pid, "the server died");
    failed += outcome != 0;
  }
  CHECK(failed == 0, "%d processes failed", failed);
  for (int i = 0; i < keys; i++) CHECK(jobs[i].runs == 1, "job %d ran %d times", i, jobs[i].runs);
  printf("  %d processes x %d keys: each ran once, %lld ms\n", processes, keys,
         (long long)(now_ms() - start_ms));
  server_kill(&server, SIGTERM);
  return 0;
}
