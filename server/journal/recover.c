/* recover.c - see recover.h. */
#include "server/journal/recover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/journal/load.h"

#define BLOCK_BYTES (4u << 10)

/* ---- pieces ---- */

static bool step_on(const struct journal *journal, uint64_t done, uint64_t whole) {
  const struct journal_steps *steps = &journal->options.steps;
  return steps->next == NULL || steps->next(steps->context, (struct journal_step){done, whole});
}

static enum journal_result stopped(char error[JOURNAL_ERROR_BYTES], struct journal_files *files) {
  snprintf(error, JOURNAL_ERROR_BYTES,
           "journal: dir %s: stopped while it was read; nothing was changed", files->directory);
  return JOURNAL_STOPPED;
}

/* ---- look ---- */

/* Opens a segment, and reads all of it piece by piece. */
static enum journal_result load_tail(struct journal *journal, uint64_t first_lsn,
                                     struct load_file *tail, char error[JOURNAL_ERROR_BYTES]) {
  struct journal_files *files = journal->files;
  enum journal_result result = load_open(files, first_lsn, tail, error);
  if (result != JOURNAL_OK) return result;
  int failed = 0;
  bool goes_on = true;
  while (failed == 0 && tail->there < tail->size && goes_on) {
    failed = load_reach(tail, tail->there + 1);
    goes_on = step_on(journal, tail->there, 0);
  }
  load_close(tail);
  if (failed != 0) return load_unread(error, files, first_lsn, failed);
  return goes_on ? JOURNAL_OK : stopped(error, files);
}

/* To the end of the newest segment. */
static enum journal_result scan_tail(struct journal *journal, uint64_t first_lsn,
                                     char error[JOURNAL_ERROR_BYTES]) {
  struct found *found = &journal->found;
  struct scan scan;
  struct format_batch batch, later;
  struct span records;
  struct span file = {found->tail, found->tail_size};
  size_t stepped = 0;
  scan_open(&scan, file, first_lsn, journal->key, NULL);
  while (scan_next(&scan, &batch, &records)) {
    if (batch.flags & FORMAT_HEAD) found->head = records;
    found->newest = batch;
    if (scan.at - stepped < JOURNAL_STEP_BYTES) continue;
    stepped = scan.at;
    if (!step_on(journal, scan.at, 0)) return stopped(error, journal->files);
  }
  found->tail_end = scan.at;
  if (scan.at == FORMAT_SEGMENT_BYTES || scan.stop == SCAN_NEWER) {
    return load_corrupt(error, first_lsn, scan.at, "%s", scan_reason(scan.stop));
  }
  journal->cut_bytes = scan_cut_bytes(&scan);
  if (!scan_find_later(&scan, &later)) return JOURNAL_OK;
  return load_corrupt(error, first_lsn, scan.at,
                      "%s, and a later one at offset %" PRIu64 " is valid", scan_reason(scan.stop),
                      segment_offset(first_lsn, later.lsn));
}

/* What is older than the log's beginning a crash has left: it was to be removed. */
static enum journal_result sort_out(struct journal *journal, struct load_list *list,
                                    char error[JOURNAL_ERROR_BYTES]) {
  struct found *found = &journal->found;
  uint64_t oldest = found->newest.oldest_lsn;
  size_t older = 0;
  while (older < list->count && list->lsns[older] < oldest) older++;
  found->lsns = list->lsns;
  found->leftover_count = older;
  found->count = list->count - older;
  *list = (struct load_list){0};
  if (found->count > 0 && found->lsns[older] == oldest) return JOURNAL_OK;
  return load_corrupt(error, oldest, 0, "the oldest segment is missing");
}

