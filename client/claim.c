/* claim.c - struct idem_claim: its memory and what can be asked of it. See claim.h and idem.h. */
#include "client/claim.h"

#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "client/settings.h"
#include "client/sized.h"

struct idem_claim *claim_create(struct idem_bytes key) {
  struct idem_claim *claim = calloc(1, sizeof *claim + key.len);
  if (claim == NULL) return NULL;
  if (key.len > 0) memcpy(claim->key, key.data, key.len);
  claim->item.claim = claim;
  claim->item.key = idem_data(claim->key, key.len);
  claim->item.slot = -1;
  return claim;
}

void claim_grant(struct idem_claim *claim, struct wire_reply *reply) {
  claim->item.token = reply->token;
  claim->item.lease_ms = claim->lease_ms = reply->lease_ms;
  claim->attempt = reply->attempt;
  claim->stage = reply->stage;
  claim->grant = reply->memory;
  reply->memory = NULL;
  atomic_store(&claim->item.state, IDEM_CLAIM_HELD);
}

/* A record with a past (an earlier attempt, a stage) must not lose it, so there the lease is cut
 * short instead; but with HOLD that would make it UNKNOWN, and nothing ran. */
struct wire_request claim_give_back_request(const struct wire_request *asked,
                                            const struct wire_reply *granted) {
  struct wire_request request = {.verb = WIRE_RELEASE, .key = asked->key, .token = granted->token};
  bool past = granted->attempt > 1 || granted->stage.data != NULL;
  if (past && (asked->flags & IDEM_HOLD) == 0) {
    request.verb = WIRE_RENEW;
    request.lease_ms = 1;
  }
  return request;
}

void claim_destroy(struct idem_claim *claim) {
  if (claim->grant != NULL) freeReplyObject(claim->grant);
  free(claim);
}

bool claim_store_uncertain(const struct idem_claim *claim, const struct idem_result *result,
                           int64_t now) {
  if (claim->stored_ms == 0) return false;
  /* A result that would still be kept is found again (the server answers 0, not STALE); only one
   * that may already be gone leaves no trace. The server's default TTL is taken to be longer than
   * any deadline. */
  return result->uncached || (result->ttl_ms > 0 && result->ttl_ms <= now - claim->stored_ms);
}

SIZED_ASSERT_FULL(struct idem_result, SIZED_RESULT_0_1);

const char *claim_take_result(struct idem_result *to, const struct idem_result *from) {
  if (from == NULL) return "no result";
  if (!sized_copy(to, sizeof *to, from, SIZED_RESULT_0_1))
    return "a result of a version that this library is not";
  if (to->ttl_ms < 0 || to->ttl_ms > SETTINGS_MS_MAX) return "ttl_ms is out of range";
  if (to->uncached && to->ttl_ms != 0) return "uncached and a ttl_ms";
  return NULL;
}

struct wire_request claim_store_request(const struct idem_claim *claim,
                                        const struct idem_result *result) {
  struct wire_request request = {
      .verb = WIRE_STORE, .key = claim->item.key, .token = claim->item.token};
  request.body = result->body;
  request.meta = result->meta;
  request.ttl_ms = result->ttl_ms;
  request.ttl_zero = result->uncached != 0;
  return request;
}

/* ---- what can be asked ---- */

enum idem_claim_state idem_claim_state(const struct idem_claim *claim) {
  enum idem_claim_state state = (enum idem_claim_state)atomic_load(&claim->item.state);
  if (state != IDEM_CLAIM_HELD) return state;
  return clock_ms() >= atomic_load(&claim->item.expires_ms) ? IDEM_CLAIM_DOUBTFUL : IDEM_CLAIM_HELD;
}

uint64_t idem_claim_token(const struct idem_claim *claim) { return claim->item.token; }
int64_t idem_claim_attempt(const struct idem_claim *claim) { return claim->attempt; }
int64_t idem_claim_lease_ms(const struct idem_claim *claim) { return claim->lease_ms; }
struct idem_bytes idem_claim_stage(const struct idem_claim *claim) {
  return claim->stage;
}
struct idem_bytes idem_claim_key(const struct idem_claim *claim) {
  return claim->item.key;
}
int64_t idem_claim_answered(const struct idem_claim *claim) { return claim->answered; }
const char *idem_claim_message(const struct idem_claim *claim) { return claim->message; }
