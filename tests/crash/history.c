/* history.c - see history.h. */
#include "tests/crash/history.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { IMAGE = 1, TOMBSTONE, MOVED, HEAD };

struct record {
  uint32_t bytes;
  uint16_t kind, key;
  uint32_t number; /* of the append, or of the head */
  uint32_t unused;
  uint64_t nonce; /* none is written twice */
  int64_t end_ms; /* of a head: as of */
};

static void *had(void *block) {
  if (block != NULL) return block;
  fprintf(stderr, "history: out of memory\n");
  exit(2);
}

struct history *history_create(void) {
  struct history *history = had(calloc(1, sizeof *history));
  history->arena = had(malloc(HISTORY_ARENA_BYTES));
  history->entries = had(calloc(HISTORY_MOST_ENTRIES, sizeof *history->entries));
  history->heads = had(calloc(HISTORY_MOST_HEADS, sizeof *history->heads));
  history_begin(history);
  return history;
}

void history_destroy(struct history *history) {
  if (history == NULL) return;
  free(history->arena);
  free(history->entries);
  free(history->heads);
  free(history);
}

void history_begin(struct history *history) {
  history->count = history->committed = history->acked = history->head_count = 0;
  history->begun = false;
  history->delayed_ms = 0;
  history->moment = (struct journal_moment){
      .engine_ms = 1000, .wall_ms = 1000000, .largest_ms = 999000, .next_token = 1};
  history->acked_moment = (struct journal_moment){0};
}

static uint32_t arena_end(const struct history *history) {
  if (history->count == 0) return 0;
  const struct history_entry *last = &history->entries[history->count - 1];
  return last->at + last->len;
}

bool history_is_full(const struct history *history) {
  return arena_end(history) + (256u << 10) > HISTORY_ARENA_BYTES ||
         history->count + 256 > HISTORY_MOST_ENTRIES ||
         history->head_count + 8 > HISTORY_MOST_HEADS;
}

/* ---- appending ---- */

static struct history_entry *open_entry(struct history *history) {
  assert(history->count < HISTORY_MOST_ENTRIES);
  struct history_entry *entry = &history->entries[history->count];
  *entry = (struct history_entry){.at = arena_end(history), .ends = {.last_ms = INT64_MIN}};
  if (history->count > 0) {
    memcpy(entry->keys, entry[-1].keys, sizeof entry->keys);
  } else {
    for (unsigned i = 0; i < HISTORY_KEYS; i++) entry->keys[i].image = HISTORY_NONE;
  }
  return entry;
}

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

/* Record by record; what one means for its key. */
static void note_record(struct history_entry *entry, uint32_t number, const struct record *record) {
  struct history_key *key = &entry->keys[record->key];
  if (record->kind == TOMBSTONE) {
    key->image = HISTORY_NONE;
    return;
  }
  if (record->kind == IMAGE) key->image = number;
  if (record->kind == MOVED) entry->ends.of_older = true;
  key->end_ms = record->end_ms;
  entry->ends.last_ms = later(entry->ends.last_ms, record->end_ms);
}

static void add_record(struct history *history, struct history_entry *entry, struct record record,
                       size_t payload) {
  payload = payload / 8 * 8;
  record.bytes = (uint32_t)(sizeof record + payload);
  record.number = history->count;
  record.nonce = ++history->nonce * UINT64_C(0x9E3779B97F4A7C15);
  assert(entry->at + entry->len + record.bytes <= HISTORY_ARENA_BYTES);
  char *to = history->arena + entry->at + entry->len;
  memcpy(to, &record, sizeof record);
  uint64_t word = record.nonce;
  for (size_t i = 0; i < payload; i += 8) {
    word = (word ^ word >> 29) * UINT64_C(0xBF58476D1CE4E5B9) + i;
    memcpy(to + sizeof record + i, &word, sizeof word);
  }
  entry->len += record.bytes;
  entry->count++;
  note_record(entry, history->count, &record);
}

static int64_t delayed(int64_t end_ms, int64_t by_ms) {
  return end_ms == INT64_MIN || end_ms == INT64_MAX ? end_ms : end_ms + by_ms;
}

