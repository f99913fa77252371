/* fill_answer.c - see fill_answer.h. */
#include "server/engine/fill_answer.h"

void fill_answer_claimed(const struct record *record, struct engine_answer *answer) {
  fill_answer_rest(answer);
  answer->status = ENGINE_CLAIMED;
  answer->token = record->token;
  answer->lease_ms = record->lease_ms;
  answer->attempt = record->attempt;
  answer->stage = record->claim != NULL ? record->claim->stage : NULL;
}

static void say_busy(const struct record *record, int64_t at_ms, struct engine_answer *answer) {
  int64_t deadline_ms = record->timer.deadline_ms;
  if (at_ms < record->since_ms) at_ms = record->since_ms;
  answer->status = ENGINE_BUSY;
  /* With a rounded clock a lease lasts a moment longer than its deadline; until it ends, at least 1
   * ms is left. */
  answer->left_ms = deadline_ms > at_ms ? deadline_ms - at_ms : 1;
  answer->age_ms = at_ms - record->since_ms;
  answer->owner = record_owner(record);
}

static void say_unknown(const struct record *record, int64_t now_ms, struct engine_answer *answer) {
  answer->status = ENGINE_UNKNOWN;
  answer->age_ms = now_ms - record->since_ms;
  answer->attempt = record->attempt;
  answer->owner = record_owner(record);
}

void fill_answer_record(const struct record *record, enum rules_verdict verdict, int64_t now_ms,
                        struct engine_answer *answer) {
  if (fill_answer_grants(verdict)) {
    fill_answer_claimed(record, answer);
    return;
  }
  fill_answer_status(answer, ENGINE_NOTHING);
  switch (verdict) {
    case RULES_SAY_BUSY: say_busy(record, now_ms, answer); break;
    case RULES_SAY_UNKNOWN: say_unknown(record, now_ms, answer); break;
    case RULES_MISMATCH: answer->status = ENGINE_MISMATCH; break;
    case RULES_STALE: answer->status = ENGINE_STALE; break;
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
