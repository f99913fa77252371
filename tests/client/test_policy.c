/*
 * test_policy.c - what libidem decides once for its synchronous and its asynchronous calls: when to
 * try again (pace.h), what a reply means (outcome.h), what the end of a renewal means (lease.h). No
 * server, no clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "client/lease.h"
#include "client/outcome.h"
#include "client/pace.h"
#include "tests/client/harness.h"

#define START_MS 100000
#define DEADLINE_MS 5000
#define TIMEOUT_MS 2000
/* A BUSY that comes sooner was no wait. */
#define SOON_MS 20

static const struct settings SETTINGS = {.command_timeout_ms = TIMEOUT_MS,
                                         .deadline_ms = DEADLINE_MS,
                                         .backoff_first_ms = 20,
                                         .backoff_max_ms = 1000,
                                         .target = {.name = "here:1"}};

static struct pace pace_for(int64_t wait_ms) {
  struct pace pace;
  pace_begin(&pace, &SETTINGS, START_MS, wait_ms);
  return pace;
}

/* ---- pace ---- */

static void pauses_double_up_to_the_longest(void **state) {
  (void)state;
  struct pace pace = pace_for(0);
  struct pace_attempt attempt = {.start_ms = START_MS};
  int64_t most_ms = 20;
  for (int i = 0; i < 12; i++) {
    int64_t pause_ms = pace_retry_at(&pace, &attempt, false, START_MS) - START_MS;
    CHECK(pause_ms >= most_ms / 2 && pause_ms <= most_ms, "pause %d: %lld", i, (long long)pause_ms);
    most_ms = clock_min(2 * most_ms, 1000);
  }
}

static void a_bound_holds_whatever_is_heard(void **state) {
  (void)state;
  const struct pace_attempt attempt = {.start_ms = START_MS, .sent_ms = START_MS};
  struct pace pace = pace_for(0);
  pace_bound(&pace, START_MS + 100);
  assert_int_equal(pace_redirect_at(&pace, &attempt, START_MS + 10), START_MS + 10);
  assert_int_equal(pace.give_up_at_ms, START_MS + 100);
  pace_heard(&pace);
  assert_int_equal(pace.give_up_at_ms, START_MS + 100);
  int64_t at_ms = pace_retry_at(&pace, &attempt, true, START_MS + 20);
  assert_true(at_ms < START_MS + 100);
  assert_int_equal(pace.give_up_at_ms, START_MS + 100);
  pace = pace_for(0);
  pace_bound(&pace, START_MS + 10 * DEADLINE_MS);
  pace_heard(&pace);
  assert_int_equal(pace.give_up_at_ms, START_MS + DEADLINE_MS);
}

static void an_old_connection_is_replaced_at_once_and_once(void **state) {
  (void)state;
  struct pace pace = pace_for(0);
  const struct pace_attempt reused = {.start_ms = START_MS, .reused = true};
  assert_true(pace_retry_at(&pace, &reused, true, START_MS) > START_MS); /* the server spoke */
  assert_int_equal(pace_retry_at(&pace, &reused, false, START_MS), START_MS);
  assert_true(pace_retry_at(&pace, &reused, false, START_MS) > START_MS);
}

static void a_call_ends_at_its_deadline(void **state) {
  (void)state;
  struct pace pace = pace_for(0);
  const struct pace_attempt attempt = {.start_ms = START_MS};
  assert_int_equal(pace_retry_at(&pace, &attempt, false, START_MS + DEADLINE_MS - 1), CLOCK_NEVER);
  const struct wire_request request = {.verb = WIRE_STORE};
  assert_int_equal(pace_timeout_ms(&pace, &request, START_MS), TIMEOUT_MS);
  assert_int_equal(pace_timeout_ms(&pace, &request, pace.give_up_at_ms - 7), 7);
  assert_int_equal(pace_timeout_ms(&pace, &request, pace.give_up_at_ms + 7), 1);
}

