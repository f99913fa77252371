/* commit.c - see commit.h. */
#include "server/journal/commit.h"

#include <errno.h>
#include <string.h>

#include "server/journal/room.h"
#include "server/journal/rotate.h"

void commit_append(struct journal *journal, const struct journal_append *append) {
  bool added = true;
  state_lock(journal);
  if (!journal->dead) added = pending_add(&journal->pending, append);
  if (!journal->dead && added) {
    journal->counters.records += append->count;
    journal->counters.appended_bytes += append->records.len;
    if (append->again) journal->counters.again_bytes += append->records.len;
    journal->progress.appended += append->records.len;
    room_tell(journal);
  }
  state_unlock(journal);
  if (!added) state_fail(journal, "", "append", ENOMEM);
}

/* ---- one batch, by who writes ---- */

/* Where the batch that was taken goes: the active file, or a new segment. */
static bool fits(const struct journal *journal, uint64_t bytes) {
  const struct log_file *active = journal->active;
  if (active->limit - active->end < bytes) return false;
  /* Also what is pending by now lands there. */
  bool next_is_ready = room_spare_takes(journal, bytes + format_padded(journal->pending.len));
  if (journal->head_wanted && next_is_ready) return false;
  return active->filled - active->end >= bytes || !next_is_ready;
}

static bool place(struct journal *journal, void *caller, bool ask, uint64_t bytes,
                  struct fault *fault) {
  int error = 0;
  state_lock(journal);
  bool here = fits(journal, bytes);
  if (here) error = room_reach(journal, journal->active, journal->active->end + bytes);
  state_unlock(journal);
  if (!here) return rotate_segment(journal, caller, ask, bytes, fault);
  if (error == 0) return true;
  *fault = (struct fault){.error = error, .what = "room"};
  segment_name(journal->active->first_lsn, fault->file);
  return false;
}

/* Its header, in front of its records. */
static void head_batch(struct journal *journal, unsigned flags, struct format_batch *batch) {
  struct pending *taken = &journal->taken;
  uint64_t bytes = taken->len - FORMAT_BATCH_BYTES;
  state_lock(journal);
  *batch = (struct format_batch){
      .flags = flags | (journal->options.sync != JOURNAL_SYNC_ALWAYS ? FORMAT_UNSYNCED : 0),
      .bytes = (uint32_t)bytes,
      .count = taken->count,
      .lsn = journal->lsn,
      .moment = taken->moment,
      .durable_lsn = journal->durable_lsn,
      .oldest_lsn = journal->oldest_lsn,
      .previous = journal->previous,
      .payload = format_checksum(taken->bytes + FORMAT_BATCH_BYTES, bytes, journal->key),
  };
  state_unlock(journal);
  format_put_batch(taken->bytes, batch, journal->key);
}

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

/* Locked. */
static void account(struct journal *journal, const struct format_batch *batch, bool synced) {
  struct segment *segment = &journal->segments[journal->segment_count - 1];
  uint64_t size = format_batch_size(batch);
  segment->last_ms = later(segment->last_ms, journal->taken.last_ms);
  segment->older_ms = later(segment->older_ms, journal->taken.older_ms);
  segment->end_lsn = journal->lsn = batch->lsn + size;
  journal->active->end += size;
  journal->previous = batch->checksum;
  journal->written_appended += batch->bytes;
  journal->written_bytes += size;
  journal->all_batches++;
  journal->counters.batches++;
  /* One at a time: the next waits until the one before it is durable. */
  if (batch->oldest_lsn > journal->carried_oldest_lsn &&
      journal->durable_oldest_lsn == journal->carried_oldest_lsn) {
    journal->carried_oldest_lsn = batch->oldest_lsn;
    journal->carried_end_lsn = journal->lsn;
  }
  if (!synced) return;
  journal->loss_is_marked = true;
  state_note_durable(journal, journal->lsn, journal->written_appended);
}

