/* model.c - see model.h. */
#include "tests/model/model.h"

#include <assert.h>
#include <string.h>

const char *const MODEL_EVENT_NAMES[EVENTS] = {
#define X(name) #name,
    MODEL_EVENTS(X)
#undef X
};

#define HAPPENED(name) (model->events[EVENT_##name]++)
#define HAPPENED_IF(condition, name) (model->events[EVENT_##name] += (condition) ? 1 : 0)

static const struct model_key ABSENT_KEY = {.fingerprint = NONE,
                                            .body = NONE,
                                            .meta = NONE,
                                            .closed_ms = MODEL_NEVER,
                                            .flushed_ms = MODEL_NEVER,
                                            .deadline_ms = MODEL_NEVER};

void model_init(struct model *model, const struct model_options *options) {
  assert(options->keys <= MODEL_KEYS);
  model->options = *options;
  for (int k = 0; k < options->keys; k++) {
    model->keys[k] = ABSENT_KEY;
    model->keys[k].horizon_ms = options->start_ms;
  }
}

/* Deadlines up to this time have expired. A rounded-down clock may stand for any time below its
 * next step. */
static int64_t past(const struct model *model, int64_t now_ms) {
  return now_ms - model->options.grain_ms;
}
static bool over(const struct model *model, int64_t deadline_ms, int64_t now_ms) {
  return deadline_ms <= past(model, now_ms);
}

/* ---- effects and answers ---- */

static void effect(struct model *model, struct model_key *k, enum effect_kind kind) {
  if (!model->effects_wanted) return;
  assert(k->effect_count < MODEL_EFFECTS);
  k->effects[k->effect_count++] = kind;
}

static void become_absent(struct model *model, struct model_key *k) {
  bool was_free =
      k->kind == KEYS_RECORD && k->phase == RULES_LAPSED; /* FREE was told when it lapsed */
  if (k->kind == KEYS_RECORD && !was_free) effect(model, k, EFFECT_FREE);
  struct model_key old = *k;
  *k = ABSENT_KEY;
  k->horizon_ms = old.horizon_ms;
  k->horizon_most_ms = old.horizon_most_ms;
  memcpy(k->effects, old.effects, sizeof k->effects);
  k->effect_count = old.effect_count;
}

static struct model_answer nothing(void) {
  return (struct model_answer){.status = ENGINE_NOTHING,
                               .grant = NONE,
                               .stage = NONE,
                               .body = NONE,
                               .meta = NONE,
                               .owner = NONE,
                               .waiter = NONE};
}

static struct model_answer say(enum engine_status status) {
  struct model_answer a = nothing();
  a.status = status;
  return a;
}

static struct model_answer fill_answer_claimed(const struct model_key *k) {
  struct model_answer a = say(ENGINE_CLAIMED);
  a.grant = k->grant.number;
  a.lease_ms = k->grant.lease_ms;
  a.attempt = k->grant.attempt;
  a.stage = k->grant.stage;
  return a;
}

/* at_ms: now, or the waiter's deadline if it is noticed later. The answer never shows a time before
 * the grant. */
static struct model_answer say_busy(const struct model_key *k, int64_t at_ms) {
  struct model_answer a = say(ENGINE_BUSY);
  if (at_ms < k->grant.since_ms) at_ms = k->grant.since_ms;
  bool runs = k->phase == RULES_HELD && k->deadline_ms > at_ms;
  a.left_ms = runs ? k->deadline_ms - at_ms : 1;
  a.age_ms = at_ms - k->grant.since_ms;
  a.owner = k->grant.owner;
  a.stage = k->grant.stage;
  return a;
}

/* LAPSED or UNKNOWN. */
static struct model_answer say_ended(const struct model_key *k, int64_t now_ms) {
  struct model_answer a = say(k->phase == RULES_UNKNOWN ? ENGINE_UNKNOWN : ENGINE_LAPSED);
  a.grant = k->grant.number;
  a.age_ms = now_ms - k->grant.since_ms;
  a.attempt = k->grant.attempt;
  a.owner = k->grant.owner;
  a.stage = k->grant.stage;
  return a;
}

static bool is_forgotten(const struct model *model, int key, int64_t born_ms) {
  return born_ms != MODEL_NEVER && born_ms <= model->keys[key].horizon_ms + model->options.skew_ms;
}

static struct model_answer say_forgotten(const struct model *model, int key) {
  struct model_answer a = say(ENGINE_FORGOTTEN);
  a.horizon_ms = model->keys[key].horizon_ms + model->options.skew_ms;
  return a;
}

static struct model_answer say_done(const struct model_key *k, int64_t now_ms) {
  struct model_answer a = say(ENGINE_DONE);
  a.body = k->body;
  a.meta = k->meta;
  a.age_ms = now_ms - k->grant.since_ms;
  a.left_ms = k->deadline_ms - now_ms;
  return a;
}

/* ---- waiters ---- */

static bool waits_on(const struct model_waiter *w, int key) {
  return w->state == WAITER_WAITS && w->key == key;
}

int model_waiting(const struct model *model, int key) {
  int n = 0;
  for (int i = 0; i < MODEL_WAITERS; i++) {
    const struct model_waiter *w = &model->waiters[i];
    if (w->state == WAITER_WAITS && (key == NONE || w->key == key)) n++;
  }
  return n;
}

static int waiting_of(const struct model *model, int key, bool claims) {
  int n = 0;
  for (int i = 0; i < MODEL_WAITERS; i++)
    n += waits_on(&model->waiters[i], key) && model->waiters[i].claims == claims;
  return n;
}

static struct model_waiter *oldest_claimer(struct model *model, int key) {
  struct model_waiter *oldest = NULL;
  for (int i = 0; i < MODEL_WAITERS; i++) {
    struct model_waiter *w = &model->waiters[i];
    if (waits_on(w, key) && w->claims && (oldest == NULL || w->arrival < oldest->arrival))
      oldest = w;
  }
  return oldest;
}

static void answer_waiter(struct model_waiter *w, struct model_answer answer) {
  w->state = WAITER_ANSWERED;
  w->answer = answer;
}

static int answer_all(struct model *model, int key, struct model_answer answer) {
  int n = 0;
  for (int i = 0; i < MODEL_WAITERS; i++) {
    if (!waits_on(&model->waiters[i], key)) continue;
    answer_waiter(&model->waiters[i], answer);
    n++;
  }
  return n;
}