/* The wait counts only while there is a server to wait at. */
static void a_wait_lasts_while_the_server_answers(void **state) {
  (void)state;
  struct pace pace = pace_for(60000);
  assert_int_equal(pace.give_up_at_ms, START_MS + 60000 + DEADLINE_MS);
  const struct pace_attempt attempt = {.start_ms = START_MS, .sent_ms = START_MS};
  pace_retry_at(&pace, &attempt, false, START_MS + 1);
  assert_int_equal(pace.give_up_at_ms, START_MS + DEADLINE_MS);
  pace_heard(&pace);
  assert_int_equal(pace.give_up_at_ms, START_MS + 60000 + DEADLINE_MS);
  pace_retry_at(&pace, &attempt, false, START_MS + 30000); /* it lasted: it was such a wait */
  assert_int_equal(pace.give_up_at_ms, START_MS + 30000 + DEADLINE_MS);
}

/* However long an attempt tried to connect, it waited at no server. */
static void only_a_request_that_was_sent_waits(void **state) {
  (void)state;
  struct pace pace = pace_for(60000);
  for (int64_t ms = START_MS; ms < START_MS + DEADLINE_MS; ms += TIMEOUT_MS) {
    const struct pace_attempt unsent = {.start_ms = ms};
    pace_retry_at(&pace, &unsent, false, ms + TIMEOUT_MS);
    assert_int_equal(pace.give_up_at_ms, START_MS + DEADLINE_MS);
  }
  pace = pace_for(60000);
  struct pace_attempt late = {.start_ms = START_MS, .sent_ms = START_MS + 1};
  pace_retry_at(&pace, &late, false, START_MS + TIMEOUT_MS);
  assert_int_equal(pace.give_up_at_ms, START_MS + DEADLINE_MS);
  pace_retry_at(&pace, &late, false, START_MS + 1 + TIMEOUT_MS);
  assert_int_equal(pace.give_up_at_ms, START_MS + 1 + TIMEOUT_MS + DEADLINE_MS);
}

static void busy_is_asked_again_until_the_wait_is_over(void **state) {
  (void)state;
  struct pace pace = pace_for(1000);
  const struct pace_attempt attempt = {.start_ms = START_MS, .sent_ms = START_MS};
  int64_t soon = START_MS + SOON_MS - 1, lasted = START_MS + SOON_MS;
  assert_true(pace_wait_on_at(&pace, &attempt, soon) > soon);
  assert_true(pace_wait_on_at(&pace, &attempt, soon) > soon);
  assert_int_equal(pace.failures, 2);
  assert_int_equal(pace_wait_on_at(&pace, &attempt, lasted), lasted);
  assert_int_equal(pace.failures, 0); /* it lets the call wait: the pauses begin anew */
  assert_int_equal(pace_wait_on_at(&pace, &attempt, START_MS + 1000), CLOCK_NEVER);
}

static void the_rest_of_the_wait_goes_with_each_attempt(void **state) {
  (void)state;
  struct pace pace = pace_for(1000);
  struct wire_request request = {.verb = WIRE_WAIT};
  pace_set_wait(&pace, &request, START_MS + 400);
  assert_int_equal(request.wait_ms, 600);
  assert_int_equal(request.verb, WIRE_WAIT);
  pace_set_wait(&pace, &request, START_MS + 1000);
  assert_int_equal(request.wait_ms, 0);
  assert_int_equal(request.verb, WIRE_FETCH);
  request = (struct wire_request){.verb = WIRE_RENEW};
  pace_set_wait(&pace, &request, START_MS);
  assert_int_equal(request.wait_ms, 0);
}

static void a_grant_counts_while_its_lease_surely_runs(void **state) {
  (void)state;
  struct pace claimed = pace_for(0), pace = pace_of_renewals(&claimed, START_MS);
  struct pace_grant grant = {.sent_ms = START_MS, .lease_ms = 600};
  assert_int_equal(pace_check_grant(&pace, &grant, START_MS + 200), PACE_SURE);
  assert_int_equal(pace_check_grant(&pace, &grant, START_MS + 201), PACE_RENEW);
  grant.lease_ms = 30; /* shorter than any renewal is given */
  assert_int_equal(pace_check_grant(&pace, &grant, START_MS + 29), PACE_SURE);
  assert_int_equal(pace_check_grant(&pace, &grant, START_MS + 30), PACE_RENEW);
  for (int i = 0; i < PACE_RENEWALS_MAX; i++) pace_grant_renewed(&grant, START_MS, 30);
  assert_int_equal(pace_check_grant(&pace, &grant, START_MS + 30), PACE_LATE);
  grant = (struct pace_grant){.sent_ms = START_MS, .lease_ms = 600};
  assert_int_equal(pace_check_grant(&pace, &grant, pace.give_up_at_ms), PACE_LATE);
}

