/* grant.c - see grant.h. */
#include "server/module/grant.h"

/* ---- telling ---- */

static struct reply reply_of(const struct visit *visit, enum rules_verdict verdict, int64_t at_ms) {
  return (struct reply){.kind = reply_kind(verdict), .record = &visit->record, .at_ms = at_ms};
}

/* The first node of the list, while there is one: each answer takes one out. */
static int64_t tell_list(struct visit *visit, bool claimers, const struct reply *reply) {
  int64_t told = 0;
  for (struct queue *queue; (queue = visit_queue(visit)) != NULL; told++) {
    struct list *list = claimers ? &queue->claimers : &queue->readers;
    if (list_empty(list)) break;
    waiters_answer(&visit->host->waiters, LIST_ENTRY(list->next, struct waiter, link), reply);
  }
  return told;
}

int64_t grant_tell_all(struct visit *visit, const struct reply *reply) {
  return tell_list(visit, true, reply) + tell_list(visit, false, reply);
}

void grant_tell_record(struct visit *visit) {
  const struct reply reply =
      reply_of(visit, rules_read(&visit->record.facts, false), visit->now_ms);
  grant_tell_all(visit, &reply);
}

void grant_tell_mismatch(struct visit *visit) {
  const struct reply reply = {.kind = ANSWER_MISMATCH};
  for (struct waiter *waiter; (waiter = waiters_first_checker(visit_queue(visit))) != NULL;)
    waiters_answer(&visit->host->waiters, waiter, &reply);
}

void grant_time_out(struct visit *visit, int64_t past_ms) {
  for (struct queue *queue; (queue = visit_queue(visit)) != NULL;) {
    struct waiter *waiter = waiters_over(queue, past_ms);
    if (waiter == NULL) return;
    const struct reply reply = reply_of(visit, RULES_SAY_BUSY, waiter->deadline_ms);
    visit->host->counters.waits_timed_out++;
    waiters_answer(&visit->host->waiters, waiter, &reply);
  }
}

/* ---- hand-over ---- */

static void forget_waiter(struct visit *visit, struct waiter *waiter) {
  const struct reply reply = {.kind = ANSWER_FORGOTTEN, .number = visit_horizon_ms(visit)};
  visit->host->counters.answers[ANSWER_FORGOTTEN]++;
  waiters_answer(&visit->host->waiters, waiter, &reply);
}

static enum rules_verdict hand_over_facts(struct visit *visit, const struct waiter *waiter,
                                          enum rules_end end) {
  struct rules_record *facts = &visit->record.facts;
  const struct rules_claim claim = {
      .hold = waiter->hold,
      .bind = waiter->bind,
      .forgotten = waiter->born && waiter->born_ms <= visit_horizon_ms(visit),
      .lease_ms = waiter->lease_ms,
      .token = tokens_peek(&visit->host->tokens, facts->token),
  };
  return rules_hand_over(facts, end, &claim, visit->now_ms);
}

/* The value that the hand-over replaces. NULL: there is none. */
static RedisModuleString *former_value(const struct visit *visit) {
  return visit->found == VISIT_RECORD ? visit_value(visit) : NULL;
}

static void remember(struct visit *visit, const struct waiter *waiter, RedisModuleString *former,
                     enum rules_end end) {
  undos_add(&visit->host->undos,
            &(struct undo){
                .client_id = waiter->client_id,
                .token = visit->record.facts.token,
                .db = visit->db,
                .name = api.CreateString(NULL, visit->text.data, visit->text.len),
                .former = former,
                .end = end,
            });
}

static void bind_to(struct visit *visit, const struct waiter *waiter) {
  struct bindings *bindings = &visit->host->bindings;
  if (waiter->bind) {
    bindings_set(bindings, visit->db, visit->text, waiter->client_id, visit->record.facts.token);
  } else {
    bindings_drop(bindings, bindings_find(bindings, visit->db, visit->text));
  }
}