static void time_out_one(struct model *model, struct model_waiter *w) {
  HAPPENED_IF(w->claims, wait_over_of_claimer);
  HAPPENED_IF(!w->claims, wait_over_of_reader);
  answer_waiter(w, say_busy(&model->keys[w->key], w->deadline_ms));
}

/* Answers the waiters whose time had passed by until_ms. */
static int time_out(struct model *model, int key, int64_t until_ms) {
  int n = 0;
  for (int i = 0; i < MODEL_WAITERS; i++) {
    struct model_waiter *w = &model->waiters[i];
    if (!waits_on(w, key) || w->deadline_ms > until_ms) continue;
    time_out_one(model, w);
    n++;
  }
  return n;
}

int model_free_waiter(const struct model *model) {
  for (int i = 0; i < MODEL_WAITERS; i++) {
    if (model->waiters[i].state == WAITER_FREE) return i;
  }
  return NONE;
}

static int enqueue(struct model *model, int key, int64_t deadline_ms) {
  int waiter = model_free_waiter(model);
  assert(waiter != NONE);
  model->waiters[waiter] = (struct model_waiter){.state = WAITER_WAITS,
                                                 .key = key,
                                                 .owner = NONE,
                                                 .binding = NONE,
                                                 .born_ms = MODEL_NEVER,
                                                 .deadline_ms = deadline_ms,
                                                 .arrival = ++model->arrivals};
  return waiter;
}

static bool is_full(struct model *model, int key) {
  bool key_full = model_waiting(model, key) >= model->options.waiters_per_key;
  bool all_full = model_waiting(model, NONE) >= model->options.waiters_total;
  HAPPENED_IF(key_full, busykey_of_key);
  HAPPENED_IF(all_full, busykey_in_all);
  return key_full || all_full;
}

/* ---- the end of a grant ---- */

/* Whether nothing is left to remember. */
static bool forgets(const struct model_grant *grant, enum rules_end end) {
  return end == RULES_END_CLEARED || (end == RULES_END_RELEASED && grant->attempt == 1);
}

static uint32_t next_attempt(const struct model_grant *former, enum rules_end end) {
  if (forgets(former, end)) return 1;
  return former->attempt + (end == RULES_END_RELEASED ? 0 : 1);
}

static void grant_to_waiter(struct model *model, int key, struct model_waiter *w,
                            enum rules_end end, int64_t now_ms) {
  struct model_key *k = &model->keys[key];
  bool forget = forgets(&k->grant, end);
  k->phase = RULES_HELD; /* it was held back otherwise */
  w->ended_by = end;
  w->former = k->grant;
  w->former_deadline_ms = k->deadline_ms;
  if (k->closed_ms != MODEL_NEVER) w->former.binding = NONE;
  k->grant = (struct model_grant){
      .number = model->grants++,
      .owner = w->owner,
      .stage = forget ? NONE : w->former.stage,
      .binding = w->binding,
      .attempt = next_attempt(&w->former, end),
      .lease_ms = w->lease_ms,
      .since_ms = now_ms,
      .hold = w->hold,
  };
  k->deadline_ms = now_ms + w->lease_ms;
  k->closed_ms = MODEL_NEVER;
  answer_waiter(w, fill_answer_claimed(k));
}

static void count_end_to_waiter(struct model *model, int key, enum rules_end end) {
  bool readers = waiting_of(model, key, false) > 0;
  HAPPENED_IF(end == RULES_END_LEASE_OVER, lease_over_to_waiter);
  HAPPENED_IF(end == RULES_END_LEASE_OVER && readers, lease_over_to_waiter_keeps_readers);
  HAPPENED_IF(end == RULES_END_BIND_CLOSED, bind_closed_to_waiter);
  HAPPENED_IF(end == RULES_END_RELEASED, release_to_waiter);
  HAPPENED_IF(end == RULES_END_RELEASED && readers, release_to_waiter_keeps_readers);
  HAPPENED_IF(end == RULES_END_RELEASED && model->keys[key].grant.attempt > 1,
              release_struck_out_to_waiter);
  HAPPENED_IF(end == RULES_END_UNSURE, release_unsure_to_waiter);
}

static void count_unknown(struct model *model, int key, enum rules_end end) {
  int claimers = waiting_of(model, key, true);
  HAPPENED_IF(end == RULES_END_LEASE_OVER, lease_over_with_hold);
  HAPPENED_IF(end == RULES_END_BIND_CLOSED, bind_closed_with_hold);
  HAPPENED_IF(end == RULES_END_UNSURE, release_unsure_with_hold);
  HAPPENED_IF(end == RULES_END_RELEASED, release_struck_out_to_unknown);
  HAPPENED_IF(end == RULES_END_RELEASED && claimers > 0, release_struck_out_unknown_to_waiters);
  HAPPENED_IF(claimers > 0, unknown_to_claimers);
  HAPPENED_IF(waiting_of(model, key, false) > 0, unknown_to_readers);
}

static void count_lapsed(struct model *model, int key, enum rules_end end) {
  HAPPENED_IF(end == RULES_END_BIND_CLOSED, bind_closed_to_lapsed);
  HAPPENED_IF(end == RULES_END_UNSURE, release_unsure);
  HAPPENED_IF(end == RULES_END_RELEASED, release_struck_out);
  if (end != RULES_END_LEASE_OVER) return;
  HAPPENED(lease_over_to_lapsed);
  HAPPENED_IF(model->leaving, leaving_lease_over);
  HAPPENED_IF(waiting_of(model, key, false) > 0, lease_over_readers_lapsed);
}

/* It did nothing: the attempts before it are left, and a token that is nobody's. */
static void strike_out(struct model *model, struct model_key *k, int64_t at_ms) {
  k->grant.number = model->grants++;
  k->grant.attempt--;
  k->grant.since_ms = at_ms;
  k->grant.owner = k->grant.binding = NONE;
  k->grant.nobody = true;
}

/* LAPSED: without room for a grant, those that claim wait on. */
static void tell_ended(struct model *model, int key, int64_t now_ms) {
  struct model_key *k = &model->keys[key];
  bool held_back = k->phase == RULES_LAPSED && waiting_of(model, key, true) > 0;
  HAPPENED_IF(held_back, held_back);
  HAPPENED_IF(held_back && waiting_of(model, key, false) > 0, held_back_readers_lapsed);
  for (int i = 0; i < MODEL_WAITERS; i++) {
    struct model_waiter *w = &model->waiters[i];
    if (waits_on(w, key) && !(held_back && w->claims)) answer_waiter(w, say_ended(k, now_ms));
  }
  time_out(model, key, past(model, now_ms));
}

