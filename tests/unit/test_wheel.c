/* test_wheel.c - deadlines come out exactly when they are due, whatever the distance, and never
 * over the budget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "server/base/wheel.h"

#define PLENTY 1000000u

static struct wheel_node *pop(struct wheel *wheel, int64_t now_ms) {
  unsigned budget = PLENTY;
  return wheel_pop(wheel, now_ms, &budget);
}

/* xorshift64: the test's own numbers, the same on every machine. */
static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

static void an_empty_wheel_has_nothing_to_do(void **state) {
  (void)state;
  struct wheel wheel;
  wheel_init(&wheel, 1234);
  unsigned budget = 5;
  assert_null(wheel_pop(&wheel, 1234, &budget));
  assert_null(wheel_pop(&wheel, 9999999, &budget));
  assert_int_equal(budget, 5);
  assert_int_equal(wheel_next(&wheel), INT64_MAX);
}

static void a_deadline_is_due_at_its_millisecond_and_not_one_before(void **state) {
  (void)state;
  static const int64_t STARTS[] = {
      0, 1, 63, 64, 4095, 4097, 262143, 1000003, (INT64_C(1) << 36) - 1, INT64_C(1) << 40};
  for (size_t s = 0; s < sizeof STARTS / sizeof *STARTS; s++) {
    for (unsigned bit = 0; bit < 41; bit++) {
      for (int64_t off = -1; off <= 1; off++) {
        struct wheel wheel;
        struct wheel_node node;
        wheel_init(&wheel, STARTS[s]);
        wheel_node_init(&node);
        int64_t deadline = STARTS[s] + (INT64_C(1) << bit) + off;
        wheel_set(&wheel, &node, deadline);
        assert_true(wheel_next(&wheel) <= deadline);
        if (deadline > STARTS[s]) assert_null(pop(&wheel, deadline - 1));
        assert_true(wheel_next(&wheel) <= deadline);
        assert_ptr_equal(pop(&wheel, deadline), &node);
        assert_false(wheel_node_armed(&node));
        assert_int_equal(wheel.count, 0);
      }
    }
  }
}

static void a_deadline_in_the_past_is_due_at_once(void **state) {
  (void)state;
  struct wheel wheel;
  struct wheel_node node;
  wheel_init(&wheel, 5000);
  wheel_node_init(&node);
  wheel_set(&wheel, &node, -7);
  assert_true(wheel_next(&wheel) <= 5000);
  assert_ptr_equal(pop(&wheel, 5000), &node);
  assert_int_equal(node.deadline_ms, -7);
}

static void cancelling_and_moving_a_deadline(void **state) {
  (void)state;
  struct wheel wheel;
  struct wheel_node a, b;
  wheel_init(&wheel, 100);
  wheel_node_init(&a);
  wheel_node_init(&b);
  wheel_cancel(&wheel, &a); /* in no wheel: harmless */
  wheel_set(&wheel, &a, 200);
  wheel_set(&wheel, &b, 200);
  wheel_cancel(&wheel, &a);
  wheel_cancel(&wheel, &a);
  assert_int_equal(wheel.count, 1);
  wheel_set(&wheel, &b, 50000); /* later */
  assert_null(pop(&wheel, 49999));
  wheel_set(&wheel, &b, 50001);
  wheel_set(&wheel, &a, 90000);
  wheel_set(&wheel, &a, 50000); /* earlier */
  assert_ptr_equal(pop(&wheel, 50000), &a);
  assert_ptr_equal(pop(&wheel, 50001), &b);
  assert_int_equal(wheel_next(&wheel), INT64_MAX);
}

static void deadlines_that_can_never_come_do_not_disturb_the_others(void **state) {
  (void)state;
  /* Also where a carry runs through the highest group of bits: 2^42 ms is where the wheel's own
   * bits end. */
  static const int64_t STARTS[] = {0, (INT64_C(1) << 42) - 1000,
                                   (INT64_C(1) << 42) - (INT64_C(1) << 36), INT64_C(1) << 50};
  for (size_t s = 0; s < sizeof STARTS / sizeof *STARTS; s++) {
    struct wheel wheel;
    struct wheel_node never, soon, later;
    wheel_init(&wheel, STARTS[s]);
    wheel_node_init(&never);
    wheel_node_init(&soon);
    wheel_node_init(&later);
    wheel_set(&wheel, &never, INT64_MAX);
    wheel_set(&wheel, &soon, STARTS[s] + 500);
    wheel_set(&wheel, &later, STARTS[s] + 1500);
    assert_null(pop(&wheel, STARTS[s] + 499));
    assert_ptr_equal(pop(&wheel, STARTS[s] + 500), &soon);
    assert_null(pop(&wheel, STARTS[s] + 1499));
    assert_ptr_equal(pop(&wheel, STARTS[s] + 1500), &later);
    unsigned budget = 100;
    assert_null(wheel_pop(&wheel, STARTS[s] + 3000, &budget));
    assert_true(budget > 50); /* the one that never comes is not touched again and again */
    wheel_cancel(&wheel, &never);
  }
}

