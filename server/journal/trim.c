/* trim.c - see trim.h. */
#include "server/journal/trim.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/journal/commit.h"
#include "server/journal/room.h"

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- which may go ---- */

/* When all records of this segment have ended; records after it may have moved their ends. */
static int64_t end_of(const struct journal *journal, size_t index) {
  int64_t end_ms = journal->segments[index].last_ms;
  end_ms = later(end_ms, later(journal->pending.older_ms, journal->taken.older_ms));
  for (size_t i = index; i < journal->segment_count; i++) {
    end_ms = later(end_ms, journal->segments[i].older_ms);
  }
  return end_ms;
}

static bool was_carried_over(const struct journal *journal, const struct segment *segment) {
  return segment->read && journal->durable_appended >= segment->read_appended &&
         journal->head_number > segment->read_heads;
}

/* The oldest that counts: those before it only wait for the helper. */
static size_t oldest_index(const struct journal *journal) {
  size_t index = 0;
  while (journal->segments[index].first_lsn < journal->oldest_lsn) index++;
  return index;
}

static void let_go(struct journal *journal) {
  for (size_t i = oldest_index(journal); i + 1 < journal->segment_count; i++) {
    const struct segment *segment = &journal->segments[i];
    bool ended = end_of(journal, i) <= journal->head_as_of_ms;
    if (!ended && !was_carried_over(journal, segment)) return;
    if (!segment->read) journal->counters.removed_unread++;
    journal->oldest_lsn = journal->segments[i + 1].first_lsn;
  }
}

/* Locked. A new segment begins, before it would have to. */
static void want_head(struct journal *journal) {
  if (journal->head_wanted) return;
  journal->head_wanted = true;
  pthread_cond_signal(&journal->wanted);
}

/* ---- which is to be read ---- */

/* The oldest that was not read, if the log is too large without those that were. */
static struct segment *to_read(struct journal *journal, uint64_t live_bytes) {
  uint64_t segment_bytes = journal->options.segment_bytes, used = 0, was_read = 0;
  struct segment *oldest = NULL;
  for (size_t i = oldest_index(journal); i < journal->segment_count; i++) {
    struct segment *segment = &journal->segments[i];
    *(segment->read ? &was_read : &used) += segment_used(segment);
    if (!segment->read && oldest == NULL && i + 1 < journal->segment_count) oldest = segment;
  }
  if (was_read >= TRIM_HEAD_SEGMENTS * segment_bytes) want_head(journal);
  bool short_of_room = atomic_load(&journal->progress.room_error) != 0;
  uint64_t holes = short_of_room ? live_bytes / 2 : live_bytes;
  return used > live_bytes + holes + 2 * segment_bytes ? oldest : NULL;
}

/* ---- reading ---- */

/* The buffer stays for the next segment: fresh pages cost more than reading into used ones. */
static void close_reading(struct journal *journal) {
  struct reading *reading = &journal->reading;
  if (reading->open) journal->files->close(journal->files->context, reading->file);
  bool keeps = reading->capacity <= TRIM_KEPT_BYTES;
  if (!keeps) free(reading->bytes);
  *reading = (struct reading){.bytes = keeps ? reading->bytes : NULL,
                              .capacity = keeps ? reading->capacity : 0};
}

static int open_reading(struct journal *journal, uint64_t first_lsn, uint64_t end_lsn) {
  struct reading *reading = &journal->reading;
  char name[SEGMENT_NAME_BYTES];
  segment_name(first_lsn, name);
  int file = journal->files->open(journal->files->context, name, false);
  if (file < 0) return file;
  *reading = (struct reading){.open = true,
                              .file = file,
                              .first_lsn = first_lsn,
                              .end_lsn = end_lsn,
                              .lsn = first_lsn,
                              .buffer_lsn = first_lsn,
                              .bytes = reading->bytes,
                              .capacity = reading->capacity};
  return 0;
}

/* The bytes of the next batch that are there begin the buffer, which has room for so many. */
static int begin_buffer(struct reading *reading, size_t capacity) {
  size_t before = reading->lsn - reading->buffer_lsn;
  reading->len = before < reading->len ? reading->len - before : 0;
  if (reading->len > 0 && before > 0)
    memmove(reading->bytes, reading->bytes + before, reading->len);
  reading->buffer_lsn = reading->lsn;
  if (reading->capacity >= capacity) return 0;
  char *grown = realloc(reading->bytes, capacity);
  if (grown == NULL) return -ENOMEM;
  reading->bytes = grown;
  reading->capacity = capacity;
  return 0;
}