/* To LAPSED or UNKNOWN: all waiters are told. */
static void end_remembered(struct model *model, int key, enum rules_end end, int64_t at_ms,
                           int64_t now_ms) {
  struct model_key *k = &model->keys[key];
  bool hold = k->grant.hold, was_held = k->phase == RULES_HELD;
  int64_t unknown_ms = model->options.unknown_retention_ms;
  if (hold) count_unknown(model, key, end);
  if (!hold) count_lapsed(model, key, end);
  if (end == RULES_END_RELEASED) strike_out(model, k, at_ms);
  if (end == RULES_END_BIND_CLOSED || k->closed_ms != MODEL_NEVER) k->grant.binding = NONE;
  k->closed_ms = MODEL_NEVER;
  k->phase = hold ? RULES_UNKNOWN : RULES_LAPSED;
  k->deadline_ms = at_ms + (hold ? unknown_ms : model->options.retention_ms);
  if (hold && unknown_ms == 0) k->deadline_ms = MODEL_NEVER;
  HAPPENED_IF(hold && model->no_room && waiting_of(model, key, true) > 0, held_back_unknown);
  tell_ended(model, key, now_ms);
  if (was_held) effect(model, k, hold ? EFFECT_UNKNOWN : EFFECT_FREE);
}

static void end_claims(struct model *model, int key, int64_t now_ms) {
  for (int i = 0; i < MODEL_WAITERS; i++) {
    struct model_waiter *w = &model->waiters[i];
    if (waits_on(w, key) && w->claims) answer_waiter(w, say_busy(&model->keys[key], now_ms));
  }
}

/* If claims wait, there is no room. */
static void end_forgotten(struct model *model, int key, int64_t now_ms) {
  HAPPENED_IF(waiting_of(model, key, true) > 0, no_room_release_ends_waits);
  end_claims(model, key, now_ms);
  answer_all(model, key, nothing());
  become_absent(model, &model->keys[key]);
}

/* The oldest whose request is not forgotten; those before it are told. NULL: there is none. */
static struct model_waiter *next_claimer(struct model *model, int key, bool forget) {
  bool told = false;
  for (;;) {
    struct model_waiter *w = oldest_claimer(model, key);
    if (w == NULL || !forget || !is_forgotten(model, key, w->born_ms)) {
      HAPPENED_IF(w != NULL && told, hand_over_forgotten_to_next);
      return w;
    }
    HAPPENED(hand_over_forgotten);
    answer_waiter(w, say_forgotten(model, key));
    told = true;
  }
}

/* Returns the waiter that was granted, or NULL. */
static struct model_waiter *end_grant(struct model *model, int key, enum rules_end end,
                                      int64_t at_ms, int64_t now_ms) {
  const struct model_grant *grant = &model->keys[key].grant;
  bool forget = forgets(grant, end);
  struct model_waiter *w = NULL;
  if ((forget || !grant->hold) && !model->no_room) w = next_claimer(model, key, forget);
  if (w == NULL && forget) {
    HAPPENED_IF(end == RULES_END_RELEASED && grant->hold, release_with_hold_forgets_it);
    end_forgotten(model, key, now_ms);
  } else if (w == NULL) {
    end_remembered(model, key, end, at_ms, now_ms);
  } else {
    HAPPENED_IF(end == RULES_END_LEASE_OVER && w->deadline_ms == at_ms,
                lease_over_at_the_waiters_deadline);
    grant_to_waiter(model, key, w, end, now_ms);
    count_end_to_waiter(model, key, end);
  }
  return w;
}

/* ---- what is due ---- */

static void judge_held(struct model *model, int key, int64_t now_ms) {
  struct model_key *k = &model->keys[key];
  if (k->closed_ms != MODEL_NEVER && !over(model, k->deadline_ms, k->closed_ms)) {
    time_out(model, key,
             past(model, k->closed_ms)); /* what was due before the connection closed comes first */
    end_grant(model, key, RULES_END_BIND_CLOSED, k->closed_ms, now_ms);
  } else if (over(model, k->deadline_ms, now_ms)) {
    int out = time_out(model, key, k->deadline_ms - 1); /* equal: the lease before the waiter */
    HAPPENED_IF(out > 0, lease_over_after_the_waiters_deadline);
    end_grant(model, key, RULES_END_LEASE_OVER, k->deadline_ms, now_ms);
  }
  time_out(model, key, past(model, now_ms));
}

/* There is room again: the oldest is granted. */
static void judge_held_back(struct model *model, int key, int64_t now_ms) {
  struct model_key *k = &model->keys[key];
  if (k->kind != KEYS_RECORD || k->phase != RULES_LAPSED) return;
  HAPPENED_IF(time_out(model, key, past(model, now_ms)) > 0, held_back_busy);
  struct model_waiter *w = model->no_room ? NULL : oldest_claimer(model, key);
  if (w == NULL) return;
  HAPPENED(held_back_granted);
  grant_to_waiter(model, key, w, RULES_END_LEASE_OVER, now_ms);
  w->held_back = true;
  HAPPENED_IF(waiting_of(model, key, true) > 0, held_back_keeps_others);
}

static bool is_held_back(const struct model *model, int key) {
  const struct model_key *k = &model->keys[key];
  return k->kind == KEYS_RECORD && k->phase == RULES_LAPSED && waiting_of(model, key, true) > 0;
}

static void drop(struct model *model, int key, int64_t at_ms, int64_t now_ms) {
  struct model_key *k = &model->keys[key];
  if (is_held_back(model, key) || (k->kind == KEYS_RECORD && k->phase == RULES_HELD)) {
    end_grant(model, key, RULES_END_CLEARED, at_ms, now_ms);
  } else {
    become_absent(model, k);
  }
}

static void judge_flushed(struct model *model, int key, int64_t now_ms) {
  struct model_key *k = &model->keys[key];
  int64_t flushed_ms = k->flushed_ms;
  k->flushed_ms = MODEL_NEVER;
  time_out(model, key, past(model, flushed_ms));
  HAPPENED_IF(waiting_of(model, key, true) > 0 && !model->no_room, flush_to_waiter);
  HAPPENED_IF(is_held_back(model, key), held_back_flushed);
  drop(model, key, flushed_ms, now_ms);
  if (k->kind != KEYS_ABSENT)
    k->birth = ++model->births; /* in between, lists of keys did not show it */
  time_out(model, key, past(model, now_ms));
}

