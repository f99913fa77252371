/* journal.c - see journal.h: wires. */
#include "server/journal/journal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/journal/beat.h"
#include "server/journal/commit.h"
#include "server/journal/helper.h"
#include "server/journal/recover.h"
#include "server/journal/room.h"
#include "server/journal/rotate.h"
#include "server/journal/trim.h"

/* ---- start ---- */

enum journal_result journal_open(const struct journal_options *options, struct journal **journal,
                                 char error[JOURNAL_ERROR_BYTES]) {
  struct journal *made = state_create(options);
  *journal = NULL;
  if (made == NULL) {
    snprintf(error, JOURNAL_ERROR_BYTES, "journal: no memory");
    return JOURNAL_REFUSED;
  }
  enum journal_result result = recover_look(made, error);
  if (result != JOURNAL_OK) {
    state_destroy(made);
    return result;
  }
  if (made->found.count == 0) {
    memcpy(made->log_id, options->log_id, JOURNAL_ID_BYTES);
    made->key = format_key(made->log_id);
  }
  *journal = made;
  return JOURNAL_OK;
}

bool journal_is_new(const struct journal *journal) { return journal->found.count == 0; }

struct span journal_newest_head(const struct journal *journal) {
  return journal->found.head;
}

struct journal_moment journal_newest(const struct journal *journal) {
  return journal->found.newest.moment;
}

bool journal_may_have_lost(const struct journal *journal) {
  unsigned flags = journal->found.newest.flags;
  return (flags & FORMAT_UNSYNCED) != 0 && !(flags & FORMAT_CLEAN);
}

enum journal_result journal_recover(struct journal *journal, journal_restorer *restore,
                                    void *context, char error[JOURNAL_ERROR_BYTES]) {
  return recover_batches(journal, restore, context, error);
}

static enum journal_result begin_log(struct journal *journal, void *caller,
                                     char error[JOURNAL_ERROR_BYTES]) {
  struct fault fault;
  journal->writing = true;
  bool begun = rotate_segment(journal, caller, true, FORMAT_BATCH_BYTES, &fault);
  journal->writing = false;
  if (begun) return JOURNAL_OK;
  snprintf(error, JOURNAL_ERROR_BYTES, "journal: dir %s: no log can be begun: %s: %s: %s",
           journal->files->directory, fault.file, fault.what, strerror(-fault.error));
  return JOURNAL_REFUSED;
}

enum journal_result journal_start(struct journal *journal, void *caller,
                                  const struct journal_moment *moment,
                                  char error[JOURNAL_ERROR_BYTES]) {
  assert(journal_is_new(journal) || journal->found.recovered);
  enum journal_result result = recover_finish(journal, error);
  if (result != JOURNAL_OK) return result;
  pending_see(&journal->pending, moment);
  pending_see(&journal->taken, moment);
  if (journal->active == NULL) result = begin_log(journal, caller, error);
  if (result != JOURNAL_OK) return result;
  room_tell(journal);
  journal->started = true;
  if (!journal->options.helper || helper_start(journal)) return JOURNAL_OK;
  snprintf(error, JOURNAL_ERROR_BYTES, "journal: no thread can be started");
  return JOURNAL_REFUSED;
}

void journal_close(struct journal *journal) {
  if (journal == NULL) return;
  helper_stop(journal);
  if (journal->started) commit_last(journal);
  state_destroy(journal);
}

/* ---- appending ---- */

void journal_append(struct journal *journal, const struct journal_append *append) {
  commit_append(journal, append);
}

bool journal_commit_pending(struct journal *journal, void *caller) {
  return commit_all(journal, caller);
}

/* ---- room ---- */

enum journal_room journal_ask_room(struct journal *journal, size_t bytes) {
  state_lock(journal);
  enum journal_room room = room_ask(journal, bytes);
  state_unlock(journal);
  return room;
}

bool journal_carries(struct journal *journal, size_t bytes) {
  state_lock(journal);
  bool carries = room_carries(journal, bytes);
  state_unlock(journal);
  return carries;
}

int journal_room_error(const struct journal *journal) {
  return atomic_load(&journal->progress.room_error);
}

/* ---- housekeeping ---- */

bool journal_beat(struct journal *journal, void *caller, const struct journal_moment *moment,
                  bool lease_runs, int64_t now_ns) {
  return beat_now(journal, caller, moment, lease_runs, now_ns);
}

void journal_delay_ends(struct journal *journal, int64_t by_ms) { trim_delay_ends(journal, by_ms); }

bool journal_trim(struct journal *journal, uint64_t live_bytes, journal_visitor *visit,
                  void *caller) {
  return trim_now(journal, live_bytes, visit, caller);
}

bool journal_wants_all(const struct journal *journal) { return trim_wants_all(journal); }

void journal_note_all(struct journal *journal) { trim_note_all(journal); }

bool journal_help(struct journal *journal) { return helper_step(journal, true); }

/* ---- figures ---- */

static void fill_sizes(const struct journal *journal, struct journal_figures *figures) {
  for (size_t i = 0; i < journal->segment_count; i++) {
    figures->live_segment_bytes += segment_used(&journal->segments[i]);
  }
  figures->segments = journal->segment_count;
  figures->room_bytes = room_ahead(journal);
  figures->disk_bytes = figures->live_segment_bytes + figures->room_bytes;
}

static void fill_syncs(const struct journal *journal, struct journal_figures *figures) {
  const struct histogram *syncs = &journal->counters.syncs;
  figures->syncs = syncs->count;
  figures->sync_p50_us = histogram_percentile(syncs, 50);
  figures->sync_p99_us = histogram_percentile(syncs, 99);
  figures->sync_max_us = syncs->max;
  figures->sync_us = *syncs;
}

void journal_figures(const struct journal *journal, struct journal_figures *figures) {
  state_lock(journal);
  const struct counters *counters = &journal->counters;
  *figures = (struct journal_figures){
      .lsn = journal->lsn,
      .batches = counters->batches,
      .records = counters->records,
      .appended_bytes = counters->appended_bytes,
      .again_bytes = counters->again_bytes,
      .removed_segments = counters->removed_segments,
      .removed_unread = counters->removed_unread,
      .unreadable = counters->unreadable,
      .slice_max_us = counters->slice_max_ns / 1000,
      .recovered_records = journal->recovered_records,
      .recovered_batches = journal->recovered_batches,
      .cut_bytes = journal->cut_bytes,
      .failed = atomic_load(&journal->progress.room_error) != 0,
  };
  fill_sizes(journal, figures);
  fill_syncs(journal, figures);
  state_unlock(journal);
}

void journal_reset_figures(struct journal *journal) {
  state_lock(journal);
  journal->counters = (struct counters){0};
  state_unlock(journal);
}
