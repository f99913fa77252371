/*
 * test_grants.c - grants that come when they may have expired: from servers whose answers take
 * time, and to loops that a callback blocks. In both halves of idem.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/idem.h"
#include "tests/client/harness.h"
#include "tests/client/stranger.h"
#include "tests/client/world.h"

#define GRANT(token) "*5\r\n$7\r\nCLAIMED\r\n:" token "\r\n:60000\r\n:1\r\n$-1\r\n"

/* ---- grants that come late ---- */

/* A server whose answers take time, always. */
struct sluggish {
  int64_t pause_ms;
  int lease_ms;
  bool hangs_up;   /* at renewals */
  bool busy_first; /* the first CLAIM is answered BUSY */
  int claims;
  _Atomic int renewals, releases;
  char text[128];
};

#define BUSY_FOR(ms) "*5\r\n$4\r\nBUSY\r\n:" ms "\r\n:5\r\n$3\r\nhim\r\n$-1\r\n"

static const char *answer_late(const struct command *command, void *context) {
  struct sluggish *sluggish = context;
  bool claims = command_is(command, "IDEM.CLAIM");
  if (command_is(command, "IDEM.RELEASE")) {
    CHECK(command->count == 3, "nothing ran, and it says %s", command->words[3]);
    sluggish->releases++;
    return ":1\r\n";
  }
  pause_ms(sluggish->pause_ms); /* time itself is the subject */
  if (claims && ++sluggish->claims == 1 && sluggish->busy_first) return BUSY_FOR("700");
  if (!claims) sluggish->renewals++;
  if (!claims && sluggish->hangs_up) return STRANGER_HANGS_UP;
  snprintf(sluggish->text, sizeof sluggish->text,
           claims ? "*5\r\n$7\r\nCLAIMED\r\n:5\r\n:%d\r\n:2\r\n$4\r\npaid\r\n" : ":%d\r\n",
           sluggish->lease_ms);
  return sluggish->text;
}

/* A renewal that the deadline cut off leaves nothing to give the grant back with. */
static bool was_cut_off(const struct idem_answer *answer) {
  return strstr(answer->message, "longer than the lease") == NULL;
}

/* Whoever asks finds the key taken, for a lease at most. */
static void check_unconfirmed(struct sluggish *sluggish, const struct idem_answer *answer) {
  CHECK(answer->status == IDEM_BUSY, "%s", idem_status_name(answer->status));
  assert_int_equal(answer->retry_after_ms, sluggish->lease_ms);
  assert_true(answer->message[0] != '\0');
  assert_true(sluggish->renewals > 0);
  if (!sluggish->hangs_up) CHECK(sluggish->renewals <= 3, "%d renewals", sluggish->renewals);
}

static void never_runs(const struct sluggish *like, const struct idem_options *options,
                       struct idem_request request) {
  struct sluggish sluggish = *like;
  struct stranger *stranger = stranger_open(answer_late, &sluggish);
  struct idem_client *client = must_open(stranger_port(stranger), options);
  struct idem_answer answer;
  int runs = 0;
  if (request.wait_ms == 0) request.wait_ms = IDEM_NO_WAIT;
  (void)!idem_once(client, &request, count_work, &runs, &answer);
  assert_int_equal(runs, 0);
  check_unconfirmed(&sluggish, &answer);
  for (int64_t until = now_ms() + HANG_MS; sluggish.releases == 0 && !was_cut_off(&answer);) {
    pause_ms(1);
    CHECK(now_ms() < until, "the grant is not given back");
  }
  idem_answer_clear(&answer);
  idem_close(client);
  stranger_close(stranger);
}

static void async_never_runs(const struct sluggish *like, const struct idem_options *options,
                             struct idem_request request) {
  struct sluggish sluggish = *like;
  struct stranger *stranger = stranger_open(answer_late, &sluggish);
  struct world world;
  struct seen seen;
  world_open(&world, stranger_port(stranger), options);
  world_begin(&world, &request, &seen, NULL);
  world_finish_all(&world);
  check_unconfirmed(&sluggish, &seen.answer);
  for (int64_t until = now_ms() + HANG_MS; sluggish.releases == 0; world_run_for(&world, 1))
    CHECK(now_ms() < until, "the grant is not given back");
  idem_answer_clear(&seen.answer);
  world_close(&world);
  stranger_close(stranger);
}