static bool counts(const struct history *history, const struct history_key *key, int64_t now_ms) {
  return key->image != HISTORY_NONE && delayed(key->end_ms, history->delayed_ms) > now_ms;
}

/* Ends are kept without the delay, so that one more is added to all. */
static int64_t draw_end(const struct history *history, struct random *random, bool large) {
  if (!large && random_once(random, 6)) return INT64_MAX;
  uint64_t most = !large && random_once(random, 3) ? 20000 : 1500;
  return history->moment.engine_ms - history->delayed_ms + 1 + (int64_t)random_below(random, most);
}

static void draw_record(struct history *history, struct history_entry *entry, struct random *random,
                        size_t payload) {
  struct record record = {.kind = IMAGE, .key = (uint16_t)random_below(random, HISTORY_KEYS)};
  struct history_key *key = &entry->keys[record.key];
  bool there = counts(history, key, history->moment.engine_ms);
  uint64_t drawn = random_below(random, 10);
  record.end_ms = draw_end(history, random, payload > 800);
  if (there && drawn < 2) record.kind = TOMBSTONE;
  if (there && drawn == 2) {
    record.kind = MOVED;
    record.end_ms = later(record.end_ms, key->end_ms);
  }
  if (record.kind != IMAGE) payload %= 64;
  add_record(history, entry, record, payload);
}

static struct journal_append close_entry(struct history *history, struct history_entry *entry,
                                         bool again) {
  history->moment.next_token++;
  entry->moment = history->moment;
  history->count++;
  struct journal_append append = {.records = {history->arena + entry->at, entry->len},
                                  .count = entry->count,
                                  .ends = entry->ends,
                                  .moment = entry->moment,
                                  .again = again};
  append.ends.last_ms = delayed(append.ends.last_ms, history->delayed_ms);
  return append;
}

struct journal_append history_append(struct history *history, struct random *random, size_t bytes) {
  struct history_entry *entry = open_entry(history);
  unsigned records = random_once(random, 3) ? 1 + (unsigned)random_below(random, 4) : 1;
  for (unsigned i = 0; i < records; i++) draw_record(history, entry, random, bytes / records);
  return close_entry(history, entry, false);
}

bool history_again(struct history *history, struct span span, struct journal_append *append) {
  struct record record;
  memcpy(&record, span.data, sizeof record);
  const struct history_entry *last = &history->entries[history->count - 1];
  if (record.kind != IMAGE || last->keys[record.key].image != record.number) return false;
  if (!counts(history, &last->keys[record.key], history->moment.engine_ms)) return false;
  record.end_ms = last->keys[record.key].end_ms;
  struct history_entry *entry = open_entry(history);
  add_record(history, entry, record, span.len - sizeof record);
  *append = close_entry(history, entry, true);
  return true;
}

struct span history_head(struct history *history, struct random *random, int64_t *as_of_ms) {
  assert(history->head_count < HISTORY_MOST_HEADS);
  struct history_head *head = &history->heads[history->head_count];
  size_t filler = random_below(random, HISTORY_HEAD_BYTES - sizeof(struct record)) / 8 * 8;
  if (!random_once(random, 4)) filler %= 64;
  struct record record = {.bytes = (uint32_t)(sizeof record + filler),
                          .kind = HEAD,
                          .number = history->head_count++,
                          .nonce = ++history->nonce * UINT64_C(0x9E3779B97F4A7C15),
                          .end_ms = history->moment.engine_ms};
  memcpy(head->bytes, &record, sizeof record);
  memset(head->bytes + sizeof record, (int)(record.nonce >> 8 | 1), filler);
  head->len = record.bytes;
  head->as_of_ms = *as_of_ms = record.end_ms;
  return (struct span){head->bytes, head->len};
}

