/* shadow.c - see shadow.h. */
#include "tests/model/shadow.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/engine/binding.h"
#include "server/engine/due.h"
#include "server/engine/emit.h"
#include "server/engine/reemit.h"
#include "server/engine/engine.h"
#include "server/engine/entry.h"
#include "server/engine/find.h"
#include "server/engine/open_claims.h"
#include "server/engine/outbox.h"
#include "server/engine/pin.h"
#include "server/engine/refill.h"
#include "server/engine/response_expiry.h"
#include "server/engine/restore.h"
#include "server/engine/tick.h"

#define SHARDS 16u
#define MOST_BYTES (32u * 1024) /* of an image without a body, in the model's worlds */
#define MOST_BODIES (64u * 1024)
#define COMPLAINT_BYTES 300u
#define SPARED 4096u
#define SELDOM 64u       /* batches between two ticks of a restart, at most that on average */
#define MOST_READINGS 8u /* of batches, before one is left as the first */

/* ---- what there is ---- */

/* An engine, or several behind one hash. */
struct copy {
  struct engine *engines[SHARDS];
  unsigned count;
};

struct batch {
  size_t begin, end; /* in the bytes of the log */
  int64_t now_ms;
  int64_t end_ms; /* when all its keys have ended by themselves; INT64_MIN: there are none */
  bool head;
};

struct log {
  char *bytes;
  size_t len, capacity;
  struct batch *batches;
  size_t first, count, batch_capacity;
};

/* Had ended by itself for those who read the log, and does not for the live engine: nobody had
 * noticed when everything was flushed, or before a waiter was granted. */
struct spared {
  uint32_t slot;
  int64_t since_ms;
};

struct shadow {
  struct engine *live;
  struct engine_options options;
  struct outbox outbox;
  struct copy copy, restarted;
  struct log log;
  struct spared spared[SPARED];
  unsigned spared_count;
  uint64_t seed;
  uint64_t taken; /* batches */
  uint64_t next_trim, next_restart;
  char complaint[COMPLAINT_BYTES];
};

