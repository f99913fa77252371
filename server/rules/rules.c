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

/* ---- states ---- */

static void end_phase(struct rules_record *r, enum rules_phase phase, int64_t deadline_ms) {
  r->phase = (uint8_t)phase;
  r->deadline_ms = deadline_ms;
}

static bool is_current(const struct rules_record *r, uint64_t token) {
  bool open = r->phase == RULES_HELD || r->phase == RULES_LAPSED || r->phase == RULES_UNKNOWN;
  return open && r->token == token;
}

static enum rules_verdict stale(const struct rules_record *r) {
  if (r->phase == RULES_ABSENT) return RULES_STALE_ABSENT;
  return r->phase == RULES_DONE ? RULES_STALE_STORED : RULES_STALE_OVERTAKEN;
}

/* ---- grants ---- */

/* HOLD is not left by a claim that does not ask for it. */
static void set_lease(struct rules_record *r, const struct rules_claim *claim, int64_t now_ms) {
  r->lease_ms = claim->lease_ms;
  r->hold |= claim->hold;
  r->bind = claim->bind;
  end_phase(r, RULES_HELD, now_ms + claim->lease_ms);
}

static void set_grant(struct rules_record *r, const struct rules_claim *claim, int64_t now_ms) {
  r->token = claim->token;
  r->since_ms = now_ms;
  r->nobody = false;
  set_lease(r, claim, now_ms);
}

static enum rules_verdict grant_first(struct rules_record *r, const struct rules_claim *claim,
                                      int64_t now_ms) {
  r->attempt = 1;
  r->hold = false;
  set_grant(r, claim, now_ms);
  return RULES_GRANT_FIRST;
}

static enum rules_verdict grant_next(struct rules_record *r, const struct rules_claim *claim,
                                     int64_t now_ms) {
  if (r->attempt < UINT32_MAX) r->attempt++;
  set_grant(r, claim, now_ms);
  return RULES_GRANT_NEXT;
}

/* ---- CLAIM ---- */

static enum rules_verdict claim_absent(struct rules_record *r, const struct rules_claim *claim,
                                       int64_t now_ms) {
  if (claim->forgotten) return RULES_SAY_FORGOTTEN;
  return claim->no_grants ? RULES_NO_GRANT : grant_first(r, claim, now_ms);
}

static enum rules_verdict claim_ended(struct rules_record *r, const struct rules_claim *claim,
                                      int64_t now_ms) {
  if (r->phase == RULES_UNKNOWN && claim->takeover != r->token) return RULES_SAY_UNKNOWN;
  return claim->no_grants ? RULES_NO_GRANT : grant_next(r, claim, now_ms);
}

enum rules_verdict rules_claim(struct rules_record *r, const struct rules_claim *claim,
                               int64_t now_ms) {
  if (r->phase == RULES_ABSENT) return claim_absent(r, claim, now_ms);
  if (!claim->fingerprint_matches) return RULES_MISMATCH;
  switch ((enum rules_phase)r->phase) {
    case RULES_HELD:
      if (!claim->owner_matches) return RULES_SAY_BUSY;
      set_lease(r, claim, now_ms);
      return RULES_GRANT_AGAIN;
    case RULES_DONE: return RULES_SAY_DONE;
    default: return claim_ended(r, claim, now_ms);
  }
}

/* ---- FETCH, WAIT, STORE, RENEW, RELEASE ---- */

enum rules_verdict rules_read(const struct rules_record *r, bool fingerprint_differs) {
  if (r->phase == RULES_ABSENT) return RULES_SAY_NOTHING;
  if (fingerprint_differs) return RULES_MISMATCH;
  switch ((enum rules_phase)r->phase) {
    case RULES_HELD: return RULES_SAY_BUSY;
    case RULES_LAPSED: return RULES_SAY_LAPSED;
    case RULES_UNKNOWN: return RULES_SAY_UNKNOWN;
    default: return RULES_SAY_DONE;
  }
}

enum rules_verdict rules_store(struct rules_record *r, const struct rules_store *store,
                               int64_t now_ms) {
  if (r->phase == RULES_DONE && r->token == store->token)
    return store->same_bytes ? RULES_SAME_STORED : RULES_CONFLICT;
  if (!is_current(r, store->token)) return stale(r);
  if (store->ttl_ms == 0) return RULES_SHARED;
  r->since_ms = now_ms;
  r->nobody = false;
  end_phase(r, RULES_DONE, now_ms + store->ttl_ms);
  return RULES_STORED;
}

enum rules_verdict rules_renew(struct rules_record *r, uint64_t token, uint32_t lease_ms,
                               int64_t now_ms) {
  if (!is_current(r, token) || r->nobody) return stale(r);
  if (lease_ms != 0) r->lease_ms = lease_ms;
  end_phase(r, RULES_HELD, now_ms + r->lease_ms);
  return RULES_RENEWED;
}

enum rules_verdict rules_release(const struct rules_record *r, uint64_t token, enum rules_word word,
                                 enum rules_end *end) {
  if (!is_current(r, token)) return RULES_NOT_YOURS;
  switch (word) {
    case RULES_CLEAR: *end = RULES_END_CLEARED; return RULES_RELEASE;
    case RULES_UNSURE:
      *end = RULES_END_UNSURE;
      return r->phase == RULES_HELD ? RULES_RELEASE : RULES_LEFT_AS_IT_IS;
    default: *end = RULES_END_RELEASED; return r->nobody ? RULES_NOT_YOURS : RULES_RELEASE;
  }
}

/* ---- the end of a grant ---- */

/* Whether nothing is left to remember: no attempt may have acted. */
static bool forgets(const struct rules_record *r, enum rules_end end) {
  return end == RULES_END_CLEARED || (end == RULES_END_RELEASED && r->attempt == 1);
}

static void strike_out(struct rules_record *r, const struct rules_ending *ending) {
  r->attempt--;
  r->token = ending->token;
  r->since_ms = ending->at_ms;
  r->bind = false;
  r->nobody = true;
}

static enum rules_after keep(struct rules_record *r, const struct rules_ending *ending) {
  if (!r->hold) {
    end_phase(r, RULES_LAPSED, ending->at_ms + ending->retention_ms);
    return RULES_TO_LAPSED;
  }
  bool ends = ending->unknown_retention_ms != 0;
  end_phase(r, RULES_UNKNOWN, ends ? ending->at_ms + ending->unknown_retention_ms : RULES_NEVER);
  return RULES_TO_UNKNOWN;
}

enum rules_after rules_end_grant(struct rules_record *r, const struct rules_ending *ending) {
  bool forget = forgets(r, ending->end);
  if (ending->claim_waits && (forget || !r->hold)) return RULES_HAND_OVER;
  if (forget) {
    end_phase(r, RULES_ABSENT, ending->at_ms);
    return RULES_TO_ABSENT;
  }
  if (ending->end == RULES_END_RELEASED) strike_out(r, ending);
  if (ending->end == RULES_END_BIND_CLOSED) r->bind = false;
  return keep(r, ending);
}

enum rules_verdict rules_hand_over(struct rules_record *r, enum rules_end end,
                                   const struct rules_claim *claim, int64_t now_ms) {
  if (forgets(r, end))
    return claim->forgotten ? RULES_SAY_FORGOTTEN : grant_first(r, claim, now_ms);
  if (end == RULES_END_RELEASED) r->attempt--; /* it did nothing: the next one has its number */
  return grant_next(r, claim, now_ms);
}