#define CROWD 100000u

static void a_crowd_that_ends_together_is_worked_off_within_the_budget(void **state) {
  (void)state;
  struct wheel wheel;
  struct wheel_node *nodes = calloc(CROWD, sizeof *nodes);
  assert_non_null(nodes);
  wheel_init(&wheel, 17);
  for (unsigned i = 0; i < CROWD; i++) {
    wheel_node_init(&nodes[i]);
    wheel_set(&wheel, &nodes[i], 24 * 3600 * 1000 + i % 3);
  }
  unsigned popped = 0, spent = 0;
  while (popped < CROWD) {
    unsigned budget = 1000, came = 0;
    while (wheel_pop(&wheel, 24 * 3600 * 1000 + 10, &budget) != NULL) came++;
    assert_true(came <= 1000 - budget); /* every node that comes out costs at least one */
    assert_true(budget < 1000);         /* and no call is wasted */
    popped += came;
    spent += 1000 - budget;
  }
  assert_true(spent <= CROWD * WHEEL_LEVELS);
  assert_int_equal(wheel.count, 0);
  free(nodes);
}

#define NODES 200u

struct naive {
  struct wheel_node node;
  bool armed;
  int64_t deadline_ms;
};

static void expect_due(struct wheel *wheel, struct naive *all, int64_t now, unsigned *budget) {
  struct wheel_node *node;
  while ((node = wheel_pop(wheel, now, budget)) != NULL) {
    struct naive *n = LIST_ENTRY(node, struct naive, node);
    assert_true(n->armed);
    assert_true(n->deadline_ms <= now);
    n->armed = false;
  }
  int64_t earliest = INT64_MAX;
  unsigned armed = 0;
  for (unsigned i = 0; i < NODES; i++) {
    if (!all[i].armed) continue;
    armed++;
    if (all[i].deadline_ms < earliest) earliest = all[i].deadline_ms;
  }
  assert_int_equal(wheel->count, armed);
  assert_true(wheel_earliest(wheel) <= earliest);
  int64_t next = wheel_next(wheel);
  assert_true(armed == 0 ? next == INT64_MAX : next <= (earliest > now ? earliest : now));
  if (*budget == 0) return;
  assert_true(earliest > now);
  assert_true(next > now); /* a host that sleeps until then does not spin */
  assert_true(wheel_earliest(wheel) == next);
}

static int64_t random_distance(uint64_t *seed) {
  uint64_t bits = next_random(seed) % 38;
  int64_t distance = (int64_t)(next_random(seed) & ((UINT64_C(1) << bits) - 1));
  return next_random(seed) % 20 == 0 ? -distance : distance;
}

static void random_operations_agree_with_an_array(void **state) {
  (void)state;
  for (uint64_t round = 1; round <= 30; round++) {
    uint64_t seed = round * UINT64_C(0x9e3779b97f4a7c15);
    struct wheel wheel;
    struct naive *all = calloc(NODES, sizeof *all);
    assert_non_null(all);
    int64_t now = (int64_t)(next_random(&seed) >> 24);
    wheel_init(&wheel, now);
    for (unsigned i = 0; i < NODES; i++) wheel_node_init(&all[i].node);
    for (unsigned step = 0; step < 3000; step++) {
      struct naive *n = &all[next_random(&seed) % NODES];
      if (next_random(&seed) % 4 == 0) {
        wheel_cancel(&wheel, &n->node);
        n->armed = false;
      } else {
        n->deadline_ms = now + random_distance(&seed);
        n->armed = true;
        wheel_set(&wheel, &n->node, n->deadline_ms);
      }
      if (next_random(&seed) % 3 != 0) continue;
      if (next_random(&seed) % 2 == 0) now += llabs(random_distance(&seed)) / 64;
      unsigned budget =
          next_random(&seed) % 3 == 0 ? 1 + (unsigned)(next_random(&seed) % 8) : PLENTY;
      expect_due(&wheel, all, now, &budget);
    }
    free(all);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_empty_wheel_has_nothing_to_do),
      cmocka_unit_test(a_deadline_is_due_at_its_millisecond_and_not_one_before),
      cmocka_unit_test(a_deadline_in_the_past_is_due_at_once),
      cmocka_unit_test(cancelling_and_moving_a_deadline),
      cmocka_unit_test(deadlines_that_can_never_come_do_not_disturb_the_others),
      cmocka_unit_test(a_crowd_that_ends_together_is_worked_off_within_the_budget),
      cmocka_unit_test(random_operations_agree_with_an_array),
  };
  return cmocka_run_group_tests_name("wheel", tests, NULL, NULL);
}