enum journal_result recover_look(struct journal *journal, char error[JOURNAL_ERROR_BYTES]) {
  struct load_list list;
  struct load_file tail = {0};
  int failed = load_segments(journal->files, &list);
  enum journal_result result = JOURNAL_OK;
  if (failed != 0) {
    result = load_refused(error, journal->files, "cannot be listed: %s", strerror(-failed));
  } else if (list.unfinished) {
    result = load_refused(error, journal->files,
                          "a salvage into it was cut off: empty it, and salvage once more");
  } else if (list.count == 0 && list.strangers) {
    result = load_refused(error, journal->files, "has files of a journal under other names");
  } else if (list.count > 0) {
    uint64_t newest = list.lsns[list.count - 1];
    result = load_tail(journal, newest, &tail, error);
    if (result == JOURNAL_OK) {
      memcpy(journal->log_id, tail.header.log_id, JOURNAL_ID_BYTES);
      journal->key = format_key(journal->log_id);
      journal->found.tail = tail.bytes;
      journal->found.tail_size = tail.size;
      result = scan_tail(journal, newest, error);
    } else {
      load_free_file(&tail);
    }
    if (result == JOURNAL_OK) result = sort_out(journal, &list, error);
  }
  load_free_list(&list);
  return result;
}

/* ---- batches ---- */

struct restoring {
  struct journal *journal;
  journal_restorer *restore;
  void *context;
  bool chained;
  uint64_t previous;
  uint64_t end_lsn, stepped_lsn; /* of the log; of the last step */
};

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

static bool restore_batch(struct restoring *restoring, const struct format_batch *batch,
                          struct span records, bool last, struct segment *segment) {
  struct journal *journal = restoring->journal;
  bool head = (batch->flags & FORMAT_HEAD) != 0;
  struct journal_ends ends = {.last_ms = INT64_MIN};
  struct journal_batch whole = {.records = records,
                                .count = batch->count,
                                .engine_ms = batch->moment.engine_ms,
                                .head = head,
                                .last = last};
  journal->recovered_batches++;
  if (batch->count == 0 && !head && !last) return true;
  if (!restoring->restore(restoring->context, &whole, &ends)) return false;
  if (head || batch->count == 0) return true; /* it does not hold its segment */
  journal->recovered_records += batch->count;
  segment->last_ms = later(segment->last_ms, ends.last_ms);
  if (ends.of_older) segment->older_ms = later(segment->older_ms, ends.last_ms);
  return true;
}

static bool take_step(struct restoring *restoring, uint64_t lsn) {
  if (lsn - restoring->stepped_lsn < JOURNAL_STEP_BYTES) return true;
  restoring->stepped_lsn = lsn;
  uint64_t oldest = restoring->journal->found.newest.oldest_lsn;
  return step_on(restoring->journal, lsn - oldest, restoring->end_lsn - oldest);
}

/* end_lsn: where it has to end. */
static enum journal_result restore_segment(struct restoring *restoring, struct scan *scan,
                                           uint64_t end_lsn, char error[JOURNAL_ERROR_BYTES]) {
  struct journal *journal = restoring->journal;
  uint64_t first_lsn = scan->first_lsn;
  struct segment segment = {.first_lsn = first_lsn, .last_ms = INT64_MIN, .older_ms = INT64_MIN};
  struct format_batch batch;
  struct span records;
  while (scan_lsn(scan) < end_lsn && scan_next(scan, &batch, &records)) {
    if (!restore_batch(restoring, &batch, records, scan_lsn(scan) == end_lsn, &segment)) {
      return load_refused(error, journal->files, "no memory to recover it");
    }
    if (!take_step(restoring, scan_lsn(scan))) return stopped(error, journal->files);
  }
  segment.end_lsn = scan_lsn(scan);
  if (scan->stop == SCAN_UNREAD) return load_unread(error, journal->files, first_lsn, scan->error);
  if (segment.end_lsn > end_lsn) {
    return load_corrupt(error, first_lsn, scan->at,
                        "it goes on beyond the next segment's beginning");
  }
  if (segment.end_lsn < end_lsn) {
    return load_corrupt(error, first_lsn, scan->at, "%s", scan_reason(scan->stop));
  }
  restoring->chained = true;
  restoring->previous = scan->previous;
  if (!state_reserve_segment(journal)) return load_refused(error, journal->files, "no memory");
  journal->segments[journal->segment_count++] = segment;
  return JOURNAL_OK;
}

