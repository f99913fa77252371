/* rotate.c - see rotate.h. */
#include "server/journal/rotate.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/journal/room.h"

#define COPY_BYTES (16u << 10)

struct head {
  struct span records; /* absent: as the former one, which lies in the active file */
  int64_t as_of_ms;
  uint64_t number;
  struct format_batch batch;
};

static bool fails(struct fault *fault, const char *file, const char *what, int error) {
  if (error == 0) return false;
  fault->error = error;
  fault->what = what;
  snprintf(fault->file, sizeof fault->file, "%s", file);
  return true;
}

int rotate_sync(struct journal *journal, int file) {
  uint64_t began_ns = clock_monotonic_ns();
  int error = segment_sync(journal->files, file);
  uint64_t took_ns = clock_monotonic_ns() - began_ns;
  state_lock(journal);
  histogram_add(&journal->counters.syncs, took_ns / 1000, 1);
  state_unlock(journal);
  return error;
}

/* ---- the former segment ---- */

static bool finish_former(struct journal *journal, struct fault *fault) {
  char name[SEGMENT_NAME_BYTES];
  state_lock(journal);
  bool durable = journal->durable_lsn == journal->lsn;
  state_unlock(journal);
  if (journal->active == NULL || durable) return true;
  segment_name(journal->active->first_lsn, name);
  if (fails(fault, name, "sync", rotate_sync(journal, journal->active->file))) return false;
  state_lock(journal);
  state_note_durable(journal, journal->lsn, journal->written_appended);
  state_unlock(journal);
  return true;
}

/* ---- the head ---- */

static unsigned count_records(struct span records) {
  unsigned count = 0;
  for (size_t at = 0; at + sizeof(uint32_t) <= records.len; count++) {
    uint32_t bytes;
    memcpy(&bytes, records.data + at, sizeof bytes);
    assert(bytes >= FORMAT_ALIGNMENT && bytes % FORMAT_ALIGNMENT == 0);
    at += bytes;
  }
  return count;
}

static void ask_head(struct journal *journal, void *caller, bool ask, struct head *head) {
  const struct journal_hooks *hooks = &journal->options.hooks;
  state_lock(journal);
  *head = (struct head){.as_of_ms = journal->head_as_of_ms, .number = journal->head_number};
  uint64_t number = ++journal->heads_asked;
  state_unlock(journal);
  int64_t as_of_ms = INT64_MIN;
  if (ask) head->records = hooks->head(hooks->context, caller, &as_of_ms);
  if (!span_present(head->records)) {
    head->batch.bytes = journal->head_bytes;
    head->batch.count = journal->head_count;
    head->batch.payload = journal->head_checksum;
    return;
  }
  assert(head->records.len % FORMAT_ALIGNMENT == 0);
  head->as_of_ms = as_of_ms;
  head->number = number;
  head->batch.bytes = (uint32_t)head->records.len;
  head->batch.count = count_records(head->records);
  head->batch.payload = format_checksum(head->records.data, head->records.len, journal->key);
}

static void fill_head(struct journal *journal, struct head *head) {
  struct format_batch *batch = &head->batch;
  state_lock(journal);
  batch->flags = FORMAT_HEAD;
  if (journal->options.sync != JOURNAL_SYNC_ALWAYS) batch->flags |= FORMAT_UNSYNCED;
  batch->lsn = batch->durable_lsn = journal->lsn;
  batch->moment = journal->taken.moment;
  /* A start goes on from here: what has ended by as_of, and is removed for that, has ended then. */
  if (batch->moment.engine_ms < head->as_of_ms) batch->moment.engine_ms = head->as_of_ms;
  batch->oldest_lsn = journal->oldest_lsn;
  batch->previous = journal->previous;
  state_unlock(journal);
}

/* Piece by piece: it was asked for since there is no memory. */
static int copy_former(struct journal *journal, int to, uint64_t at, uint32_t bytes) {
  char piece[COPY_BYTES];
  uint64_t from = journal->head_offset;
  for (uint32_t done = 0; done < bytes;) {
    size_t part = bytes - done < COPY_BYTES ? bytes - done : COPY_BYTES;
    int64_t got = segment_read(journal->files, journal->active->file, piece, part, from + done);
    if (got != (int64_t)part) return got < 0 ? (int)got : -EIO;
    int error = segment_write(journal->files, to, piece, part, at + done);
    if (error != 0) return error;
    done += (uint32_t)part;
  }
  return 0;
}

static int write_head(struct journal *journal, int file, struct head *head) {
  char start[FORMAT_SEGMENT_BYTES + FORMAT_BATCH_BYTES];
  struct format_segment segment = {
      .first_lsn = head->batch.lsn,
      .oldest_lsn = head->batch.oldest_lsn,
      .wall_ms = head->batch.moment.wall_ms,
  };
  memcpy(segment.log_id, journal->log_id, sizeof segment.log_id);
  format_put_segment(start, &segment);
  format_put_batch(start + FORMAT_SEGMENT_BYTES, &head->batch, journal->key);
  int error = segment_write(journal->files, file, start, sizeof start, 0);
  if (error != 0) return error;
  const struct span *records = &head->records;
  return span_present(*records)
             ? segment_write(journal->files, file, records->data, records->len, sizeof start)
             : copy_former(journal, file, sizeof start, head->batch.bytes);
}

/* ---- the new segment ---- */

/* Once the segment has begun, room for half a segment of batches is left, however large heads are.
 */
