/*
 * outcome.h - what a reply, or the lack of one, means: for the call (is it final, does the call go
 * on, what does it return) and for the claim that it was about. One policy for the synchronous and
 * the asynchronous calls. Pure: no socket, no connection, no clock. How long to pause before it
 * tries again is pace.h's.
 *
 *     CLAIMED                       OUTCOME_CONFIRM   pace_check_grant says whether it counts
 *     BUSY                          OUTCOME_WAIT_ON   while the call waits; else final
 *     MOVED, ASK, UNBLOCKED         OUTCOME_REDIRECT  at once, to the node that has the key now
 *     no reply, LOADING, ...        OUTCOME_RETRY     until its time is over; then UNAVAILABLE, or
 *                                                     the last BUSY that was heard
 *     OOM                           OUTCOME_FINAL     UNAVAILABLE, or the last BUSY that was heard
 *     DONE, UNKNOWN, MISMATCH, ...  OUTCOME_FINAL
 */
#ifndef IDEM_CLIENT_OUTCOME_H
#define IDEM_CLIENT_OUTCOME_H

#include "client/pace.h"
#include "client/wire.h"

/* What one call has learned so far. Zero-filled at its start; outcome_deinit it. */
struct outcome {
  /* an attempt that was not answered may have reached the server */
  bool maybe_done;
  int64_t first_sent_ms;  /* when the first attempt was sent; 0: none was */
  struct wire_reply busy; /* the last BUSY after which the call went on */
};

/* What comes after an attempt. */
enum outcome_step {
  OUTCOME_FINAL,
  OUTCOME_RETRY,
  OUTCOME_REDIRECT,
  OUTCOME_WAIT_ON,
  OUTCOME_CONFIRM
};

void outcome_deinit(struct outcome *outcome);

/* ---- one attempt ---- */

/* Its request leaves. */
void outcome_sent(struct outcome *outcome, int64_t now);
/* It ended without a word of the server. */
struct outcome_loss {
  enum idem_status status; /* UNAVAILABLE, REFUSED or NO_MEMORY */
  bool sent;               /* its request may have reached the server */
  const char *why;         /* NO_MEMORY: not used */
};

/* Fills *reply with the loss. */
void outcome_lost(struct outcome *outcome, const struct outcome_loss *loss,
                  struct wire_reply *reply);
/* For an attempt that ended with this reply, from wire_parse or outcome_lost. */
enum outcome_step outcome_next(const struct wire_reply *reply);
/* When the call is made again after an attempt that ended at `now` with this reply; CLOCK_NEVER: it
 * is not. */
int64_t outcome_again_at(const struct wire_reply *reply, struct pace *pace,
                         const struct pace_attempt *attempt, int64_t now);

/* ---- the call goes on ---- */

/* Takes over *reply: a BUSY is kept, anything else is freed. */
void outcome_go_on(struct outcome *outcome, struct wire_reply *reply);
/* A grant of this call is given back unconfirmed: its key is BUSY, for lease_ms at most, with this
 * call or with one that has taken over. */
void outcome_unconfirmed(struct outcome *outcome, int64_t lease_ms);
/* Why a grant was not confirmed (PACE_LATE); IDEM_MESSAGE_BYTES at `out`. */
void outcome_explain_late(const struct pace_grant *grant, char *out);
/* A grant of this call was overtaken by another owner. */
void outcome_overtaken(struct outcome *outcome);

/* ---- the call ends ---- */

/* The last reply, at `now`, becomes that of the call. When the call was not served, its message
 * comes to say by which server and for how long. BUSY once heard stays BUSY: an UNAVAILABLE becomes
 * the BUSY that was kept (its owner, its left_ms), but keeps the message, which says why there is
 * no newer answer. */
void outcome_end(struct outcome *outcome, const struct pace *pace, int64_t now,
                 struct wire_reply *reply);
/* The same for a call that ends for a reason of its own: the message stays as it is. */
void outcome_stop(struct outcome *outcome, struct wire_reply *reply);

/* ---- for a claim ---- */

enum outcome_claim {
  OUTCOME_CLAIM_UNCHANGED,
  OUTCOME_CLAIM_RENEWED, /* reply->number is the lease */
  OUTCOME_CLAIM_ENDED,
  OUTCOME_CLAIM_LOST
};

/* A call on a claim, after its end. */
struct outcome_of_call {
  const struct outcome *outcome;
  const struct wire_request *request; /* STORE, RENEW or RELEASE */
  int64_t ended_ms;
};

/* What its final reply means for the claim. It may change the status and message of the reply.
 * *stored_ms belongs to the claim: when a STORE whose fate is unknown was first sent, or 0. */
enum outcome_claim outcome_for_claim(const struct outcome_of_call *call, int64_t *stored_ms,
                                     struct wire_reply *reply);

#endif