void model_judge(struct model *model, int key, int64_t now_ms) {
  struct model_key *k = &model->keys[key];
  if (k->kind == KEYS_ABSENT) return;
  if (k->flushed_ms != MODEL_NEVER) {
    judge_flushed(model, key, now_ms);
    return;
  }
  if (k->kind == KEYS_RECORD && k->phase == RULES_HELD) judge_held(model, key, now_ms);
  if (k->kind == KEYS_ABSENT || (k->kind == KEYS_RECORD && k->phase == RULES_HELD)) return;
  if (!over(model, k->deadline_ms, now_ms)) {
    judge_held_back(model, key, now_ms);
    return;
  }
  HAPPENED_IF(is_held_back(model, key), held_back_gone);
  if (k->kind == KEYS_RECORD && k->phase == RULES_LAPSED) {
    time_out(model, key, past(model, now_ms)); /* as of then */
    end_claims(model, key, now_ms);
  }
  HAPPENED_IF(k->kind == KEYS_VALUE, value_over);
  HAPPENED_IF(k->kind == KEYS_RECORD && k->phase == RULES_LAPSED, lapsed_over);
  HAPPENED_IF(k->kind == KEYS_RECORD && k->phase == RULES_UNKNOWN, unknown_over);
  HAPPENED_IF(k->kind == KEYS_RECORD && k->phase == RULES_DONE, done_over);
  if (k->kind == KEYS_RECORD && k->horizon_ms < k->grant.since_ms)
    k->horizon_ms = k->grant.since_ms;
  become_absent(model, k);
}

static bool may_be_held_back(const struct model *model, int key) {
  const struct model_key *k = &model->keys[key];
  bool ended = k->flushed_ms != MODEL_NEVER || k->closed_ms != MODEL_NEVER;
  return model->no_room && !ended && !k->grant.hold;
}

void model_judge_waiter(struct model *model, int waiter, int64_t now_ms) {
  struct model_waiter *w = &model->waiters[waiter];
  const struct model_key *k = &model->keys[w->key];
  bool over_itself = over(model, w->deadline_ms, now_ms);
  if (over_itself && w->claims && may_be_held_back(model, w->key)) {
    time_out_one(model, w); /* the end of the retention may be left for later, too */
    return;
  }
  bool grantable = k->phase == RULES_LAPSED && !model->no_room;
  bool runs_on = k->flushed_ms == MODEL_NEVER && k->closed_ms == MODEL_NEVER && !grantable &&
                 !over(model, k->deadline_ms, now_ms);
  if (!runs_on) {
    model_judge(model, w->key, now_ms);
  } else if (over_itself) {
    time_out_one(model, w);
  }
}

bool model_present(const struct model *model, int key) {
  return model->keys[key].kind != KEYS_ABSENT && model->keys[key].flushed_ms == MODEL_NEVER;
}

/* ---- CLAIM ---- */

static void grant_to_caller(struct model *model, const struct model_claim *claim, uint32_t attempt,
                            int stage, int64_t now_ms) {
  struct model_key *k = &model->keys[claim->key];
  bool hold = attempt > 1 && k->grant.hold;
  k->phase = RULES_HELD;
  k->grant = (struct model_grant){
      .number = model->grants++,
      .owner = claim->owner,
      .stage = stage,
      .binding = claim->binding,
      .attempt = attempt,
      .lease_ms = claim->lease_ms,
      .since_ms = now_ms,
      .hold = hold || claim->hold,
  };
  k->deadline_ms = now_ms + claim->lease_ms;
  k->closed_ms = MODEL_NEVER;
  k->bind_lost = false;
}

static void confirm(struct model *model, int grant) {
  for (int i = 0; i < MODEL_WAITERS; i++) {
    struct model_waiter *w = &model->waiters[i];
    if (w->state == WAITER_ANSWERED && w->answer.grant == grant) w->confirmed = true;
  }
}

static bool unsettled(const struct model *model, int grant) {
  for (int i = 0; i < MODEL_WAITERS; i++) {
    const struct model_waiter *w = &model->waiters[i];
    if (w->state == WAITER_ANSWERED && w->answer.grant == grant) return true;
  }
  return false;
}

static void claim_again(struct model *model, const struct model_claim *claim, int64_t now_ms) {
  struct model_key *k = &model->keys[claim->key];
  HAPPENED(claim_again);
  HAPPENED_IF(model->leaving, leaving_claim_again);
  HAPPENED_IF(model->no_room, no_room_claim_again);
  HAPPENED_IF(
      k->grant.binding != NONE && claim->binding != NONE && k->grant.binding != claim->binding,
      claim_again_moves_bind);
  HAPPENED_IF(k->grant.binding != NONE && claim->binding == NONE, claim_again_drops_bind);
  HAPPENED_IF(!k->grant.hold && claim->hold, claim_again_adds_hold);
  HAPPENED_IF(k->grant.hold && !claim->hold, claim_again_keeps_hold);
  HAPPENED_IF(unsettled(model, k->grant.number), claim_again_of_a_waiters_grant);
  confirm(model, k->grant.number);
  k->grant.lease_ms = claim->lease_ms;
  k->grant.hold = k->grant.hold || claim->hold;
  k->grant.binding = claim->binding;
  k->deadline_ms = now_ms + claim->lease_ms;
}

static struct model_waiter *queued_with_owner(struct model *model, int key, int owner) {
  for (int i = 0; owner != NONE && i < MODEL_WAITERS; i++) {
    struct model_waiter *w = &model->waiters[i];
    if (waits_on(w, key) && w->claims && w->owner == owner) return w;
  }
  return NULL;
}

/* Of one OWNER one waits: the newer one in the older one's place, who is answered BUSY. */
static int queue_claimer(struct model *model, const struct model_claim *claim, int64_t now_ms) {
  struct model_waiter *older = queued_with_owner(model, claim->key, claim->owner);
  int waiter = enqueue(model, claim->key, now_ms + claim->wait_ms);
  struct model_waiter *w = &model->waiters[waiter];
  w->claims = true;
  w->owner = claim->owner;
  w->lease_ms = claim->lease_ms;
  w->hold = claim->hold;
  w->binding = claim->binding;
  w->born_ms = claim->born_ms;
  if (older == NULL) return waiter;
  w->arrival = older->arrival;
  HAPPENED(claim_takes_its_place_in_the_queue);
  answer_waiter(older, say_busy(&model->keys[claim->key], now_ms));
  HAPPENED_IF(oldest_claimer(model, claim->key) == w && waiting_of(model, claim->key, true) > 1,
              claim_takes_its_place_before_others);
  return waiter;
}

