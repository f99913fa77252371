/* fill_answer.c - see fill_answer.h. */
#include "server/engine/fill_answer.h"

static struct blob *stage_of(const struct record *record) {
  return record_claim(record) != NULL ? record->claim->stage : NULL;
}

void fill_answer_claimed(const struct record *record, struct engine_answer *answer) {
  fill_answer_rest(answer);
  answer->status = ENGINE_CLAIMED;
  answer->token = record->token;
  answer->lease_ms = record->lease_ms;
  answer->attempt = record_attempt(record);
  answer->stage = stage_of(record);
}

static void say_busy(const struct record *record, int64_t at_ms, struct engine_answer *answer) {
  /* A waiter of one that was held back: its lease has expired. */
  int64_t deadline_ms = record->phase == RULES_HELD ? record_deadline_ms(record) : at_ms;
  if (at_ms < record_since_ms(record)) at_ms = record_since_ms(record);
  answer->status = ENGINE_BUSY;
  /* With a rounded clock a lease lasts a moment longer than its deadline; until it ends, at least 1
   * ms is left. */
  answer->left_ms = deadline_ms > at_ms ? deadline_ms - at_ms : 1;
  answer->age_ms = at_ms - record_since_ms(record);
  answer->owner = record_owner(record);
  answer->stage = stage_of(record);
}

/* LAPSED or UNKNOWN. */
static void say_ended(const struct record *record, enum engine_status status, int64_t now_ms,
                      struct engine_answer *answer) {
  answer->status = status;
  answer->token = record->token;
  answer->age_ms = now_ms - record_since_ms(record);
  answer->attempt = record_attempt(record);
  answer->owner = record_owner(record);
  answer->stage = stage_of(record);
}

static enum engine_status status_of(enum rules_verdict verdict) {
  switch (verdict) {
    case RULES_MISMATCH: return ENGINE_MISMATCH;
    case RULES_NO_GRANT: return ENGINE_DRAINING;
    case RULES_STALE_ABSENT: return ENGINE_STALE_ABSENT;
    case RULES_STALE_STORED: return ENGINE_STALE_STORED;
    case RULES_STALE_OVERTAKEN: return ENGINE_STALE_OVERTAKEN;
    default: return ENGINE_NOTHING;
  }
}

void fill_answer_refused(enum rules_verdict verdict, struct engine_answer *answer) {
  fill_answer_status(answer, status_of(verdict));
}

void fill_answer_quota(const struct quotas *quotas, enum quotas_kind kind, uint16_t user,
                       struct engine_answer *answer) {
  fill_answer_status(answer, kind == QUOTAS_CLAIMS ? ENGINE_CLAIM_QUOTA : ENGINE_WAITER_QUOTA);
  answer->count = quotas_most(quotas, kind, user);
}

void fill_answer_forgotten(int64_t horizon_ms, struct engine_answer *answer) {
  fill_answer_status(answer, ENGINE_FORGOTTEN);
  answer->horizon_ms = horizon_ms;
}

void fill_answer_record(const struct record *record, enum rules_verdict verdict, int64_t now_ms,
                        struct engine_answer *answer) {
  if (fill_answer_grants(verdict)) {
    fill_answer_claimed(record, answer);
    return;
  }
  fill_answer_refused(verdict, answer);
  switch (verdict) {
    case RULES_SAY_BUSY: say_busy(record, now_ms, answer); break;
    case RULES_SAY_LAPSED: say_ended(record, ENGINE_LAPSED, now_ms, answer); break;
    case RULES_SAY_UNKNOWN: say_ended(record, ENGINE_UNKNOWN, now_ms, answer); break;
    default: break;
  }
}

void fill_answer_response(const struct response *response, int64_t now_ms,
                          struct engine_answer *answer) {
  *answer = (struct engine_answer){
      .status = ENGINE_DONE,
      .age_ms = now_ms - response->since_ms,
      .left_ms = response->deadline_ms - now_ms,
      .body = response->body_blob,
      .meta = response->meta_blob,
      .body_bytes = response->body,
      .meta_bytes = response->meta,
  };
}
