/* deliver.c - see deliver.h. */
#include "server/commands/deliver.h"

#include <assert.h>

#include "server/commands/access.h"
#include "server/commands/born.h"
#include "server/commands/reply.h"
#include "server/commands/silence.h"
#include "server/commands/waits.h"
#include "server/rules/answer.h"
#include "server/engine/pin.h"
#include "server/engine/waiter.h"

/* ---- the values of fields ---- */

static inline int64_t integer_of(const struct engine_answer *answer, enum answer_field field) {
  switch (field) {
    case ANSWER_TOKEN: return (int64_t)answer->token;
    case ANSWER_LEASE: return answer->lease_ms;
    case ANSWER_ATTEMPT: return answer->attempt;
    case ANSWER_AGE: return answer->age_ms;
    case ANSWER_LEFT: return answer->left_ms;
    case ANSWER_WAITERS: return (int64_t)answer->count;
    case ANSWER_MOST: return (int64_t)answer->count;
    case ANSWER_HORIZON: return answer->horizon_ms;
    case ANSWER_ONE: return 1;
    case ANSWER_ZERO:
    default: return 0;
  }
}

static inline struct span bulk_of(const struct engine_answer *answer, enum answer_field field) {
  switch (field) {
    case ANSWER_BODY: return answer->body_bytes;
    case ANSWER_META: return answer->meta_bytes;
    case ANSWER_STAGE: return pin_bytes(answer->stage);
    case ANSWER_OWNER: return pin_bytes(answer->owner);
    default: return SPAN_ABSENT;
  }
}

/* ---- the writers ---- */

/*
 * Each kind of answer has its own writer: the compiler then knows the form, and the writer checks
 * the room once and then writes one field after the other. A single writer that reads the form at
 * run time took 36 instructions more, for an integer.
 */
#define SPECIALISED inline __attribute__((always_inline))

/* "*5\r\n$7\r\nCLAIMED\r\n" */
#define HEAD_MAX (sizeof "*1\r\n$1\r\n\r\n" - 1)
static SPECIALISED char *put_head(char *p, const struct answer_form *form) {
  char lengths[] = "*0\r\n$0\r\n";
  assert(1 + form->count < 10 && form->text.len < 10); /* a digit each */
  lengths[1] = (char)('0' + 1 + form->count);
  lengths[5] = (char)('0' + form->text.len);
  p = resp_write_put_literal(p, (struct span){lengths, sizeof lengths - 1});
  return resp_write_put_literal(resp_write_put_literal(p, form->text), SPAN_LITERAL("\r\n"));
}

/* A field, and its bytes when it is a bulk string. */
struct part {
  enum answer_field field;
  struct span bulk;
};

static SPECIALISED struct part part_of(const struct engine_answer *answer,
                                       enum answer_field field) {
  return (struct part){field, answer_is_integer(field) ? SPAN_ABSENT : bulk_of(answer, field)};
}

static SPECIALISED bool is_large(struct part part) {
  bool is_body = part.field == ANSWER_BODY || part.field == ANSWER_META;
  return is_body && part.bulk.len >= REPLY_PINNED_BYTES;
}

static SPECIALISED size_t room_of(struct part part) {
  if (part.field == ANSWER_NO_FIELD) return 0;
  return answer_is_integer(part.field) ? RESP_WRITE_INTEGER_MAX
                                       : RESP_WRITE_BULK_MAX(part.bulk.len);
}

static SPECIALISED char *put_part(const struct resp_writer *reply, char *p,
                                  const struct engine_answer *answer, struct part part) {
  if (part.field == ANSWER_NO_FIELD) return p;
  if (answer_is_integer(part.field))
    return resp_write_put_integer(p, integer_of(answer, part.field));
  return resp_write_put_bulk(reply, p, part.bulk);
}