/* So many bytes from here on are in the buffer; -EINPROGRESS: a piece of them has been read. */
static int have(struct journal *journal, uint64_t bytes) {
  struct reading *reading = &journal->reading;
  uint64_t rest = reading->end_lsn - reading->lsn;
  if (bytes > rest) return -EBADMSG;
  if (reading->lsn + bytes <= reading->buffer_lsn + reading->len) return 0;
  int error = begin_buffer(reading, bytes > TRIM_READ_BYTES ? bytes : TRIM_READ_BYTES);
  if (error != 0) return error;
  uint64_t piece = reading->capacity - reading->len;
  if (piece > TRIM_READ_BYTES) piece = TRIM_READ_BYTES;
  if (piece > rest - reading->len) piece = rest - reading->len;
  int64_t got = segment_read(journal->files, reading->file, reading->bytes + reading->len, piece,
                             segment_offset(reading->first_lsn, reading->lsn + reading->len));
  if (got < 0) return (int)got;
  reading->len += (size_t)got;
  if (reading->len >= bytes) return 0;
  return (uint64_t)got < piece ? -EBADMSG : -EINPROGRESS;
}

static const char *here(const struct reading *reading) {
  return reading->bytes + (reading->lsn - reading->buffer_lsn);
}

/* Heads have nothing for the visitor: the newest one says it all. */
static int next_batch(struct journal *journal) {
  struct reading *reading = &journal->reading;
  struct format_batch batch;
  int error = have(journal, FORMAT_BATCH_BYTES);
  if (error != 0) return error;
  if (format_get_batch(here(reading), reading->lsn, journal->key, &batch) != FORMAT_VALID) {
    return -EBADMSG;
  }
  error = have(journal, format_batch_size(&batch));
  if (error != 0) return error;
  const char *records = here(reading) + FORMAT_BATCH_BYTES;
  uint64_t checksum = format_checksum(records, format_padded(batch.bytes), journal->key);
  if (checksum != batch.payload) return -EBADMSG;
  reading->lsn += format_batch_size(&batch);
  reading->records = (struct span){records, batch.flags & FORMAT_HEAD ? 0 : batch.bytes};
  return 0;
}

/* false: the visitor cannot take it now. */
static bool visit_next(struct reading *reading, journal_visitor *visit, void *caller) {
  uint32_t bytes;
  memcpy(&bytes, reading->records.data, sizeof bytes);
  assert(bytes >= FORMAT_ALIGNMENT && bytes <= reading->records.len);
  if (!visit(caller, reading->first_lsn, (struct span){reading->records.data, bytes})) return false;
  reading->records.data += bytes;
  reading->records.len -= bytes;
  return true;
}

/* One record, or the next batch or a piece of it. *finished: there is none. */
static int read_next(struct journal *journal, journal_visitor *visit, void *caller,
                     bool *finished) {
  struct reading *reading = &journal->reading;
  if (reading->records.len > 0) {
    return visit_next(reading, visit, caller) ? 0 : -EAGAIN;
  }
  *finished = reading->lsn >= reading->end_lsn;
  int error = *finished ? 0 : next_batch(journal);
  return error == -EINPROGRESS ? 0 : error;
}

/* A batch is checked as a whole, which may take as long as a quarter of a slice. */
static bool has_time(const struct reading *reading, uint64_t end_ns) {
  uint64_t next_ns = reading->records.len > 0 ? 0 : JOURNAL_SLICE_NS / 4;
  return clock_monotonic_ns() + next_ns < end_ns;
}

/* Until it has taken long enough, or the segment ends. */
static int read_slice(struct journal *journal, journal_visitor *visit, void *caller,
                      bool *finished) {
  uint64_t end_ns = clock_monotonic_ns() + JOURNAL_SLICE_NS, began_ns = clock_thread_ns();
  int error;
  do error = read_next(journal, visit, caller, finished);
  while (error == 0 && !*finished && has_time(&journal->reading, end_ns));
  uint64_t took_ns = clock_thread_ns() - began_ns;
  state_lock(journal);
  if (took_ns > journal->counters.slice_max_ns) journal->counters.slice_max_ns = took_ns;
  state_unlock(journal);
  return error;
}

static void note_read(struct journal *journal, uint64_t from_lsn, uint64_t before_lsn) {
  state_lock(journal);
  for (size_t i = 0; i < journal->segment_count; i++) {
    struct segment *segment = &journal->segments[i];
    if (segment->first_lsn < from_lsn || segment->first_lsn >= before_lsn) continue;
    segment->read = true;
    segment->read_appended = atomic_load(&journal->progress.appended);
    segment->read_heads = journal->heads_asked;
  }
  state_unlock(journal);
}

/* Another try may do: there is no memory, no descriptor, no room for what it says. */
static bool is_passing(int error) {
  return error == -ENOMEM || error == -EAGAIN || error == -EMFILE || error == -ENFILE;
}

