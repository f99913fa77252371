/* salvage.c - see salvage.h. */
#include "server/journal/salvage.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/journal/commit.h"
#include "server/journal/helper.h"
#include "server/journal/load.h"
#include "server/journal/recover.h"
#include "server/journal/room.h"
#include "server/journal/rotate.h"

struct salvage {
  struct journal_files *from;
  FILE *out;
  struct journal *to;
  uint64_t key;     /* of the log, from any header that is valid */
  struct span head; /* of the newest segment that has one; owned */
  struct journal_moment newest;
  uint64_t oldest_lsn; /* where the log began */
  uint64_t lost_bytes, batches, records;
  char error[JOURNAL_ERROR_BYTES];
};

/* One valid batch; false: it cannot go on. */
typedef bool batch_visitor(struct salvage *salvage, const struct format_batch *batch,
                           struct span records);

/* ---- walking over what is left ---- */

static void note_lost(struct salvage *salvage, bool tell, uint64_t first_lsn, size_t from,
                      size_t upto) {
  char name[SEGMENT_NAME_BYTES];
  if (!tell || from >= upto) return;
  segment_name(first_lsn, name);
  fprintf(salvage->out, "lost: %s offset %zu..%zu\n", name, from, upto);
  salvage->lost_bytes += upto - from;
}

/* From the end of what a file has to the beginning of the next one that is there. */
static void note_gap(struct salvage *salvage, uint64_t lsn, uint64_t end_lsn) {
  char from[SEGMENT_NAME_BYTES], upto[SEGMENT_NAME_BYTES];
  segment_name(lsn, from);
  segment_name(end_lsn, upto);
  fprintf(salvage->out, "lost: all from %.21s to %.21s\n", from, upto);
  salvage->lost_bytes += end_lsn - lsn;
}

static bool walk_segment(struct salvage *salvage, struct span file, uint64_t first_lsn,
                         uint64_t end_lsn, bool tell, batch_visitor *visit) {
  struct scan scan;
  struct format_batch batch;
  struct span records;
  scan_open(&scan, file, first_lsn, salvage->key, NULL);
  for (;;) {
    while (scan_next(&scan, &batch, &records)) {
      if (!visit(salvage, &batch, records)) return false;
    }
    size_t from = scan.at;
    if (!scan_resume(&scan)) break;
    note_lost(salvage, tell, first_lsn, from, scan.at);
  }
  if (end_lsn == UINT64_MAX || scan_lsn(&scan) >= end_lsn) return true;
  /* A segment is longer than this file: another one is missing, or the end of this one is rotten.
   */
  if (tell) note_gap(salvage, scan_lsn(&scan), end_lsn);
  return true;
}

static bool walk(struct salvage *salvage, const struct load_list *list, bool tell,
                 batch_visitor *visit) {
  for (size_t i = 0; i < list->count; i++) {
    struct load_file loaded = {0};
    uint64_t first_lsn = list->lsns[i];
    uint64_t end_lsn = i + 1 < list->count ? list->lsns[i + 1] : UINT64_MAX;
    if (first_lsn < salvage->oldest_lsn) continue; /* what a crash has left */
    int failed = load_bytes(salvage->from, first_lsn, &loaded);
    if (failed != 0 && tell) {
      char name[SEGMENT_NAME_BYTES];
      segment_name(first_lsn, name);
      fprintf(salvage->out, "lost: %s: %s\n", name, strerror(-failed));
    }
    struct span file = {loaded.bytes, loaded.size};
    bool fine = failed != 0 || walk_segment(salvage, file, first_lsn, end_lsn, tell, visit);
    load_free_file(&loaded);
    if (!fine) return false;
  }
  return true;
}

/* A segment whose own header is rotten has batches of the same log. */
static bool find_key(struct salvage *salvage, const struct load_list *list) {
  for (size_t i = list->count; i > 0; i--) {
    struct load_file loaded = {0};
    bool found = load_file(salvage->from, list->lsns[i - 1], &loaded, salvage->error) == JOURNAL_OK;
    if (found) salvage->key = format_key(loaded.header.log_id);
    load_free_file(&loaded);
    if (found) return true;
  }
  return false;
}

/* ---- first the newest head and moment, then all batches ---- */

static bool keep_newest(struct salvage *salvage, const struct format_batch *batch,
                        struct span records) {
  salvage->newest = batch->moment;
  salvage->oldest_lsn = batch->oldest_lsn;
  if (!(batch->flags & FORMAT_HEAD)) return true;
  char *copy = malloc(records.len + 1);
  if (copy == NULL) return false;
  memcpy(copy, records.data, records.len);
  free((char *)salvage->head.data);
  salvage->head = (struct span){copy, records.len};
  return true;
}

static bool has_room(struct salvage *salvage, size_t bytes) {
  state_lock(salvage->to);
  enum journal_room room = room_ask(salvage->to, bytes);
  state_unlock(salvage->to);
  if (room != JOURNAL_ROOM_NONE) return true;
  int error = atomic_load(&salvage->to->progress.room_error);
  snprintf(salvage->error, sizeof salvage->error, "the new log has no room: %s", strerror(error));
  return false;
}

