/* scan.c - see scan.h. */
#include "server/commands/scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/types.h>

#include "server/commands/arguments.h"
#include "server/base/glob.h"
#include "server/commands/access.h"
#include "server/commands/gathered.h"
#include "server/commands/generic.h"
#include "server/commands/reply.h"
#include "server/commands/shards.h"
#include "server/commands/sight.h"
#include "server/commands/task.h"
#include "server/engine/index.h"
#include "server/engine/stats.h"

static unsigned shards_of(const struct call *call) {
  return keyspace_shards(call->worker->instance->keyspace);
}

static struct engine *engine_at(const struct call *call, unsigned number) {
  return shard_engine(keyspace_shard(call->worker->instance->keyspace, number));
}

/* KEYS and SCAN: a walk through the shards from a cursor, until it has seen enough. Keys that the
 * session may not see count for nothing, so that where a page ends does not tell of them. */
struct walk {
  struct task task;
  struct span pattern; /* absent: all; in `bytes` */
  struct span type;    /* absent: any; as pattern */
  uint64_t cursor;
  uint64_t seen, found;
  uint64_t count, buckets; /* it ends when so many keys were seen, or buckets visited */
  struct gathered keys;
  char bytes[]; /* from the arguments */
};

static void visit(void *context, struct span key, const struct keys_entry *entry) {
  struct walk *walk = context;
  if (!sight_key(walk->task.session, key)) return;
  walk->seen++;
  if (span_present(walk->type) && !span_is(walk->type, generic_kind_name(entry->kind))) return;
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

/* The next bucket. A cursor is one of an engine, of CURSOR_BITS, with the number of its shard
 * above: 53 bits in all. */
static uint64_t next_cursor(struct call *call, struct walk *walk) {
  uint64_t number = (walk->cursor >> CURSOR_BITS) % shards_of(call);
  uint64_t in_shard = walk->cursor & ((UINT64_C(1) << CURSOR_BITS) - 1);
  struct shard *shard = keyspace_shard(call->worker->instance->keyspace, (unsigned)number);
  struct engine *engine = access_lock(call->worker, shard, &call->now_ms);
  in_shard = keys_scan(engine, in_shard, call->now_ms, visit, walk);
  access_unlock(call->worker, shard);
  if (in_shard != 0) return number << CURSOR_BITS | in_shard;
  return number + 1 < shards_of(call) ? (number + 1) << CURSOR_BITS : 0;
}

/* Buckets visited between two readings of the clock: some microseconds. One bucket with a pattern,
 * which may take long. */
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

/* The number of elements comes before them. */
static void reply_keys(struct call *call, struct walk *walk) {
  resp_write_array(call->reply, walk->found);
  gathered_send(&walk->keys, call->reply);
}

static void reply_all(struct call *call, struct task *task) {
  struct walk *walk = (struct walk *)task;
  if (gathered_whole(&walk->keys, call->reply)) reply_keys(call, walk);
}

static void reply_scan(struct call *call, struct task *task) {
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
    reply_no_memory(call);
    return;
  }
  *walk = *as;
  char *to = walk->bytes;
  walk->pattern = keep(&to, as->pattern);
  walk->type = keep(&to, as->type);
  walk->keys.worker = call->worker;
  walk->task.large = true;
  walk->task.step = walk_step;
  walk->task.destroy = walk_destroy;
  task_begin(call, &walk->task);
}

void scan_keys(struct call *call) {
  const struct walk walk = {.task = {.reply = reply_all},
                            .pattern = pattern_of(call->argv[1]),
                            .count = UINT64_MAX,
                            .buckets = UINT64_MAX};
  walk_begin(call, &walk);
}

#define SCAN_DEFAULT_COUNT 10
/* Buckets visited for each key of COUNT, as in Redis; and at least so many that small tables come
 * in one answer. */
#define SCAN_BUCKETS_PER_KEY 10
#define SCAN_MIN_BUCKETS 1024
#define SCAN_MIN_BUCKETS_PER_SHARD 256

/* Any unsigned number of 64 bits, as in Redis: a scan from one that no reply has given still comes
 * to an end. */
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
  if (!arguments_integer(call, text, &value)) return false;
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

void scan_from(struct call *call) {
  struct walk walk = {.task = {.reply = reply_scan}, .count = SCAN_DEFAULT_COUNT};
  if (!parse_cursor(call, call->argv[1], &walk.cursor) || !parse_scan_words(call, &walk)) return;
  walk.buckets = walk.count <= UINT64_MAX / SCAN_BUCKETS_PER_KEY ? walk.count * SCAN_BUCKETS_PER_KEY
                                                                 : UINT64_MAX;
  uint64_t least = (uint64_t)shards_of(call) * SCAN_MIN_BUCKETS_PER_SHARD;
  if (least < SCAN_MIN_BUCKETS) least = SCAN_MIN_BUCKETS;
  if (walk.buckets < least) walk.buckets = least;
  walk_begin(call, &walk);
}

/* A shard is chosen in proportion to its keys; if all its keys have expired, other shards are
 * tried. */
static struct span random_key(struct call *call, uint64_t random) {
  struct stats stats;
  shards_stats(call->worker, &stats);
  uint64_t keys = stats.records + stats.values;
  unsigned first = 0, shards = shards_of(call);
  for (uint64_t left = keys > 0 ? random % keys : 0; first + 1 < shards; first++) {
    stats_read(engine_at(call, first), &stats);
    if (left < stats.records + stats.values) break;
    left -= stats.records + stats.values;
  }
  struct span key = SPAN_ABSENT;
  for (unsigned i = 0; i < shards && !span_present(key); i++)
    key = keys_random(engine_at(call, (first + i) % shards), keys > 0 ? random / keys : 0,
                      call->now_ms);
  return key;
}

void scan_randomkey(struct call *call) {
  uint64_t random = 0;
  /* Without entropy (early boot) the time is good enough: nothing depends on which key it is. */
  ssize_t got = getrandom(&random, sizeof random, GRND_NONBLOCK);
  if (got != (ssize_t)sizeof random) random = (uint64_t)call->now_ms * 2654435761u;
  resp_write_bulk(call->reply, random_key(call, random));
}
