/* pace.c - see pace.h. */
#include "client/pace.h"

#include "client/clock.h"
#include "client/random.h"

/* A server that answers BUSY to a waiting call sooner than this does not let it wait (it drains, or
 * has too many): a pause comes in between. */
#define SOON_MS 20
/* No renewal is given less, however short the lease. */
#define RENEWAL_TIMEOUT_MIN_MS 50
/* Not less than the former, for the lease's sake; not more than the latter, for a server that comes
 * back. */
#define RENEWAL_RETRY_MIN_MS 10
#define RENEWAL_RETRY_MAX_MS 1000

/* Its deadline runs from then on. */
static void give_up_after(struct pace *pace, int64_t since_ms) {
  pace->give_up_at_ms = clock_min(pace->bound_ms, since_ms + pace->settings->deadline_ms);
}

void pace_begin(struct pace *pace, const struct settings *settings, int64_t now, int64_t wait_ms) {
  *pace = (struct pace){.settings = settings,
                        .start_ms = now,
                        .wait_until_ms = now + wait_ms,
                        .bound_ms = CLOCK_NEVER};
  give_up_after(pace, pace->wait_until_ms);
}

void pace_bound(struct pace *pace, int64_t until_ms) {
  pace->bound_ms = until_ms;
  pace->give_up_at_ms = clock_min(pace->give_up_at_ms, until_ms);
}

void pace_set_wait(const struct pace *pace, struct wire_request *request, int64_t now) {
  request->wait_ms = 0;
  if (request->verb != WIRE_CLAIM && request->verb != WIRE_WAIT) return;
  request->wait_ms = clock_max(0, pace->wait_until_ms - now);
  if (request->wait_ms == 0 && request->verb == WIRE_WAIT) request->verb = WIRE_FETCH;
}

int64_t pace_timeout_ms(const struct pace *pace, const struct wire_request *request, int64_t now) {
  int64_t timeout_ms = request->wait_ms + pace->settings->command_timeout_ms;
  return clock_max(1, clock_min(timeout_ms, pace->give_up_at_ms - now));
}

int64_t pace_table_timeout_ms(const struct pace *pace, int64_t now) {
  int64_t half_ms = (pace->give_up_at_ms - now) / 2;
  return clock_max(1, clock_min(pace->settings->command_timeout_ms, half_ms));
}

/* A duration that doubles with each failure; of that, at random, from half to all. */
static int64_t backoff_ms(struct pace *pace) {
  int64_t pause_ms = pace->settings->backoff_first_ms;
  pace->failures++;
  for (unsigned i = 1; i < pace->failures && pause_ms < pace->settings->backoff_max_ms; i++)
    pause_ms *= 2;
  return random_pause_ms(clock_min(pause_ms, pace->settings->backoff_max_ms));
}

/* Whether an attempt without an answer was a wait at the server: its request was sent, and for
 * longer than an answer takes nothing went wrong. Connecting and AUTH are no wait, however long
 * they take. */
static bool has_waited(const struct pace *pace, const struct pace_attempt *attempt, int64_t now) {
  return attempt->sent_ms != 0 && now - attempt->sent_ms >= pace->settings->command_timeout_ms;
}

/* A call that waits is given up as soon as one that does not when the server is gone: the wait
 * counts only while there is a server to wait at. */
static void note_failure(struct pace *pace, const struct pace_attempt *attempt, int64_t now) {
  if (has_waited(pace, attempt, now)) {
    pace->down_since_ms = now;
  } else if (pace->down_since_ms == 0) {
    pace->down_since_ms = attempt->start_ms;
  }
  give_up_after(pace, clock_min(pace->wait_until_ms, pace->down_since_ms));
}

/* A connection that stood before may have been closed long ago, by a server that is back: then a
 * new one needs no pause. */
int64_t pace_retry_at(struct pace *pace, const struct pace_attempt *attempt, bool spoken,
                      int64_t now) {
  note_failure(pace, attempt, now);
  bool at_once = attempt->reused && !spoken && !pace->retried_at_once;
  if (at_once) pace->retried_at_once = true;
  int64_t at_ms = at_once ? now : now + backoff_ms(pace);
  return at_ms < pace->give_up_at_ms ? at_ms : CLOCK_NEVER;
}

int64_t pace_redirect_at(struct pace *pace, const struct pace_attempt *attempt, int64_t now) {
  if (pace->redirects == PACE_REDIRECTS_MAX) return pace_retry_at(pace, attempt, true, now);
  pace->redirects++;
  pace_heard(pace);
  return now;
}

void pace_heard(struct pace *pace) {
  pace->down_since_ms = 0;
  give_up_after(pace, pace->wait_until_ms);
}

int64_t pace_wait_on_at(struct pace *pace, const struct pace_attempt *attempt, int64_t now) {
  if (now >= pace->wait_until_ms) return CLOCK_NEVER;
  pace_heard(pace);
  pace->redirects = 0;
  if (now - attempt->sent_ms >= SOON_MS) {
    pace->failures = 0;
    return now;
  }
  int64_t at_ms = now + backoff_ms(pace);
  return at_ms < pace->wait_until_ms ? at_ms : CLOCK_NEVER;
}

/* ---- renewals ---- */

int64_t pace_renewal_period_ms(int64_t lease_ms) { return clock_max(1, lease_ms / 3); }

int64_t pace_renewal_timeout_ms(int64_t lease_ms) {
  return clock_max(RENEWAL_TIMEOUT_MIN_MS, lease_ms / 3);
}

int64_t pace_renewal_retry_ms(int64_t lease_ms) {
  return clock_max(RENEWAL_RETRY_MIN_MS, clock_min(lease_ms / 12, RENEWAL_RETRY_MAX_MS));
}

/* ---- grants ---- */

/* One bar for the claim and for its renewals: a server, or a loop, that needs longer than a renewal
 * may take would let the lease expire under the work. */
static bool in_time(const struct pace_grant *grant, int64_t now) {
  int64_t age_ms = now - grant->sent_ms;
  return age_ms < grant->lease_ms && age_ms <= pace_renewal_timeout_ms(grant->lease_ms);
}

enum pace_verdict pace_check_grant(const struct pace *pace, const struct pace_grant *grant,
                                   int64_t now) {
  if (in_time(grant, now)) return PACE_SURE;
  if (grant->renewals >= PACE_RENEWALS_MAX) return PACE_LATE;
  /* Twice as long as the last renewal took, because one that the deadline cuts off leaves no
   * connection to give the grant back over. How long the claim took says nothing of that. */
  int64_t exchange_ms = grant->renewals > 0 ? now - grant->sent_ms : 0;
  return now + 2 * exchange_ms < pace->give_up_at_ms ? PACE_RENEW : PACE_LATE;
}

void pace_grant_renewed(struct pace_grant *grant, int64_t sent_ms, int64_t lease_ms) {
  grant->sent_ms = sent_ms;
  grant->lease_ms = lease_ms;
  grant->renewals++;
}

struct pace pace_of_renewals(const struct pace *pace, int64_t now) {
  struct pace renewals = *pace;
  renewals.wait_until_ms = clock_min(pace->wait_until_ms, now);
  renewals.give_up_at_ms = clock_min(pace->give_up_at_ms, now + pace->settings->deadline_ms);
  renewals.down_since_ms = 0;
  renewals.failures = renewals.redirects = 0;
  renewals.retried_at_once = false;
  return renewals;
}