/* In both halves, and when the caller would rather run without protection. */
static void nobody_runs(const struct sluggish *like, int64_t deadline_ms, int64_t wait_ms) {
  const struct idem_options options = {.deadline_ms = deadline_ms};
  struct idem_request request = {
      .key = idem_text("x"), .lease_ms = like->lease_ms, .wait_ms = wait_ms};
  async_never_runs(like, &options, request);
  never_runs(like, &options, request);
  request.flags = IDEM_FAIL_OPEN;
  never_runs(like, &options, request);
}

static void a_lease_shorter_than_every_answer_never_runs(void **state) {
  (void)state;
  nobody_runs(&(struct sluggish){.pause_ms = 20, .lease_ms = 10}, 1000, 0);
}

/* The lease would last, but no renewal would be answered in time. */
static void answers_slower_than_a_renewal_may_be_start_nothing(void **state) {
  (void)state;
  nobody_runs(&(struct sluggish){.pause_ms = 150, .lease_ms = 300}, 0, 0);
}

static void a_grant_that_cannot_be_confirmed_is_busy(void **state) {
  (void)state;
  struct sluggish sluggish = {.pause_ms = 20, .lease_ms = 10, .hangs_up = true};
  nobody_runs(&sluggish, 300, 0);
  sluggish.busy_first = true;
  nobody_runs(&sluggish, 300, HANG_MS);
}

/* A grant that is being renewed comes again, as the answer to another call. */
struct echo {
  _Atomic int renewal; /* the connection on which one waits for its answer, or -1 */
  int others;
};

static const char *grant_again(const struct command *command, void *context) {
  struct echo *echo = context;
  if (command_is(command, "IDEM.RENEW")) {
    echo->renewal = command->connection;
    return NULL;
  }
  if (strcmp(command->words[1], "other") == 0) return ++echo->others == 1 ? GRANT("5") : GRANT("6");
  pause_ms(20);
  return "*5\r\n$7\r\nCLAIMED\r\n:5\r\n:10\r\n:1\r\n$-1\r\n";
}

struct caller {
  struct idem_client *client;
  struct idem_claim *claim;
};

static void *begin_late(void *argument) {
  struct caller *caller = argument;
  caller->claim = must_begin_key(caller->client, "late");
  return NULL;
}

static void a_grant_that_is_being_renewed_is_known(void **state) {
  (void)state;
  struct echo echo = {-1, 0};
  struct stranger *stranger = stranger_open(grant_again, &echo);
  struct caller caller = {.client = must_open(stranger_port(stranger), NULL)};
  pthread_t thread;
  pthread_create(&thread, NULL, begin_late, &caller);
  for (int64_t until = now_ms() + HANG_MS; echo.renewal < 0; pause_ms(1))
    CHECK(now_ms() < until, "no renewal");
  struct idem_claim *other = must_begin_key(caller.client, "other");
  assert_int_equal(idem_claim_token(other), 6);
  stranger_say(stranger, echo.renewal, ":60000\r\n");
  pthread_join(thread, NULL);
  assert_int_equal(idem_claim_token(caller.claim), 5);
  idem_claim_free(caller.claim);
  idem_claim_free(other);
  idem_close(caller.client);
  stranger_close(stranger);
}

static void async_a_grant_that_is_being_renewed_is_known(void **state) {
  (void)state;
  struct echo echo = {-1, 0};
  struct stranger *stranger = stranger_open(grant_again, &echo);
  struct world world;
  struct seen late, other;
  struct idem_request request = {.key = idem_text("late"), .flags = IDEM_NO_RENEWAL};
  world_open(&world, stranger_port(stranger), NULL);
  world_begin(&world, &request, &late, NULL);
  for (int64_t until = now_ms() + HANG_MS; echo.renewal < 0; world_run_for(&world, 1))
    CHECK(now_ms() < until, "no renewal");
  request.key = idem_text("other");
  world_begin(&world, &request, &other, NULL);
  while (other.times == 0) world_run_for(&world, 1);
  CHECK(other.status == IDEM_RUN, "%s %s", idem_status_name(other.status), other.answer.message);
  assert_int_equal(idem_claim_token(other.claim), 6);
  stranger_say(stranger, echo.renewal, ":60000\r\n");
  world_finish_all(&world);
  CHECK(late.status == IDEM_RUN, "%s %s", idem_status_name(late.status), late.answer.message);
  assert_int_equal(idem_claim_token(late.claim), 5);
  idem_claim_free(late.claim);
  idem_claim_free(other.claim);
  world_close(&world);
  stranger_close(stranger);
}

/* ---- a callback that blocks the loop ---- */

/* Two claims are granted in one piece. */
struct twins {
  int lease_ms, claims;
  const char *renewed; /* the answer to RENEW; NULL: the lease */
  _Atomic int renewals, releases;
  char text[256];
};

