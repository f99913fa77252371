/* reply.c - see reply.h. */
#include "server/module/reply.h"

#include <assert.h>

/* ---- kinds ---- */

enum answer_kind reply_kind(enum rules_verdict verdict) {
  switch (verdict) {
    case RULES_GRANT_FIRST:
    case RULES_GRANT_NEXT:
    case RULES_GRANT_AGAIN: return ANSWER_CLAIMED;
    case RULES_SAY_FORGOTTEN: return ANSWER_FORGOTTEN;
    case RULES_SAY_BUSY: return ANSWER_BUSY;
    case RULES_SAY_LAPSED: return ANSWER_LAPSED;
    case RULES_SAY_UNKNOWN: return ANSWER_UNKNOWN;
    case RULES_SAY_DONE: return ANSWER_DONE;
    case RULES_MISMATCH: return ANSWER_MISMATCH;
    case RULES_STORED:
    case RULES_SHARED:
    case RULES_SAME_STORED: return ANSWER_STORED;
    case RULES_CONFLICT: return ANSWER_CONFLICT;
    case RULES_RENEWED: return ANSWER_RENEWED;
    case RULES_RELEASE:
    case RULES_LEFT_AS_IT_IS: return ANSWER_RELEASED;
    case RULES_NOT_YOURS: return ANSWER_NOT_YOURS;
    case RULES_STALE_ABSENT: return ANSWER_STALE_ABSENT;
    case RULES_STALE_STORED: return ANSWER_STALE_STORED;
    case RULES_STALE_OVERTAKEN: return ANSWER_STALE_OVERTAKEN;
    case RULES_NO_GRANT: return ANSWER_DRAINING;
    case RULES_SAY_NOTHING:
    default: return ANSWER_NOTHING;
  }
}

/* ---- fields ---- */

static int64_t age_ms(const struct reply *reply) {
  int64_t since_ms = reply->record->facts.since_ms;
  return reply->at_ms > since_ms ? reply->at_ms - since_ms : 0;
}

/* Until a lease ends, at least 1 ms is left. */
static int64_t left_ms(const struct reply *reply) {
  const struct rules_record *facts = &reply->record->facts;
  int64_t left = facts->deadline_ms - reply->at_ms;
  return left > 0 || facts->phase == RULES_DONE ? left : 1;
}

static int64_t integer_of(const struct reply *reply, enum answer_field field) {
  switch (field) {
    case ANSWER_TOKEN: return (int64_t)reply->record->facts.token;
    case ANSWER_LEASE: return reply->record->facts.lease_ms;
    case ANSWER_ATTEMPT: return reply->record->facts.attempt;
    case ANSWER_AGE: return age_ms(reply);
    case ANSWER_LEFT: return left_ms(reply);
    case ANSWER_WAITERS:
    case ANSWER_HORIZON:
    case ANSWER_MOST: return reply->number;
    case ANSWER_ONE: return 1;
    default: return 0;
  }
}

static struct span bulk_of(const struct reply *reply, enum answer_field field) {
  switch (field) {
    case ANSWER_OWNER: return reply->record->owner;
    case ANSWER_BODY: return reply->record->body;
    case ANSWER_STAGE:
    case ANSWER_META:
    default: return reply->record->extra;
  }
}

static void write_field(RedisModuleCtx *ctx, const struct reply *reply, enum answer_field field) {
  if (answer_is_integer(field)) {
    api.ReplyWithLongLong(ctx, integer_of(reply, field));
    return;
  }
  struct span bulk = bulk_of(reply, field);
  if (span_present(bulk)) {
    api.ReplyWithStringBuffer(ctx, bulk.data, bulk.len);
  } else {
    api.ReplyWithNull(ctx);
  }
}

/* ---- the whole ---- */

static void write_array(RedisModuleCtx *ctx, const struct reply *reply,
                        const struct answer_form *form) {
  api.ReplyWithArray(ctx, 1 + (long)form->count);
  api.ReplyWithStringBuffer(ctx, form->text.data, form->text.len);
  for (size_t i = 0; i < form->count; i++) write_field(ctx, reply, form->fields[i]);
}

void reply_write(RedisModuleCtx *ctx, const struct reply *reply) {
  if (reply->error != NULL) {
    api.ReplyWithError(ctx, reply->error);
    return;
  }
  const struct answer_form *form = &ANSWER_FORMS[reply->kind];
  switch (form->shape) {
    case ANSWER_IS_ARRAY: write_array(ctx, reply, form); return;
    case ANSWER_IS_INTEGER: api.ReplyWithLongLong(ctx, integer_of(reply, form->fields[0])); return;
    case ANSWER_IS_NULL: api.ReplyWithNullArray(ctx); return;
    case ANSWER_IS_ERROR:
    default:
      assert(form->count == 0); /* quotas are the server's */
      api.ReplyWithError(ctx, form->text.data);
      return;
  }
}