/* Each as a batch of its own: all or nothing, as before. */
static bool copy_batch(struct salvage *salvage, const struct format_batch *batch,
                       struct span records) {
  if (batch->flags & FORMAT_HEAD || records.len == 0) return true;
  struct journal_append append = {.records = records,
                                  .count = batch->count,
                                  .ends = {.last_ms = INT64_MAX},
                                  .moment = batch->moment};
  if (!has_room(salvage, records.len)) return false;
  commit_append(salvage->to, &append);
  if (!commit_all(salvage->to, NULL)) return false;
  if (salvage->to->retired != NULL) helper_step(salvage->to, false);
  salvage->batches++;
  salvage->records += batch->count;
  return true;
}

/* ---- the new log ---- */

static struct span give_head(void *context, void *caller, int64_t *as_of_ms) {
  const struct salvage *salvage = context;
  (void)caller;
  *as_of_ms = INT64_MIN;
  return salvage->head;
}

static void note_failure(void *context, const char *text) {
  struct salvage *salvage = context;
  snprintf(salvage->error, sizeof salvage->error, "%s", text);
}

static bool refuse(struct salvage *salvage, const char *why) {
  snprintf(salvage->error, sizeof salvage->error, "%s", why);
  return false;
}

/* A part of a log must not be taken for one: no server starts while this name is there. */
static bool mark(struct salvage *salvage, struct journal_files *files) {
  int file = files->open(files->context, LOAD_UNFINISHED, true);
  int error = file < 0 ? file : files->sync_directory(files->context);
  if (file >= 0) files->close(files->context, file);
  return error == 0 || refuse(salvage, strerror(-error));
}

static bool unmark(struct salvage *salvage) {
  struct journal_files *files = salvage->to->files;
  int error = files->remove(files->context, LOAD_UNFINISHED);
  if (error == 0) error = files->sync_directory(files->context);
  return error == 0 || refuse(salvage, strerror(-error));
}

static bool begin(struct salvage *salvage, struct journal_files *files,
                  const unsigned char *new_id) {
  struct fault fault;
  struct journal_options options = {
      .files = files,
      .sync = JOURNAL_SYNC_ALWAYS,
      .segment_bytes = JOURNAL_SEGMENT_BYTES,
      .hooks = {.context = salvage, .failed = note_failure, .head = give_head},
  };
  struct journal *to = salvage->to = state_create(&options);
  if (to == NULL) return refuse(salvage, "no memory");
  if (recover_look(to, salvage->error) != JOURNAL_OK) return false;
  if (to->found.count > 0) return refuse(salvage, "the new directory has a log already");
  if (!mark(salvage, files)) return false;
  memcpy(to->log_id, new_id, JOURNAL_ID_BYTES);
  to->key = format_key(new_id);
  if (rotate_segment(to, NULL, true, FORMAT_BATCH_BYTES, &fault)) {
    /* One sync at the end is enough: until then the new log is worth nothing. */
    to->options.sync = JOURNAL_SYNC_NO;
    return true;
  }
  return refuse(salvage, strerror(-fault.error));
}

/* The last batch has the tokens, and says that the end is clean. */
static bool finish(struct salvage *salvage) {
  struct journal_moment moment = salvage->newest;
  moment.next_token += SALVAGE_TOKENS;
  pending_see(&salvage->to->pending, &moment);
  return has_room(salvage, FORMAT_ALIGNMENT) && commit_last(salvage->to) && unmark(salvage);
}

static bool salvage_all(struct salvage *salvage, const struct load_list *list,
                        struct journal_files *to, const unsigned char *new_id) {
  if (list->count == 0) return refuse(salvage, "there is no log");
  if (!find_key(salvage, list)) return refuse(salvage, "no segment has a valid header");
  if (!walk(salvage, list, false, keep_newest)) return refuse(salvage, "no memory");
  if (!span_present(salvage->head)) return refuse(salvage, "no segment has a valid head");
  if (!begin(salvage, to, new_id)) return false;
  return walk(salvage, list, true, copy_batch) && finish(salvage);
}

enum journal_result salvage_journal(struct journal_files *from, struct journal_files *to,
                                    const unsigned char *new_id, FILE *out) {
  struct salvage salvage = {.from = from, .out = out};
  struct load_list list;
  int failed = load_segments(from, &list);
  bool fine =
      failed == 0 ? salvage_all(&salvage, &list, to, new_id) : refuse(&salvage, strerror(-failed));
  if (fine) {
    fprintf(out, "saved: batches %" PRIu64 ", records %" PRIu64 "; lost: %" PRIu64 " bytes\n",
            salvage.batches, salvage.records, salvage.lost_bytes);
  } else {
    fprintf(out, "%s\n", salvage.error);
  }
  load_free_list(&list);
  free((char *)salvage.head.data);
  state_destroy(salvage.to);
  return fine ? JOURNAL_OK : JOURNAL_REFUSED;
}
