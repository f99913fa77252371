/* pace.c - see pace.h. */
#include "client/pace.h"

#include <stdio.h>

#include "client/clock.h"
#include "client/keeper.h"

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

int64_t pace_pause_ms(struct pace *pace, const struct settings *settings) {
  return settings_pause_ms(settings, ++pace->failures);
}

/* One bar for the claim and for its renewals: a server, or a loop, that needs longer than a renewal
 * may take would let the lease expire under the work. */
static bool in_time(const struct pace_grant *grant, int64_t now) {
  int64_t age = now - grant->sent_ms;
  return age < grant->lease_ms && age <= keeper_patience_ms(grant->lease_ms);
}

enum pace_verdict pace_judge_grant(const struct pace *pace, const struct pace_grant *grant,
                                   int64_t now) {
  if (in_time(grant, now)) return PACE_SURE;
  if (grant->renewals >= PACE_RENEWALS_MAX) return PACE_LATE;
  /* Twice as long as the last renewal took, because one that the deadline cuts off leaves no
   * connection to give the grant back over. How long the claim took says nothing of that. */
  int64_t exchange_ms = grant->renewals > 0 ? now - grant->sent_ms : 0;
  return now + 2 * exchange_ms < pace->deadline_ms ? PACE_RENEW : PACE_LATE;
}

void pace_explain_late(const struct pace_grant *grant, char *out) {
  snprintf(out, IDEM_MESSAGE_BYTES, "the answers take longer than the lease of %lld ms allows",
           (long long)grant->lease_ms);
}

struct pace pace_of_renewals(const struct pace *pace, const struct settings *settings,
                             int64_t now) {
  struct pace renewals = *pace;
  renewals.wait_until_ms = clock_min(pace->wait_until_ms, now);
  renewals.deadline_ms = clock_min(pace->deadline_ms, now + settings->deadline_ms);
  renewals.trouble_ms = 0;
  renewals.failures = 0;
  return renewals;
}