static void claim_held(struct model *model, const struct model_claim *claim, bool head_came_first,
                       int64_t now_ms, struct model_answer *answer) {
  struct model_key *k = &model->keys[claim->key];
  if (claim->owner != NONE && claim->owner == k->grant.owner) {
    claim_again(model, claim, now_ms);
    *answer = fill_answer_claimed(k);
    return;
  }
  HAPPENED_IF(claim->owner == NONE && k->grant.owner == NONE, claim_busy_without_owners);
  if (claim->wait_ms == 0 || model->leaving) {
    HAPPENED(claim_busy);
    HAPPENED_IF(claim->wait_ms > 0, leaving_busy_instead_of_a_wait);
    HAPPENED_IF(head_came_first, fresh_claim_behind_the_head_busy);
    *answer = say_busy(k, now_ms);
    return;
  }
  if (queued_with_owner(model, claim->key, claim->owner) == NULL && is_full(model, claim->key)) {
    *answer = say(ENGINE_BUSYKEY);
    return;
  }
  HAPPENED(claim_queued);
  HAPPENED_IF(model->no_room, no_room_queued);
  HAPPENED_IF(waiting_of(model, claim->key, true) > 0, claim_queued_behind_others);
  HAPPENED_IF(head_came_first, fresh_claim_behind_the_head_queued);
  *answer = say(ENGINE_QUEUED);
  answer->waiter = queue_claimer(model, claim, now_ms);
}

static void claim_lapsed(struct model *model, const struct model_claim *claim, int64_t now_ms,
                         struct model_answer *answer) {
  struct model_key *k = &model->keys[claim->key];
  if (k->phase == RULES_UNKNOWN && claim->takeover != k->grant.number) {
    HAPPENED(claim_on_unknown);
    HAPPENED_IF(claim->takeover != NONE, takeover_with_another_token);
    *answer = say_ended(k, now_ms);
    return;
  }
  if (model->leaving) {
    HAPPENED_IF(k->phase == RULES_LAPSED, leaving_claim_on_lapsed);
    HAPPENED_IF(k->phase == RULES_UNKNOWN, leaving_takeover);
    *answer = say(ENGINE_DRAINING);
    return;
  }
  if (model->no_room) {
    HAPPENED_IF(k->phase == RULES_LAPSED, no_room_claim_on_lapsed);
    HAPPENED_IF(k->phase == RULES_UNKNOWN, no_room_takeover);
    *answer = say(ENGINE_NO_ROOM);
    return;
  }
  HAPPENED_IF(k->phase == RULES_UNKNOWN && !claim->hold, takeover_keeps_hold);
  HAPPENED_IF(k->grant.nobody, claim_on_nobodys);
  HAPPENED_IF(k->phase == RULES_UNKNOWN, takeover_on_unknown);
  HAPPENED_IF(k->phase == RULES_LAPSED, claim_on_lapsed);
  HAPPENED_IF(k->phase == RULES_LAPSED && claim->owner != NONE && claim->owner == k->grant.owner,
              claim_on_lapsed_by_its_owner);
  HAPPENED_IF(k->phase == RULES_LAPSED && k->grant.stage != NONE, claim_on_lapsed_finds_stage);
  grant_to_caller(model, claim, k->grant.attempt + 1, k->grant.stage, now_ms);
  *answer = fill_answer_claimed(k);
}

static void claim_absent(struct model *model, const struct model_claim *claim, int64_t now_ms,
                         struct model_answer *answer) {
  struct model_key *k = &model->keys[claim->key];
  if (is_forgotten(model, claim->key, claim->born_ms)) {
    HAPPENED(claim_forgotten);
    HAPPENED_IF(model->leaving, leaving_claim_forgotten);
    HAPPENED_IF(model->no_room, no_room_claim_forgotten);
    *answer = say_forgotten(model, claim->key);
    return;
  }
  if (model->leaving) {
    HAPPENED(leaving_claim_on_absent);
    *answer = say(ENGINE_DRAINING);
    return;
  }
  if (model->no_room) {
    HAPPENED(no_room_claim_on_absent);
    *answer = say(ENGINE_NO_ROOM);
    return;
  }
  HAPPENED_IF(claim->born_ms != MODEL_NEVER, claim_born_after_the_horizon);
  HAPPENED(claim_on_absent);
  HAPPENED_IF(claim->fingerprint == NONE, claim_without_fingerprint);
  HAPPENED_IF(claim->fingerprint == 0, claim_with_empty_fingerprint);
  k->kind = KEYS_RECORD;
  k->birth = ++model->births;
  k->fingerprint = claim->fingerprint;
  grant_to_caller(model, claim, 1, NONE, now_ms);
  *answer = fill_answer_claimed(k);
}

static void count_claim_mismatch(struct model *model, const struct model_claim *claim) {
  const struct model_key *k = &model->keys[claim->key];
  HAPPENED_IF(k->phase == RULES_HELD, claim_mismatch_on_held);
  HAPPENED_IF(k->phase == RULES_LAPSED, claim_mismatch_on_lapsed);
  HAPPENED_IF(k->phase == RULES_UNKNOWN, claim_mismatch_on_unknown);
  HAPPENED_IF(k->phase == RULES_DONE, claim_mismatch_on_done);
  HAPPENED_IF(k->phase == RULES_HELD && claim->owner != NONE && claim->owner == k->grant.owner,
              claim_mismatch_of_the_owner);
}

void model_claim(struct model *model, const struct model_claim *claim, int64_t now_ms,
                 struct model_answer *answer) {
  struct model_key *k = &model->keys[claim->key];
  int before = k->grant.number;
  bool was_held = k->kind == KEYS_RECORD && k->phase == RULES_HELD;
  model_judge(model, claim->key, now_ms);
  if (k->kind == KEYS_VALUE) {
    HAPPENED(wrongtype_claim);
    *answer = say(ENGINE_WRONGTYPE);
  } else if (k->kind == KEYS_ABSENT) {
    claim_absent(model, claim, now_ms, answer);
  } else if (k->fingerprint != claim->fingerprint) {
    count_claim_mismatch(model, claim);
    *answer = say(ENGINE_MISMATCH);
  } else if (k->phase == RULES_HELD) {
    claim_held(model, claim, was_held && before != k->grant.number, now_ms, answer);
  } else if (k->phase == RULES_DONE) {
    HAPPENED(claim_on_done);
    *answer = say_done(k, now_ms);
  } else {
    claim_lapsed(model, claim, now_ms, answer);
  }
}

