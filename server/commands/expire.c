/* expire.c - see expire.h. */
#include "server/commands/expire.h"

#include "server/commands/arguments.h"
#include "server/commands/reply.h"
#include "server/engine/keys.h"

static void look(struct call *call, struct keys_entry *entry) {
  keys_look(call->engine, call->argv[1], call->now_ms, entry);
}

int64_t expire_unix_ms(const struct call *call) {
  return call->now_ms + worker_wall_offset_ms(call->worker);
}

int64_t expire_deadline(const struct call *call, long long unix_ms) {
  int64_t deadline_ms = 0;
  if (unix_ms <= expire_unix_ms(call)) return call->now_ms;
  if (__builtin_sub_overflow((int64_t)unix_ms, worker_wall_offset_ms(call->worker), &deadline_ms))
    return RULES_NEVER - 1;
  return deadline_ms < RULES_NEVER ? deadline_ms : RULES_NEVER - 1;
}

void expire_reply_invalid(struct call *call) {
  char name[COMMAND_NAME_BYTES];
  command_name(call->command, name);
  resp_write_errorf(call->reply, "ERR invalid expire time in '%s' command", name);
}

static int64_t seconds_of(int64_t ms) { return ms / 1000 + (ms % 1000 >= 500); }

/* -2: no such key, -1: it does not end by itself (a value without TTL, a claim that is held). */
static void reply_end(struct call *call, bool in_seconds, bool absolute) {
  struct keys_entry entry;
  look(call, &entry);
  int64_t ms = entry.kind == KEYS_ABSENT ? -2 : entry.left_ms;
  if (ms >= 0 && absolute) ms += expire_unix_ms(call);
  resp_write_integer(call->reply, ms >= 0 && in_seconds ? seconds_of(ms) : ms);
}

void expire_ttl(struct call *call) { reply_end(call, true, false); }
void expire_pttl(struct call *call) { reply_end(call, false, false); }
void expire_expiretime(struct call *call) { reply_end(call, true, true); }
void expire_pexpiretime(struct call *call) { reply_end(call, false, true); }

struct expire_words {
  bool nx, xx, gt, lt;
};

static bool parse_expire_words(struct call *call, struct expire_words *words) {
  for (size_t i = 3; i < call->argc; i++) {
    bool *word = span_is(call->argv[i], "NX")   ? &words->nx
                 : span_is(call->argv[i], "XX") ? &words->xx
                 : span_is(call->argv[i], "GT") ? &words->gt
                 : span_is(call->argv[i], "LT") ? &words->lt
                                                : NULL;
    if (word == NULL) {
      resp_write_error_quoting(call->reply, "ERR Unsupported option ", call->argv[i], "");
      return false;
    }
    *word = true;
  }
  if (words->nx && (words->xx || words->gt || words->lt)) {
    resp_write_error(call->reply,
                     "ERR NX and XX, GT or LT options at the same time are not compatible");
    return false;
  }
  if (words->gt && words->lt) {
    resp_write_error(call->reply, "ERR GT and LT options at the same time are not compatible");
    return false;
  }
  return true;
}

/* argv[2] as a unix time. Negative ones are allowed: they delete. */
static bool parse_expire_time(struct call *call, bool in_seconds, bool absolute,
                              long long *unix_ms) {
  if (!arguments_integer(call, call->argv[2], unix_ms)) return false;
  bool valid = !in_seconds || !__builtin_mul_overflow(*unix_ms, 1000LL, unix_ms);
  long long from_ms = absolute ? 0 : expire_unix_ms(call);
  valid = valid && !__builtin_add_overflow(*unix_ms, from_ms, unix_ms);
  if (!valid) expire_reply_invalid(call);
  return valid;
}

/* left_ms is -1 for a key without an end: it counts as infinite, so GT never moves it, and LT
 * always does. */
static bool expire_wanted(const struct expire_words *words, int64_t left_ms,
                          int64_t wanted_left_ms) {
  if (words->nx) return left_ms < 0;
  if (words->xx && left_ms < 0) return false;
  if (words->gt) return left_ms >= 0 && wanted_left_ms > left_ms;
  if (words->lt) return left_ms < 0 || wanted_left_ms < left_ms;
  return true;
}

/* A response is kept no longer than STORE could have requested. */
static bool keeps_cap(struct call *call, const struct keys_entry *entry, int64_t deadline_ms) {
  int64_t cap_ms = call->worker->options->limits.ttl_max_ms;
  if (entry->kind != KEYS_RECORD || deadline_ms - call->now_ms <= cap_ms) return true;
  resp_write_errorf(call->reply, "ERR TTL must be between 0 and %lld milliseconds",
                    (long long)cap_ms);
  return false;
}

static void set(struct call *call, bool in_seconds, bool absolute) {
  struct expire_words words = {0};
  long long unix_ms = 0;
  if (!parse_expire_words(call, &words)) return;
  if (!parse_expire_time(call, in_seconds, absolute, &unix_ms)) return;
  struct keys_entry entry;
  look(call, &entry);
  int64_t deadline_ms = expire_deadline(call, unix_ms);
  bool done = entry.kind == KEYS_RECORD && entry.phase == RULES_DONE;
  bool movable = done || entry.kind == KEYS_VALUE;
  if (!movable || !expire_wanted(&words, entry.left_ms, deadline_ms - call->now_ms)) {
    resp_write_integer(call->reply, 0);
  } else if (keeps_cap(call, &entry, deadline_ms)) {
    keys_set_deadline(call->engine, call->argv[1], deadline_ms, call->now_ms);
    resp_write_integer(call->reply, 1);
  }
}

void expire_expire(struct call *call) { set(call, true, false); }
void expire_pexpire(struct call *call) { set(call, false, false); }
void expire_expireat(struct call *call) { set(call, true, true); }
void expire_pexpireat(struct call *call) { set(call, false, true); }

void expire_persist(struct call *call) {
  struct keys_entry entry;
  look(call, &entry);
  bool persists = entry.kind == KEYS_VALUE && entry.left_ms >= 0;
  resp_write_integer(call->reply, persists);
  if (!persists) return;
  keys_set_deadline(call->engine, call->argv[1], RULES_NEVER, call->now_ms);
}
