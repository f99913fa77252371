/* claim.c - struct idem_claim: its memory and what can be asked of it. See claim.h and idem.h. */
#include "client/claim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "client/settings.h"
#include "client/sized.h"

struct idem_claim *claim_create(struct idem_bytes key) {
  struct idem_claim *claim = calloc(1, sizeof *claim + key.len);
  if (claim == NULL) return NULL;
  if (key.len > 0) memcpy(claim->key, key.data, key.len);
  claim->lease.claim = claim;
  claim->lease.key = idem_data(claim->key, key.len);
  return claim;
}

void claim_grant(struct idem_claim *claim, struct wire_reply *reply, int64_t sent_ms) {
  claim->lease.token = reply->token;
  claim->lease_ms = reply->lease_ms;
  claim->attempt = reply->attempt;
  claim->stage = reply->stage;
  claim->grant = reply->memory;
  reply->memory = NULL;
  lease_run(&claim->lease, sent_ms, reply->lease_ms);
  atomic_store(&claim->lease.state, IDEM_CLAIM_HELD);
}

void claim_destroy(struct idem_claim *claim) {
  if (claim == NULL) return;
  if (claim->grant != NULL) freeReplyObject(claim->grant);
  free(claim);
}

enum idem_status claim_set_message(struct idem_claim *claim, enum idem_status status,
                                   const char *message) {
  snprintf(claim->message, sizeof claim->message, "%s", message);
  return status;
}

const char *claim_check(const struct idem_claim *claim) {
  return atomic_load(&claim->lease.state) == IDEM_CLAIM_ENDED ? "the claim has ended" : NULL;
}

enum outcome_claim claim_conclude(struct idem_claim *claim, const struct outcome_of_call *call,
                                  struct wire_reply *reply) {
  enum outcome_claim end = outcome_for_claim(call, &claim->stored_ms, reply);
  bool stored = call->request->verb == WIRE_STORE && reply->status == IDEM_OK;
  if (stored) claim->answered = reply->number;
  claim_set_message(claim, reply->status, reply->message);
  if (reply->status == IDEM_STALE && reply->stale != IDEM_STALE_UNTOLD)
    atomic_store(&claim->lease.stale, reply->stale);
  return end;
}

SIZED_ASSERT_FULL(struct idem_result, SIZED_RESULT_0_1);

const char *claim_take_result(struct idem_result *to, const struct idem_result *from) {
  if (from == NULL) return "no result";
  if (!sized_copy(to, sizeof *to, from, SIZED_RESULT_0_1))
    return "a result of a version that this library is not";
  if (to->ttl_ms < 0 || to->ttl_ms > SETTINGS_MS_MAX) return "ttl_ms is out of range";
  if (to->uncached == 0) return NULL;
  if (to->ttl_ms != 0) return "uncached and a ttl_ms";
  return claim_check_release((enum idem_release)to->uncached);
}

const char *claim_check_release(enum idem_release how) {
  switch (how) {
    case IDEM_RELEASE_NOTHING:
    case IDEM_RELEASE_UNSURE:
    case IDEM_RELEASE_CLEAR: return NULL;
  }
  return "not an enum idem_release";
}

enum idem_status claim_request(struct wire_request *claim, const struct idem_request *request,
                               struct idem_bytes owner, const char **why) {
  *claim = (struct wire_request){.verb = WIRE_CLAIM,
                                 .key = request->key,
                                 .fingerprint = request->fingerprint,
                                 .owner = owner,
                                 .lease_ms = request->lease_ms,
                                 .born_unix_ms = request->born_unix_ms,
                                 .takeover = request->takeover,
                                 .flags = request->flags};
  if (owner.data == NULL) {
    *why = "the system has no random numbers";
    return IDEM_UNAVAILABLE;
  }
  if (request->key.len <= LEASE_KEY_BYTES) return IDEM_OK;
  *why = "a key that no server takes";
  return IDEM_TOOBIG;
}

struct wire_request claim_store_request(const struct idem_claim *claim,
                                        const struct idem_result *result) {
  struct wire_request request = {
      .verb = WIRE_STORE, .key = claim->lease.key, .token = claim->lease.token};
  request.body = result->body;
  request.meta = result->meta;
  request.ttl_ms = result->ttl_ms;
  request.release = (enum idem_release)result->uncached;
  return request;
}

struct wire_request claim_renew_request(const struct idem_claim *claim, int64_t lease_ms,
                                        struct idem_bytes stage) {
  return (struct wire_request){.verb = WIRE_RENEW,
                               .key = claim->lease.key,
                               .token = claim->lease.token,
                               .lease_ms = lease_ms,
                               .stage = stage};
}

struct wire_request claim_release_request(const struct idem_claim *claim, enum idem_release how) {
  return (struct wire_request){
      .verb = WIRE_RELEASE, .key = claim->lease.key, .token = claim->lease.token, .release = how};
}

struct wire_request claim_give_back_request(const struct wire_request *asked,
                                            const struct wire_reply *granted) {
  return (struct wire_request){.verb = WIRE_RELEASE,
                               .key = asked->key,
                               .token = granted->token,
                               .release = IDEM_RELEASE_NOTHING};
}

void idem_claim_free(struct idem_claim *claim) {
  if (claim == NULL) return;
  if (claim->leave != NULL) claim->leave(claim);
  claim_destroy(claim);
}

/* ---- what can be asked ---- */

enum idem_claim_state idem_claim_state(const struct idem_claim *claim) {
  enum idem_claim_state state = (enum idem_claim_state)atomic_load(&claim->lease.state);
  if (state != IDEM_CLAIM_HELD) return state;
  return clock_ms() >= atomic_load(&claim->lease.expires_ms) ? IDEM_CLAIM_DOUBTFUL
                                                             : IDEM_CLAIM_HELD;
}

uint64_t idem_claim_token(const struct idem_claim *claim) { return claim->lease.token; }
int64_t idem_claim_attempt(const struct idem_claim *claim) { return claim->attempt; }
int64_t idem_claim_lease_ms(const struct idem_claim *claim) { return claim->lease_ms; }
struct idem_bytes idem_claim_stage(const struct idem_claim *claim) {
  return claim->stage;
}
struct idem_bytes idem_claim_key(const struct idem_claim *claim) {
  return claim->lease.key;
}
int64_t idem_claim_answered(const struct idem_claim *claim) { return claim->answered; }
enum idem_stale idem_claim_stale(const struct idem_claim *claim) {
  return (enum idem_stale)atomic_load(&claim->lease.stale);
}
const char *idem_claim_message(const struct idem_claim *claim) { return claim->message; }