static bool write_taken(struct journal *journal, void *caller, bool ask, unsigned flags,
                        struct fault *fault) {
  struct pending *taken = &journal->taken;
  struct format_batch batch;
  if (!place(journal, caller, ask, format_padded(taken->len), fault)) return false;
  head_batch(journal, flags, &batch);
  struct log_file *active = journal->active;
  *fault = (struct fault){.what = "write"};
  segment_name(journal->active->first_lsn, fault->file);
  fault->error = segment_write(journal->files, active->file, taken->bytes, taken->len, active->end);
  if (fault->error != 0) return false;
  bool sync = journal->options.sync == JOURNAL_SYNC_ALWAYS || !journal->loss_is_marked ||
              flags & FORMAT_CLEAN;
  fault->what = "sync";
  if (sync) fault->error = rotate_sync(journal, active->file);
  if (fault->error != 0) return false;
  state_lock(journal);
  account(journal, &batch, sync);
  state_unlock(journal);
  return true;
}

/* Locked, in the role of who writes; unlocks meanwhile. All that is pending, as one batch. */
static void write_pending(struct journal *journal, void *caller, bool ask, unsigned flags) {
  struct fault fault;
  struct pending former = journal->taken;
  uint64_t upto = journal->progress.appended;
  journal->taken = journal->pending;
  journal->pending = former;
  journal->pending.moment = journal->taken.moment;
  room_tell(journal);
  state_unlock(journal);
  bool fine = write_taken(journal, caller, ask, flags, &fault);
  if (!fine) state_fail(journal, fault.file, fault.what, fault.error);
  state_lock(journal);
  pending_clear(&journal->taken);
  if (fine && !journal->dead) journal->progress.committed = upto;
  room_tell(journal);
  if (room_is_wanted(journal)) pthread_cond_signal(&journal->wanted);
}

/* ---- who writes ---- */

bool commit_all(struct journal *journal, void *caller) {
  state_lock(journal);
  uint64_t upto = journal->progress.appended;
  while (!journal->dead && journal->progress.committed < upto) {
    if (journal->writing) {
      pthread_cond_wait(&journal->changed, &journal->lock);
      continue;
    }
    journal->writing = true;
    write_pending(journal, caller, true, 0);
    state_give_role(journal, &journal->writing);
  }
  bool fine = !journal->dead;
  state_unlock(journal);
  return fine;
}

bool commit_empty(struct journal *journal, void *caller, const struct journal_moment *moment,
                  unsigned flags) {
  state_lock(journal);
  state_take_role(journal, &journal->writing);
  if (!journal->dead && pending_is_empty(&journal->pending)) {
    pending_see(&journal->pending, moment);
    write_pending(journal, caller, true, flags);
  }
  state_give_role(journal, &journal->writing);
  bool fine = !journal->dead;
  state_unlock(journal);
  return fine;
}

bool commit_head(struct journal *journal, void *caller) {
  struct fault fault;
  state_lock(journal);
  state_take_role(journal, &journal->writing);
  bool fine = !journal->dead;
  state_unlock(journal);
  if (fine && !rotate_head(journal, caller, &fault)) {
    state_fail(journal, fault.file, fault.what, fault.error);
    fine = false;
  }
  state_lock(journal);
  room_tell(journal);
  state_give_role(journal, &journal->writing);
  state_unlock(journal);
  return fine;
}

bool commit_last(struct journal *journal) {
  state_lock(journal);
  state_take_role(journal, &journal->writing);
  if (!journal->dead && !pending_is_empty(&journal->pending)) {
    write_pending(journal, NULL, false, 0);
  }
  if (!journal->dead && room_ask(journal, FORMAT_ALIGNMENT) != JOURNAL_ROOM_NONE) {
    write_pending(journal, NULL, false, FORMAT_SEAL | FORMAT_CLEAN);
  }
  bool fine = !journal->dead, durable = journal->durable_lsn == journal->lsn;
  state_unlock(journal);
  int error = fine && !durable ? rotate_sync(journal, journal->active->file) : 0;
  if (error != 0) state_fail(journal, "the newest segment", "sync", error);
  state_lock(journal);
  state_give_role(journal, &journal->writing);
  state_unlock(journal);
  return fine && error == 0;
}
