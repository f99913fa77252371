/* due.c - see due.h. */
#include "server/module/due.h"

#include "server/module/grant.h"

#define TRYAGAIN "TRYAGAIN the key's slot is moving; ask again"

/* ---- other hands ---- */

/* DEL and its kin leave waiters without the record that they wait for; so does a slot that moves.
 */
static void apply_absent(struct visit *visit) {
  if (visit_is_ours(visit)) {
    grant_end(visit, RULES_END_CLEARED, visit->now_ms);
  } else {
    grant_tell_all(visit, &(struct reply){.error = TRYAGAIN});
  }
}

/* With waiters, who have asked for the one that was there. */
static bool is_of_another_request(const struct visit *visit) {
  const struct queue *queue = visit_queue(visit);
  return queue != NULL && !span_equal(visit->record.fingerprint, queue->fingerprint);
}

/* What a key with waiters may be besides a HELD record. */
static void apply_other_hands(struct visit *visit) {
  if (visit_queue(visit) == NULL) return;
  if (visit->found == VISIT_FOREIGN) {
    grant_tell_all(visit, &(struct reply){.kind = ANSWER_WRONGTYPE});
  } else if (visit->found == VISIT_ABSENT) {
    apply_absent(visit);
  } else if (is_of_another_request(visit)) {
    grant_tell_mismatch(visit);
  } else if (visit->record.facts.phase == RULES_DONE) {
    grant_tell_record(visit);
  }
}

/* ---- time ---- */

/* The host removes it by itself. */
static void apply_gone(struct visit *visit) {
  forgotten_note(&visit->host->forgotten, visit->text, visit->record.facts.since_ms);
  visit->record = (struct layout_record){.facts = {.phase = RULES_ABSENT}};
}

static void read_end(struct visit *visit, enum rules_end end, int64_t at_ms) {
  const struct rules_ending ending = {
      .end = end,
      .at_ms = at_ms,
      .retention_ms = visit->host->settings.retention_ms,
      .unknown_retention_ms = visit->host->settings.unknown_retention_ms,
  };
  rules_end_grant(&visit->record.facts, &ending);
  visit->record.ended_ms = at_ms;
}

static void apply_end(struct visit *visit, enum rules_end end, int64_t at_ms) {
  if (visit->writes) {
    grant_end(visit, end, at_ms);
  } else {
    read_end(visit, end, at_ms);
  }
}

/* Each turn brings the record to its next phase. */
static void apply_time(struct visit *visit) {
  for (;;) {
    int64_t closed_ms = visit_closed_ms(visit);
    struct rules_moment now = {visit->now_ms, TOKENS_GRAIN_MS};
    switch (rules_due(&visit->record.facts, closed_ms, now)) {
      case RULES_LEASE_OVER:
        apply_end(visit, RULES_END_LEASE_OVER, visit->record.facts.deadline_ms);
        break;
      case RULES_BIND_CLOSED: apply_end(visit, RULES_END_BIND_CLOSED, closed_ms); break;
      case RULES_GONE: apply_gone(visit); return;
      case RULES_NOT_DUE:
      default: return;
    }
  }
}

void due_apply(struct visit *visit) {
  if (visit->writes) apply_other_hands(visit);
  apply_time(visit);
  if (!visit->writes) return;
  grant_time_out(visit, rules_past_ms(visit->now_ms, TOKENS_GRAIN_MS));
  /* Who reads without a fingerprint does not wait on: a queue has one fingerprint, and who claims
   * for that of the record may come next. */
  if (is_of_another_request(visit)) grant_tell_record(visit);
}

/* ---- opening and closing ---- */

void due_open(struct visit *visit, struct host *of, RedisModuleCtx *ctx, RedisModuleString *name,
              bool writes) {
  visit_open(visit, of, ctx, name, writes);
  due_apply(visit);
}

void due_open_to_read(struct visit *visit, struct host *of, RedisModuleCtx *ctx,
                      RedisModuleString *name) {
  visit_open(visit, of, ctx, name, false);
  bool writes = visit_queue(visit) != NULL && !of->replica && api.AvoidReplicaTraffic() == 0;
  if (!writes) {
    due_apply(visit);
    return;
  }
  visit_close(visit);
  due_open(visit, of, ctx, name, true);
}

void due_close(struct visit *visit) {
  struct queue *queue = visit_queue(visit);
  if (queue != NULL) {
    const struct rules_record *facts = &visit->record.facts;
    bool held = facts->phase == RULES_HELD;
    waiters_alarm(&visit->host->waiters, queue, held ? facts->deadline_ms : RULES_NEVER);
  }
  visit_close(visit);
}

void due_visit(struct host *of, RedisModuleCtx *ctx, int db, struct span key) {
  struct visit visit;
  RedisModuleString *name = api.CreateString(NULL, key.data, key.len);
  api.SelectDb(ctx, db);
  due_open(&visit, of, ctx, name, true);
  due_close(&visit);
  api.FreeString(NULL, name);
}
