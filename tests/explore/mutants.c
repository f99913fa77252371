/* mutants.c - see mutants.h. */
#include "tests/explore/mutants.h"

#include <string.h>

static bool is_grant(enum rules_verdict verdict) {
  return verdict == RULES_GRANT_FIRST || verdict == RULES_GRANT_NEXT;
}

/* ---- CLAIM ---- */

static enum rules_verdict forgets_the_horizon(struct rules_record *r, const struct rules_claim *c,
                                              int64_t now_ms) {
  struct rules_claim claim = *c;
  claim.forgotten = false;
  return rules_claim(r, &claim, now_ms);
}

static enum rules_verdict keeps_its_token(struct rules_record *r, const struct rules_claim *c,
                                          int64_t now_ms) {
  uint64_t token = r->token;
  enum rules_verdict verdict = rules_claim(r, c, now_ms);
  if (verdict == RULES_GRANT_NEXT) r->token = token;
  return verdict;
}

static enum rules_verdict takes_any_token(struct rules_record *r, const struct rules_claim *c,
                                          int64_t now_ms) {
  struct rules_claim claim = *c;
  if (claim.takeover != 0) claim.takeover = r->token;
  return rules_claim(r, &claim, now_ms);
}

static enum rules_verdict takes_no_token(struct rules_record *r, const struct rules_claim *c,
                                         int64_t now_ms) {
  struct rules_claim claim = *c;
  claim.takeover = 0;
  return rules_claim(r, &claim, now_ms);
}

static enum rules_verdict washes_hold_off(struct rules_record *r, const struct rules_claim *c,
                                          int64_t now_ms) {
  enum rules_verdict verdict = rules_claim(r, c, now_ms);
  if (is_grant(verdict)) r->hold = c->hold;
  return verdict;
}

static enum rules_verdict retry_drops_hold(struct rules_record *r, const struct rules_claim *c,
                                           int64_t now_ms) {
  enum rules_verdict verdict = rules_claim(r, c, now_ms);
  if (verdict == RULES_GRANT_AGAIN) r->hold = c->hold;
  return verdict;
}

static enum rules_verdict takes_over_held(struct rules_record *r, const struct rules_claim *c,
                                          int64_t now_ms) {
  if (r->phase == RULES_HELD && c->takeover == r->token) r->phase = RULES_LAPSED;
  return rules_claim(r, c, now_ms);
}

static enum rules_verdict keeps_its_age(struct rules_record *r, const struct rules_claim *c,
                                        int64_t now_ms) {
  int64_t since_ms = r->since_ms;
  enum rules_verdict verdict = rules_claim(r, c, now_ms);
  if (verdict == RULES_GRANT_NEXT) r->since_ms = since_ms;
  return verdict;
}

/* ---- FETCH, STORE, RENEW, RELEASE ---- */

static enum rules_verdict hides_lapsed(const struct rules_record *r, bool differs) {
  enum rules_verdict verdict = rules_read(r, differs);
  return verdict == RULES_SAY_LAPSED ? RULES_SAY_NOTHING : verdict;
}

static enum rules_verdict stores_for_any(struct rules_record *r, const struct rules_store *s,
                                         int64_t now_ms) {
  struct rules_store store = *s;
  if (store.token < r->token) store.token = r->token;
  return rules_store(r, &store, now_ms);
}

static enum rules_verdict stores_twice(struct rules_record *r, const struct rules_store *s,
                                       int64_t now_ms) {
  if (r->phase == RULES_DONE && r->token == s->token) r->phase = RULES_HELD;
  return rules_store(r, s, now_ms);
}

static enum rules_verdict stores_with_the_grants_age(struct rules_record *r,
                                                     const struct rules_store *s, int64_t now_ms) {
  int64_t since_ms = r->since_ms;
  enum rules_verdict verdict = rules_store(r, s, now_ms);
  if (verdict == RULES_STORED) r->since_ms = since_ms;
  return verdict;
}

static enum rules_verdict refuses_late(struct rules_record *r, const struct rules_store *s,
                                       int64_t now_ms) {
  if (r->phase == RULES_LAPSED) return RULES_STALE_OVERTAKEN;
  return rules_store(r, s, now_ms);
}

static enum rules_verdict renews_held_only(struct rules_record *r, uint64_t token,
                                           uint32_t lease_ms, int64_t now_ms) {
  if (r->phase == RULES_UNKNOWN) return RULES_STALE_OVERTAKEN;
  return rules_renew(r, token, lease_ms, now_ms);
}

static enum rules_verdict renews_nothing(struct rules_record *r, uint64_t token, uint32_t lease_ms,
                                         int64_t now_ms) {
  int64_t deadline_ms = r->deadline_ms;
  enum rules_phase phase = (enum rules_phase)r->phase;
  enum rules_verdict verdict = rules_renew(r, token, lease_ms, now_ms);
  if (phase == RULES_HELD) r->deadline_ms = deadline_ms;
  return verdict;
}

static enum rules_verdict releases_for_nobody(const struct rules_record *r, uint64_t token,
                                              enum rules_word word, enum rules_end *end) {
  struct rules_record someone = *r;
  someone.nobody = false;
  return rules_release(&someone, token, word, end);
}