static const char *grant_both(const struct command *command, void *context) {
  struct twins *twins = context;
  if (command_is(command, "IDEM.RELEASE")) {
    twins->releases++;
    return ":1\r\n";
  }
  if (command_is(command, "IDEM.RENEW")) {
    twins->renewals++;
    snprintf(twins->text, sizeof twins->text, ":%d\r\n", twins->lease_ms);
    return twins->renewed != NULL ? twins->renewed : twins->text;
  }
  if (++twins->claims == 1) return NULL;
  if (twins->claims > 2) return BUSY_FOR("700");
  snprintf(twins->text, sizeof twins->text,
           GRANT("5") "*5\r\n$7\r\nCLAIMED\r\n:6\r\n:%d\r\n:1\r\n$-1\r\n", twins->lease_ms);
  return twins->text;
}

/* What its callback saw and did. */
struct told {
  struct seen seen;
  enum idem_claim_state claim_state;
  int64_t block_ms;
  struct idem_call *cancels; /* NULL: nothing */
};

static void on_told(struct idem_answer *answer, struct idem_claim *claim, void *context) {
  struct told *told = context;
  if (claim != NULL) told->claim_state = idem_claim_state(claim);
  world_on_done(answer, claim, &told->seen);
  pause_ms(told->block_ms);
  idem_async_cancel(told->cancels);
}

static struct idem_call *begin_told(struct world *world, const char *key, struct told *told) {
  const struct idem_request request = {.key = idem_text(key), .flags = IDEM_NO_RENEWAL};
  struct idem_call *call = NULL;
  told->seen.world = world;
  assert_int_equal(idem_async_begin(world->async, &request, on_told, told, &call), IDEM_OK);
  world->open++;
  return call;
}

/* The first one's callback blocks the loop until the lease of the second is over, and may cancel
 * that. */
static void begin_twins(struct twins *twins, bool cancel, struct told *second) {
  struct stranger *stranger = stranger_open(grant_both, twins);
  const struct idem_options options = {.async_connections = 1};
  struct world world;
  struct told first = {.block_ms = twins->lease_ms + 1};
  *second = (struct told){.block_ms = 0};
  world_open(&world, stranger_port(stranger), &options);
  begin_told(&world, "first", &first);
  struct idem_call *call = begin_told(&world, "second", second);
  if (cancel) first.cancels = call;
  world_finish_all(&world);
  CHECK(first.seen.status == IDEM_RUN, "%s", idem_status_name(first.seen.status));
  assert_int_equal(second->seen.times, 1);
  for (int64_t until = now_ms() + HANG_MS; cancel && twins->releases == 0; world_run_for(&world, 1))
    CHECK(now_ms() < until, "the grant is not given back");
  idem_answer_clear(&first.seen.answer);
  idem_answer_clear(&second->seen.answer);
  idem_claim_free(first.seen.claim);
  idem_claim_free(second->seen.claim);
  world_close(&world);
  stranger_close(stranger);
}

static void a_grant_that_a_callback_delays_is_renewed_before_the_work(void **state) {
  (void)state;
  struct told second;
  for (int i = 1, lease_ms = 300;; i++, lease_ms *= SCALE) {
    struct twins twins = {.lease_ms = lease_ms};
    begin_twins(&twins, false, &second);
    assert_true(twins.renewals > 0);
    if (second.seen.status == IDEM_RUN && second.claim_state == IDEM_CLAIM_HELD) break;
    CHECK(i < PATIENCE, "%s", idem_status_name(second.seen.status));
  }
  struct twins twins = {.lease_ms = 50, .renewed = "-STALE another one has it\r\n"};
  begin_twins(&twins, false, &second);
  CHECK(second.seen.status == IDEM_BUSY, "%s", idem_status_name(second.seen.status));
  assert_int_equal(twins.claims, 3);
  twins = (struct twins){.lease_ms = 50};
  begin_twins(&twins, true, &second);
  CHECK(second.seen.status == IDEM_CANCELLED, "%s", idem_status_name(second.seen.status));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_lease_shorter_than_every_answer_never_runs),
      cmocka_unit_test(answers_slower_than_a_renewal_may_be_start_nothing),
      cmocka_unit_test(a_grant_that_cannot_be_confirmed_is_busy),
      cmocka_unit_test(a_grant_that_is_being_renewed_is_known),
      cmocka_unit_test(async_a_grant_that_is_being_renewed_is_known),
      cmocka_unit_test(a_grant_that_a_callback_delays_is_renewed_before_the_work),
  };
  return cmocka_run_group_tests_name("grants", tests, NULL, NULL);
}
