/* test_output_limit.c - how much a reader may leave untaken. */
#include "server/commands/output_limit.h"

#include "tests/unit/peers.h"

static bool over(struct peers *p, size_t who, size_t bytes, size_t more) {
  p->session[who].sending_bytes = bytes;
  return output_limit_over(&p->session[who], &p->worker, more);
}

static void a_session_may_have_the_limit(void **state) {
  struct peers *p = *state;
  p->options.client_output_limit = 10000;
  assert_false(over(p, 0, 10000, 0));
  assert_false(over(p, 0, 4000, 6000));
  assert_true(over(p, 0, 10001, 0));
  assert_true(over(p, 0, 4000, 6001));
}

static void while_outputs_are_crowded_each_has_a_share(void **state) {
  struct peers *p = *state;
  p->options.client_output_total = 160000; /* of which half is for PEERS shares */
  p->instance.sending_bytes = 80000;
  assert_false(output_limit_crowded(&p->worker));
  assert_false(over(p, 0, 10001, 0));
  p->instance.sending_bytes = 80001;
  assert_true(output_limit_crowded(&p->worker));
  assert_false(over(p, 0, 10000, 0));
  assert_true(over(p, 0, 10001, 0));
  p->options.client_output_total = 1000000000; /* a share is 64 KiB at most */
  p->instance.sending_bytes = 600000000;
  assert_false(over(p, 0, OUTPUT_LIMIT_SHARE, 0));
  assert_true(over(p, 0, OUTPUT_LIMIT_SHARE + 1, 0));
}

static void all_together_have_a_quarter_of_maxmemory_at_most(void **state) {
  struct peers *p = *state;
  p->options.client_output_total = 1000000;
  assert_false(output_limit_crowds(&p->worker, 500000));
  assert_true(output_limit_crowds(&p->worker, 500001));
  p->options.maxmemory.bytes = 800000;
  assert_false(output_limit_crowds(&p->worker, 100000));
  assert_true(output_limit_crowds(&p->worker, 100001));
}

static void a_stranger_has_little(void **state) {
  struct peers *p = *state;
  p->session[0].stranger = true;
  assert_false(over(p, 0, OUTPUT_LIMIT_LEAST, 0));
  assert_true(over(p, 0, OUTPUT_LIMIT_LEAST + 1, 0));
  p->session[0].stranger = false;
}

static void a_push_over_the_limit_closes(void **state) {
  struct peers *p = *state;
  p->options.client_output_limit = 2000;
  p->session[0].sending_bytes = 1500;
  assert_true(output_limit_allows_push(&p->worker, &p->session[0], 500));
  assert_false(p->session[0].close_now);
  assert_false(output_limit_allows_push(&p->worker, &p->session[0], 501));
  assert_true(p->session[0].close_now);
  assert_int_equal(p->worker.counters.closed_for_unread_replies, 1);
  /* It is closing: that is not counted again. */
  assert_false(output_limit_allows_push(&p->worker, &p->session[0], 0));
  assert_int_equal(p->worker.counters.closed_for_unread_replies, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_session_may_have_the_limit),
      TEST(while_outputs_are_crowded_each_has_a_share),
      TEST(all_together_have_a_quarter_of_maxmemory_at_most),
      TEST(a_stranger_has_little),
      TEST(a_push_over_the_limit_closes),
  };
  return cmocka_run_group_tests_name("output_limit", tests, NULL, NULL);
}
