/* keys.c - see keys.h. */
#include "server/base/glob.h"
#include "server/commands/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/types.h>

#include "server/commands/task.h"

/* ---- looking and deleting ---- */

static void look(struct call *call, size_t index, struct engine_entry *entry) {
  engine_look(call_engine(call, call->argv[index]), call->argv[index], call->now_ms, entry);
}

static unsigned shards_of(const struct call *call) {
  return keyspace_shards(call->worker->instance->keyspace);
}

static struct engine *engine_at(const struct call *call, unsigned number) {
  return shard_engine(keyspace_shard(call->worker->instance->keyspace, number));
}

void keys_del(struct call *call) {
  int64_t deleted = 0;
  for (size_t i = 1; i < call->argc; i++)
    deleted += engine_delete(call_engine(call, call->argv[i]), call->argv[i], call->now_ms);
  resp_write_integer(call->reply, deleted);
}

void keys_exists(struct call *call) {
  int64_t found = 0;
  for (size_t i = 1; i < call->argc; i++) {
    struct engine_entry entry;
    look(call, i, &entry);
    found += entry.kind != ENGINE_ABSENT;
  }
  resp_write_integer(call->reply, found);
}

static const char *const KIND_NAMES[] = {
    [ENGINE_ABSENT] = "none", [ENGINE_RECORD] = "idem", [ENGINE_VALUE] = "string"};

void keys_type(struct call *call) {
  struct engine_entry entry;
  look(call, 1, &entry);
  resp_write_simple(call->reply, KIND_NAMES[entry.kind]);
}

void keys_dbsize(struct call *call) {
  struct engine_stats stats;
  worker_engine_stats(call->worker, &stats);
  resp_write_integer(call->reply, (int64_t)(stats.records + stats.values));
}

void keys_flush(struct call *call) {
  bool known =
      call->argc == 1 ||
      (call->argc == 2 && (span_is(call->argv[1], "ASYNC") || span_is(call->argv[1], "SYNC")));
  if (!known) {
    reply_syntax_error(call);
    return;
  }
  for (unsigned i = 0; i < shards_of(call); i++) engine_flush(engine_at(call, i), call->now_ms);
  reply_ok(call);
}

/* ---- when a key ends ---- */

int64_t keys_unix_ms(const struct call *call) {
  return call->now_ms + worker_wall_offset_ms(call->worker);
}

int64_t keys_deadline(const struct call *call, long long unix_ms) {
  int64_t deadline_ms = 0;
  if (unix_ms <= keys_unix_ms(call)) return call->now_ms;
  if (__builtin_sub_overflow((int64_t)unix_ms, worker_wall_offset_ms(call->worker), &deadline_ms))
    return ENGINE_NO_DEADLINE - 1;
  return deadline_ms < ENGINE_NO_DEADLINE ? deadline_ms : ENGINE_NO_DEADLINE - 1;
}

void keys_reply_invalid_expire(struct call *call) {
  char name[COMMAND_NAME_BYTES];
  command_name(call->command, name);
  resp_write_errorf(call->reply, "ERR invalid expire time in '%s' command", name);
}

static int64_t seconds_of(int64_t ms) { return ms / 1000 + (ms % 1000 >= 500); }

/* -2: no such key, -1: it does not end by itself (a value without TTL, a claim that is held). */
static void reply_end(struct call *call, bool in_seconds, bool absolute) {
  struct engine_entry entry;
  look(call, 1, &entry);
  int64_t ms = entry.kind == ENGINE_ABSENT ? -2 : entry.left_ms;
  if (ms >= 0 && absolute) ms += keys_unix_ms(call);
  resp_write_integer(call->reply, ms >= 0 && in_seconds ? seconds_of(ms) : ms);
}

void keys_ttl(struct call *call) { reply_end(call, true, false); }
void keys_pttl(struct call *call) { reply_end(call, false, false); }
void keys_expiretime(struct call *call) { reply_end(call, true, true); }
void keys_pexpiretime(struct call *call) { reply_end(call, false, true); }

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
  if (!parse_integer(call, call->argv[2], unix_ms)) return false;
  bool valid = !in_seconds || !__builtin_mul_overflow(*unix_ms, 1000LL, unix_ms);
  long long from_ms = absolute ? 0 : keys_unix_ms(call);
  valid = valid && !__builtin_add_overflow(*unix_ms, from_ms, unix_ms);
  if (!valid) keys_reply_invalid_expire(call);
  return valid;
}

/* left_ms is -1 for a key without an end: GT never moves that nearer, LT always does. */
static bool expire_wanted(const struct expire_words *words, int64_t left_ms,
                          int64_t wanted_left_ms) {
  if (words->nx) return left_ms < 0;
  if (words->xx && left_ms < 0) return false;
  if (words->gt) return left_ms >= 0 && wanted_left_ms > left_ms;
  if (words->lt) return left_ms < 0 || wanted_left_ms < left_ms;
  return true;
}