static void give_up(struct journal *journal, uint64_t first_lsn, int error) {
  const struct journal_hooks *hooks = &journal->options.hooks;
  char name[SEGMENT_NAME_BYTES], text[JOURNAL_ERROR_BYTES];
  close_reading(journal);
  state_lock(journal);
  journal->again_lsn = journal->active->first_lsn;
  journal->counters.unreadable++;
  state_unlock(journal);
  segment_name(first_lsn, name);
  const char *why = error == -EBADMSG ? "a batch is not valid any more" : strerror(-error);
  snprintf(text, sizeof text, "journal: %s/%s: it cannot be read again: %s",
           journal->files->directory, name, why);
  if (hooks->unreadable != NULL) hooks->unreadable(hooks->context, text);
}

bool trim_wants_all(const struct journal *journal) { return journal->again_lsn != 0; }

void trim_note_all(struct journal *journal) {
  note_read(journal, 0, journal->again_lsn);
  journal->again_lsn = 0;
  state_lock(journal);
  want_head(journal);
  state_unlock(journal);
}

static bool read_on(struct journal *journal, journal_visitor *visit, void *caller) {
  uint64_t first_lsn = journal->reading.first_lsn;
  bool finished = false;
  int error = read_slice(journal, visit, caller, &finished);
  if (error != 0) {
    if (!is_passing(error)) give_up(journal, first_lsn, error);
    return false;
  }
  if (!finished) return true;
  close_reading(journal);
  note_read(journal, first_lsn, first_lsn + 1);
  return true;
}

/* A segment that was removed while it was the newest: replaced once there is a newer one, which an
 * empty batch begins if nothing is appended. true: it is seen to. */
static bool replace_lost(struct journal *journal, void *caller) {
  state_lock(journal);
  bool lost = journal->active_is_lost, follows = journal->active->first_lsn > journal->lost_lsn;
  bool may_begin = room_spare_takes(journal, FORMAT_BATCH_BYTES);
  struct journal_moment moment = journal->pending.moment;
  if (lost && follows) journal->active_is_lost = false;
  state_unlock(journal);
  if (lost && !follows && may_begin) commit_empty(journal, caller, &moment, 0);
  if (!lost || !follows) return false;
  give_up(journal, journal->lost_lsn, -ENOENT);
  return true;
}

/* Begins where it stands, or with the next segment. false: there is nothing to read now. */
static bool is_reading(struct journal *journal, uint64_t first_lsn, uint64_t end_lsn) {
  if (journal->reading.open) return true;
  if (first_lsn == end_lsn) return false;
  int error = open_reading(journal, first_lsn, end_lsn);
  if (error != 0 && !is_passing(error)) give_up(journal, first_lsn, error);
  return error == 0;
}

/* ---- */

/* Without room no segment begins, and with it no head; some segment waits for one. */
static bool needs_head(const struct journal *journal) {
  size_t oldest = oldest_index(journal);
  if (atomic_load(&journal->progress.room_error) == 0 || oldest + 1 >= journal->segment_count)
    return false;
  const struct segment *segment = &journal->segments[oldest];
  bool waits = segment->read && journal->durable_appended >= segment->read_appended;
  return waits || end_of(journal, oldest) <= journal->taken.moment.engine_ms;
}

bool trim_now(struct journal *journal, uint64_t live_bytes, journal_visitor *visit, void *caller) {
  struct reading *reading = &journal->reading;
  state_lock(journal);
  if (journal->dead) {
    state_unlock(journal);
    return false;
  }
  if (needs_head(journal)) {
    state_unlock(journal);
    if (!commit_head(journal, caller)) return false;
    state_lock(journal);
  }
  let_go(journal);
  if (reading->open && reading->first_lsn < journal->oldest_lsn) close_reading(journal);
  const struct segment *next = to_read(journal, live_bytes);
  uint64_t first_lsn = next != NULL ? next->first_lsn : 0,
           end_lsn = next != NULL ? next->end_lsn : 0;
  state_unlock(journal);
  if (trim_wants_all(journal) || replace_lost(journal, caller) ||
      !is_reading(journal, first_lsn, end_lsn))
    return false;
  return read_on(journal, visit, caller);
}

static void delay(int64_t *end_ms, int64_t by_ms) {
  if (*end_ms == INT64_MIN || *end_ms == INT64_MAX) return;
  if (__builtin_add_overflow(*end_ms, by_ms, end_ms)) *end_ms = INT64_MAX;
}

void trim_delay_ends(struct journal *journal, int64_t by_ms) {
  state_lock(journal);
  for (size_t i = 0; i < journal->segment_count; i++) {
    delay(&journal->segments[i].last_ms, by_ms);
    delay(&journal->segments[i].older_ms, by_ms);
  }
  struct pending *waiting[] = {&journal->pending, &journal->taken};
  for (size_t i = 0; i < sizeof waiting / sizeof waiting[0]; i++) {
    delay(&waiting[i]->last_ms, by_ms);
    delay(&waiting[i]->older_ms, by_ms);
  }
  state_unlock(journal);
}