/* ---- outcome ---- */

static redisReply *any_reply(void) {
  redisReply *reply = calloc(1, sizeof *reply);
  reply->type = REDIS_REPLY_NIL;
  return reply;
}

static void each_reply_has_one_meaning(void **state) {
  (void)state;
  redisReply word = {.type = REDIS_REPLY_NIL};
  const struct {
    struct wire_reply reply;
    enum outcome_step next;
  } cases[] = {
      {{.status = IDEM_UNAVAILABLE}, OUTCOME_RETRY}, /* no word of the server */
      {{.status = IDEM_UNAVAILABLE, .memory = &word, .again = true},
       OUTCOME_RETRY},                                                /* LOADING, DRAINING */
      {{.status = IDEM_UNAVAILABLE, .memory = &word}, OUTCOME_FINAL}, /* OOM */
      {{.status = IDEM_BUSY, .memory = &word}, OUTCOME_WAIT_ON},
      {{.status = IDEM_RUN, .memory = &word}, OUTCOME_CONFIRM},
      {{.status = IDEM_REPLAY, .memory = &word}, OUTCOME_FINAL},
      {{.status = IDEM_UNKNOWN, .memory = &word}, OUTCOME_FINAL},
      {{.status = IDEM_LAPSED, .memory = &word}, OUTCOME_FINAL},
      {{.status = IDEM_FORGOTTEN, .memory = &word}, OUTCOME_FINAL},
      {{.status = IDEM_MISMATCH, .memory = &word}, OUTCOME_FINAL},
      {{.status = IDEM_STALE, .memory = &word}, OUTCOME_FINAL},
      {{.status = IDEM_REFUSED}, OUTCOME_FINAL},
      {{.status = IDEM_NO_MEMORY}, OUTCOME_FINAL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CHECK(outcome_next(&cases[i].reply) == cases[i].next, "case %zu, %s: %d", i,
          idem_status_name(cases[i].reply.status), (int)outcome_next(&cases[i].reply));
  }
}

static void busy_once_heard_stays_busy(void **state) {
  (void)state;
  struct pace pace = pace_for(0);
  struct outcome outcome = {0};
  struct wire_reply reply = {.status = IDEM_BUSY, .left_ms = 700, .memory = any_reply()};
  outcome_go_on(&outcome, &reply);
  assert_null(reply.memory);
  const struct outcome_loss loss = {IDEM_UNAVAILABLE, true, "gone"};
  outcome_lost(&outcome, &loss, &reply);
  outcome_end(&outcome, &pace, START_MS + 9, &reply);
  assert_int_equal(reply.status, IDEM_BUSY);
  assert_int_equal(reply.left_ms, 700);
  assert_string_equal(reply.message, "no answer from here:1 in 9 ms: gone");
  outcome_go_on(&outcome, &reply);
  wire_reply_fail(&reply, IDEM_REFUSED, "no");
  outcome_end(&outcome, &pace, START_MS, &reply);
  assert_int_equal(reply.status, IDEM_REFUSED);
  assert_string_equal(reply.message, "no");
  assert_null(outcome.busy.memory);
}

/* Its -OOM says nothing of the key: the owner that was heard of still runs. */
static void busy_stays_busy_without_room(void **state) {
  (void)state;
  struct pace pace = pace_for(0);
  struct outcome outcome = {0};
  struct wire_reply reply = {.status = IDEM_BUSY, .left_ms = 700, .memory = any_reply()};
  outcome_go_on(&outcome, &reply);
  reply = (struct wire_reply){
      .status = IDEM_UNAVAILABLE, .memory = any_reply(), .message = "OOM no room"};
  outcome_end(&outcome, &pace, START_MS + 9, &reply);
  assert_int_equal(reply.status, IDEM_BUSY);
  assert_int_equal(reply.left_ms, 700);
  assert_string_equal(reply.message, "OOM no room");
  wire_reply_deinit(&reply);
  assert_null(outcome.busy.memory);
}

static void the_message_says_what_was_missing(void **state) {
  (void)state;
  struct pace pace = pace_for(0);
  struct outcome outcome = {0};
  struct wire_reply reply = {
      .status = IDEM_UNAVAILABLE, .again = true, .memory = any_reply(), .message = "LOADING"};
  outcome_end(&outcome, &pace, START_MS + 9, &reply);
  assert_string_equal(reply.message, "here:1 did not serve the call in 9 ms: LOADING");
  wire_reply_deinit(&reply);
}

static void what_answers_mean_for_a_claim(void **state) {
  (void)state;
  static const struct {
    enum wire_verb verb;
    enum idem_status status;
    enum outcome_claim end;
  } cases[] = {
      {WIRE_STORE, IDEM_OK, OUTCOME_CLAIM_ENDED},
      {WIRE_STORE, IDEM_STALE, OUTCOME_CLAIM_LOST},
      {WIRE_STORE, IDEM_CONFLICT, OUTCOME_CLAIM_LOST},
      {WIRE_STORE, IDEM_TOOBIG, OUTCOME_CLAIM_UNCHANGED},
      {WIRE_STORE, IDEM_UNAVAILABLE, OUTCOME_CLAIM_UNCHANGED},
      {WIRE_STORE, IDEM_CANCELLED, OUTCOME_CLAIM_UNCHANGED},
      {WIRE_RENEW, IDEM_OK, OUTCOME_CLAIM_RENEWED},
      {WIRE_RENEW, IDEM_STALE, OUTCOME_CLAIM_LOST},
      {WIRE_RENEW, IDEM_REFUSED, OUTCOME_CLAIM_UNCHANGED},
      {WIRE_RELEASE, IDEM_OK, OUTCOME_CLAIM_ENDED},
      {WIRE_RELEASE, IDEM_STALE, OUTCOME_CLAIM_ENDED},
      {WIRE_RELEASE, IDEM_UNAVAILABLE, OUTCOME_CLAIM_UNCHANGED},
  };
  const struct outcome outcome = {.maybe_done = false};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const struct wire_request request = {.verb = cases[i].verb};
    struct wire_reply reply = {.status = cases[i].status};
    int64_t stored_ms = 0;
    const struct outcome_of_call call = {&outcome, &request, START_MS};
    enum outcome_claim end = outcome_for_claim(&call, &stored_ms, &reply);
    CHECK(end == cases[i].end, "case %zu: %d", i, (int)end);
    assert_int_equal(stored_ms, 0);
  }
}