/* A response is kept no longer than STORE could have asked for. */
static bool keeps_cap(struct call *call, const struct engine_entry *entry, int64_t deadline_ms) {
  int64_t cap_ms = call->worker->options->limits.ttl_max_ms;
  if (entry->kind != ENGINE_RECORD || deadline_ms - call->now_ms <= cap_ms) return true;
  resp_write_errorf(call->reply, "ERR TTL must be between 0 and %lld milliseconds",
                    (long long)cap_ms);
  return false;
}

static void expire(struct call *call, bool in_seconds, bool absolute) {
  struct expire_words words = {0};
  long long unix_ms = 0;
  if (!parse_expire_words(call, &words)) return;
  if (!parse_expire_time(call, in_seconds, absolute, &unix_ms)) return;
  struct engine_entry entry;
  look(call, 1, &entry);
  int64_t deadline_ms = keys_deadline(call, unix_ms);
  bool done = entry.kind == ENGINE_RECORD && entry.phase == RULES_DONE;
  bool movable = done || entry.kind == ENGINE_VALUE;
  if (!movable || !expire_wanted(&words, entry.left_ms, deadline_ms - call->now_ms)) {
    resp_write_integer(call->reply, 0);
  } else if (keeps_cap(call, &entry, deadline_ms)) {
    engine_set_deadline(call->engine, call->argv[1], deadline_ms, call->now_ms);
    resp_write_integer(call->reply, 1);
  }
}

void keys_expire(struct call *call) { expire(call, true, false); }
void keys_pexpire(struct call *call) { expire(call, false, false); }
void keys_expireat(struct call *call) { expire(call, true, true); }
void keys_pexpireat(struct call *call) { expire(call, false, true); }

void keys_persist(struct call *call) {
  struct engine_entry entry;
  look(call, 1, &entry);
  bool persists = entry.kind == ENGINE_VALUE && entry.left_ms >= 0;
  resp_write_integer(call->reply, persists);
  if (!persists) return;
  engine_set_deadline(call->engine, call->argv[1], ENGINE_NO_DEADLINE, call->now_ms);
}

/* ---- walking the keys ---- */

/* An escaped key is twice as long. What is longer than that is there to cost time. */
size_t keys_pattern_limit(const struct options *options, const struct span *argv, size_t index) {
  (void)argv;
  (void)index;
  return 2 * (size_t)options->limits.key_bytes;
}

/* KEYS and SCAN: a walk through the shards from a cursor, until enough was seen. */
struct walk {
  struct task task;
  struct span pattern; /* absent: all; in `bytes` */
  struct span type;    /* absent: any; as pattern */
  uint64_t cursor;
  uint64_t seen, found;
  uint64_t count, buckets; /* it ends when so many keys were seen, or buckets visited */
  struct gathered keys;
  char bytes[]; /* what the arguments said */
};

static void visit(void *context, struct span key, const struct engine_entry *entry) {
  struct walk *walk = context;
  walk->seen++;
  if (span_present(walk->type) && !span_is(walk->type, KIND_NAMES[entry->kind])) return;
  if (span_present(walk->pattern) && !glob_match(walk->pattern, key, false)) return;
  walk->found++;
  char header[RESP_WRITE_INTEGER_MAX];
  int len = snprintf(header, sizeof header, "$%zu\r\n", key.len);
  gathered_append(&walk->keys, header, (size_t)len);
  gathered_append(&walk->keys, key.data, key.len);
  gathered_append(&walk->keys, "\r\n", 2);
}

static struct span pattern_of(struct span text) {
  return span_equal(text, SPAN_LITERAL("*")) ? SPAN_ABSENT : text;
}

/* A cursor is one of an engine, with the number of its shard above: 53 bits in all. */
#define CURSOR_BITS 47u

/* The next bucket. */
static uint64_t next_cursor(struct call *call, struct walk *walk) {
  uint64_t number = (walk->cursor >> CURSOR_BITS) % shards_of(call);
  uint64_t in_shard = walk->cursor & ((UINT64_C(1) << CURSOR_BITS) - 1);
  struct shard *shard = keyspace_shard(call->worker->instance->keyspace, (unsigned)number);
  struct engine *engine = worker_lock(call->worker, shard, &call->now_ms);
  in_shard = engine_scan(engine, in_shard, call->now_ms, visit, walk);
  worker_unlock(call->worker, shard);
  if (in_shard != 0) return number << CURSOR_BITS | in_shard;
  return number + 1 < shards_of(call) ? (number + 1) << CURSOR_BITS : 0;
}