static const uint64_t *previous_of(const struct restoring *restoring) {
  return restoring->chained ? &restoring->previous : NULL;
}

static enum journal_result restore_older(struct restoring *restoring, struct load_file *loaded,
                                         uint64_t first_lsn, uint64_t end_lsn,
                                         char error[JOURNAL_ERROR_BYTES]) {
  struct journal *journal = restoring->journal;
  struct scan scan;
  enum journal_result result = load_open(journal->files, first_lsn, loaded, error);
  if (result != JOURNAL_OK) return result;
  if (memcmp(loaded->header.log_id, journal->log_id, JOURNAL_ID_BYTES) != 0) {
    result = load_corrupt(error, first_lsn, 0, "it belongs to another log than the newest segment");
  } else {
    struct span file = {loaded->bytes, loaded->size};
    scan_open(&scan, file, first_lsn, journal->key, previous_of(restoring));
    scan.source = (struct scan_source){load_reach, loaded};
    result = restore_segment(restoring, &scan, end_lsn, error);
  }
  load_close(loaded);
  return result;
}

static enum journal_result restore_tail(struct restoring *restoring, uint64_t first_lsn,
                                        char error[JOURNAL_ERROR_BYTES]) {
  struct journal *journal = restoring->journal;
  struct found *found = &journal->found;
  struct scan scan;
  struct span tail = {found->tail, found->tail_size};
  scan_open(&scan, tail, first_lsn, journal->key, previous_of(restoring));
  enum journal_result result = restore_segment(restoring, &scan, restoring->end_lsn, error);
  found->recovered = result == JOURNAL_OK;
  return result;
}

static uint64_t tail_end_lsn(const struct found *found) {
  if (found->count == 0) return 0;
  uint64_t first_lsn = found->lsns[found->leftover_count + found->count - 1];
  return first_lsn + (found->tail_end - FORMAT_SEGMENT_BYTES);
}

enum journal_result recover_batches(struct journal *journal, journal_restorer *restore,
                                    void *context, char error[JOURNAL_ERROR_BYTES]) {
  struct found *found = &journal->found;
  const uint64_t *lsns = found->lsns + found->leftover_count;
  struct restoring restoring = {.journal = journal,
                                .restore = restore,
                                .context = context,
                                .end_lsn = tail_end_lsn(found),
                                .stepped_lsn = found->newest.oldest_lsn};
  struct load_file loaded = {0};
  enum journal_result result = JOURNAL_OK;
  for (size_t i = 0; i + 1 < found->count && result == JOURNAL_OK; i++)
    result = restore_older(&restoring, &loaded, lsns[i], lsns[i + 1], error);
  load_free_file(&loaded);
  if (result != JOURNAL_OK || found->count == 0) return result;
  return restore_tail(&restoring, lsns[found->count - 1], error);
}

/* ---- finish ---- */

static bool is_zero(const char *bytes, size_t count) {
  return count == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0);
}

/* What was torn, or lost its beginning: once the log has grown up to there, it must not be taken
 * for a part of it. */
static int zero_rest(struct journal *journal, int file) {
  const struct found *found = &journal->found;
  int error = 0;
  for (size_t at = found->tail_end; at < found->tail_size && error == 0;) {
    size_t count = BLOCK_BYTES - at % BLOCK_BYTES;
    if (count > found->tail_size - at) count = found->tail_size - at;
    if (!is_zero(found->tail + at, count)) {
      error = segment_write_zeros(journal->files, file, count, at);
    }
    at += count;
  }
  return error;
}

/* The page cache may hold what the disk never got, if a sync failed before: it is written again. */
static int make_durable(struct journal *journal, int file) {
  const struct found *found = &journal->found;
  struct journal_files *files = journal->files;
  int error = segment_write(files, file, found->tail, found->tail_end, 0);
  if (error == 0) error = zero_rest(journal, file);
  if (error == 0) error = files->sync(files->context, file);
  return error;
}