static enum idem_status stale_after_silence(enum idem_release uncached, int64_t ttl_ms,
                                            int64_t later_ms) {
  const struct outcome outcome = {.maybe_done = true, .first_sent_ms = START_MS};
  const struct wire_request request = {.verb = WIRE_STORE, .release = uncached, .ttl_ms = ttl_ms};
  struct wire_reply reply = {.status = IDEM_STALE, .stale = IDEM_STALE_OVERTAKEN};
  int64_t stored_ms = 0;
  const struct outcome_of_call call = {&outcome, &request, START_MS + later_ms};
  outcome_for_claim(&call, &stored_ms, &reply);
  assert_int_equal(stored_ms, START_MS);
  assert_int_equal(reply.stale, reply.status == IDEM_STALE ? IDEM_STALE_OVERTAKEN : 0);
  return reply.status;
}

/* Only a result that is not kept any more can have been stored without a trace. */
static void stale_after_a_lost_reply_may_be_its_own_doing(void **state) {
  (void)state;
  assert_int_equal(stale_after_silence(IDEM_RELEASE_NOTHING, 0, 0), IDEM_UNAVAILABLE);
  assert_int_equal(stale_after_silence(0, 0, 1000000), IDEM_STALE);
  assert_int_equal(stale_after_silence(0, 50, 49), IDEM_STALE);
  assert_int_equal(stale_after_silence(0, 50, 50), IDEM_UNAVAILABLE);
}

/* ---- lease ---- */

static void leases_are_listed_by_time(void **state) {
  (void)state;
  struct lease_list list = TAILQ_HEAD_INITIALIZER(list);
  struct lease leases[4] = {0};
  static const int64_t due_ms[4] = {30, 10, CLOCK_NEVER, 20};
  for (int i = 0; i < 4; i++) lease_schedule(&list, &leases[i], due_ms[i]);
  lease_schedule(&list, &leases[0], 5);
  lease_remove(&leases[3]);
  lease_remove(&leases[3]);
  assert_ptr_equal(TAILQ_FIRST(&list), &leases[0]);
  assert_ptr_equal(TAILQ_NEXT(&leases[0], entry), &leases[1]);
  assert_ptr_equal(TAILQ_LAST(&list, lease_list), &leases[2]);
}

