/*
 * test_hugepages.c - a page is there as a whole, a part that was given back is not, and the helper
 * does what is to be done, once it is woken, and nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "server/base/hugepages.h"

#define SMALL_PAGE 4096u
#define WAIT_STEPS 100000u
#define STEP_NS 100000

static bool is_resident(char *at) {
  unsigned char resident = 0;
  return mincore(at, 1, &resident) == 0 && (resident & 1) != 0;
}

/* ---- pages ---- */

static void a_page_is_aligned_and_all_of_it_is_there(void **state) {
  (void)state;
  char *pages[3];
  for (unsigned i = 0; i < 3; i++) {
    pages[i] = hugepages_map();
    assert_non_null(pages[i]);
    assert_int_equal((uintptr_t)pages[i] % HUGEPAGES_BYTES, 0);
    for (size_t at = 0; at < HUGEPAGES_BYTES; at += SMALL_PAGE) {
      assert_true(is_resident(pages[i] + at));
      assert_int_equal(pages[i][at], 0);
    }
    memset(pages[i], 'a' + (int)i, HUGEPAGES_BYTES);
  }
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(pages[i][0], 'a' + (int)i);
    assert_int_equal(pages[i][HUGEPAGES_BYTES - 1], 'a' + (int)i);
    hugepages_unmap(pages[i]);
  }
}

static void a_part_that_was_given_back_can_be_used_again_and_the_rest_stays(void **state) {
  (void)state;
  const size_t part = HUGEPAGES_BYTES / 4;
  char *page = hugepages_map();
  assert_non_null(page);
  memset(page, 'x', HUGEPAGES_BYTES);
  hugepages_give_back(page + part, part);
  assert_int_equal(page[part - 1], 'x');
  assert_int_equal(page[2 * part], 'x');
  assert_int_equal(page[part], 0);
  assert_int_equal(page[2 * part - 1], 0);
  memset(page + part, 'y', part);
  assert_int_equal(page[part + SMALL_PAGE], 'y');
  hugepages_unmap(page);
}

/* ---- the helper ---- */

struct owner {
  struct hugepages helper;
  unsigned to_do, done; /* with the lock */
  unsigned idle_steps;
  bool signals_blocked;
};

static bool step(void *context) {
  struct owner *owner = context;
  if (owner->to_do == 0) {
    owner->idle_steps++;
    return false;
  }
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, NULL, &blocked);
  owner->signals_blocked = sigismember(&blocked, SIGTERM) == 1;
  owner->to_do--;
  hugepages_unlock(&owner->helper);
  char *page = hugepages_map();
  if (page != NULL) hugepages_unmap(page);
  hugepages_lock(&owner->helper);
  owner->done++;
  return true;
}

static void give(struct owner *owner, unsigned steps) {
  hugepages_lock(&owner->helper);
  owner->to_do += steps;
  hugepages_wake(&owner->helper);
  hugepages_wake(&owner->helper); /* it is busy already */
  hugepages_unlock(&owner->helper);
}

static bool is_done(struct owner *owner, unsigned done) {
  hugepages_lock(&owner->helper);
  bool all = owner->done == done && !owner->helper.busy;
  hugepages_unlock(&owner->helper);
  return all;
}

static void wait_until_done(struct owner *owner, unsigned done) {
  const struct timespec pause = {.tv_nsec = STEP_NS};
  for (unsigned waited = 0; !is_done(owner, done); waited++) {
    assert_true(waited < WAIT_STEPS);
    nanosleep(&pause, NULL);
  }
}

static void the_helper_steps_until_nothing_is_left_and_again_when_it_is_woken(void **state) {
  (void)state;
  struct owner owner = {0};
  hugepages_start(&owner.helper, step, &owner);
  assert_true(owner.helper.started);
  for (unsigned round = 1; round <= 20; round++) {
    give(&owner, 5);
    wait_until_done(&owner, 5 * round);
  }
  hugepages_stop(&owner.helper);
  assert_true(owner.signals_blocked);
  /* Once at the start, once after each round: it does not spin. */
  assert_in_range(owner.idle_steps, 20, 21);
}

static void what_is_there_at_the_start_is_done_unasked(void **state) {
  (void)state;
  struct owner owner = {.to_do = 3};
  hugepages_start(&owner.helper, step, &owner);
  wait_until_done(&owner, 3);
  hugepages_stop(&owner.helper);
}

static void it_ends_with_work_left(void **state) {
  (void)state;
  for (unsigned round = 0; round < 20; round++) {
    struct owner owner = {.to_do = 1000000};
    hugepages_start(&owner.helper, step, &owner);
    hugepages_stop(&owner.helper);
    assert_int_equal(owner.to_do + owner.done, 1000000);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_page_is_aligned_and_all_of_it_is_there),
      cmocka_unit_test(a_part_that_was_given_back_can_be_used_again_and_the_rest_stays),
      cmocka_unit_test(the_helper_steps_until_nothing_is_left_and_again_when_it_is_woken),
      cmocka_unit_test(what_is_there_at_the_start_is_done_unasked),
      cmocka_unit_test(it_ends_with_work_left),
  };
  return cmocka_run_group_tests_name("hugepages", tests, NULL, NULL);
}