/* What has ended stays so. */
void history_delay(struct history *history, int64_t by_ms) {
  uint32_t from = history->acked > 0 ? history->acked - 1 : 0;
  for (uint32_t i = from; i < history->count; i++) {
    for (unsigned k = 0; k < HISTORY_KEYS; k++) {
      struct history_key *key = &history->entries[i].keys[k];
      if (!counts(history, key, history->moment.engine_ms)) key->image = HISTORY_NONE;
    }
  }
  history->delayed_ms += by_ms;
}

uint64_t history_live_bytes(const struct history *history) {
  uint64_t bytes = 0;
  if (history->count == 0) return 0;
  const struct history_key *keys = history->entries[history->count - 1].keys;
  for (unsigned i = 0; i < HISTORY_KEYS; i++) {
    if (counts(history, &keys[i], history->moment.engine_ms))
      bytes += history->entries[keys[i].image].len;
  }
  return bytes;
}

void history_acknowledge(struct history *history) {
  if (history->committed == 0 || history->acked >= history->committed) return;
  history->acked = history->committed;
  history->acked_moment = history->entries[history->acked - 1].moment;
}

/* ---- recovering ---- */

static bool wrong(struct history_recovery *recovery, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  if (recovery->why[0] == '\0') vsnprintf(recovery->why, sizeof recovery->why, format, arguments);
  va_end(arguments);
  return false;
}

static bool same_head(struct history_recovery *recovery, struct span records) {
  const struct history *history = recovery->history;
  struct record record;
  if (records.len < sizeof record) return wrong(recovery, "a head of %zu bytes", records.len);
  memcpy(&record, records.data, sizeof record);
  if (record.kind != HEAD || record.number >= history->head_count)
    return wrong(recovery, "a head that was never given");
  const struct history_head *head = &history->heads[record.number];
  if (head->len != records.len || memcmp(head->bytes, records.data, records.len) != 0)
    return wrong(recovery, "head %u has other bytes", record.number);
  if (recovery->heads > 0 && record.number < recovery->last_head)
    return wrong(recovery, "head %u after head %u", record.number, recovery->last_head);
  recovery->last_head = record.number;
  return true;
}

static bool same_entries(struct history_recovery *recovery, const struct journal_batch *batch,
                         struct journal_ends *ends) {
  const struct history *history = recovery->history;
  size_t done = 0;
  unsigned count = 0;
  *ends = (struct journal_ends){.last_ms = INT64_MIN};
  while (done < batch->records.len) {
    if (recovery->next == history->count) return wrong(recovery, "more than was appended");
    const struct history_entry *entry = &history->entries[recovery->next];
    if (entry->len > batch->records.len - done)
      return wrong(recovery, "append %u is torn in two", recovery->next);
    if (memcmp(batch->records.data + done, history->arena + entry->at, entry->len) != 0)
      return wrong(recovery, "append %u has other bytes", recovery->next);
    if (batch->engine_ms < entry->moment.engine_ms)
      return wrong(recovery, "the batch of append %u is older than it", recovery->next);
    ends->last_ms = later(ends->last_ms, delayed(entry->ends.last_ms, history->delayed_ms));
    ends->of_older |= entry->ends.of_older;
    done += entry->len;
    count += entry->count;
    recovery->next++;
  }
  return count == batch->count ||
         wrong(recovery, "a batch says that it has %u records, not %u", batch->count, count);
}

bool history_restore(void *context, const struct journal_batch *batch, struct journal_ends *ends) {
  struct history_recovery *recovery = context;
  if (batch->head) {
    bool same = same_head(recovery, batch->records);
    recovery->heads++;
    return same;
  }
  if (batch->last && batch->records.len == 0) return true;
  struct record record;
  if (batch->records.len < sizeof record) return wrong(recovery, "a batch without a record");
  memcpy(&record, batch->records.data, sizeof record);
  if (!recovery->any) recovery->first = recovery->next = record.number;
  recovery->any = true;
  if (record.number != recovery->next)
    return wrong(recovery, "append %u follows %u", record.number, recovery->next - 1);
  return same_entries(recovery, batch, ends);
}