/* What is told when a renewal ends at so many ms after the start. */
static enum idem_claim_state ended(struct lease_list *list, struct lease *lease,
                                   const struct wire_reply *reply, int64_t ms) {
  const struct lease_renewal renewal = {reply, START_MS + ms - 10, START_MS + ms};
  return lease_renewal_ended(list, lease, &renewal);
}

/* One that runs for 600 ms. */
static void list_one(struct lease_list *list, struct lease *lease) {
  TAILQ_INIT(list);
  memset(lease, 0, sizeof *lease);
  lease_run(lease, START_MS, 600);
  lease_schedule(list, lease, START_MS + pace_renewal_period_ms(600));
}

static void a_renewal_is_tried_again_until_the_lease_expires(void **state) {
  (void)state;
  struct lease_list list;
  struct lease lease;
  list_one(&list, &lease);
  assert_int_equal(lease.due_ms, START_MS + 200);
  assert_int_equal(ended(&list, &lease, NULL, 300), IDEM_CLAIM_HELD);
  assert_int_equal(lease.due_ms, START_MS + 350);
  assert_int_equal(ended(&list, &lease, NULL, 590), IDEM_CLAIM_HELD);
  assert_int_equal(lease.due_ms, START_MS + 600); /* not after its end */
  assert_int_equal(ended(&list, &lease, NULL, 601), IDEM_CLAIM_DOUBTFUL);
  assert_int_equal(ended(&list, &lease, NULL, 652), IDEM_CLAIM_HELD); /* told once */
  const struct wire_reply renewed = {.status = IDEM_OK, .number = 900};
  assert_int_equal(ended(&list, &lease, &renewed, 710), IDEM_CLAIM_HELD);
  assert_int_equal(lease.due_ms, START_MS + 700 + 300);
  assert_int_equal(lease.expires_ms, START_MS + 700 + 900);
  /* Again, for it was held in between. */
  assert_int_equal(ended(&list, &lease, NULL, 1700), IDEM_CLAIM_DOUBTFUL);
}

static void stale_is_a_loss_unless_its_owner_ends_it(void **state) {
  (void)state;
  struct lease_list list;
  struct lease lease;
  const struct wire_reply stale = {.status = IDEM_STALE, .stale = IDEM_STALE_ABSENT};
  list_one(&list, &lease);
  lease.muted = true;
  assert_int_equal(ended(&list, &lease, &stale, 700), IDEM_CLAIM_HELD);
  assert_true(lease.list != NULL);
  lease.muted = false; /* its end was not seen: what was not told before is told now */
  assert_int_equal(ended(&list, &lease, NULL, 750), IDEM_CLAIM_DOUBTFUL);
  assert_int_equal(ended(&list, &lease, &stale, 800), IDEM_CLAIM_LOST);
  assert_int_equal(lease.stale, IDEM_STALE_ABSENT);
  assert_false(lease.list != NULL);
  assert_int_equal(lease.state, IDEM_CLAIM_LOST);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pauses_double_up_to_the_longest),
      cmocka_unit_test(a_bound_holds_whatever_is_heard),
      cmocka_unit_test(an_old_connection_is_replaced_at_once_and_once),
      cmocka_unit_test(a_call_ends_at_its_deadline),
      cmocka_unit_test(a_wait_lasts_while_the_server_answers),
      cmocka_unit_test(only_a_request_that_was_sent_waits),
      cmocka_unit_test(busy_is_asked_again_until_the_wait_is_over),
      cmocka_unit_test(the_rest_of_the_wait_goes_with_each_attempt),
      cmocka_unit_test(a_grant_counts_while_its_lease_surely_runs),
      cmocka_unit_test(each_reply_has_one_meaning),
      cmocka_unit_test(busy_once_heard_stays_busy),
      cmocka_unit_test(busy_stays_busy_without_room),
      cmocka_unit_test(the_message_says_what_was_missing),
      cmocka_unit_test(what_answers_mean_for_a_claim),
      cmocka_unit_test(stale_after_a_lost_reply_may_be_its_own_doing),
      cmocka_unit_test(leases_are_listed_by_time),
      cmocka_unit_test(a_renewal_is_tried_again_until_the_lease_expires),
      cmocka_unit_test(stale_is_a_loss_unless_its_owner_ends_it),
  };
  return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