static enum rules_verdict clears_held_only(const struct rules_record *r, uint64_t token,
                                           enum rules_word word, enum rules_end *end) {
  if (word == RULES_CLEAR && r->phase == RULES_UNKNOWN) return RULES_NOT_YOURS;
  return rules_release(r, token, word, end);
}

static enum rules_verdict unsure_is_nothing(const struct rules_record *r, uint64_t token,
                                            enum rules_word word, enum rules_end *end) {
  enum rules_verdict verdict = rules_release(r, token, word, end);
  if (word == RULES_UNSURE) *end = RULES_END_CLEARED;
  return verdict;
}

/* ---- the end of a grant ---- */

static enum rules_after bind_forgets(struct rules_record *r, const struct rules_ending *e) {
  struct rules_ending ending = *e;
  if (ending.end == RULES_END_BIND_CLOSED && !r->hold) ending.end = RULES_END_CLEARED;
  return rules_end_grant(r, &ending);
}

static enum rules_after release_forgets(struct rules_record *r, const struct rules_ending *e) {
  struct rules_ending ending = *e;
  if (ending.end == RULES_END_RELEASED) ending.end = RULES_END_CLEARED;
  return rules_end_grant(r, &ending);
}

static enum rules_after release_counts(struct rules_record *r, const struct rules_ending *e) {
  uint32_t attempt = r->attempt;
  enum rules_after after = rules_end_grant(r, e);
  if (after == RULES_TO_LAPSED) r->attempt = attempt;
  return after;
}

static enum rules_after release_keeps_token(struct rules_record *r, const struct rules_ending *e) {
  uint64_t token = r->token;
  enum rules_after after = rules_end_grant(r, e);
  r->token = token;
  return after;
}

static enum rules_after release_leaves_an_owner(struct rules_record *r,
                                                const struct rules_ending *e) {
  enum rules_after after = rules_end_grant(r, e);
  r->nobody = false;
  return after;
}

static enum rules_after bind_stays(struct rules_record *r, const struct rules_ending *e) {
  bool bind = r->bind;
  enum rules_after after = rules_end_grant(r, e);
  if (e->end == RULES_END_BIND_CLOSED) r->bind = bind;
  return after;
}

static enum rules_after hold_ends_by_time(struct rules_record *r, const struct rules_ending *e) {
  struct rules_ending ending = *e;
  ending.unknown_retention_ms = ending.retention_ms;
  return rules_end_grant(r, &ending);
}

static enum rules_after hold_is_handed_over(struct rules_record *r, const struct rules_ending *e) {
  return e->claim_waits ? RULES_HAND_OVER : rules_end_grant(r, e);
}

static enum rules_after leaves_waiters(struct rules_record *r, const struct rules_ending *e) {
  struct rules_ending ending = *e;
  if (ending.end == RULES_END_BIND_CLOSED) ending.claim_waits = false;
  return rules_end_grant(r, &ending);
}

static enum rules_verdict hands_over_the_first(struct rules_record *r, enum rules_end end,
                                               const struct rules_claim *c, int64_t now_ms) {
  if (end == RULES_END_UNSURE) end = RULES_END_RELEASED;
  return rules_hand_over(r, end, c, now_ms);
}

static enum rules_verdict hands_over_forgotten(struct rules_record *r, enum rules_end end,
                                               const struct rules_claim *c, int64_t now_ms) {
  struct rules_claim claim = *c;
  claim.forgotten = false;
  return rules_hand_over(r, end, &claim, now_ms);
}

/* ---- time ---- */

static enum rules_due ends_early(const struct rules_record *r, int64_t closed_ms,
                                 struct rules_moment at) {
  at.now_ms++;
  return rules_due(r, closed_ms, at);
}

static enum rules_due never_ends(const struct rules_record *r, int64_t closed_ms,
                                 struct rules_moment at) {
  enum rules_due due = rules_due(r, closed_ms, at);
  return r->attempt > 1 && due == RULES_LEASE_OVER ? RULES_NOT_DUE : due;
}

static enum rules_due due(const struct rules_record *r, int64_t closed_ms, struct rules_moment at) {
  return rules_due(r, closed_ms, at);
}

/* ---- the table ---- */

#define CLAIM_IS(f) \
  { f, rules_read, rules_store, rules_renew, rules_release, rules_end_grant, rules_hand_over, due }
#define READ_IS(f) \
  { rules_claim, f, rules_store, rules_renew, rules_release, rules_end_grant, rules_hand_over, due }
#define STORE_IS(f) \
  { rules_claim, rules_read, f, rules_renew, rules_release, rules_end_grant, rules_hand_over, due }
#define RENEW_IS(f) \
  { rules_claim, rules_read, rules_store, f, rules_release, rules_end_grant, rules_hand_over, due }
#define RELEASE_IS(f) \
  { rules_claim, rules_read, rules_store, rules_renew, f, rules_end_grant, rules_hand_over, due }
