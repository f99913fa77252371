/* generic.c - see generic.h. */
#include "server/commands/generic.h"

#include "server/commands/admission.h"
#include "server/commands/arguments.h"
#include "server/commands/audit.h"
#include "server/commands/reply.h"
#include "server/commands/shards.h"
#include "server/engine/keys.h"
#include "server/engine/pin.h"
#include "server/engine/quotas.h"
#include "server/engine/stats.h"

/* ---- looking and deleting ---- */

/* The shards of all arguments are locked. */
static void look(struct call *call, size_t index, struct keys_entry *entry) {
  keys_look(call_engine(call, call->argv[index]), call->argv[index], call->now_ms, entry);
}

static size_t count_claims(const struct call *call) {
  size_t claims = 0;
  for (size_t i = 1; i < call->argc; i++)
    claims += keys_has_claim(call_engine(call, call->argv[i]), call->argv[i]);
  return claims;
}

void generic_del(struct call *call) {
  int64_t deleted = 0;
  if (admission_counts(call) && !admission_keeps_claims(call, count_claims(call))) return;
  for (size_t i = 1; i < call->argc; i++)
    deleted += keys_delete(call_engine(call, call->argv[i]), call->argv[i], call->now_ms);
  resp_write_integer(call->reply, deleted);
}

void generic_exists(struct call *call) {
  int64_t found = 0;
  for (size_t i = 1; i < call->argc; i++) {
    struct keys_entry entry;
    look(call, i, &entry);
    found += entry.kind != KEYS_ABSENT;
  }
  resp_write_integer(call->reply, found);
}

const char *generic_kind_name(enum keys_kind kind) {
  static const char *const names[] = {
      [KEYS_ABSENT] = "none", [KEYS_RECORD] = "idem", [KEYS_VALUE] = "string"};
  return names[kind];
}

void generic_type(struct call *call) {
  struct keys_entry entry;
  look(call, 1, &entry);
  resp_write_simple(call->reply, generic_kind_name(entry.kind));
}

void generic_dbsize(struct call *call) {
  struct stats stats;
  shards_stats(call->worker, &stats);
  resp_write_integer(call->reply, (int64_t)(stats.records + stats.values));
}

void generic_flush(struct call *call) {
  bool known =
      call->argc == 1 ||
      (call->argc == 2 && (span_is(call->argv[1], "ASYNC") || span_is(call->argv[1], "SYNC")));
  if (!known) {
    reply_syntax_error(call);
    return;
  }
  struct keyspace *keyspace = call->worker->instance->keyspace;
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++)
    keys_flush(shard_engine(keyspace_shard(keyspace, i)), call->now_ms);
  quotas_forget_claims(keyspace_quotas(keyspace));
  audit_flush(call);
  reply_ok(call);
}

/* ---- OBJECT, MEMORY ---- */

/* OBJECT SUB key: null when there is no such key. */
static bool find_object(struct call *call, struct keys_entry *entry) {
  look(call, 2, entry);
  if (entry->kind != KEYS_ABSENT) return true;
  resp_write_null(call->reply);
  return false;
}

/* What Redis 7.0 would have said of the same bytes: the limit of embstr is its
 * OBJ_ENCODING_EMBSTR_SIZE_LIMIT. */
#define EMBSTR_BYTES 44

void generic_object_encoding(struct call *call) {
  struct keys_entry entry;
  if (!find_object(call, &entry)) return;
  struct span bytes = pin_bytes(entry.body);
  long long value = 0;
  if (entry.kind == KEYS_RECORD) {
    resp_write_bulk_text(call->reply, "raw");
  } else if (bytes.len <= SPAN_NUMBER_MAX && span_to_i64(bytes, &value)) {
    resp_write_bulk_text(call->reply, "int");
  } else {
    resp_write_bulk_text(call->reply, bytes.len <= EMBSTR_BYTES ? "embstr" : "raw");
  }
}

void generic_object_refcount(struct call *call) {
  struct keys_entry entry;
  if (find_object(call, &entry)) resp_write_integer(call->reply, 1);
}

void generic_object_freq(struct call *call) {
  struct keys_entry entry;
  if (!find_object(call, &entry)) return;
  resp_write_error(
      call->reply,
      "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please "
      "note that when switching between policies at runtime LRU and LFU data will take some "
      "time to adjust.");
}

void generic_object_idletime(struct call *call) {
  struct keys_entry entry;
  if (!find_object(call, &entry)) return;
  resp_write_error(call->reply, "ERR idle time is not tracked: nothing is ever evicted");
}

static bool parse_samples(struct call *call) {
  for (size_t i = 3; i < call->argc; i += 2) {
    long long samples = 0;
    bool known = i + 1 < call->argc && span_is(call->argv[i], "SAMPLES");
    if (known && !arguments_integer(call, call->argv[i + 1], &samples)) return false;
    if (known && samples >= 0) continue;
    reply_syntax_error(call);
    return false;
  }
  return true;
}

void generic_memory_usage(struct call *call) {
  struct keys_entry entry;
  if (!parse_samples(call) || !find_object(call, &entry)) return;
  resp_write_integer(call->reply, (int64_t)keys_memory(call->engine, call->argv[2], call->now_ms));
}