static struct log_file *get_spare(struct journal *journal, uint32_t head_bytes,
                                  uint64_t batch_bytes, struct fault *fault) {
  int error = 0;
  uint64_t space = room_head_space(head_bytes), half = journal->options.segment_bytes / 2;
  state_lock(journal);
  struct log_file *spare = room_spare(journal, &error);
  if (spare != NULL) {
    uint64_t least = space + (batch_bytes > half ? batch_bytes : half);
    if (spare->limit < least) spare->limit = least;
    error = room_reach(journal, spare, space + batch_bytes);
  }
  state_unlock(journal);
  return fails(fault, SEGMENT_SPARE, "room", error) ? NULL : spare;
}

static bool is_no_room(int error) { return error == -ENOSPC || error == -EDQUOT; }

/* *unnamed: it keeps its name for now, which has to be as durable as the other would be. */
static bool name_spare(struct journal *journal, uint64_t first_lsn, bool *unnamed,
                       struct fault *fault) {
  struct journal_files *files = journal->files;
  char name[SEGMENT_NAME_BYTES];
  segment_name(first_lsn, name);
  int error = files->rename(files->context, SEGMENT_SPARE, name);
  *unnamed = is_no_room(error) && journal->active != NULL;
  return (*unnamed || !fails(fault, name, "rename", error)) &&
         !fails(fault, name, "sync of the directory", files->sync_directory(files->context));
}

/* Locked. It is durable, as the last batch of the active file. */
static void note_head(struct journal *journal, const struct head *head) {
  const struct format_batch *batch = &head->batch;
  journal->head_bytes = batch->bytes;
  journal->head_count = batch->count;
  journal->head_checksum = batch->payload;
  journal->head_offset = journal->active->end - format_batch_size(batch) + FORMAT_BATCH_BYTES;
  journal->head_as_of_ms = head->as_of_ms;
  journal->head_number = head->number;
  journal->head_wanted = false;
  journal->carried_oldest_lsn = batch->oldest_lsn;
  journal->carried_end_lsn = journal->lsn;
  journal->loss_is_marked = true;
  journal->all_batches++;
  journal->counters.batches++;
  state_note_durable(journal, journal->lsn, journal->written_appended);
}

/* Locked. */
static void adopt(struct journal *journal, const struct head *head) {
  const struct format_batch *batch = &head->batch;
  journal->lsn = batch->lsn + format_batch_size(batch);
  journal->previous = batch->checksum;
  assert(journal->segment_count < journal->segment_capacity);
  journal->segments[journal->segment_count++] = (struct segment){.first_lsn = batch->lsn,
                                                                 .end_lsn = journal->lsn,
                                                                 .last_ms = INT64_MIN,
                                                                 .older_ms = INT64_MIN};
  struct log_file *former = journal->active;
  journal->active = journal->spare;
  journal->active->first_lsn = batch->lsn;
  journal->active->end = segment_offset(batch->lsn, journal->lsn);
  journal->spare = NULL;
  if (former != NULL) {
    former->next = journal->retired;
    journal->retired = former;
  }
  note_head(journal, head);
}

bool rotate_segment(struct journal *journal, void *caller, bool ask, uint64_t batch_bytes,
                    struct fault *fault) {
  struct head head;
  bool unnamed;
  if (!finish_former(journal, fault)) return false;
  ask_head(journal, caller, ask, &head);
  bool has_head = span_present(head.records) || journal->active != NULL;
  if (!has_head && fails(fault, SEGMENT_SPARE, "head", -ENOMEM)) return false;
  struct log_file *spare = get_spare(journal, head.batch.bytes, batch_bytes, fault);
  if (spare == NULL && journal->active != NULL) { /* there is room for one as large as the former */
    ask_head(journal, caller, false, &head);
    spare = get_spare(journal, head.batch.bytes, batch_bytes, fault);
  }
  if (spare == NULL) return false;
  fill_head(journal, &head);
  if (fails(fault, SEGMENT_SPARE, "write", write_head(journal, spare->file, &head)) ||
      fails(fault, SEGMENT_SPARE, "sync", rotate_sync(journal, spare->file)) ||
      !name_spare(journal, head.batch.lsn, &unnamed, fault)) {
    return false;
  }
  state_lock(journal);
  journal->unnamed = unnamed;
  adopt(journal, &head);
  state_unlock(journal);
  return true;
}

/* ---- a head without a new segment ---- */

static bool fits_here(const struct journal *journal, const struct format_batch *batch) {
  state_lock(journal);
  bool fits = room_takes_head(journal, format_batch_size(batch));
  state_unlock(journal);
  return fits;
}

static int put_head(struct journal *journal, struct head *head) {
  char header[FORMAT_BATCH_BYTES];
  const struct log_file *active = journal->active;
  struct span records = head->records;
  format_put_batch(header, &head->batch, journal->key);
  int error = segment_write(journal->files, active->file, header, sizeof header, active->end);
  if (error != 0) return error;
  return segment_write(journal->files, active->file, records.data, records.len,
                       active->end + sizeof header);
}

bool rotate_head(struct journal *journal, void *caller, struct fault *fault) {
  struct head head;
  char name[SEGMENT_NAME_BYTES];
  if (!finish_former(journal, fault)) return false;
  ask_head(journal, caller, true, &head);
  fill_head(journal, &head);
  if (!span_present(head.records) || !fits_here(journal, &head.batch)) return true;
  segment_name(journal->active->first_lsn, name);
  if (fails(fault, name, "write", put_head(journal, &head)) ||
      fails(fault, name, "sync", rotate_sync(journal, journal->active->file)))
    return false;
  state_lock(journal);
  journal->lsn = head.batch.lsn + format_batch_size(&head.batch);
  journal->previous = head.batch.checksum;
  journal->active->end += format_batch_size(&head.batch);
  journal->segments[journal->segment_count - 1].end_lsn = journal->lsn;
  note_head(journal, &head);
  state_unlock(journal);
  return true;
}