/* ---- STORE ---- */

static bool is_open(const struct model_key *k) {
  return k->kind == KEYS_RECORD && k->phase != RULES_DONE;
}

static void count_stale_store(struct model *model, const struct model_key *k, bool taken_back) {
  HAPPENED_IF(k->kind == KEYS_ABSENT, store_stale_on_absent);
  if (k->kind == KEYS_ABSENT) return;
  HAPPENED_IF(k->phase == RULES_HELD, store_stale_on_held);
  HAPPENED_IF(k->phase == RULES_LAPSED, store_stale_on_lapsed);
  HAPPENED_IF(k->phase == RULES_UNKNOWN, store_stale_on_unknown);
  HAPPENED_IF(k->phase == RULES_DONE, store_stale_on_done);
  HAPPENED_IF(taken_back, store_stale_of_a_taken_back_token);
}

static enum engine_status stale(const struct model_key *k) {
  if (k->kind == KEYS_ABSENT) return ENGINE_STALE_ABSENT;
  return k->phase == RULES_DONE ? ENGINE_STALE_STORED : ENGINE_STALE_OVERTAKEN;
}

/* RELEASE with the current token. false: nothing to release. */
static bool release_open(struct model *model, int key, enum rules_word word, int64_t now_ms) {
  struct model_key *k = &model->keys[key];
  bool held = k->phase == RULES_HELD;
  HAPPENED_IF(is_held_back(model, key), held_back_released);
  if (word == RULES_CLEAR) {
    HAPPENED(release_clear);
    HAPPENED_IF(!held, release_clear_on_ended);
    HAPPENED_IF(k->grant.attempt > 1, release_clear_of_a_later_attempt);
    HAPPENED_IF(waiting_of(model, key, true) > 0, release_clear_to_waiter);
    end_grant(model, key, RULES_END_CLEARED, now_ms, now_ms);
    return true;
  }
  if (word == RULES_UNSURE) {
    HAPPENED_IF(!held, release_unsure_on_ended);
    if (held) end_grant(model, key, RULES_END_UNSURE, now_ms, now_ms);
    return true;
  }
  HAPPENED_IF(k->grant.nobody, release_of_nobody);
  if (k->grant.nobody) return false;
  HAPPENED_IF(held, release_on_held);
  HAPPENED_IF(k->phase == RULES_LAPSED, release_on_lapsed);
  HAPPENED_IF(k->phase == RULES_UNKNOWN, release_on_unknown);
  end_grant(model, key, RULES_END_RELEASED, now_ms, now_ms);
  return true;
}

/* The waiters get it, then it ends as by RELEASE. */
static void store_shared(struct model *model, const struct model_store *store, int64_t now_ms,
                         struct model_answer *answer) {
  struct model_key *k = &model->keys[store->key];
  struct model_answer done = say(ENGINE_DONE);
  done.body = store->body;
  done.meta = store->meta;
  *answer = say(ENGINE_STORED);
  answer->count = (uint64_t)answer_all(model, store->key, done);
  effect(model, k, EFFECT_DONE);
  HAPPENED_IF(answer->count > 0, store_ttl_0_shared);
  HAPPENED_IF(answer->count == 0, store_ttl_0_alone);
  HAPPENED_IF(store->word == RULES_UNSURE, store_ttl_0_unsure);
  HAPPENED_IF(store->word == RULES_CLEAR, store_ttl_0_clear);
  HAPPENED_IF(k->grant.nobody, store_ttl_0_of_nobody);
  release_open(model, store->key, store->word, now_ms);
  HAPPENED_IF(k->kind == KEYS_RECORD && store->word == RULES_DID_NOTHING, store_ttl_0_to_lapsed);
}

static void store_done(struct model *model, const struct model_store *store, int64_t now_ms,
                       struct model_answer *answer) {
  struct model_key *k = &model->keys[store->key];
  HAPPENED_IF(k->phase == RULES_HELD, store_on_held);
  HAPPENED_IF(k->phase == RULES_LAPSED, store_on_lapsed);
  HAPPENED_IF(k->phase == RULES_UNKNOWN, store_on_unknown);
  HAPPENED_IF(waiting_of(model, store->key, true) > 0, store_answers_claimers);
  HAPPENED_IF(waiting_of(model, store->key, false) > 0, store_answers_readers);
  HAPPENED_IF(k->grant.nobody, store_of_nobody);
  HAPPENED_IF(is_held_back(model, store->key), held_back_stored);
  if (store->ttl_ms == 0) {
    store_shared(model, store, now_ms, answer);
    return;
  }
  k->phase = RULES_DONE;
  k->body = store->body;
  k->meta = store->meta;
  k->grant.since_ms = now_ms;
  k->deadline_ms = now_ms + store->ttl_ms;
  k->closed_ms = MODEL_NEVER;
  effect(model, k, EFFECT_DONE);
  *answer = say(ENGINE_STORED);
  answer->count = (uint64_t)answer_all(model, store->key, say_done(k, now_ms));
}

void model_store(struct model *model, const struct model_store *store, int64_t now_ms,
                 struct model_answer *answer) {
  model_judge(model, store->key, now_ms);
  struct model_key *k = &model->keys[store->key];
  if (k->kind == KEYS_VALUE) {
    HAPPENED(wrongtype_store);
    *answer = say(ENGINE_WRONGTYPE);
  } else if (k->kind == KEYS_ABSENT || k->grant.number != store->grant) {
    count_stale_store(model, k, store->taken_back);
    *answer = say(stale(k));
  } else if (k->phase == RULES_DONE) {
    bool same = k->body == store->body && k->meta == store->meta;
    HAPPENED_IF(same, store_same);
    HAPPENED_IF(k->body != store->body, store_conflict_of_body);
    HAPPENED_IF(k->body == store->body && k->meta != store->meta, store_conflict_of_meta);
    *answer = say(same ? ENGINE_STORED : ENGINE_CONFLICT);
  } else {
    store_done(model, store, now_ms, answer);
  }
}

/* ---- RENEW, RELEASE ---- */