/* The oldest append that has to be there when there are `upto` of them. */
static uint32_t oldest_needed(const struct history *history, uint32_t upto, int64_t as_of_ms) {
  uint32_t oldest = HISTORY_NONE;
  if (upto == 0) return oldest;
  const struct history_key *keys = history->entries[upto - 1].keys;
  for (unsigned i = 0; i < HISTORY_KEYS; i++) {
    if (counts(history, &keys[i], as_of_ms) && keys[i].image < oldest) oldest = keys[i].image;
  }
  return oldest;
}

static bool nothing_needed(struct history_recovery *recovery, int64_t as_of_ms) {
  const struct history *history = recovery->history;
  for (uint32_t upto = history->acked; upto <= history->count; upto++) {
    if (oldest_needed(history, upto, as_of_ms) != HISTORY_NONE) continue;
    recovery->first = recovery->next = recovery->upto = upto;
    return true;
  }
  return wrong(recovery, "nothing was recovered, though append %u counts",
               oldest_needed(history, history->acked, as_of_ms));
}

static bool check_range(struct history_recovery *recovery) {
  const struct history *history = recovery->history;
  int64_t as_of_ms = history->heads[recovery->last_head].as_of_ms;
  if (!recovery->any) return nothing_needed(recovery, as_of_ms);
  recovery->upto = recovery->next;
  if (recovery->next < history->acked)
    return wrong(recovery, "lost: acknowledged up to append %u, recovered up to %u", history->acked,
                 recovery->next);
  uint32_t needed = oldest_needed(history, recovery->next, as_of_ms);
  return needed >= recovery->first ||
         wrong(recovery, "lost: append %u counts, recovered from %u on", needed, recovery->first);
}

static bool check_moment(struct history_recovery *recovery, struct journal_moment found) {
  const struct history *history = recovery->history;
  const struct journal_moment *least = &history->acked_moment, *most = &history->moment;
  if (found.engine_ms < least->engine_ms || found.engine_ms > most->engine_ms)
    return wrong(recovery, "the newest time is %lld", (long long)found.engine_ms);
  if (found.next_token < least->next_token || found.next_token > most->next_token)
    return wrong(recovery, "the newest token is %llu", (unsigned long long)found.next_token);
  return found.largest_ms >= least->largest_ms || wrong(recovery, "the largest difference is lost");
}

static bool check_log(struct history_recovery *recovery, struct journal *journal) {
  char error[JOURNAL_ERROR_BYTES] = "";
  struct journal_moment newest = journal_newest(journal);
  struct history_recovery head = {.history = recovery->history};
  if (!same_head(&head, journal_newest_head(journal)))
    return wrong(recovery, "newest: %s", head.why);
  enum journal_result result = journal_recover(journal, history_restore, recovery, error);
  if (result != JOURNAL_OK)
    return wrong(recovery, "journal_recover: %s (%s)",
                 result == JOURNAL_CORRUPT ? "CORRUPT" : "REFUSED", error);
  if (recovery->heads == 0) return wrong(recovery, "no head was recovered");
  if (head.last_head != recovery->last_head) return wrong(recovery, "another newest head");
  if (!check_range(recovery) || !check_moment(recovery, newest)) return false;
  return recovery->upto >= recovery->history->committed || journal_may_have_lost(journal) ||
         wrong(recovery, "committed up to append %u, recovered up to %u: it does not say so",
               recovery->history->committed, recovery->upto);
}

bool history_check(struct history_recovery *recovery, const struct history *history,
                   struct journal *journal) {
  memset(recovery, 0, offsetof(struct history_recovery, why) + 1);
  recovery->history = history;
  if (!journal_is_new(journal)) return check_log(recovery, journal);
  char error[JOURNAL_ERROR_BYTES];
  if (history->begun || history->acked > 0) return wrong(recovery, "the log is new: all is lost");
  return journal_recover(journal, history_restore, recovery, error) == JOURNAL_OK ||
         wrong(recovery, "a new log is not recovered: %s", error);
}

void history_cut(struct history *history, const struct history_recovery *recovery) {
  history->count = history->committed = recovery->upto;
  if (history->acked > history->count) history->acked = history->count;
}
