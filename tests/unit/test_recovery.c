/* test_recovery.c - what a server sees to while it reads its journal: signals, the log, the
 * supervisor, a guest. */
#include "server/net/recovery.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct rig {
  struct log log;
  struct notify notify;
  struct recovery recovery;
  int lines, messages; /* the other ends */
  unsigned turns;
  char text[2048];
};

static void rig_open(struct rig *rig) {
  int pair[2];
  *rig = (struct rig){0};
  assert_int_equal(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
  rig->lines = pair[0];
  rig->log = (struct log){.fd = pair[1]};
  assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
  rig->messages = pair[0];
  rig->notify = (struct notify){pair[1]};
  recovery_begin(&rig->recovery, &rig->log, &rig->notify);
}

static void rig_close(struct rig *rig) {
  recovery_end(&rig->recovery);
  log_close(&rig->log);
  notify_close(&rig->notify);
  close(rig->lines);
  close(rig->messages);
}

static const char *read_from(struct rig *rig, int fd) {
  ssize_t got = read(fd, rig->text, sizeof rig->text - 1);
  rig->text[got > 0 ? got : 0] = '\0';
  return rig->text;
}

/* Such a time ago it turned and told last. */
static bool step_after(struct rig *rig, int64_t ms, struct journal_step step) {
  rig->recovery.turned_ms -= ms;
  rig->recovery.told_ms -= ms;
  return recovery_step(&rig->recovery, step);
}

static const struct journal_step HALF = {512, 1024};

static void on_turn(void *context, struct journal_step step) {
  struct rig *rig = context;
  assert_int_equal(step.whole, HALF.whole);
  rig->turns++;
}

static void the_log_and_the_supervisor_hear_how_far_it_is(void **state) {
  (void)state;
  struct rig rig;
  rig_open(&rig);
  assert_true(step_after(&rig, 0, HALF));
  assert_string_equal(read_from(&rig, rig.lines), "");
  assert_string_equal(read_from(&rig, rig.messages), "");
  assert_true(step_after(&rig, RECOVERY_TELL_MS, HALF));
  assert_non_null(
      strstr(read_from(&rig, rig.lines), "recovering the journal: 512 of 1024 bytes (50 %)\n"));
  assert_string_equal(read_from(&rig, rig.messages), "EXTEND_TIMEOUT_USEC=60000000");
  assert_string_equal(read_from(&rig, rig.messages), "STATUS=recovering: 50 % of 1024 bytes");
  assert_true(step_after(&rig, RECOVERY_TURN_MS, HALF));
  assert_string_equal(read_from(&rig, rig.lines), "");
  assert_true(step_after(&rig, RECOVERY_TELL_MS, (struct journal_step){77, 0}));
  assert_non_null(strstr(read_from(&rig, rig.lines),
                         "looking at the newest segment of the journal: 77 bytes\n"));
  rig_close(&rig);
}

static void a_guest_has_its_turns(void **state) {
  (void)state;
  struct rig rig;
  rig_open(&rig);
  rig.recovery.guest = (struct recovery_guest){on_turn, &rig};
  recovery_step(&rig.recovery, HALF);
  assert_int_equal(rig.turns, 1);
  rig.recovery.turned_ms = INT64_MAX; /* no time has passed */
  recovery_step(&rig.recovery, HALF);
  assert_int_equal(rig.turns, 1);
  rig_close(&rig);
}

static void a_signal_ends_it(void **state) {
  (void)state;
  static const int numbers[] = {SIGTERM, SIGINT};
  for (unsigned i = 0; i < 2; i++) {
    struct rig rig;
    rig_open(&rig);
    raise(numbers[i]);
    assert_false(recovery_step(&rig.recovery, HALF));
    raise(SIGTERM); /* impatience */
    rig_close(&rig);
  }
}

static void note(int number) {
  (void)!write(STDERR_FILENO, number == SIGTERM ? "heard\n" : "?\n", 6);
}

/* It is left to those who hear it when the server runs. */
static void a_late_signal_stays(void **state) {
  (void)state;
  struct rig rig;
  int heard[2];
  assert_int_equal(pipe2(heard, O_NONBLOCK), 0);
  assert_true(dup2(heard[1], STDERR_FILENO) >= 0);
  signal(SIGTERM, note);
  rig_open(&rig);
  assert_true(recovery_step(&rig.recovery, HALF));
  raise(SIGTERM);
  assert_string_equal(read_from(&rig, heard[0]), "");
  rig_close(&rig);
  assert_string_equal(read_from(&rig, heard[0]), "heard\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_log_and_the_supervisor_hear_how_far_it_is),
      cmocka_unit_test(a_guest_has_its_turns),
      cmocka_unit_test(a_signal_ends_it),
      cmocka_unit_test(a_late_signal_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
