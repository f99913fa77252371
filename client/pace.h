/*
 * pace.h - how long one logical call goes on: its deadline, its pauses, what the wait it asked for
 * adds, and whether a grant that took time still counts. Pure: now is a number. Shared by the
 * synchronous and the asynchronous half.
 */
#ifndef IDEM_CLIENT_PACE_H
#define IDEM_CLIENT_PACE_H

#include "client/settings.h"

/* A server that answers BUSY to a waiting call sooner than this does not let it wait (it drains, or
 * has too many): a pause comes in between. */
#define PACE_SOON_MS 20
/* Renewals of one grant before it counts. When that many answers were late, the next ones will
 * be, too. */
#define PACE_RENEWALS_MAX 3

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
/* The pause before the next attempt. */
int64_t pace_pause_ms(struct pace *pace, const struct settings *settings);

/* ---- grants ---- */

/* A grant that its owner has not been told of. The server granted it at an unknown time after
 * sent_ms, so the lease surely runs for lease_ms from then on, and no longer. */
struct pace_grant {
  int64_t sent_ms; /* of the claim or renewal that was answered last */
  int64_t lease_ms;
  unsigned renewals; /* that were answered */
};

enum pace_verdict {
  PACE_SURE,  /* its owner may start now: the lease runs, and the next renewal will be in time */
  PACE_RENEW, /* it may have expired: renew it, then ask again */
  PACE_LATE   /* and there is no time for that, or it was no use: the grant is dropped */
};

/* What becomes of the grant if its owner is told at `now`. */
enum pace_verdict pace_judge_grant(const struct pace *pace, const struct pace_grant *grant,
                                   int64_t now);
/* Why it was dropped; IDEM_MESSAGE_BYTES at `out`. */
void pace_explain_late(const struct pace_grant *grant, char *out);
/* The pace of the renewals of a grant that has been heard of just now: the wait has ended, and they
 * get no more time than any call. */
struct pace pace_of_renewals(const struct pace *pace, const struct settings *settings, int64_t now);

#endif