#define END_IS(f) \
  { rules_claim, rules_read, rules_store, rules_renew, rules_release, f, rules_hand_over, due }
#define HAND_OVER_IS(f) \
  { rules_claim, rules_read, rules_store, rules_renew, rules_release, rules_end_grant, f, due }
#define DUE_IS(f)                                                                      \
  {                                                                                    \
    rules_claim, rules_read, rules_store, rules_renew, rules_release, rules_end_grant, \
        rules_hand_over, f                                                             \
  }

/* clang-format off */
const struct mutants_one MUTANTS[] = {
    {"store-any", "STORE is accepted from any former owner", WORLD_ONE_OWNER, STORE_IS(stores_for_any)},
    {"store-twice", "other bytes replace those that are stored", WORLD_ONE_OWNER, STORE_IS(stores_twice)},
    {"same-token", "a later grant keeps the token", WORLD_ONE_OWNER, CLAIM_IS(keeps_its_token)},
    {"released-token", "RELEASE of a later attempt leaves its token", WORLD_ONE_OWNER, END_IS(release_keeps_token)},
    {"bind-forgets", "BIND close leaves nothing", WORLD_EVIDENCE, END_IS(bind_forgets)},
    {"release-forgets", "RELEASE of a later attempt forgets the earlier ones", WORLD_EVIDENCE, END_IS(release_forgets)},
    {"release-counts", "RELEASE of a later attempt counts as one that may have acted", WORLD_EVIDENCE, END_IS(release_counts)},
    {"release-nobody", "RELEASE with nobody's token strikes out once more", WORLD_EVIDENCE, RELEASE_IS(releases_for_nobody)},
    {"release-owner", "after RELEASE of a later attempt the token shown counts as granted", WORLD_EVIDENCE, END_IS(release_leaves_an_owner)},
    {"unsure-clears", "RELEASE UNSURE means that nothing happened", WORLD_EVIDENCE, RELEASE_IS(unsure_is_nothing)},
    {"hand-over-first", "after UNSURE who waits is told the same attempt", WORLD_EVIDENCE, HAND_OVER_IS(hands_over_the_first)},
    {"hidden-lapsed", "readers of LAPSED are told nothing", WORLD_EVIDENCE, READ_IS(hides_lapsed)},
    {"no-horizon", "CLAIM does not look at the horizon", WORLD_FORGOTTEN, CLAIM_IS(forgets_the_horizon)},
    {"no-horizon-waiting", "a hand-over does not look at the horizon", WORLD_FORGOTTEN, HAND_OVER_IS(hands_over_forgotten)},
    {"old-age", "a later grant keeps the age of the first, and with it the horizon", WORLD_FORGOTTEN, CLAIM_IS(keeps_its_age)},
    {"store-age", "a response has the age of its grant, and with it the horizon", WORLD_FORGOTTEN, STORE_IS(stores_with_the_grants_age)},
    {"takeover-any", "TAKEOVER counts with any token", WORLD_HOLD, CLAIM_IS(takes_any_token)},
    {"hold-washed", "a take-over without HOLD ends HOLD", WORLD_HOLD, CLAIM_IS(washes_hold_off)},
    {"hold-retry", "an owner's retry without HOLD ends it", WORLD_HOLD, CLAIM_IS(retry_drops_hold)},
    {"hold-time", "UNKNOWN ends after the retention", WORLD_HOLD, END_IS(hold_ends_by_time)},
    {"hold-waiters", "who waits is granted, HOLD or not", WORLD_HOLD, END_IS(hold_is_handed_over)},
    {"late-store", "STORE on LAPSED is refused", WORLD_LATE, STORE_IS(refuses_late)},
    {"late-renew", "RENEW on UNKNOWN is refused", WORLD_LATE, RENEW_IS(renews_held_only)},
    {"short-renewal", "RENEW does not move the end of the lease", WORLD_LEASE, RENEW_IS(renews_nothing)},
    {"early-end", "a lease ends a millisecond early", WORLD_LEASE, DUE_IS(ends_early)},
    {"takeover-held", "TAKEOVER counts while the owner's lease runs", WORLD_LEASE, CLAIM_IS(takes_over_held)},
    {"bind-stays", "a grant that ended with its connection is bound when it is renewed", WORLD_LEASE, END_IS(bind_stays)},
    {"left-waiters", "who waits is left when BIND closes", WORLD_NO_WEDGE, END_IS(leaves_waiters)},
    {"no-takeover", "TAKEOVER does not count", WORLD_NO_WEDGE, CLAIM_IS(takes_no_token)},
    {"no-clear", "CLEAR does not count on UNKNOWN", WORLD_NO_WEDGE, RELEASE_IS(clears_held_only)},
    {"endless", "the lease of a later attempt does not end", WORLD_NO_WEDGE, DUE_IS(never_ends)},
    {NULL, NULL, WORLD_KEPT, {0}},
};
/* clang-format on */

const struct mutants_one *mutants_find(const char *name) {
  for (const struct mutants_one *mutant = MUTANTS; mutant->name != NULL; mutant++)
    if (strcmp(mutant->name, name) == 0) return mutant;
  return NULL;
}