static uint64_t random_below(struct shadow *shadow, uint64_t limit) { /* splitmix64 */
  uint64_t z = (shadow->seed += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return (z ^ (z >> 31)) % limit;
}

__attribute__((format(printf, 2, 3))) static const char *complain(struct shadow *shadow,
                                                                  const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(shadow->complaint, COMPLAINT_BYTES, format, args);
  va_end(args);
  return shadow->complaint;
}

/* ---- copies ---- */

static struct copy copy_create(const struct engine_options *options, unsigned count,
                               int64_t now_ms) {
  struct copy copy = {.count = count};
  for (unsigned i = 0; i < count; i++) {
    struct engine_options each = *options;
    each.shard = i;
    each.shards = count;
    copy.engines[i] = engine_create(&each, now_ms);
    if (copy.engines[i] == NULL) abort();
  }
  return copy;
}

static void copy_destroy(struct copy *copy) {
  for (unsigned i = 0; i < copy->count; i++) engine_destroy(copy->engines[i]);
  *copy = (struct copy){0};
}

static struct engine *copy_of(const struct copy *copy, uint64_t hash) {
  return copy->engines[name_shard(hash, copy->count)];
}

static void copy_tick(struct copy *copy, int64_t now_ms) {
  for (unsigned i = 0; i < copy->count; i++)
    while (tick_run(copy->engines[i], now_ms, UINT32_MAX)) continue;
}

static void copy_restore_tick(struct copy *copy, int64_t now_ms) {
  for (unsigned i = 0; i < copy->count; i++) restore_tick(copy->engines[i], now_ms);
}

static void restore_head(struct copy *copy, const struct image *image) {
  for (unsigned i = 0; i < copy->count; i++) {
    if (image->kind == IMAGE_KEYSPACE) restore_keyspace(copy->engines[i], image);
    if (image->kind == IMAGE_HORIZON && !restore_horizon(copy->engines[i], image)) abort();
  }
}

static void restore_one(struct copy *copy, const struct image *image) {
  if (image->kind == IMAGE_FLUSH) {
    for (unsigned i = 0; i < copy->count; i++) restore_flush(copy->engines[i], image->since_ms);
    return;
  }
  struct name name = restore_name(copy->engines[0], image);
  if (!restore_image(copy_of(copy, name.hash), &name, image)) abort();
}

static void restore_bytes(struct copy *copy, struct span bytes, bool head) {
  while (bytes.len > 0) {
    struct image image;
    size_t size = image_read(bytes, &image);
    if (size == 0) abort();
    if (head) {
      restore_head(copy, &image);
    } else {
      restore_one(copy, &image);
    }
    bytes = (struct span){bytes.data + size, bytes.len - size};
  }
}

/* ---- the log ---- */

static void *grown(void *old, size_t *capacity, size_t needed, size_t size) {
  if (needed <= *capacity) return old;
  *capacity = needed * 2;
  void *memory = realloc(old, *capacity * size);
  if (memory == NULL) abort();
  return memory;
}

/* An end was moved: what it is the end of lies in one of the former batches. */
static void delay_older(struct log *log, int64_t end_ms) {
  for (size_t i = log->first; i < log->count; i++)
    if (log->batches[i].end_ms < end_ms) log->batches[i].end_ms = end_ms;
}

static struct span log_append(struct log *log, const struct outbox *outbox, int64_t now_ms,
                              bool head) {
  if (outbox->of_older) delay_older(log, outbox->last_end_ms);
  log->bytes = grown(log->bytes, &log->capacity, log->len + outbox->len, 1);
  log->batches = grown(log->batches, &log->batch_capacity, log->count + 1, sizeof *log->batches);
  memcpy(log->bytes + log->len, outbox->bytes, outbox->len);
  log->batches[log->count++] = (struct batch){.begin = log->len,
                                              .end = log->len + outbox->len,
                                              .now_ms = now_ms,
                                              .end_ms = outbox->last_end_ms,
                                              .head = head};
  log->len += outbox->len;
  return (struct span){log->bytes + log->len - outbox->len, outbox->len};
}

/* Only batches before `first` are given up. */
static void log_drop(struct log *log, size_t first) {
  log->first = first;
  if (first == log->count) return; /* never: a head comes after */
  size_t gone = log->batches[first].begin;
  if (gone < log->len / 2) return;
  memmove(log->bytes, log->bytes + gone, log->len - gone);
  log->len -= gone;
  for (size_t i = first; i < log->count; i++) {
    log->batches[i].begin -= gone;
    log->batches[i].end -= gone;
  }
  memmove(log->batches, log->batches + first, (log->count - first) * sizeof *log->batches);
  log->count -= first;
  log->first = 0;
}

static struct span log_bytes(const struct log *log, size_t batch) {
  const struct batch *b = &log->batches[batch];
  return (struct span){log->bytes + b->begin, b->end - b->begin};
}

/* ---- taking ---- */

static bool was_spared(const struct shadow *shadow, uint32_t slot, int64_t since_ms) {
  if (shadow->spared_count == SPARED) return true;
  for (unsigned i = 0; i < shadow->spared_count; i++) {
    const struct spared *spared = &shadow->spared[i];
    if (spared->slot == slot && spared->since_ms == since_ms) return true;
  }
  return false;
}

/* If it is an entry of the live engine that had ended before. */
static void spare(struct shadow *shadow, struct entry entry, int64_t now_ms) {
  if (entry.record != NULL && record_is_value(entry.record)) return;
  int64_t deadline_ms = entry.record != NULL ? record_deadline_ms(entry.record)
                                             : response_log_deadline_ms(entry.response);
  if (deadline_ms > now_ms) return;
  uint64_t hash = name_hash(shadow->live, entry_key(entry).bytes);
  uint32_t slot = horizon_slot_of(&shadow->live->horizon, hash);
  int64_t since_ms =
      entry.record != NULL ? record_since_ms(entry.record) : response_log_since_ms(entry.response);
  if (was_spared(shadow, slot, since_ms)) return;
  shadow->spared[shadow->spared_count++] = (struct spared){slot, since_ms};
}

static void spare_flushed(struct shadow *shadow, int64_t now_ms) {
  uint64_t next = 0;
  do {
    struct index_walk walk = index_scan(&shadow->live->index, next, &next);
    for (uint64_t word; (word = index_next(&walk)) != 0;) {
      struct entry entry = entry_of_word(word);
      if (entry_is_flushed(shadow->live, entry)) spare(shadow, entry, now_ms);
    }
  } while (next != 0);
}

static void spare_waited(struct shadow *shadow, int64_t now_ms) {
  const struct list *waited = &shadow->live->waited;
  for (const struct list *node = waited->next; node != waited; node = node->next) {
    struct record *record = LIST_ENTRY(node, struct claim, waited)->record;
    spare(shadow, (struct entry){.record = record}, now_ms);
  }
}

static bool has_flush(struct span bytes) {
  for (struct image image; bytes.len > 0;) {
    size_t size = image_read(bytes, &image);
    if (size == 0) abort();
    if (image.kind == IMAGE_FLUSH) return true;
    bytes = (struct span){bytes.data + size, bytes.len - size};
  }
  return false;
}

const char *shadow_take(struct shadow *shadow, int64_t now_ms) {
  if (shadow == NULL || shadow->outbox.len == 0) return NULL;
  bool has_end = shadow->outbox.of_older && random_below(shadow, 4) == 0;
  struct span bytes = log_append(&shadow->log, &shadow->outbox, now_ms, false);
  outbox_clear(&shadow->outbox);
  shadow->taken++;
  spare_waited(shadow, now_ms);
  if (has_flush(bytes)) spare_flushed(shadow, now_ms);
  if (has_end) shadow->next_trim = shadow->taken + random_below(shadow, 60);
  restore_bytes(&shadow->copy, bytes, false);
  if (shadow->restarted.count > 0) restore_bytes(&shadow->restarted, bytes, false);
  if (random_below(shadow, 4) == 0) copy_restore_tick(&shadow->copy, now_ms);
  return NULL;
}

void shadow_reserve(struct shadow *shadow, size_t bytes) {
  if (shadow != NULL && !outbox_reserve(&shadow->outbox, 1, bytes)) abort();
}

static void write_head(struct shadow *shadow, int64_t now_ms) {
  shadow_take(shadow, now_ms);
  size_t touched = 0;
  const struct horizon *horizon = &shadow->live->horizon;
  for (uint32_t slot = 0; slot < horizon->slots; slot += HORIZON_SEGMENT)
    touched += horizon_at(horizon, slot) != NULL;
  size_t segment = HORIZON_SEGMENT * sizeof(int64_t) + IMAGE_HEAD_BYTES;
  shadow_reserve(shadow, touched * segment);
  emit_keyspace(shadow->live, SPAN_ABSENT);
  emit_horizon(shadow->live);
  log_append(&shadow->log, &shadow->outbox, now_ms, true);
  outbox_clear(&shadow->outbox);
}

/* ---- comparing entries ---- */

static struct entry find_raw(const struct engine *engine, const struct name *name) {
  struct index_search search = index_search(&engine->index, name->hash);
  for (uint64_t word; (word = index_next_of(&search)) != 0;) {
    struct entry entry = entry_of_word(word);
    if (key_equal(entry_key(entry), name->key)) return entry;
  }
  return (struct entry){0};
}

static bool has_waiters(const struct record *record) {
  return record_claim(record) != NULL && record->claim->waiting > 0;
}

/* The next call on it changes it in a way that time alone does not, or that cannot be told here. */
static bool is_pending(const struct engine *engine, struct entry entry, int64_t now_ms) {
  const struct record *record = entry.record;
  if (record == NULL || record_is_value(record)) return false;
  if (has_waiters(record) && record_is_flushed(engine, record)) return true;
  if (record->phase != RULES_HELD) return has_waiters(record) && state_may_grant(engine);
  const struct binding *binding = record_claim(record) != NULL ? record->claim->binding : NULL;
  if (binding != NULL && binding->closed) return true;
  return rules_is_over(record_deadline_ms(record), state_past_ms(engine, now_ms));
}

#define SAME(field) ((a->field) == (b->field) ? NULL : #field)
#define FIRST(text)                      \
  do {                                   \
    const char *differs = (text);        \
    if (differs != NULL) return differs; \
  } while (0)

static const char *same_bytes(struct span a, struct span b, const char *what) {
  return span_present(a) == span_present(b) && span_equal(a, b) ? NULL : what;
}

static const char *same_numbers(int64_t a, int64_t b, const char *what) {
  return a == b ? NULL : what;
}

static const char *same_fingerprint(struct fingerprint a, struct fingerprint b) {
  return fingerprint_equal(a, b) ? NULL : "fingerprint";
}

static struct span stage_of(const struct record *record) {
  return record_claim(record) != NULL ? pin_bytes(record->claim->stage) : SPAN_ABSENT;
}

static const char *compare_values(const struct record *a, const struct record *b) {
  FIRST(same_numbers(record_deadline_ms(a), record_deadline_ms(b), "deadline"));
  FIRST(same_numbers(record_since_ms(a), record_since_ms(b), "since"));
  FIRST(SAME(token));
  return same_bytes(pin_bytes(a->value), pin_bytes(b->value), "value");
}

static const char *compare_records(const struct record *a, const struct record *b) {
  const unsigned kept = RECORD_HOLD | RECORD_NOBODY;
  FIRST(SAME(phase));
  if (record_is_value(a)) return compare_values(a, b);
  FIRST(SAME(token));
  FIRST(same_numbers(record_attempt(a), record_attempt(b), "attempt"));
  FIRST(same_numbers(record_since_ms(a), record_since_ms(b), "since"));
  FIRST(same_numbers(record_deadline_ms(a), record_deadline_ms(b), "deadline"));
  FIRST(SAME(lease_ms));
  FIRST(SAME(user));
  FIRST((a->flags & kept) == (b->flags & kept) ? NULL : "flags");
  FIRST(same_fingerprint(record_fingerprint(a), record_fingerprint(b)));
  FIRST(same_bytes(pin_bytes(record_owner(a)), pin_bytes(record_owner(b)), "owner"));
  return same_bytes(stage_of(a), stage_of(b), "stage");
}

static const char *compare_responses(const struct response_ref *live,
                                     const struct response_ref *copy) {
  struct response responses[2], *a = &responses[0], *b = &responses[1];
  response_log_read(live, a);
  response_log_read(copy, b);
  FIRST(SAME(token));
  FIRST(SAME(since_ms));
  FIRST(SAME(deadline_ms));
  FIRST(same_fingerprint(a->fingerprint, b->fingerprint));
  FIRST(same_bytes(a->body, b->body, "body"));
  return same_bytes(a->meta, b->meta, "meta");
}

static const char *compare_entries(struct entry live, struct entry copy) {
  if (entry_is_absent(live)) return entry_is_absent(copy) ? NULL : "it is there";
  if (entry_is_absent(copy)) return "it is absent";
  if ((live.record != NULL) != (copy.record != NULL)) return "kind";
  return live.record != NULL ? compare_records(live.record, copy.record)
                             : compare_responses(live.response, copy.response);
}

static const char *compare(struct shadow *shadow, struct copy *copy, const struct name *name,
                           int64_t now_ms) {
  struct entry live = find_raw(shadow->live, name);
  if (!entry_is_absent(live)) {
    if (is_pending(shadow->live, live, now_ms)) return NULL;
    if (due_is_gone(shadow->live, live, now_ms)) live = (struct entry){0};
  }
  struct response response;
  struct entry restored = find_entry(copy_of(copy, name->hash), name, now_ms, &response);
  const char *differs = compare_entries(live, restored);
  if (differs == NULL) return NULL;
  char text[KEY_UUID_TEXT];
  struct span key = key_text(name->key, text);
  int len = key.len > 40 ? 40 : (int)key.len;
  return complain(shadow, "restored key \"%.*s\": %s (of %u shards, horizon of 2^%u)", len,
                  key.data, differs, copy->count, copy->engines[0]->options.horizon_bits);
}

const char *shadow_compare_key(struct shadow *shadow, struct span key, int64_t now_ms) {
  if (shadow == NULL) return NULL;
  struct name name;
  name_of(shadow->live, key, &name);
  return compare(shadow, &shadow->copy, &name, now_ms);
}

/* Every key of one of them, in both. */
static const char *compare_keys_of(struct shadow *shadow, const struct engine *engine,
                                   struct copy *copy, int64_t now_ms) {
  uint64_t next = 0;
  do {
    struct index_walk walk = index_scan(&engine->index, next, &next);
    for (uint64_t word; (word = index_next(&walk)) != 0;) {
      struct name name = {.key = entry_key(entry_of_word(word))};
      name.hash = name_hash(shadow->live, name.key.bytes);
      if (engine != shadow->live && !entry_is_absent(find_raw(shadow->live, &name))) continue;
      FIRST(compare(shadow, copy, &name, now_ms));
    }
  } while (next != 0);
  return NULL;
}

static const char *compare_order(struct shadow *shadow, const struct engine *engine) {
  uint64_t last = 0;
  const struct list *claims = &engine->open_claims.by_token;
  for (const struct list *node = claims->next; node != claims; node = node->next) {
    const struct record *record = LIST_ENTRY(node, struct record, open);
    if (record->token < last) return complain(shadow, "open claims are out of order");
    last = record->token;
  }
  return NULL;
}

static const char *compare_copy(struct shadow *shadow, struct copy *copy, int64_t now_ms) {
  spare_waited(shadow, now_ms);
  copy_tick(copy, now_ms);
  FIRST(compare_keys_of(shadow, shadow->live, copy, now_ms));
  for (unsigned i = 0; i < copy->count; i++) {
    FIRST(compare_keys_of(shadow, copy->engines[i], copy, now_ms));
    FIRST(compare_order(shadow, copy->engines[i]));
  }
  return NULL;
}

const char *shadow_compare_all(struct shadow *shadow, int64_t now_ms) {
  return shadow == NULL ? NULL : compare_copy(shadow, &shadow->copy, now_ms);
}

/* ---- comparing horizons ---- */

static const char *compare_slot(struct shadow *shadow, const struct horizon *copy, uint32_t slot) {
  int64_t live_ms = horizon_slot_ms(&shadow->live->horizon, slot);
  int64_t copy_ms = horizon_slot_ms(copy, slot);
  bool right = copy_ms == live_ms || (copy_ms > live_ms && was_spared(shadow, slot, copy_ms));
  if (right) return NULL;
  return complain(shadow, "restored horizon of slot %u is %" PRId64 ", expected %" PRId64, slot,
                  copy_ms, live_ms);
}

static const char *compare_horizons(struct shadow *shadow, const struct horizon *copy) {
  const struct horizon *live = &shadow->live->horizon;
  for (uint32_t first = 0; first < live->slots; first += HORIZON_SEGMENT) {
    bool untouched = horizon_at(live, first) == NULL && horizon_at(copy, first) == NULL;
    if (untouched && live->untouched_ms == copy->untouched_ms) continue;
    uint32_t end = first + HORIZON_SEGMENT < live->slots ? first + HORIZON_SEGMENT : live->slots;
    for (uint32_t slot = first; slot < end; slot++) FIRST(compare_slot(shadow, copy, slot));
  }
  return NULL;
}

const char *shadow_compare_horizon(struct shadow *shadow, int64_t now_ms) {
  if (shadow == NULL) return NULL;
  copy_tick(&shadow->copy, now_ms);
  return compare_horizons(shadow, &shadow->copy.engines[0]->horizon);
}

const char *shadow_expect_horizon(struct shadow *shadow, struct span key, int64_t least_ms) {
  if (shadow == NULL || shadow->restarted.count == 0) return NULL;
  struct name name;
  name_of(shadow->live, key, &name);
  int64_t ms = horizon_ms(&copy_of(&shadow->restarted, name.hash)->horizon, name.hash);
  if (ms >= least_ms) return NULL;
  return complain(shadow, "restored horizon of a key is %" PRId64 ", expected at least %" PRId64,
                  ms, least_ms);
}

/* ---- a shorter log ---- */

static void emit_batch_again(struct shadow *shadow, size_t batch, int64_t now_ms) {
  for (size_t at = 0; at < log_bytes(&shadow->log, batch).len;) {
    struct span bytes = log_bytes(&shadow->log, batch); /* the log may have moved */
    struct image image;
    size_t size = image_read((struct span){bytes.data + at, bytes.len - at}, &image);
    if (size == 0) abort();
    shadow_reserve(shadow, MOST_BODIES);
    const struct name name = restore_name(shadow->live, &image);
    reemit_image(shadow->live, &name, &image, now_ms);
    shadow_take(shadow, now_ms);
    at += size;
  }
}

/* What holds the others back is read, as a journal reads the oldest segment. */
static void drop_unread(struct shadow *shadow, int64_t now_ms) {
  struct log *log = &shadow->log;
  int64_t past_ms = tick_past_ms(shadow->live, now_ms);
  size_t first = log->first, end = log->count;
  for (unsigned readings = MOST_READINGS; first < end; first++) {
    if (log->batches[first].end_ms <= past_ms) continue;
    if (readings-- == 0) break;
    emit_batch_again(shadow, first, now_ms);
  }
  write_head(shadow, now_ms);
  log_drop(log, first);
}

static void read_again(struct shadow *shadow, size_t count, int64_t now_ms) {
  struct log *log = &shadow->log;
  size_t end = log->first + count;
  for (size_t batch = log->first; batch < end; batch++)
    if (!log->batches[batch].head) emit_batch_again(shadow, batch, now_ms);
  write_head(shadow, now_ms);
  log_drop(log, end);
}

static size_t keys_of(const struct engine *engine) {
  size_t keys = 0;
  for (unsigned phase = 0; phase <= STATE_VALUE; phase++) keys += engine->counts[phase];
  return keys;
}

#define TRIM_BATCHES 200u
#define RESTART_BATCHES 600u

bool shadow_trim(struct shadow *shadow, int64_t now_ms) {
  if (shadow == NULL || shadow->taken < shadow->next_trim) return false;
  shadow->next_trim =
      shadow->taken + random_below(shadow, TRIM_BATCHES) + 4 * keys_of(shadow->live);
  size_t count = shadow->log.count - shadow->log.first;
  if (random_below(shadow, 3) > 0) {
    drop_unread(shadow, now_ms);
  } else {
    read_again(shadow, random_below(shadow, count + 1), now_ms);
  }
  return true;
}

/* ---- from the log alone ---- */

static void restore_newest_head(const struct log *log, struct copy *copy) {
  for (size_t i = log->count; i > log->first; i--) {
    if (!log->batches[i - 1].head) continue;
    restore_bytes(copy, log_bytes(log, i - 1), true);
    return;
  }
}

static struct engine_options other_options(struct shadow *shadow) {
  static const unsigned BITS[] = {0, 3, 11, 16};
  struct engine_options options = shadow->options;
  if (random_below(shadow, 2) == 0) options.horizon_bits = BITS[random_below(shadow, 4)];
  return options;
}

static void refill_bytes(struct refill *refill, struct span bytes) {
  while (bytes.len > 0) {
    struct image image;
    size_t size = image_read(bytes, &image);
    if (size == 0 || !refill_add(refill, bytes.data, &image)) abort();
    bytes = (struct span){bytes.data + size, bytes.len - size};
  }
}

static struct copy from_log(struct shadow *shadow, int64_t now_ms) {
  const struct log *log = &shadow->log;
  struct engine_options options = other_options(shadow);
  int64_t start_ms = log->count > log->first ? log->batches[log->first].now_ms : now_ms;
  if (random_below(shadow, 2) == 0) start_ms = now_ms; /* wheels that are ahead of the images */
  start_ms = start_ms > RESTORE_BEHIND_MS ? start_ms - RESTORE_BEHIND_MS : 0;
  struct copy copy = copy_create(&options, random_below(shadow, 8) == 0 ? SHARDS : 1, start_ms);
  struct refill *refill = refill_create(copy.engines, copy.count);
  if (refill == NULL) abort();
  restore_newest_head(log, &copy);
  uint64_t seldom = 1 + random_below(shadow, SELDOM);
  for (size_t i = log->first; i < log->count; i++) {
    if (log->batches[i].head) continue;
    refill_bytes(refill, log_bytes(log, i));
    bool ticks = random_below(shadow, seldom) == 0;
    if (ticks && !refill_tick(refill, log->batches[i].now_ms)) abort();
  }
  if (!refill_settle(refill)) abort();
  refill_destroy(refill);
  return copy;
}

/* It takes the place of the copy, unless it is another one by options. */
static void let_go(struct shadow *shadow) {
  struct copy *restarted = &shadow->restarted;
  if (restarted->count == 1 &&
      restarted->engines[0]->options.horizon_bits == shadow->options.horizon_bits) {
    copy_destroy(&shadow->copy);
    shadow->copy = *restarted;
    *restarted = (struct copy){0};
  }
  copy_destroy(restarted);
}

bool shadow_restarts(struct shadow *shadow) {
  if (shadow == NULL) return false;
  if (shadow->restarted.count > 0) let_go(shadow);
  return shadow->taken >= shadow->next_restart;
}

const char *shadow_restart(struct shadow *shadow, int64_t now_ms) {
  if (shadow == NULL) return NULL;
  let_go(shadow);
  shadow->next_restart =
      shadow->taken + random_below(shadow, RESTART_BATCHES) + 6 * keys_of(shadow->live);
  shadow->restarted = from_log(shadow, now_ms);
  return compare_copy(shadow, &shadow->restarted, now_ms);
}

/* ---- beginning, change of options, end ---- */

struct shadow *shadow_create(struct engine *live, const struct engine_options *options,
                             int64_t now_ms, uint64_t seed) {
  struct shadow *shadow = calloc(1, sizeof *shadow);
  if (shadow == NULL || !outbox_init(&shadow->outbox, MOST_BYTES)) abort();
  shadow->live = live;
  shadow->seed = seed;
  shadow->options = *options;
  shadow->options.memory_limit = shadow->options.store_reserve = 0;
  shadow->copy = copy_create(&shadow->options, 1, now_ms);
  live->outbox = &shadow->outbox;
  write_head(shadow, now_ms);
  return shadow;
}

/* What a lease left under the former retention is known from now on only if it is written. */
void shadow_reconfigure(struct shadow *shadow, const struct engine_options *options,
                        int64_t now_ms) {
  if (shadow == NULL) return;
  let_go(shadow);
  copy_tick(&shadow->copy, now_ms);
  read_again(shadow, shadow->log.count - shadow->log.first, now_ms);
  shadow->options.retention_ms = options->retention_ms;
  engine_reconfigure(shadow->copy.engines[0], &shadow->options);
}

void shadow_destroy(struct shadow *shadow) {
  if (shadow == NULL) return;
  shadow->live->outbox = NULL;
  outbox_deinit(&shadow->outbox);
  copy_destroy(&shadow->copy);
  copy_destroy(&shadow->restarted);
  free(shadow->log.bytes);
  free(shadow->log.batches);
  free(shadow);
}
