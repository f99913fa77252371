/*
 * fill_answer.h - fills in answers (engine_answer.h) from an entry.
 *
 * It changes no entry and decides nothing: the verdict is the rules'. It must not know waiters or
 * replies. Invariants: every field of an answer is set; blobs are borrowed, no reference is taken
 * (pin_take_answer).
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_FILL_ANSWER_H
#define IDEM_SERVER_ENGINE_FILL_ANSWER_H

#include "proto/rare.h"
#include "server/engine/quotas.h"
#include "server/engine/record.h"

/* Clears what a CLAIMED has not. Field by field: for a whole struct gcc makes a loop, 14
 * instructions more for every answer. */
static inline void fill_answer_rest(struct engine_answer *answer) {
  answer->meta_bytes = SPAN_ABSENT;
  answer->age_ms = answer->left_ms = 0;
  answer->count = 0;
  answer->body = answer->meta = answer->owner = NULL;
  answer->waiter = NULL;
}
/* Of this status, with nothing else in it. */
static inline void fill_answer_status(struct engine_answer *answer, enum engine_status status) {
  fill_answer_rest(answer);
  answer->status = status;
  answer->attempt = 0;
  answer->body_bytes = SPAN_ABSENT;
  answer->stage = NULL;
}
/* Whether the caller owns the record under this verdict. */
static inline bool fill_answer_grants(enum rules_verdict verdict) {
  return verdict == RULES_GRANT_FIRST || verdict == RULES_GRANT_NEXT ||
         verdict == RULES_GRANT_AGAIN;
}
/* The answer to the owner of a record that was granted just now. */
void fill_answer_claimed(const struct record *record, struct engine_answer *answer);
/* The answer for a verdict that says nothing of the record but its state: MISMATCH, STALE and so
 * on. */
void fill_answer_refused(enum rules_verdict verdict, struct engine_answer *answer);
/* CLAIM_QUOTA or WAITER_QUOTA. */
RARE void fill_answer_quota(const struct quotas *quotas, enum quotas_kind kind, uint16_t user,
                            struct engine_answer *answer);
/* FORGOTTEN. */
void fill_answer_forgotten(int64_t horizon_ms, struct engine_answer *answer);
/* The answer from a record for a verdict that does not change it. Grants have been applied
 * before. */
void fill_answer_record(const struct record *record, enum rules_verdict verdict, int64_t now_ms,
                        struct engine_answer *answer);
/* DONE. Body and meta are borrowed from the response. */
void fill_answer_response(const struct response *response, int64_t now_ms,
                          struct engine_answer *answer);

#endif