void model_renew(struct model *model, int key, int grant, int64_t lease_ms, int stage,
                 int64_t now_ms, struct model_answer *answer) {
  model_judge(model, key, now_ms);
  struct model_key *k = &model->keys[key];
  if (k->kind == KEYS_VALUE) {
    *answer = say(ENGINE_WRONGTYPE);
    return;
  }
  if (!is_open(k) || k->grant.number != grant || k->grant.nobody) {
    HAPPENED(renew_stale);
    HAPPENED_IF(is_open(k) && k->grant.number == grant, renew_of_nobody);
    *answer = say(stale(k));
    return;
  }
  HAPPENED_IF(k->phase == RULES_HELD, renew_on_held);
  HAPPENED_IF(k->phase == RULES_LAPSED, renew_on_lapsed);
  HAPPENED_IF(k->phase == RULES_UNKNOWN, renew_on_unknown);
  HAPPENED_IF(lease_ms == 0, renew_without_lease);
  HAPPENED_IF(stage != NONE, renew_sets_stage);
  HAPPENED_IF(k->phase == RULES_LAPSED && k->grant.binding != NONE, renew_keeps_bind);
  HAPPENED_IF(k->phase == RULES_LAPSED && k->bind_lost, renew_after_bind_closed);
  confirm(model, grant);
  HAPPENED_IF(is_held_back(model, key), held_back_renewed);
  k->phase = RULES_HELD;
  if (lease_ms != 0) k->grant.lease_ms = lease_ms;
  if (stage != NONE) k->grant.stage = stage;
  k->deadline_ms = now_ms + k->grant.lease_ms;
  *answer = say(ENGINE_RENEWED);
  answer->lease_ms = k->grant.lease_ms;
}

void model_release(struct model *model, int key, int grant, enum rules_word word, int64_t now_ms,
                   struct model_answer *answer) {
  model_judge(model, key, now_ms);
  struct model_key *k = &model->keys[key];
  if (k->kind == KEYS_VALUE) {
    *answer = say(ENGINE_WRONGTYPE);
    return;
  }
  if (!is_open(k) || k->grant.number != grant) {
    HAPPENED(release_not_yours);
    HAPPENED_IF(k->kind == KEYS_ABSENT, release_on_absent);
    HAPPENED_IF(k->kind == KEYS_RECORD && k->phase == RULES_DONE && k->grant.number == grant,
                release_on_done);
    *answer = say(ENGINE_NOT_YOURS);
    return;
  }
  bool released = release_open(model, key, word, now_ms);
  *answer = say(released ? ENGINE_RELEASED : ENGINE_NOT_YOURS);
}

/* ---- FETCH, WAIT ---- */

static void count_read(struct model *model, const struct model_key *k, bool mismatch) {
  HAPPENED_IF(k->kind == KEYS_ABSENT, read_absent);
  if (k->kind != KEYS_RECORD) return;
  HAPPENED_IF(!mismatch && k->phase == RULES_HELD, read_held);
  HAPPENED_IF(!mismatch && k->phase == RULES_LAPSED, read_lapsed);
  HAPPENED_IF(!mismatch && k->phase == RULES_UNKNOWN, read_unknown);
  HAPPENED_IF(!mismatch && k->phase == RULES_DONE, read_done);
  HAPPENED_IF(mismatch && k->phase == RULES_HELD, read_mismatch_on_held);
  HAPPENED_IF(mismatch && k->phase == RULES_LAPSED, read_mismatch_on_lapsed);
  HAPPENED_IF(mismatch && k->phase == RULES_UNKNOWN, read_mismatch_on_unknown);
  HAPPENED_IF(mismatch && k->phase == RULES_DONE, read_mismatch_on_done);
}

void model_read(struct model *model, const struct model_read *read, int64_t now_ms,
                struct model_answer *answer) {
  model_judge(model, read->key, now_ms);
  struct model_key *k = &model->keys[read->key];
  bool mismatch =
      k->kind == KEYS_RECORD && read->fingerprint != NONE && read->fingerprint != k->fingerprint;
  count_read(model, k, mismatch);
  *answer = nothing();
  if (k->kind == KEYS_VALUE) {
    HAPPENED(wrongtype_read);
    *answer = say(ENGINE_WRONGTYPE);
  } else if (k->kind == KEYS_ABSENT) {
    return;
  } else if (mismatch) {
    *answer = say(ENGINE_MISMATCH);
  } else if (k->phase == RULES_DONE) {
    *answer = say_done(k, now_ms);
  } else if (k->phase == RULES_UNKNOWN || k->phase == RULES_LAPSED) {
    HAPPENED_IF(k->grant.nobody, read_nobodys);
    *answer = say_ended(k, now_ms);
  } else if (read->wait_ms == 0) {
    *answer = say_busy(k, now_ms);
  } else if (is_full(model, read->key)) {
    *answer = say(ENGINE_BUSYKEY);
  } else {
    HAPPENED(wait_queued);
    HAPPENED_IF(model->leaving, leaving_reader_waits);
    *answer = say(ENGINE_QUEUED);
    answer->waiter = enqueue(model, read->key, now_ms + read->wait_ms);
  }
}

/* ---- the server's part in waiting ---- */

void model_settle(struct model *model, int waiter) { model->waiters[waiter].state = WAITER_FREE; }

/* As if the grant had not been: the former grant ends again, now, and the next waiter is granted.
 */
static void undo_grant(struct model *model, const struct model_waiter *w, int64_t now_ms) {
  struct model_key *k = &model->keys[w->key];
  k->grant = w->former;
  k->deadline_ms = w->former_deadline_ms;
  k->closed_ms = MODEL_NEVER;
  struct model_waiter *next = end_grant(model, w->key, w->ended_by, now_ms, now_ms);
  HAPPENED_IF(w->held_back, held_back_taken_back);
  HAPPENED_IF(next != NULL, taken_back_to_next);
  HAPPENED_IF(next != NULL && w->undone > 0, taken_back_twice);
  HAPPENED_IF(next == NULL && k->kind == KEYS_RECORD, taken_back_to_lapsed);
  HAPPENED_IF(next == NULL && k->kind == KEYS_ABSENT, taken_back_to_absent);
  if (next != NULL) next->undone = w->undone + 1;
}

static bool held_under(const struct model_key *k, int grant) {
  return k->kind == KEYS_RECORD && k->phase == RULES_HELD && k->grant.number == grant;
}