static void write_field(struct resp_writer *reply, struct shard *shard,
                        const struct engine_answer *answer, enum answer_field field) {
  if (answer_is_integer(field)) {
    resp_write_integer(reply, integer_of(answer, field));
  } else if (field == ANSWER_BODY) {
    reply_blob(reply, shard, answer->body, answer->body_bytes);
  } else if (field == ANSWER_META) {
    reply_blob(reply, shard, answer->meta, answer->meta_bytes);
  } else {
    resp_write_bulk(reply, bulk_of(answer, field));
  }
}

/* Field by field: a large one is sent from where it lies, without a copy. */
static __attribute__((noinline)) void write_large(struct resp_writer *reply, struct shard *shard,
                                                  const struct engine_answer *answer,
                                                  const struct answer_form *form) {
  resp_write_array(reply, 1 + form->count);
  resp_write_bulk(reply, form->text);
  for (size_t i = 0; i < form->count; i++) write_field(reply, shard, answer, form->fields[i]);
}

static SPECIALISED void write_array(struct resp_writer *reply, struct shard *shard,
                                    const struct engine_answer *answer,
                                    const struct answer_form *form) {
  _Static_assert(ANSWER_MAX_FIELDS == 5, "a to e");
  struct part a = part_of(answer, form->fields[0]), b = part_of(answer, form->fields[1]);
  struct part c = part_of(answer, form->fields[2]), d = part_of(answer, form->fields[3]);
  struct part e = part_of(answer, form->fields[4]);
  if (is_large(a) || is_large(b)) { /* a body comes first, then its meta */
    write_large(reply, shard, answer, form);
    return;
  }
  size_t room = room_of(a) + room_of(b) + room_of(c) + room_of(d) + room_of(e);
  char *p = resp_write_reserve(reply, HEAD_MAX + form->text.len + room);
  if (p == NULL) return;
  p = put_part(reply, put_head(p, form), answer, a);
  p = put_part(reply, p, answer, b);
  p = put_part(reply, p, answer, c);
  p = put_part(reply, p, answer, d);
  resp_write_commit(reply, put_part(reply, p, answer, e));
}

static void write_error(struct resp_writer *reply, const struct engine_answer *answer,
                        const struct answer_form *form) {
  if (form->count == 0) {
    resp_write_error(reply, form->text.data);
  } else {
    resp_write_errorf(reply, "%s %lld %s", form->text.data,
                      (long long)integer_of(answer, form->fields[0]), form->rest);
  }
}

static SPECIALISED void write_answer(struct resp_writer *reply, struct shard *shard,
                                     const struct engine_answer *answer,
                                     const struct answer_form *form) {
  switch (form->shape) {
    case ANSWER_IS_ARRAY: write_array(reply, shard, answer, form); return;
    case ANSWER_IS_INTEGER: resp_write_integer(reply, integer_of(answer, form->fields[0])); return;
    case ANSWER_IS_NULL: resp_write_null_array(reply); return;
    case ANSWER_IS_ERROR:
    default: write_error(reply, answer, form); return;
  }
}

#define WRITER(name, KIND)                                         \
  static void name(struct resp_writer *reply, struct shard *shard, \
                   const struct engine_answer *answer) {           \
    write_answer(reply, shard, answer, &ANSWER_FORMS[KIND]);       \
  }
WRITER(write_claimed, ANSWER_CLAIMED)
WRITER(write_done, ANSWER_DONE)
WRITER(write_busy, ANSWER_BUSY)
WRITER(write_lapsed, ANSWER_LAPSED)
WRITER(write_forgotten, ANSWER_FORGOTTEN)
WRITER(write_unknown, ANSWER_UNKNOWN)
WRITER(write_nothing, ANSWER_NOTHING)
WRITER(write_stored, ANSWER_STORED)
WRITER(write_renewed, ANSWER_RENEWED)
WRITER(write_released, ANSWER_RELEASED)
WRITER(write_not_yours, ANSWER_NOT_YOURS)
WRITER(write_mismatch, ANSWER_MISMATCH)
WRITER(write_stale_absent, ANSWER_STALE_ABSENT)
WRITER(write_stale_stored, ANSWER_STALE_STORED)
WRITER(write_stale_overtaken, ANSWER_STALE_OVERTAKEN)
WRITER(write_draining, ANSWER_DRAINING)
WRITER(write_no_room, ANSWER_NO_ROOM)
WRITER(write_conflict, ANSWER_CONFLICT)
WRITER(write_oom, ANSWER_OOM)
WRITER(write_busykey, ANSWER_BUSYKEY)
WRITER(write_claim_quota, ANSWER_CLAIM_QUOTA)
WRITER(write_waiter_quota, ANSWER_WAITER_QUOTA)
WRITER(write_wrongtype, ANSWER_WRONGTYPE)
WRITER(write_no_memory, ANSWER_NO_MEMORY)