/* Buckets visited between two looks at the clock: some microseconds. With a pattern, which may take
 * long, there is one. */
#define BUCKETS_AT_ONCE 16u

static bool walk_step(struct call *call, struct task *task) {
  struct walk *walk = (struct walk *)task;
  unsigned at_once = span_present(walk->pattern) ? 1 : BUCKETS_AT_ONCE;
  do {
    for (unsigned i = 0; i < at_once; i++) {
      walk->cursor = next_cursor(call, walk);
      if (walk->cursor == 0 || --walk->buckets == 0 || walk->seen >= walk->count) return true;
    }
  } while (!task_over(task) && !walk->keys.failed);
  return walk->keys.failed;
}

static void walk_destroy(struct worker *worker, struct task *task) {
  (void)worker;
  struct walk *walk = (struct walk *)task;
  gathered_deinit(&walk->keys);
  free(walk);
}

/* The number of elements goes in front of them. */
static void reply_keys(struct call *call, struct walk *walk) {
  resp_write_array(call->reply, walk->found);
  gathered_send(&walk->keys, call->reply);
}

static void keys_reply(struct call *call, struct task *task) {
  struct walk *walk = (struct walk *)task;
  if (gathered_whole(&walk->keys, call->reply)) reply_keys(call, walk);
}

static void scan_reply(struct call *call, struct task *task) {
  struct walk *walk = (struct walk *)task;
  if (!gathered_whole(&walk->keys, call->reply)) return;
  char text[SPAN_NUMBER_MAX + 1];
  snprintf(text, sizeof text, "%llu", (unsigned long long)walk->cursor);
  resp_write_array(call->reply, 2);
  resp_write_bulk_text(call->reply, text);
  reply_keys(call, walk);
}

static struct span keep(char **to, struct span text) {
  if (!span_present(text)) return SPAN_ABSENT;
  if (text.len > 0) memcpy(*to, text.data, text.len);
  *to += text.len;
  return (struct span){*to - text.len, text.len};
}

/* `as` says what to walk; its spans are copied. */
static void walk_begin(struct call *call, const struct walk *as) {
  struct walk *walk = malloc(sizeof *walk + as->pattern.len + as->type.len);
  if (walk == NULL) {
    resp_write_error(call->reply, "ERR out of memory");
    return;
  }
  *walk = *as;
  char *to = walk->bytes;
  walk->pattern = keep(&to, as->pattern);
  walk->type = keep(&to, as->type);
  walk->keys.instance = call->worker->instance;
  walk->task.large = true;
  walk->task.step = walk_step;
  walk->task.destroy = walk_destroy;
  task_begin(call, &walk->task);
}

void keys_keys(struct call *call) {
  const struct walk walk = {.task = {.reply = keys_reply},
                            .pattern = pattern_of(call->argv[1]),
                            .count = UINT64_MAX,
                            .buckets = UINT64_MAX};
  walk_begin(call, &walk);
}

#define SCAN_DEFAULT_COUNT 10
/* Buckets visited for each key asked for, as in Redis; and at least as many as make small tables
 * come in one answer. */
#define SCAN_BUCKETS_PER_KEY 10
#define SCAN_MIN_BUCKETS 1024
#define SCAN_MIN_BUCKETS_PER_SHARD 256

/* Any unsigned number of 64 bits, as Redis takes it: one that no scan has given leads somewhere,
 * and to an end. */
static bool parse_cursor(struct call *call, struct span text, uint64_t *cursor) {
  bool valid = true;
  *cursor = 0;
  for (size_t i = 0; i < text.len && valid; i++) {
    valid = text.data[i] >= '0' && text.data[i] <= '9' &&
            !__builtin_mul_overflow(*cursor, (uint64_t)10, cursor) &&
            !__builtin_add_overflow(*cursor, (uint64_t)(text.data[i] - '0'), cursor);
  }
  if (!valid) resp_write_error(call->reply, "ERR invalid cursor");
  return valid;
}

static bool parse_count(struct call *call, struct span text, uint64_t *count) {
  long long value = 0;
  if (!parse_integer(call, text, &value)) return false;
  if (value < 1) {
    reply_syntax_error(call);
    return false;
  }
  *count = (uint64_t)value;
  return true;
}

static bool parse_scan_words(struct call *call, struct walk *walk) {
  for (size_t i = 2; i < call->argc; i += 2) {
    struct span word = call->argv[i];
    struct span value = i + 1 < call->argc ? call->argv[i + 1] : SPAN_ABSENT;
    if (span_present(value) && span_is(word, "COUNT")) {
      if (!parse_count(call, value, &walk->count)) return false;
    } else if (span_present(value) && span_is(word, "MATCH")) {
      walk->pattern = pattern_of(value);
    } else if (span_present(value) && span_is(word, "TYPE")) {
      walk->type = value;
    } else {
      reply_syntax_error(call);
      return false;
    }
  }
  return true;
}