/* To the oldest that claims. False: its request may have been forgotten, which it was told. */
static bool hand_over(struct visit *visit, struct waiter *waiter, enum rules_end end) {
  RedisModuleString *former = former_value(visit);
  enum rules_verdict verdict = hand_over_facts(visit, waiter, end);
  if (verdict == RULES_SAY_FORGOTTEN) {
    if (former != NULL) api.FreeString(NULL, former);
    forget_waiter(visit, waiter);
    return false;
  }
  tokens_note(&visit->host->tokens, visit->record.facts.token);
  visit->record.owner = waiter->owner;
  visit->record.fingerprint = waiter->queue->fingerprint;
  if (verdict == RULES_GRANT_FIRST) visit->record.extra = SPAN_ABSENT;
  visit_commit(visit);
  bind_to(visit, waiter);
  remember(visit, waiter, former, end);
  visit->host->counters.handed_over++;
  const struct reply reply = reply_of(visit, verdict, visit->now_ms);
  waiters_answer(&visit->host->waiters, waiter, &reply);
  return true;
}

/* ---- ends ---- */

/* A grant that was struck out leaves no owner, and no connection. */
static void drop_owner(struct visit *visit) {
  struct bindings *bindings = &visit->host->bindings;
  tokens_note(&visit->host->tokens, visit->record.facts.token);
  visit->record.owner = SPAN_ABSENT;
  bindings_drop(bindings, bindings_find(bindings, visit->db, visit->text));
}

/* What follows from a lease that ends is not written: it is known from the deadline. What is
 * written is a lease that has ended for certain, whatever the clock's grain is. */
static void to_ended(struct visit *visit, const struct rules_record *facts, int64_t at_ms,
                     bool is_written) {
  bool strikes_out = facts->token != visit->record.facts.token;
  if (facts->phase == RULES_UNKNOWN && visit->record.facts.phase == RULES_HELD)
    visit->host->counters.became_unknown++;
  visit->record.facts = *facts;
  visit->record.ended_ms = is_written ? at_ms - TOKENS_GRAIN_MS : at_ms;
  if (strikes_out) drop_owner(visit);
  if (is_written) visit_commit(visit);
  grant_tell_record(visit);
}

static void to_absent(struct visit *visit) {
  struct bindings *bindings = &visit->host->bindings;
  visit->record.facts.phase = RULES_ABSENT;
  visit_commit(visit);
  bindings_drop(bindings, bindings_find(bindings, visit->db, visit->text));
  grant_tell_record(visit);
}

static struct rules_ending ending_of(const struct visit *visit, enum rules_end end, int64_t at_ms) {
  return (struct rules_ending){
      .end = end,
      .claim_waits = waiters_first_claimer(visit_queue(visit)) != NULL,
      .at_ms = at_ms,
      .retention_ms = visit->host->settings.retention_ms,
      .unknown_retention_ms = visit->host->settings.unknown_retention_ms,
      .token = tokens_peek(&visit->host->tokens, visit->record.facts.token),
  };
}

/* Each turn answers a waiter, but the last. */
static void end_at(struct visit *visit, enum rules_end end, int64_t at_ms, bool is_written) {
  for (;;) {
    struct rules_record facts = visit->record.facts;
    const struct rules_ending ending = ending_of(visit, end, at_ms);
    switch (rules_end_grant(&facts, &ending)) {
      case RULES_HAND_OVER:
        if (hand_over(visit, waiters_first_claimer(visit_queue(visit)), end)) return;
        break;
      case RULES_TO_LAPSED:
      case RULES_TO_UNKNOWN: to_ended(visit, &facts, at_ms, is_written); return;
      case RULES_TO_ABSENT:
      default: to_absent(visit); return;
    }
  }
}

void grant_end(struct visit *visit, enum rules_end end, int64_t at_ms) {
  grant_time_out(visit, rules_waits_past_ms(end, (struct rules_moment){at_ms, TOKENS_GRAIN_MS}));
  end_at(visit, end, at_ms, end != RULES_END_LEASE_OVER);
}

void grant_end_again(struct visit *visit, enum rules_end end) {
  end_at(visit, end, visit->now_ms, true);
}