/* Holes that a copy has made are no room; where they cannot be filled, room is made later. */
static uint64_t room_there(struct journal *journal, int file) {
  const struct found *found = &journal->found;
  struct journal_files *files = journal->files;
  uint64_t rest = found->tail_size - found->tail_end;
  if (rest == 0) return found->tail_size;
  int error = files->allocate(files->context, file, found->tail_end, rest);
  return error == 0 || error == -EOPNOTSUPP ? found->tail_size : found->tail_end;
}

static int open_tail(struct journal *journal, uint64_t first_lsn) {
  const struct found *found = &journal->found;
  char name[SEGMENT_NAME_BYTES];
  segment_name(first_lsn, name);
  int error = state_open_file(journal, name, false, &journal->active);
  journal->unnamed = error == -ENOENT; /* load.h */
  if (journal->unnamed) error = state_open_file(journal, SEGMENT_SPARE, false, &journal->active);
  if (error != 0) return error;
  struct log_file *active = journal->active;
  uint64_t segment = journal->options.segment_bytes;
  active->first_lsn = first_lsn;
  active->end = found->tail_end;
  error = make_durable(journal, active->file);
  if (error != 0) return error;
  active->filled = room_there(journal, active->file);
  active->limit = segment > active->filled ? segment : active->filled;
  return 0;
}

static int remove_file(struct journal_files *files, const char *name) {
  int error = files->remove(files->context, name);
  return error == -ENOENT ? 0 : error;
}

/* After the newest header is durable, which says that they do not count. */
static int remove_leftovers(struct journal *journal) {
  const struct found *found = &journal->found;
  char name[SEGMENT_NAME_BYTES];
  int error = journal->unnamed ? 0 : remove_file(journal->files, SEGMENT_SPARE);
  for (size_t i = 0; i < found->leftover_count && error == 0; i++) {
    segment_name(found->lsns[i], name);
    error = remove_file(journal->files, name);
  }
  return error != 0 ? error : journal->files->sync_directory(journal->files->context);
}

static void go_on_from(struct journal *journal, const struct segment *tail) {
  const struct found *found = &journal->found;
  const struct format_batch *newest = &found->newest;
  journal->lsn = journal->durable_lsn = tail->end_lsn;
  journal->carried_end_lsn = tail->end_lsn;
  journal->previous = newest->checksum;
  journal->oldest_lsn = journal->carried_oldest_lsn = journal->durable_oldest_lsn =
      newest->oldest_lsn;
  journal->pending.moment = newest->moment;
  journal->head_bytes = (uint32_t)found->head.len;
  struct format_batch head;
  const char *header = found->head.data - FORMAT_BATCH_BYTES;
  journal->head_offset = (uint64_t)(found->head.data - found->tail);
  uint64_t lsn = tail->first_lsn + (uint64_t)(header - found->tail) - FORMAT_SEGMENT_BYTES;
  format_get_batch(header, lsn, journal->key, &head);
  journal->head_count = head.count;
  journal->head_checksum = head.payload;
}

enum journal_result recover_finish(struct journal *journal, char error[JOURNAL_ERROR_BYTES]) {
  struct found *found = &journal->found;
  int failed = 0;
  if (found->count > 0) {
    const struct segment *tail = &journal->segments[journal->segment_count - 1];
    go_on_from(journal, tail);
    failed = open_tail(journal, tail->first_lsn);
  }
  /* A rename that only the cache knows could be lost, and the removals kept. */
  if (failed == 0) failed = journal->files->sync_directory(journal->files->context);
  if (failed == 0) failed = remove_leftovers(journal);
  free(found->lsns);
  free(found->tail);
  *found = (struct found){0};
  if (failed == 0) return JOURNAL_OK;
  snprintf(error, JOURNAL_ERROR_BYTES, "journal: dir %s: the log cannot be made ready: %s",
           journal->files->directory, strerror(-failed));
  return JOURNAL_REFUSED;
}