void keys_scan(struct call *call) {
  struct walk walk = {.task = {.reply = scan_reply}, .count = SCAN_DEFAULT_COUNT};
  if (!parse_cursor(call, call->argv[1], &walk.cursor) || !parse_scan_words(call, &walk)) return;
  walk.buckets = walk.count <= UINT64_MAX / SCAN_BUCKETS_PER_KEY ? walk.count * SCAN_BUCKETS_PER_KEY
                                                                 : UINT64_MAX;
  uint64_t least = (uint64_t)shards_of(call) * SCAN_MIN_BUCKETS_PER_SHARD;
  if (least < SCAN_MIN_BUCKETS) least = SCAN_MIN_BUCKETS;
  if (walk.buckets < least) walk.buckets = least;
  walk_begin(call, &walk);
}

/* A shard is as likely as it has keys; when all that it has are over, others follow. */
static struct span random_key(struct call *call, uint64_t random) {
  struct engine_stats stats;
  worker_engine_stats(call->worker, &stats);
  uint64_t keys = stats.records + stats.values;
  unsigned first = 0, shards = shards_of(call);
  for (uint64_t left = keys > 0 ? random % keys : 0; first + 1 < shards; first++) {
    engine_stats(engine_at(call, first), &stats);
    if (left < stats.records + stats.values) break;
    left -= stats.records + stats.values;
  }
  struct span key = SPAN_ABSENT;
  for (unsigned i = 0; i < shards && !span_present(key); i++)
    key = engine_random_key(engine_at(call, (first + i) % shards), keys > 0 ? random / keys : 0,
                            call->now_ms);
  return key;
}

void keys_randomkey(struct call *call) {
  uint64_t random = 0;
  /* Short of entropy (early boot) the time will do: nothing depends on what comes. */
  ssize_t got = getrandom(&random, sizeof random, GRND_NONBLOCK);
  if (got != (ssize_t)sizeof random) random = (uint64_t)call->now_ms * 2654435761u;
  resp_write_bulk(call->reply, random_key(call, random));
}

/* ---- OBJECT, MEMORY ---- */

/* OBJECT SUB key: null when there is no such key. */
static bool find_object(struct call *call, struct engine_entry *entry) {
  look(call, 2, entry);
  if (entry->kind != ENGINE_ABSENT) return true;
  resp_write_null(call->reply);
  return false;
}

/* What Redis 7.0 would have said of the same bytes: the limit of embstr is its
 * OBJ_ENCODING_EMBSTR_SIZE_LIMIT. */
#define EMBSTR_BYTES 44

void keys_object_encoding(struct call *call) {
  struct engine_entry entry;
  if (!find_object(call, &entry)) return;
  struct span bytes = engine_bytes(entry.body);
  long long value = 0;
  if (entry.kind == ENGINE_RECORD) {
    resp_write_bulk_text(call->reply, "raw");
  } else if (bytes.len <= SPAN_NUMBER_MAX && span_to_i64(bytes, &value)) {
    resp_write_bulk_text(call->reply, "int");
  } else {
    resp_write_bulk_text(call->reply, bytes.len <= EMBSTR_BYTES ? "embstr" : "raw");
  }
}

void keys_object_refcount(struct call *call) {
  struct engine_entry entry;
  if (find_object(call, &entry)) resp_write_integer(call->reply, 1);
}

void keys_object_freq(struct call *call) {
  struct engine_entry entry;
  if (!find_object(call, &entry)) return;
  resp_write_error(
      call->reply,
      "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please "
      "note that when switching between policies at runtime LRU and LFU data will take some "
      "time to adjust.");
}

void keys_object_idletime(struct call *call) {
  struct engine_entry entry;
  if (!find_object(call, &entry)) return;
  resp_write_error(call->reply, "ERR idle time is not tracked: nothing is ever evicted");
}

static bool parse_samples(struct call *call) {
  for (size_t i = 3; i < call->argc; i += 2) {
    long long samples = 0;
    bool known = i + 1 < call->argc && span_is(call->argv[i], "SAMPLES");
    if (known && !parse_integer(call, call->argv[i + 1], &samples)) return false;
    if (known && samples >= 0) continue;
    reply_syntax_error(call);
    return false;
  }
  return true;
}

void keys_memory_usage(struct call *call) {
  struct engine_entry entry;
  if (!parse_samples(call) || !find_object(call, &entry)) return;
  resp_write_integer(call->reply,
                     (int64_t)engine_memory_of(call->engine, call->argv[2], call->now_ms));
}
