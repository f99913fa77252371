/*
 * worker.c - a queue consumer that works on each message once, however often the queue delivers it,
 * and that resumes in the middle of a message after a crash.
 *
 * The queue is a pipe: a message is a line "ID TEXT" on stdin, or "ID@MS TEXT" when the queue knows
 * when it was sent (unix ms; the same at each delivery). On stdout goes what a real worker
 * would tell its broker:
 *
 *     note ID STEP     the step is done and written down: it is not repeated after a crash
 *     ack ID           worked on here, or before ("ack ID replayed"): the queue may forget it
 *     nack ID REASON   not done now: the queue is to deliver it again
 *
 * Every message goes through three steps. What the lease, the stage and the token do for them:
 *   - Two workers with the same message: one works, the other says nack ("busy"), or waits for the
 *     ack (--wait-ms).
 *   - A worker dies: when its lease expires, the next delivery goes on after the last step that was
 *     noted. A worker whose step fails says so, and the next delivery goes on at once.
 *   - A message is so old that the server may have forgotten it: nack ("FORGOTTEN"), and somebody
 *     has to look.
 *   - It dies between a step and its note: that step is done again. Only the step itself can
 * prevent this, by remembering the ID. It can also refuse the lower token of a worker that was
 * paused and wakes up late.
 *
 *     printf 'order-17 tea\norder-17 tea\n' | build/release/examples/worker --ledger /tmp/ledger
 */
#include <idem.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/examples/demo.h"

#define TTL_MS (7 * 24 * 3600 * INT64_C(1000)) /* longer than the queue ever delivers again */
#define LEASE_MS 10000
#define WHAT_BYTES 256

static const char *const STEPS[] = {"charge", "ship", "mail"};
#define STEP_COUNT (sizeof STEPS / sizeof STEPS[0])

/* The step to begin with: the one after what the stage names. */
static size_t first_step(struct idem_bytes stage) {
  for (size_t i = 0; i < STEP_COUNT && stage.data != NULL; i++) {
    if (stage.len == strlen(STEPS[i]) && memcmp(stage.data, STEPS[i], stage.len) == 0) return i + 1;
  }
  return 0;
}

/* NULL when all of it is done, else why not. */
static const char *work_through(const struct demo *demo, struct idem_claim *claim, const char *id) {
  char what[WHAT_BYTES];
  for (size_t i = first_step(idem_claim_stage(claim)); i < STEP_COUNT; i++) {
    /* DOUBTFUL counts as lost: another worker may be at it by now. */
    if (idem_claim_state(claim) != IDEM_CLAIM_HELD) return "lost";
    snprintf(what, sizeof what, "%s %s", id, STEPS[i]);
    if (demo_work(demo, what, idem_claim_token(claim), idem_claim_attempt(claim)) != DEMO_DONE) {
      return "failed";
    }
    if (idem_stage(claim, idem_text(STEPS[i])) != IDEM_OK) return "lost";
    printf("note %s %s\n", id, STEPS[i]);
    fflush(stdout);
  }
  return NULL;
}

static void work_on(const struct demo *demo, struct idem_claim *claim, const char *id) {
  const char *trouble = work_through(demo, claim, id);
  const struct idem_result result = {.body = idem_text("done"), .ttl_ms = TTL_MS};
  if (trouble == NULL && idem_finish(claim, &result) != IDEM_OK) trouble = "unstored";
  if (trouble == NULL) {
    printf("ack %s\n", id);
    return;
  }
  fprintf(stderr, "%s: %s %s\n", id, trouble, idem_claim_message(claim));
  /* What was done stays done, and the stage tells it: the next delivery goes on after the last
   * step. A claim that is lost is somebody else's already. */
  if (idem_claim_state(claim) != IDEM_CLAIM_LOST) idem_abandon(claim, IDEM_RELEASE_UNSURE);
  printf("nack %s %s\n", id, trouble);
}

/* Cuts the time off the name. 0: it has none. */
static int64_t take_born(char *id) {
  char *at = strrchr(id, '@');
  if (at == NULL) return 0;
  *at = '\0';
  return strtoll(at + 1, NULL, 10);
}

static void take(const struct demo *demo, struct idem_client *client, char *id) {
  const int64_t born_unix_ms = take_born(id);
  const struct idem_bytes parts[] = {idem_text("orders"), idem_text(id)};
  char key[IDEM_KEY_LIMIT];
  size_t key_len;
  struct idem_claim *claim;
  struct idem_answer answer;
  if (idem_key(parts, 2, key, sizeof key, &key_len) != IDEM_OK) {
    printf("nack %.64s... too-long\n", id);
    return;
  }
  const struct idem_request request = {.key = idem_data(key, key_len),
                                       .lease_ms = demo->lease_ms,
                                       .wait_ms = demo->wait_ms,
                                       .born_unix_ms = born_unix_ms};
  switch (idem_begin(client, &request, &claim, &answer)) {
    case IDEM_RUN: work_on(demo, claim, id); break;
    case IDEM_REPLAY: printf("ack %s replayed\n", id); break;
    case IDEM_BUSY: printf("nack %s busy %" PRId64 "\n", id, answer.retry_after_ms); break;
    default:
      printf("nack %s %s\n", id, idem_status_name(answer.status));
      fprintf(stderr, "%s: %s\n", id, answer.message);
  }
  idem_claim_free(claim);
  idem_answer_clear(&answer);
}

int main(int argc, char **argv) {
  struct demo demo = {.lease_ms = LEASE_MS};
  struct idem_client *client;
  struct idem_error error;
  char *line = NULL;
  size_t size = 0;
  ssize_t len;
  demo_options(&demo, argc, argv);
  const struct idem_options options = {.name = "worker"};
  if (idem_open(demo.server, &options, &client, &error) != IDEM_OK) {
    fprintf(stderr, "%s\n", error.text);
    return 1;
  }
  while ((len = getline(&line, &size, stdin)) > 0) {
    line[strcspn(line, " \n")] = '\0';
    if (line[0] != '\0') take(&demo, client, line);
    fflush(stdout);
  }
  free(line);
  idem_close(client);
  return 0;
}