void model_take_back(struct model *model, int waiter, int64_t now_ms) {
  struct model_waiter w = model->waiters[waiter];
  if (w.answer.status == ENGINE_CLAIMED) {
    /* A grant that is confirmed is not taken back, and then its key is not looked at. */
    struct model_key *k = &model->keys[w.key];
    if (!w.confirmed && held_under(k, w.answer.grant)) model_judge(model, w.key, now_ms);
    bool held = held_under(k, w.answer.grant);
    HAPPENED_IF(!held, taken_back_too_late);
    HAPPENED_IF(held && w.confirmed, taken_back_after_claim_again);
    if (held && !w.confirmed) undo_grant(model, &w, now_ms);
  }
  model->waiters[waiter].state = WAITER_FREE;
}

void model_cancel(struct model *model, int waiter, int64_t now_ms) {
  if (model->waiters[waiter].state == WAITER_ANSWERED) {
    HAPPENED(ready_waiter_gone);
    model_take_back(model, waiter, now_ms);
    return;
  }
  HAPPENED(waiter_gone);
  model->waiters[waiter].state = WAITER_FREE;
}

void model_expire(struct model *model, int waiter, int64_t now_ms) {
  struct model_waiter *w = &model->waiters[waiter];
  if (w->state == WAITER_WAITS) model_judge(model, w->key, now_ms);
  if (w->state != WAITER_WAITS) return;
  HAPPENED(wait_over_by_host);
  answer_waiter(w, say_busy(&model->keys[w->key], now_ms));
}

void model_set_no_room(struct model *model, bool no_room) { model->no_room = no_room; }

void model_stop_grants(struct model *model, int64_t now_ms) {
  model->leaving = true;
  HAPPENED_IF(model->no_room, no_room_leaving);
  for (int i = 0; i < MODEL_WAITERS; i++) {
    struct model_waiter *w = &model->waiters[i];
    if (w->state != WAITER_WAITS || !w->claims) continue;
    HAPPENED(leaving_waiters_busy);
    answer_waiter(w, say_busy(&model->keys[w->key], now_ms));
  }
}

/* ---- connections ---- */

/* A claim whose lease has expired is not HELD, even if no call has noticed it yet. */
void model_close(struct model *model, int binding, int64_t now_ms) {
  bool bound = false;
  for (int i = 0; i < model->options.keys; i++) {
    struct model_key *k = &model->keys[i];
    if (!is_open(k) || k->flushed_ms != MODEL_NEVER || k->grant.binding != binding ||
        k->closed_ms != MODEL_NEVER)
      continue;
    bool held = k->phase == RULES_HELD && !over(model, k->deadline_ms, now_ms);
    if (held) {
      k->closed_ms = now_ms;
      bound = true;
    } else {
      HAPPENED(bind_closed_after_lease_over);
      k->grant.binding = NONE;
      k->bind_lost = true;
    }
  }
  HAPPENED_IF(!bound, bind_closed_after_it_moved);
  for (int i = 0; i < MODEL_WAITERS; i++) {
    if (model->waiters[i].former.binding == binding) model->waiters[i].former.binding = NONE;
  }
  model->binding_open[binding] = false;
}

/* ---- keys of either kind ---- */

static void count_delete(struct model *model, const struct model_key *k, int key) {
  bool record = k->kind == KEYS_RECORD;
  bool claimers = waiting_of(model, key, true) > 0;
  HAPPENED_IF(k->kind == KEYS_ABSENT, delete_absent);
  HAPPENED_IF(k->kind == KEYS_VALUE, delete_value);
  HAPPENED_IF(record && k->phase == RULES_HELD && !claimers, delete_held);
  HAPPENED_IF(record && k->phase == RULES_HELD && claimers, delete_held_to_waiter);
  HAPPENED_IF(is_held_back(model, key), held_back_deleted);
  HAPPENED_IF(record && k->phase == RULES_LAPSED, delete_lapsed);
  HAPPENED_IF(record && k->phase == RULES_UNKNOWN, delete_unknown);
  HAPPENED_IF(record && k->phase == RULES_DONE, delete_done);
}

bool model_delete(struct model *model, int key, int64_t now_ms) {
  model_judge(model, key, now_ms);
  struct model_key *k = &model->keys[key];
  count_delete(model, k, key);
  if (k->kind == KEYS_ABSENT) return false;
  drop(model, key, now_ms, now_ms);
  return true;
}

void model_flush(struct model *model, int64_t now_ms) {
  for (int i = 0; i < model->options.keys; i++) {
    struct model_key *k = &model->keys[i];
    if (k->kind == KEYS_ABSENT) continue;
    HAPPENED_IF(k->kind == KEYS_VALUE, flush_value);
    HAPPENED_IF(k->kind == KEYS_RECORD && k->phase == RULES_HELD, flush_held);
    HAPPENED_IF(k->kind == KEYS_RECORD && k->phase != RULES_HELD, flush_other);
    if (over(model, k->deadline_ms, now_ms) || k->closed_ms != MODEL_NEVER)
      k->horizon_most_ms = now_ms;
    k->flushed_ms = now_ms;
  }
}

enum engine_status model_set_value(struct model *model, int key, int value, int64_t deadline_ms,
                                   int64_t now_ms) {
  model_judge(model, key, now_ms);
  struct model_key *k = &model->keys[key];
  if (k->kind == KEYS_RECORD) {
    HAPPENED(wrongtype_set);
    return ENGINE_WRONGTYPE;
  }
  HAPPENED(set_value);
  HAPPENED_IF(k->kind == KEYS_VALUE, set_value_replaces);
  HAPPENED_IF(deadline_ms <= now_ms, set_value_over_already);
  become_absent(model, k);
  if (deadline_ms <= now_ms) return ENGINE_STORED;
  k->kind = KEYS_VALUE;
  k->birth = ++model->births;
  k->body = value;
  k->deadline_ms = deadline_ms;
  return ENGINE_STORED;
}

bool model_set_deadline(struct model *model, int key, int64_t deadline_ms, int64_t now_ms) {
  model_judge(model, key, now_ms);
  struct model_key *k = &model->keys[key];
  bool done = k->kind == KEYS_RECORD && k->phase == RULES_DONE;
  if (k->kind == KEYS_ABSENT || (k->kind == KEYS_RECORD && !done) ||
      (done && deadline_ms == RULES_NEVER)) {
    HAPPENED(deadline_refused);
    return false;
  }
  HAPPENED_IF(done, deadline_of_done);
  HAPPENED_IF(!done, deadline_of_value);
  k->deadline_ms = deadline_ms;
  if (deadline_ms <= now_ms) become_absent(model, k);
  return true;
}
