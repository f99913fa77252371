/* pace.c - see pace.h. */
#include "client/pace.h"

#include "client/clock.h"

void pace_begin(struct pace *pace, const struct settings *settings, int64_t now, int64_t wait_ms) {
  *pace = (struct pace){.start_ms = now, .wait_until_ms = now + wait_ms};
  pace->deadline_ms = pace->wait_until_ms + settings->deadline_ms;
}

/* A call that waits is given up as soon as one that does not when the server is gone: the wait
 * counts only while there is somebody to wait for. An attempt that lasted was such a wait, until
 * its end. */
void pace_failed(struct pace *pace, const struct settings *settings, int64_t now,
                 int64_t attempt_ms) {
  if (now - attempt_ms >= settings->command_timeout_ms) {
    pace->trouble_ms = now;
  } else if (pace->trouble_ms == 0) {
    pace->trouble_ms = attempt_ms;
  }
  pace->deadline_ms = clock_min(pace->wait_until_ms, pace->trouble_ms) + settings->deadline_ms;
}

void pace_heard(struct pace *pace, const struct settings *settings) {
  pace->trouble_ms = 0;
  pace->deadline_ms = pace->wait_until_ms + settings->deadline_ms;
}

bool pace_grant_doubtful(int64_t sent_ms, int64_t answered_ms, int64_t lease_ms, bool waited) {
  int64_t took = answered_ms - sent_ms;
  return waited ? took > lease_ms / 3 : took >= lease_ms;
}

bool pace_has_time(const struct pace *pace, int64_t now, int64_t exchange_ms) {
  return now + 2 * exchange_ms < pace->deadline_ms;
}

int64_t pace_pause_ms(struct pace *pace, const struct settings *settings) {
  return settings_pause_ms(settings, ++pace->failures);
}
