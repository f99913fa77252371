/* rules.c - see rules.h: the contract's table of events, one function per event. */
#include "server/rules/rules.h"

/* The fraction of the second stands in the low bits, so that a server that restarts within the same
 * second continues above its former tokens. */
enum rules_clock rules_first_token(int64_t unix_s, uint32_t nanoseconds, uint64_t random,
                                   uint64_t *token) {
  if (unix_s >= RULES_TOKEN_END_S) return RULES_CLOCK_LATE;
  if (unix_s < RULES_TOKEN_EPOCH_S) {
    *token = (random >> (64 - RULES_TOKEN_EARLY_BITS)) + 1;
    return RULES_CLOCK_EARLY;
  }
  uint64_t seconds = (uint64_t)(unix_s - RULES_TOKEN_EPOCH_S);
  uint64_t fraction = ((uint64_t)nanoseconds << RULES_TOKEN_SHIFT) / 1000000000u;
  *token = (seconds << RULES_TOKEN_SHIFT | fraction) + 1;
  return RULES_CLOCK_RIGHT;
}

static void end_phase(struct rules_record *r, enum rules_phase phase, int64_t deadline_ms) {
  r->phase = (uint8_t)phase;
  r->deadline_ms = deadline_ms;
}

static bool owner_may_act(const struct rules_record *r, uint64_t token) {
  bool open = r->phase == RULES_HELD || r->phase == RULES_LAPSED || r->phase == RULES_UNKNOWN;
  return open && r->token == token;
}

static void set_lease(struct rules_record *r, const struct rules_claim *claim, int64_t now_ms) {
  r->lease_ms = claim->lease_ms;
  r->hold = claim->hold;
  r->bind = claim->bind;
  end_phase(r, RULES_HELD, now_ms + claim->lease_ms);
}

static enum rules_verdict grant(struct rules_record *r, const struct rules_claim *claim, bool next,
                                int64_t now_ms) {
  r->token = claim->token;
  r->since_ms = now_ms;
  if (!next) {
    r->attempt = 1;
  } else if (r->attempt < UINT32_MAX) {
    r->attempt++;
  }
  set_lease(r, claim, now_ms);
  return next ? RULES_GRANT_NEXT : RULES_GRANT_FIRST;
}

enum rules_verdict rules_claim(struct rules_record *r, const struct rules_claim *claim,
                               int64_t now_ms) {
  if (r->phase == RULES_ABSENT) return grant(r, claim, false, now_ms);
  if (!claim->fingerprint_matches) return RULES_MISMATCH;
  switch ((enum rules_phase)r->phase) {
    case RULES_HELD:
      if (!claim->owner_matches) return RULES_SAY_BUSY;
      set_lease(r, claim, now_ms);
      return RULES_GRANT_AGAIN;
    case RULES_UNKNOWN: return claim->takeover ? grant(r, claim, true, now_ms) : RULES_SAY_UNKNOWN;
    case RULES_DONE: return RULES_SAY_DONE;
    default: return grant(r, claim, true, now_ms);
  }
}

enum rules_verdict rules_read(const struct rules_record *r, bool fingerprint_differs) {
  if (r->phase == RULES_ABSENT) return RULES_SAY_NOTHING;
  if (fingerprint_differs) return RULES_MISMATCH;
  switch ((enum rules_phase)r->phase) {
    case RULES_HELD: return RULES_SAY_BUSY;
    case RULES_UNKNOWN: return RULES_SAY_UNKNOWN;
    case RULES_DONE: return RULES_SAY_DONE;
    default: return RULES_SAY_NOTHING;
  }
}

enum rules_verdict rules_store(struct rules_record *r, uint64_t token, bool same_bytes,
                               int64_t ttl_ms, int64_t now_ms) {
  if (r->phase == RULES_DONE && r->token == token)
    return same_bytes ? RULES_SAME_STORED : RULES_CONFLICT;
  if (!owner_may_act(r, token)) return RULES_STALE;
  r->since_ms = now_ms;
  if (ttl_ms == 0) {
    end_phase(r, RULES_ABSENT, now_ms);
    return RULES_SHARED;
  }
  end_phase(r, RULES_DONE, now_ms + ttl_ms);
  return RULES_STORED;
}

enum rules_verdict rules_renew(struct rules_record *r, uint64_t token, uint32_t lease_ms,
                               int64_t now_ms) {
  if (!owner_may_act(r, token)) return RULES_STALE;
  if (lease_ms != 0) r->lease_ms = lease_ms;
  end_phase(r, RULES_HELD, now_ms + r->lease_ms);
  return RULES_RENEWED;
}

enum rules_verdict rules_release(const struct rules_record *r, uint64_t token) {
  return owner_may_act(r, token) ? RULES_RELEASE : RULES_STALE;
}

enum rules_after rules_end_grant(struct rules_record *r, enum rules_end end, bool claim_waits,
                                 int64_t retention_ms, int64_t at_ms) {
  bool vanished = end == RULES_END_LEASE_OVER || end == RULES_END_BIND_CLOSED;
  if (vanished && r->hold) {
    end_phase(r, RULES_UNKNOWN, at_ms + retention_ms);
    return RULES_TO_UNKNOWN;
  }
  if (claim_waits) return RULES_HAND_OVER;
  if (end == RULES_END_LEASE_OVER) {
    end_phase(r, RULES_LAPSED, at_ms + retention_ms);
    return RULES_TO_LAPSED;
  }
  end_phase(r, RULES_ABSENT, at_ms);
  return RULES_TO_ABSENT;
}

enum rules_verdict rules_hand_over(struct rules_record *r, enum rules_end end,
                                   const struct rules_claim *claim, int64_t now_ms) {
  return grant(r, claim, end == RULES_END_LEASE_OVER || end == RULES_END_BIND_CLOSED, now_ms);
}
