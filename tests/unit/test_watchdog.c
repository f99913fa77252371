/* test_watchdog.c - a supervisor is told that the server lives while every loop makes turns. */
#include "server/net/watchdog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define HALF_MS 10000

struct rig {
  struct notify notify;
  struct watchdog watchdog;
  int other;
};

static void rig_open(struct rig *rig, const char *period_us) {
  int pair[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
  rig->notify.fd = pair[0];
  rig->other = pair[1];
  if (period_us != NULL) setenv("WATCHDOG_USEC", period_us, 1);
  watchdog_init(&rig->watchdog, &rig->notify, 3, 0);
}

static void rig_close(struct rig *rig) {
  notify_close(&rig->notify);
  close(rig->other);
}

static bool feeds(struct rig *rig, int64_t now_ms) {
  char text[32] = "";
  watchdog_feed(&rig->watchdog, now_ms);
  ssize_t got = read(rig->other, text, sizeof text - 1);
  if (got > 0) assert_string_equal(text, "WATCHDOG=1");
  return got > 0;
}

static void turn(struct rig *rig, int64_t now_ms) {
  for (unsigned loop = 0; loop < 3; loop++) watchdog_note(&rig->watchdog, loop, now_ms);
}

static void it_is_fed_at_half_of_the_time(void **state) {
  (void)state;
  struct rig rig;
  rig_open(&rig, "20000000");
  turn(&rig, HALF_MS - 1);
  assert_false(feeds(&rig, HALF_MS - 1));
  assert_true(feeds(&rig, HALF_MS));
  assert_false(feeds(&rig, HALF_MS + 1));
  turn(&rig, 2 * HALF_MS);
  assert_true(feeds(&rig, 2 * HALF_MS));
  rig_close(&rig);
}

static void a_loop_that_hangs_stops_it(void **state) {
  (void)state;
  for (unsigned hangs = 0; hangs < 3; hangs++) {
    struct rig rig;
    rig_open(&rig, "20000000");
    turn(&rig, 2 * HALF_MS);
    watchdog_note(&rig.watchdog, hangs, HALF_MS - 1);
    assert_false(feeds(&rig, 2 * HALF_MS));
    watchdog_note(&rig.watchdog, hangs, 2 * HALF_MS); /* it was only late */
    assert_true(feeds(&rig, 2 * HALF_MS + 1));
    rig_close(&rig);
  }
}

static void a_loop_that_has_ended_does_not(void **state) {
  (void)state;
  struct rig rig;
  rig_open(&rig, "20000000");
  turn(&rig, 5 * HALF_MS);
  watchdog_note(&rig.watchdog, 2, INT64_MAX);
  assert_true(feeds(&rig, 5 * HALF_MS));
  rig_close(&rig);
}

static void without_one_nothing_is_sent(void **state) {
  (void)state;
  static const char *const periods[] = {NULL, "0", "", "x", "99999999999999999999999"};
  for (size_t i = 0; i < sizeof periods / sizeof periods[0]; i++) {
    struct rig rig;
    rig_open(&rig, periods[i]);
    turn(&rig, 10 * HALF_MS);
    assert_false(feeds(&rig, 10 * HALF_MS));
    rig_close(&rig);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_is_fed_at_half_of_the_time),
      cmocka_unit_test(a_loop_that_hangs_stops_it),
      cmocka_unit_test(a_loop_that_has_ended_does_not),
      cmocka_unit_test(without_one_nothing_is_sent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
