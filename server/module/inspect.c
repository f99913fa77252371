/* inspect.c - see inspect.h. */
#include "server/module/inspect.h"

#include "server/module/alarm.h"
#include "server/module/arguments.h"
#include "server/module/due.h"

/* ---- what is shown ---- */

static int64_t left_ms(int64_t deadline_ms, int64_t now_ms, int64_t least_ms) {
  if (deadline_ms == RULES_NEVER) return INSPECTION_NONE;
  return deadline_ms - now_ms > least_ms ? deadline_ms - now_ms : least_ms;
}

static int64_t length_of(struct span bytes) {
  return span_present(bytes) ? (int64_t)bytes.len : INSPECTION_NONE;
}

static int64_t waiters_of(const struct visit *visit) {
  const struct queue *queue = visit_queue(visit);
  return queue != NULL ? (int64_t)queue->count : 0;
}

/* As BUSY says it: until a lease ends, at least 1 ms is left. */
void inspect_show(const struct visit *visit, struct inspection *shown) {
  const struct layout_record *record = &visit->record;
  const struct rules_record *facts = &record->facts;
  bool held = facts->phase == RULES_HELD, done = facts->phase == RULES_DONE;
  *shown = (struct inspection){
      .key = visit->text,
      .state = inspection_state(facts->phase),
      .owner = record->owner,
      .stage = done ? SPAN_ABSENT : record->extra,
      .fingerprint = record->fingerprint,
      .token = (int64_t)facts->token,
      .attempt = done ? INSPECTION_NONE : (int64_t)facts->attempt,
      .age_ms = visit->now_ms > facts->since_ms ? visit->now_ms - facts->since_ms : 0,
      .lease_left_ms = held ? left_ms(facts->deadline_ms, visit->now_ms, 1) : INSPECTION_NONE,
      .ttl_left_ms = held ? INSPECTION_NONE : left_ms(facts->deadline_ms, visit->now_ms, 0),
      .waiters = waiters_of(visit),
      .bind = facts->bind,
      .hold = facts->hold,
      .body_bytes = done ? length_of(record->body) : INSPECTION_NONE,
      .meta_bytes = done ? length_of(record->extra) : INSPECTION_NONE,
  };
}

static void write_bytes(RedisModuleCtx *ctx, struct span bytes) {
  if (span_present(bytes)) {
    api.ReplyWithStringBuffer(ctx, bytes.data, bytes.len);
  } else {
    api.ReplyWithNull(ctx);
  }
}

static void write_field(RedisModuleCtx *ctx, const struct inspection *shown,
                        const struct inspection_field *field) {
  write_bytes(ctx, field->name);
  if (field->kind == INSPECTION_BYTES) {
    write_bytes(ctx, inspection_bytes(shown, field));
    return;
  }
  int64_t number = inspection_integer(shown, field);
  if (number == INSPECTION_NONE) {
    api.ReplyWithNull(ctx);
  } else {
    api.ReplyWithLongLong(ctx, number);
  }
}

void inspect_write(RedisModuleCtx *ctx, const struct inspection *shown, size_t first) {
  api.ReplyWithMap(ctx, INSPECTION_FIELD_COUNT - (long)first);
  for (size_t i = first; i < INSPECTION_FIELD_COUNT; i++)
    write_field(ctx, shown, &INSPECTION_FIELDS[i]);
}

/* ---- the command ---- */

static void write_visit(RedisModuleCtx *ctx, const struct visit *visit) {
  struct inspection shown;
  if (visit->found == VISIT_FOREIGN) {
    api.ReplyWithError(ctx, answer_error(ANSWER_WRONGTYPE));
  } else if (visit->record.facts.phase == RULES_ABSENT) {
    api.ReplyWithNullArray(ctx);
  } else {
    inspect_show(visit, &shown);
    inspect_write(ctx, &shown, INSPECTION_WITHOUT_KEY);
  }
}

int inspect_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  struct arguments arguments;
  if (argc > 2) return api.WrongArity(ctx);
  if (!arguments_take(&arguments, ctx, argv, argc, 2, &host.settings.limits, request_limit))
    return API_OK;
  struct visit visit;
  due_open_to_read(&visit, &host, ctx, argv[1]);
  write_visit(ctx, &visit);
  due_close(&visit);
  if (host.waiters.count > 0) alarm_set(&host);
  return API_OK;
}
