/*
 * overhead.c - processor time per call of libidem beside hiredis by hand, for the same commands in
 * the same process:
 *
 *     claim+store   idem_begin, idem_finish, idem_claim_free    CLAIM k OWNER o; STORE k token body
 *     replay        idem_begin -> REPLAY                        CLAIM k OWNER o -> DONE
 *     fetch         idem_fetch                                  FETCH k
 *
 * The limit is what the library may cost: 1.15 times the hand-written. A measurement, no test:
 * `make client-overhead` on a quiet machine.
 *
 *     overhead [rounds [calls per round]]
 */
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/idem.h"
#include "tests/client/harness.h"

#define LIMIT 1.15
#define ROUNDS_MAX 101
#define BODY_BYTES 200

static const char OWNER[] = "0123456789abcdef0123456789abcdef";

struct bench {
  struct idem_client *client;
  redisContext *hand;
  char body[BODY_BYTES];
  int serial;
};

/* ---- by hand ---- */

static redisReply *command(struct bench *bench, int argc, const char **argv, const size_t *lens) {
  redisReply *reply = redisCommandArgv(bench->hand, argc, argv, lens);
  CHECK(reply != NULL && reply->type != REDIS_REPLY_ERROR, "%s",
        reply != NULL ? reply->str : "lost");
  return reply;
}

static redisReply *claim_by_hand(struct bench *bench, const char *key) {
  const char *argv[] = {"CLAIM", key, "OWNER", OWNER};
  const size_t lens[] = {5, strlen(key), 5, sizeof OWNER - 1};
  return command(bench, 4, argv, lens);
}

static void run_by_hand(struct bench *bench, const char *key) {
  char token[32];
  redisReply *claimed = claim_by_hand(bench, key);
  CHECK(strcmp(claimed->element[0]->str, "CLAIMED") == 0, "%s", claimed->element[0]->str);
  int len = snprintf(token, sizeof token, "%lld", claimed->element[1]->integer);
  freeReplyObject(claimed);
  const char *argv[] = {"STORE", key, token, bench->body};
  const size_t lens[] = {5, strlen(key), (size_t)len, BODY_BYTES};
  freeReplyObject(command(bench, 4, argv, lens));
}

static void replay_by_hand(struct bench *bench, const char *key) {
  redisReply *done = claim_by_hand(bench, key);
  CHECK(strcmp(done->element[0]->str, "DONE") == 0, "%s", done->element[0]->str);
  freeReplyObject(done);
}

static void fetch_by_hand(struct bench *bench, const char *key) {
  const char *argv[] = {"FETCH", key};
  const size_t lens[] = {5, strlen(key)};
  redisReply *done = command(bench, 2, argv, lens);
  CHECK(strcmp(done->element[0]->str, "DONE") == 0, "%s", done->element[0]->str);
  freeReplyObject(done);
}

/* ---- by the library ---- */

static void run_by_library(struct bench *bench, const char *key) {
  struct idem_request request = {.key = idem_text(key)};
  struct idem_result result = {.body = idem_data(bench->body, BODY_BYTES)};
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  CHECK(idem_begin(bench->client, &request, &claim, &answer) == IDEM_RUN, "%s", answer.message);
  idem_answer_clear(&answer);
  CHECK(idem_finish(claim, &result) == IDEM_OK, "%s", idem_claim_message(claim));
  idem_claim_free(claim);
}

static void replay_by_library(struct bench *bench, const char *key) {
  struct idem_request request = {.key = idem_text(key)};
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  CHECK(idem_begin(bench->client, &request, &claim, &answer) == IDEM_REPLAY, "%s", answer.message);
  idem_answer_clear(&answer);
}

static void fetch_by_library(struct bench *bench, const char *key) {
  struct idem_answer answer;
  CHECK(idem_fetch(bench->client, idem_text(key), idem_text(NULL), &answer) == IDEM_REPLAY, "%s",
        answer.message);
  idem_answer_clear(&answer);
}

/* ---- rounds ---- */

static const struct {
  const char *name;
  void (*by_hand)(struct bench *bench, const char *key);
  void (*by_library)(struct bench *bench, const char *key);
  bool fresh; /* a new key each time */
} CASES[] = {
    {"claim+store", run_by_hand, run_by_library, true},
    {"replay", replay_by_hand, replay_by_library, false},
    {"fetch", fetch_by_hand, fetch_by_library, false},
};

static double measure(struct bench *bench, void (*call)(struct bench *, const char *), bool fresh,
                      int calls) {
  char key[48];
  snprintf(key, sizeof key, "stored");
  int64_t start = cpu_ns();
  for (int i = 0; i < calls; i++) {
    if (fresh) snprintf(key, sizeof key, "key of the benchmark %010d", ++bench->serial);
    call(bench, key);
  }
  return (double)(cpu_ns() - start) / calls;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

struct figures {
  double hand, library, ratio; /* medians */
};

/* Each round measures both, one behind the other and in changing order; the ratio is the median of
 * theirs, so that a machine that gets slower in between does not count. */
static struct figures compare(struct bench *bench, size_t which, int rounds, int calls) {
  double hand[ROUNDS_MAX], library[ROUNDS_MAX], ratio[ROUNDS_MAX];
  bool fresh = CASES[which].fresh;
  for (int round = -1; round < rounds; round++) { /* the first one warms up */
    double a = 0, b = 0;
    if (round % 2 == 0) a = measure(bench, CASES[which].by_hand, fresh, calls);
    b = measure(bench, CASES[which].by_library, fresh, calls);
    if (round % 2 != 0) a = measure(bench, CASES[which].by_hand, fresh, calls);
    if (round < 0) continue;
    hand[round] = a;
    library[round] = b;
    ratio[round] = b / a;
  }
  qsort(hand, (size_t)rounds, sizeof hand[0], ascending);
  qsort(library, (size_t)rounds, sizeof library[0], ascending);
  qsort(ratio, (size_t)rounds, sizeof ratio[0], ascending);
  return (struct figures){hand[rounds / 2], library[rounds / 2], ratio[rounds / 2]};
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 41, calls = argc > 2 ? atoi(argv[2]) : 300, over = 0;
  if (rounds > ROUNDS_MAX) rounds = ROUNDS_MAX;
  struct server server;
  struct bench bench = {.serial = 0};
  server_start(&server, 0, NULL);
  memset(bench.body, 'b', sizeof bench.body);
  bench.client = must_open(server.port, NULL);
  bench.hand = redisConnectWithTimeout("127.0.0.1", server.port, (struct timeval){1, 0});
  CHECK(bench.hand != NULL && bench.hand->err == 0, "no connection");
  redisSetTimeout(bench.hand, (struct timeval){2, 0});
  run_by_library(&bench, "stored");
  for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
    struct figures figures = compare(&bench, i, rounds, calls);
    /* Disturbance by other programs only adds; what is over has two more chances. */
    for (int chance = 0; chance < 2 && figures.ratio > LIMIT; chance++) {
      figures = compare(&bench, i, rounds, calls);
    }
    printf("  %-12s by hand %7.0f ns  library %7.0f ns  ratio %.3f\n", CASES[i].name, figures.hand,
           figures.library, figures.ratio);
    over += figures.ratio > LIMIT;
  }
  redisFree(bench.hand);
  idem_close(bench.client);
  server_kill(&server, SIGTERM);
  CHECK(over == 0, "over %.2f", LIMIT);
  return 0;
}
