/* recovery.c - see recovery.h. */
#include "server/net/recovery.h"

#include <pthread.h>

#include "server/base/clock.h"

static int64_t monotonic_ms(void) { return (int64_t)(clock_monotonic_ns() / 1000000); }

static sigset_t ending_signals(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

/* Takes one that is pending; 0: none is. */
static int take_signal(void) {
  const sigset_t signals = ending_signals();
  const struct timespec at_once = {0, 0};
  int number = sigtimedwait(&signals, NULL, &at_once);
  return number > 0 ? number : 0;
}

void recovery_begin(struct recovery *recovery, struct log *log, const struct notify *notify) {
  int64_t now_ms = monotonic_ms();
  *recovery = (struct recovery){
      .log = log, .notify = notify, .turned_ms = now_ms - RECOVERY_TURN_MS, .told_ms = now_ms};
  const sigset_t signals = ending_signals();
  pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

/* More of the signal that has ended it changes nothing. */
void recovery_end(struct recovery *recovery) {
  if (recovery->ended_by != 0)
    while (take_signal() != 0) continue;
  const sigset_t signals = ending_signals();
  pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

void recovery_tell(struct recovery *recovery) {
  notify_send(recovery->notify, "EXTEND_TIMEOUT_USEC=%u", RECOVERY_EXTEND_US);
}

static void tell_progress(struct recovery *recovery, struct journal_step step) {
  unsigned long long done = step.done, whole = step.whole;
  recovery_tell(recovery);
  if (whole == 0) {
    log_line(recovery->log, LOG_LEVEL_NOTICE,
             "looking at the newest segment of the journal: %llu bytes", done);
    return;
  }
  log_line(recovery->log, LOG_LEVEL_NOTICE, "recovering the journal: %llu of %llu bytes (%llu %%)",
           done, whole, done * 100 / whole);
  notify_send(recovery->notify, "STATUS=recovering: %llu %% of %llu bytes", done * 100 / whole,
              whole);
}

bool recovery_step(void *context, struct journal_step step) {
  struct recovery *recovery = context;
  int64_t now_ms = monotonic_ms();
  if (now_ms - recovery->turned_ms < RECOVERY_TURN_MS) return true;
  recovery->turned_ms = now_ms;
  recovery->ended_by = take_signal();
  if (recovery->guest.turn != NULL) recovery->guest.turn(recovery->guest.context, step);
  if (now_ms - recovery->told_ms >= RECOVERY_TELL_MS) {
    recovery->told_ms = now_ms;
    tell_progress(recovery, step);
  }
  return recovery->ended_by == 0;
}
