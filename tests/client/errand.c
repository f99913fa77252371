/*
 * errand.c - libidem, led by a script that has servers to kill and slots to move.
 *
 *     errand sync|async URL
 *
 * Reads lines, answers each with one: `begin KEY LEASE-MS`, `finish BODY`, `state` (of the last
 * claim), `keep` (the last claim: the next begin does not free it), `kept` (the state of the claim
 * that was kept), `fetch KEY`, `wait KEY MS`. An answer is the name of its status, and the body or
 * the message after it. Claims are renewed while it waits for the next line.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "tests/client/pair.h"

#define LINE_BYTES 256
#define NONE idem_data(NULL, 0)

/* Waits for a line; the loop of the asynchronous half goes on meanwhile. False: there is no more.
 */
static bool next_line(struct pair *pair, char line[LINE_BYTES]) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  while (pair->half == ASYNC && poll(&input, 1, 0) == 0) world_run_for(&pair->world, 1);
  if (fgets(line, LINE_BYTES, stdin) == NULL) return false;
  line[strcspn(line, "\n")] = '\0';
  return true;
}

static void say(enum idem_status status, struct idem_answer *answer) {
  struct idem_bytes body = answer->body;
  if (status != IDEM_REPLAY) body = idem_text(answer->message);
  printf("%s %.*s\n", idem_status_name(status), (int)body.len, (const char *)body.data);
  fflush(stdout);
  idem_answer_clear(answer);
}

static void begin(struct pair *pair, const char *key, int64_t lease_ms, struct idem_claim **claim) {
  const struct idem_request request = {.key = idem_text(key), .lease_ms = lease_ms};
  struct idem_answer answer;
  idem_claim_free(*claim);
  say(pair_begin(pair, &request, claim, &answer), &answer);
}

static void finish(struct pair *pair, struct idem_claim *claim, const char *body) {
  const struct idem_result result = {.body = idem_text(body)};
  printf("%s %s\n", idem_status_name(pair_store(pair, claim, &result)), idem_claim_message(claim));
  fflush(stdout);
}

static void state(const struct idem_claim *claim) {
  static const char *const names[] = {[IDEM_CLAIM_HELD] = "held",
                                      [IDEM_CLAIM_DOUBTFUL] = "doubtful",
                                      [IDEM_CLAIM_LOST] = "lost",
                                      [IDEM_CLAIM_ENDED] = "ended"};
  printf("%s\n", names[idem_claim_state(claim)]);
  fflush(stdout);
}

/* fetch, or with a time wait. */
static void look(struct pair *pair, const char *key, int64_t wait_ms) {
  struct idem_answer answer;
  enum idem_status status = wait_ms == 0 ? pair_fetch_key(pair, key, &answer)
                                         : pair_wait_key(pair, key, wait_ms, &answer);
  say(status, &answer);
}

int main(int argc, char **argv) {
  struct pair pair;
  struct idem_claim *claim = NULL, *kept = NULL;
  char line[LINE_BYTES], word[LINE_BYTES], first[LINE_BYTES];
  long long number = 0;
  CHECK(argc == 3, "usage: errand sync|async URL");
  pair_open_url(&pair, strcmp(argv[1], "sync") == 0 ? SYNC : ASYNC, argv[2], NULL);
  while (next_line(&pair, line)) {
    number = 0;
    int words = sscanf(line, "%255s %255s %lld", word, first, &number);
    if (words == 3 && strcmp(word, "begin") == 0) begin(&pair, first, number, &claim);
    if (words == 2 && strcmp(word, "finish") == 0) finish(&pair, claim, first);
    if (words == 1 && strcmp(word, "state") == 0) state(claim);
    if (words == 1 && strcmp(word, "keep") == 0) {
      idem_claim_free(kept);
      kept = claim;
      claim = NULL;
      state(kept);
    }
    if (words == 1 && strcmp(word, "kept") == 0) state(kept);
    if (words == 2 && strcmp(word, "fetch") == 0) look(&pair, first, 0);
    if (words == 3 && strcmp(word, "wait") == 0) look(&pair, first, number);
  }
  idem_claim_free(claim);
  idem_claim_free(kept);
  pair_close(&pair);
  return 0;
}