typedef void writer(struct resp_writer *reply, struct shard *shard,
                    const struct engine_answer *answer);
static writer *const WRITERS[] = {
    [ENGINE_CLAIMED] = write_claimed,
    [ENGINE_DONE] = write_done,
    [ENGINE_BUSY] = write_busy,
    [ENGINE_LAPSED] = write_lapsed,
    [ENGINE_UNKNOWN] = write_unknown,
    [ENGINE_FORGOTTEN] = write_forgotten,
    [ENGINE_NOTHING] = write_nothing,
    [ENGINE_STORED] = write_stored,
    [ENGINE_RENEWED] = write_renewed,
    [ENGINE_RELEASED] = write_released,
    [ENGINE_NOT_YOURS] = write_not_yours,
    [ENGINE_MISMATCH] = write_mismatch,
    [ENGINE_STALE_ABSENT] = write_stale_absent,
    [ENGINE_STALE_STORED] = write_stale_stored,
    [ENGINE_STALE_OVERTAKEN] = write_stale_overtaken,
    [ENGINE_CLAIM_QUOTA] = write_claim_quota,
    [ENGINE_WAITER_QUOTA] = write_waiter_quota,
    [ENGINE_DRAINING] = write_draining,
    [ENGINE_NO_ROOM] = write_no_room,
    [ENGINE_CONFLICT] = write_conflict,
    [ENGINE_OOM] = write_oom,
    [ENGINE_BUSYKEY] = write_busykey,
    [ENGINE_WRONGTYPE] = write_wrongtype,
    [ENGINE_NO_MEMORY] = write_no_memory,
};

void deliver_answer(struct resp_writer *reply, struct shard *shard,
                    const struct engine_answer *answer) {
  WRITERS[answer->status](reply, shard, answer);
}

/* ---- waiters ---- */

void deliver_waiter(struct worker *worker, struct waiter *waiter) {
  struct session *session = waiter_context(waiter);
  const struct engine_answer *answer = waiter_answer(waiter);
  assert(session->waiter == waiter && session->waiting);
  struct resp_writer reply = session_writer(session, worker);
  bool aside = silence_begin_late(worker, session, &reply);
  struct shard *shard = keyspace_shard(worker->instance->keyspace, session->shard);
  int64_t now_ms = worker->now_ms;
  struct engine *engine = access_lock(worker, shard, &now_ms);
  struct engine_answer told;
  deliver_answer(&reply, shard, born_told(worker, answer, &told));
  waits_note(worker, session->active_ms, answer->status);
  session->waiting = false;
  session->active_ms = worker->monotonic_ms;
  worker->waiting_count--;
  if (answer->status != ENGINE_CLAIMED) {
    session->waiter = NULL;
    waiter_settle(engine, waiter);
  }
  access_unlock(worker, shard);
  if (aside) silence_drop(worker);
}

void deliver_written(struct session *session, struct worker *worker) {
  if (session->waiter == NULL || session->waiting) return;
  struct shard *shard = keyspace_shard(worker->instance->keyspace, session->shard);
  int64_t now_ms = worker->now_ms;
  waiter_settle(access_lock(worker, shard, &now_ms), session->waiter);
  access_unlock(worker, shard);
  session->waiter = NULL;
}
