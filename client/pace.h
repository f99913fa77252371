/*
 * pace.h - when a call tries again, and when it stops: its deadline, its pauses, the wait that it
 * asked for, the renewals of its lease, and whether a grant that took time still counts. One policy
 * for the synchronous and the asynchronous calls. Pure but for the jitter: now is a number.
 *
 * The wait counts only while there is a server to wait at:
 *
 *     start         wait_until               give_up_at
 *       |--- wait ------|---- deadline_ms ----|              the server answers
 *
 *     start    down_since               give_up_at
 *       |--- wait --|---- deadline_ms ----|                  it is gone before the wait has ended
 */
#ifndef IDEM_CLIENT_PACE_H
#define IDEM_CLIENT_PACE_H

#include "client/settings.h"
#include "client/wire.h"

/* Renewals of one grant before it counts. When that many answers were late, the next ones will
 * be, too. */
#define PACE_RENEWALS_MAX 3
/* Of one call to other nodes of a cluster without a pause. More means that they do not agree. */
#define PACE_REDIRECTS_MAX 8
/* Reads of what a socket holds when the time of a call is over, before the call is given up: the
 * process may have stood still meanwhile. */
#define PACE_LATE_READS_MAX 64

struct pace {
  const struct settings *settings; /* borrowed */
  int64_t start_ms;
  int64_t wait_until_ms;
  int64_t bound_ms;      /* when it ends, whatever is heard; CLOCK_NEVER: no bound */
  int64_t give_up_at_ms; /* when the call ends for want of an answer */
  int64_t down_since_ms; /* since when the server does not answer; 0: it does */
  unsigned failures;     /* attempts without an answer, for the pauses */
  unsigned redirects;    /* followed without a pause */
  bool retried_at_once;  /* one failure of an older connection was repeated without a pause */
};

/* One attempt. */
struct pace_attempt {
  int64_t start_ms; /* when it began, connecting included */
  int64_t sent_ms;  /* when its request was sent; 0: it was not */
  bool reused;      /* over a connection that stood before */
};

/* settings must outlive the pace. wait_ms: how long the call may wait for another owner. */
void pace_begin(struct pace *pace, const struct settings *settings, int64_t now, int64_t wait_ms);
/* It ends at `until_ms` at the latest, whatever is heard meanwhile. */
void pace_bound(struct pace *pace, int64_t until_ms);
/* What is left of the wait goes into the request of the next attempt; a WAIT of nothing is a FETCH.
 */
void pace_set_wait(const struct pace *pace, struct wire_request *request, int64_t now);
/* How long an attempt may take from now on, at least 1 ms. After pace_set_wait: what the request
 * waits is part of it. */
int64_t pace_timeout_ms(const struct pace *pace, const struct wire_request *request, int64_t now);
/* How long the table of a cluster may be asked for within a call: half of its time at most, so that
 * a node which hangs leaves time for the call, or for the next node. */
int64_t pace_table_timeout_ms(const struct pace *pace, int64_t now);
/* An attempt was not answered, or the server said that it cannot now (`spoken`). When to make the
 * next one; CLOCK_NEVER: none, the call's time would be over by then. */
int64_t pace_retry_at(struct pace *pace, const struct pace_attempt *attempt, bool spoken,
                      int64_t now);
/* A node of a cluster sent the call elsewhere: there is a server to wait at, so that the wait goes
 * on. When to ask there; CLOCK_NEVER as above. */
int64_t pace_redirect_at(struct pace *pace, const struct pace_attempt *attempt, int64_t now);
/* It was answered BUSY. When to ask again, for the server waits only so long in one go;
 * CLOCK_NEVER: the wait is over, or would be after the pause. */
int64_t pace_wait_on_at(struct pace *pace, const struct pace_attempt *attempt, int64_t now);
/* The server has answered, but the call goes on. */
void pace_heard(struct pace *pace);

/* ---- renewals ---- */

/* The part of lease_ms after which a claim is renewed. */
int64_t pace_renewal_period_ms(int64_t lease_ms);
/* How long a renewal may take from sending to its answer; it is given up then. */
int64_t pace_renewal_timeout_ms(int64_t lease_ms);
/* How long after a failed renewal the next one is tried. */
int64_t pace_renewal_retry_ms(int64_t lease_ms);

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
  PACE_RENEW, /* it may have expired: renew it, then check again */
  PACE_LATE   /* and there is no time for that, or it was no use: the grant is dropped */
};

/* What becomes of the grant if its owner is told at `now`; pace is that of its renewals. */
enum pace_verdict pace_check_grant(const struct pace *pace, const struct pace_grant *grant,
                                   int64_t now);
/* A renewal of it that was sent at sent_ms was granted for lease_ms. */
void pace_grant_renewed(struct pace_grant *grant, int64_t sent_ms, int64_t lease_ms);
/* The pace of the renewals of a grant that has come just now: the wait has ended, and they get no
 * more time than any call. */
struct pace pace_of_renewals(const struct pace *pace, int64_t now);

#endif
