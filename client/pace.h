/*
 * pace.h - how long one logical call goes on: its deadline, its pauses, and what the wait it asked
 * for adds. Pure: now is a number. Shared by the synchronous and the asynchronous half.
 */
#ifndef IDEM_CLIENT_PACE_H
#define IDEM_CLIENT_PACE_H

#include "client/settings.h"

struct pace {
  int64_t start_ms;
  int64_t wait_until_ms;
  int64_t deadline_ms;
  int64_t trouble_ms; /* since when the server cannot be reached; 0: it can */
  unsigned failures;
};

void pace_begin(struct pace *pace, const struct settings *settings, int64_t now, int64_t wait_ms);
/* An attempt that began at attempt_ms was not answered. */
void pace_failed(struct pace *pace, const struct settings *settings, int64_t now,
                 int64_t attempt_ms);
/* The server has spoken, but the call goes on. */
void pace_heard(struct pace *pace, const struct settings *settings);
/* Whether a lease may be over already, or soon, when its owner hears of it. The server granted it
 * at some time from sent_ms to answered_ms: one that did not wait, at once, but its answer may have
 * been late; one that waited, nobody knows when. */
bool pace_grant_doubtful(int64_t sent_ms, int64_t answered_ms, int64_t lease_ms, bool waited);
/* Whether there is time for an exchange of so long, twice that to be safe: one that is cut off
 * leaves no connection to give a grant back over. */
bool pace_has_time(const struct pace *pace, int64_t now, int64_t exchange_ms);
/* The pause before the next attempt. */
int64_t pace_pause_ms(struct pace *pace, const struct settings *settings);

#endif
