/* outcome.c - see outcome.h. */
#include "client/outcome.h"

#include <stdio.h>
#include <string.h>

#include "client/clock.h"

void outcome_deinit(struct outcome *outcome) {
  wire_reply_deinit(&outcome->busy);
  outcome->busy.status = IDEM_OK;
}

/* ---- one attempt ---- */

void outcome_sent(struct outcome *outcome, int64_t now) {
  if (outcome->first_sent_ms == 0) outcome->first_sent_ms = now;
}

void outcome_lost(struct outcome *outcome, const struct outcome_loss *loss,
                  struct wire_reply *reply) {
  if (loss->sent) outcome->maybe_done = true;
  wire_reply_fail(reply, loss->status,
                  loss->status == IDEM_NO_MEMORY ? "out of memory" : loss->why);
}

/* The server said nothing, or that it cannot now. Its -OOM, which has a word and no `again`, is
 * final: the caller is to come back later. */
static bool is_unserved(const struct wire_reply *reply) {
  return reply->status == IDEM_UNAVAILABLE && (reply->again || reply->memory == NULL);
}

static bool is_redirect(const struct wire_reply *reply) {
  return reply->topology == WIRE_MOVED || reply->topology == WIRE_ASK ||
         reply->topology == WIRE_UNBLOCKED;
}

enum outcome_step outcome_next(const struct wire_reply *reply) {
  if (is_redirect(reply)) return OUTCOME_REDIRECT;
  if (is_unserved(reply)) return OUTCOME_RETRY;
  if (reply->status == IDEM_BUSY) return OUTCOME_WAIT_ON;
  return reply->status == IDEM_RUN ? OUTCOME_CONFIRM : OUTCOME_FINAL;
}

int64_t outcome_again_at(const struct wire_reply *reply, struct pace *pace,
                         const struct pace_attempt *attempt, int64_t now) {
  switch (outcome_next(reply)) {
    case OUTCOME_RETRY: return pace_retry_at(pace, attempt, reply->again, now);
    case OUTCOME_REDIRECT: return pace_redirect_at(pace, attempt, now);
    case OUTCOME_WAIT_ON: return pace_wait_on_at(pace, attempt, now);
    case OUTCOME_CONFIRM:
    case OUTCOME_FINAL: break;
  }
  return CLOCK_NEVER;
}

/* ---- the call goes on ---- */

void outcome_go_on(struct outcome *outcome, struct wire_reply *reply) {
  if (reply->status == IDEM_BUSY) {
    wire_reply_deinit(&outcome->busy);
    outcome->busy = *reply;
    reply->memory = NULL;
  }
  wire_reply_deinit(reply);
}

void outcome_unconfirmed(struct outcome *outcome, int64_t lease_ms) {
  wire_reply_deinit(&outcome->busy);
  wire_reply_fail(&outcome->busy, IDEM_BUSY, "");
  outcome->busy.left_ms = clock_max(1, lease_ms);
}

void outcome_explain_late(const struct pace_grant *grant, char *out) {
  snprintf(out, IDEM_MESSAGE_BYTES, "the answers take longer than the lease of %lld ms allows",
           (long long)grant->lease_ms);
}

void outcome_overtaken(struct outcome *outcome) {
  outcome_unconfirmed(outcome, WIRE_UNTOLD_RETRY_MS);
}

/* ---- the call ends ---- */

static void explain_unserved(const struct pace *pace, int64_t now, struct wire_reply *reply) {
  char why[IDEM_MESSAGE_BYTES];
  const char *name = pace->settings->target.name;
  long long ms = now - pace->start_ms;
  memcpy(why, reply->message, sizeof why);
  if (reply->again) {
    snprintf(reply->message, sizeof reply->message,
             "%.50s did not serve the call in %lld ms: %.60s", name, ms, why);
  } else {
    snprintf(reply->message, sizeof reply->message, "no answer from %.50s in %lld ms: %.70s", name,
             ms, why);
  }
}

void outcome_end(struct outcome *outcome, const struct pace *pace, int64_t now,
                 struct wire_reply *reply) {
  if (is_unserved(reply)) explain_unserved(pace, now, reply);
  outcome_stop(outcome, reply);
}

void outcome_stop(struct outcome *outcome, struct wire_reply *reply) {
  if (outcome->busy.status == IDEM_BUSY && reply->status == IDEM_UNAVAILABLE) {
    memcpy(outcome->busy.message, reply->message, sizeof reply->message);
    wire_reply_deinit(reply);
    *reply = outcome->busy;
    outcome->busy.memory = NULL;
  }
  outcome_deinit(outcome);
}

/* ---- for a claim ---- */

/* A STORE was answered STALE: whether an attempt of stored_ms, whose fate is unknown, can be the
 * reason. A result that would still be kept is found again (the server answers 0, not STALE); only
 * one that may already be gone leaves no trace. The server's default TTL is taken to be longer than
 * any deadline. */
static bool may_be_its_own_doing(const struct wire_request *request, int64_t stored_ms,
                                 int64_t now) {
  if (stored_ms == 0) return false;
  return request->release != 0 || (request->ttl_ms > 0 && request->ttl_ms <= now - stored_ms);
}

static void check_store(const struct outcome_of_call *call, int64_t *stored_ms,
                        struct wire_reply *reply) {
  const struct outcome *outcome = call->outcome;
  if (outcome->maybe_done && *stored_ms == 0) *stored_ms = outcome->first_sent_ms;
  if (reply->status != IDEM_STALE) return;
  if (!may_be_its_own_doing(call->request, *stored_ms, call->ended_ms)) return;
  reply->status = IDEM_UNAVAILABLE;
  reply->stale = IDEM_STALE_UNTOLD;
  snprintf(reply->message, sizeof reply->message,
           "the reply was lost, and the result is not kept long enough to ask again");
}

enum outcome_claim outcome_for_claim(const struct outcome_of_call *call, int64_t *stored_ms,
                                     struct wire_reply *reply) {
  enum wire_verb verb = call->request->verb;
  if (verb == WIRE_STORE) check_store(call, stored_ms, reply);
  if (verb == WIRE_RELEASE && reply->status == IDEM_STALE) {
    snprintf(reply->message, sizeof reply->message, "no longer the owner");
    return OUTCOME_CLAIM_ENDED;
  }
  switch (reply->status) {
    case IDEM_OK: return verb == WIRE_RENEW ? OUTCOME_CLAIM_RENEWED : OUTCOME_CLAIM_ENDED;
    case IDEM_STALE:
    case IDEM_CONFLICT: return OUTCOME_CLAIM_LOST;
    default: return OUTCOME_CLAIM_UNCHANGED;
  }
}
