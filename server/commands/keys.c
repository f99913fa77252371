/* keys.c - see keys.h. */
#include "server/commands/keys.h"

void keys_del(struct call *call) {
  int64_t deleted = 0;
  for (size_t i = 1; i < call->argc; i++) deleted += engine_delete(call->host->engine, call->argv[i], call->now_ms);
  resp_integer(call->reply, deleted);
}

void keys_exists(struct call *call) {
  int64_t found = 0;
  for (size_t i = 1; i < call->argc; i++) {
    struct engine_entry entry;
    engine_look(call->host->engine, call->argv[i], call->now_ms, &entry);
    found += entry.kind != ENGINE_ABSENT;
  }
  resp_integer(call->reply, found);
}

void keys_type(struct call *call) {
  static const char *const names[] = {[ENGINE_ABSENT] = "none", [ENGINE_RECORD] = "idem", [ENGINE_VALUE] = "string"};
  struct engine_entry entry;
  engine_look(call->host->engine, call->argv[1], call->now_ms, &entry);
  resp_simple(call->reply, names[entry.kind]);
}

/* -2: no such key, -1: it does not end by itself (a value without TTL, a claim that is held). */
static int64_t left_of(struct call *call) {
  struct engine_entry entry;
  engine_look(call->host->engine, call->argv[1], call->now_ms, &entry);
  return entry.kind == ENGINE_ABSENT ? -2 : entry.left_ms;
}

void keys_ttl(struct call *call) {
  int64_t left_ms = left_of(call);
  resp_integer(call->reply, left_ms < 0 ? left_ms : (left_ms + 500) / 1000);
}

void keys_pttl(struct call *call) { resp_integer(call->reply, left_of(call)); }

void keys_dbsize(struct call *call) {
  struct engine_stats stats;
  engine_stats(call->host->engine, &stats);
  resp_integer(call->reply, (int64_t)(stats.records + stats.values));
}

void keys_flush(struct call *call) {
  bool known = call->argc == 1 || (call->argc == 2 && (span_is(call->argv[1], "ASYNC") || span_is(call->argv[1], "SYNC")));
  if (!known) {
    reply_syntax_error(call);
    return;
  }
  engine_flush(call->host->engine, call->now_ms);
  reply_ok(call);
}
