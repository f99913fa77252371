/* helper.c - see helper.h. */
#include "server/journal/helper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/thread.h"
#include "server/journal/room.h"
#include "server/journal/rotate.h"

/* ---- former files ---- */

/* Locked. Nobody grows them any more once the role was free. */
static void close_retired(struct journal *journal) {
  if (journal->retired == NULL) return;
  state_take_role(journal, &journal->growing);
  struct log_file *file = journal->retired;
  journal->retired = file != NULL ? file->next : NULL;
  state_give_role(journal, &journal->growing);
  state_unlock(journal);
  state_close_file(journal, file);
  state_lock(journal);
}

/* A file that has another name belongs to a backup (cp -al), and must not be written to; looked at
 * after the rename, when nobody can give it one more. */
static struct log_file *recycle(struct journal *journal, const char *name) {
  struct journal_files *files = journal->files;
  struct log_file *spare;
  if (files->rename(files->context, name, SEGMENT_SPARE) != 0 ||
      state_open_file(journal, SEGMENT_SPARE, false, &spare) != 0)
    return NULL;
  int64_t size = files->size(files->context, spare->file);
  uint64_t segment = journal->options.segment_bytes;
  bool fine = files->links(files->context, spare->file) == 1 && size > 0 &&
              (uint64_t)size <= segment + segment / 2;
  int error = fine ? files->allocate(files->context, spare->file, 0, (uint64_t)size) : 0;
  if (fine && (error == 0 || error == -EOPNOTSUPP)) {
    spare->filled = (uint64_t)size;
    spare->limit = (uint64_t)size > segment ? (uint64_t)size : segment;
    return spare;
  }
  state_close_file(journal, spare);
  return NULL;
}

/* In the role of who grows, unlocked. */
static struct log_file *remove_file(struct journal *journal, uint64_t first_lsn, bool wanted) {
  struct journal_files *files = journal->files;
  char name[SEGMENT_NAME_BYTES];
  segment_name(first_lsn, name);
  struct log_file *spare = wanted ? recycle(journal, name) : NULL;
  if (spare == NULL) {
    int error = files->remove(files->context, name);
    if (error == -ENOENT && wanted) files->remove(files->context, SEGMENT_SPARE);
  }
  files->sync_directory(files->context); /* if it fails, a start removes it */
  return spare;
}

/* Locked. The oldest, if a durable header says that it does not count. */
static bool remove_oldest(struct journal *journal) {
  if (journal->segments[0].first_lsn >= journal->durable_oldest_lsn) return false;
  state_take_role(journal, &journal->growing);
  uint64_t first_lsn = journal->segments[0].first_lsn;
  bool wanted = journal->spare == NULL && !journal->unnamed && state_reserve_segment(journal);
  state_unlock(journal);
  struct log_file *spare = remove_file(journal, first_lsn, wanted);
  state_lock(journal);
  if (spare != NULL) journal->spare = spare;
  journal->segment_count--;
  memmove(journal->segments, journal->segments + 1,
          journal->segment_count * sizeof *journal->segments);
  journal->counters.removed_segments++;
  room_tell(journal);
  state_give_role(journal, &journal->growing);
  return true;
}

/* ---- the sync once a second ---- */

/* Locked. */
static void sync_active(struct journal *journal) {
  uint64_t lsn = journal->lsn, appended = journal->written_appended;
  struct log_file *active = journal->active; /* only this thread closes files */
  if (journal->options.sync != JOURNAL_SYNC_EVERYSEC || journal->durable_lsn == lsn) return;
  state_unlock(journal);
  int error = rotate_sync(journal, active->file);
  if (error != 0) {
    char name[SEGMENT_NAME_BYTES];
    segment_name(active->first_lsn, name);
    state_fail(journal, name, "sync", error);
  }
  state_lock(journal);
  if (error == 0) state_note_durable(journal, lsn, appended);
}

/* ---- the newest file, removed by somebody ---- */

/* Locked. What is written to it is gone with the process. It is still written to until a new
 * segment begins, which the next batch does; then trimming replaces it (trim.h). */
static void look_for_active(struct journal *journal) {
  struct journal_files *files = journal->files;
  struct log_file *active = journal->active; /* only this thread closes files */
  if (journal->dead || journal->active_is_lost) return;
  state_unlock(journal);
  bool removed = files->links(files->context, active->file) == 0;
  state_lock(journal);
  if (!removed || active != journal->active) return;
  journal->active_is_lost = journal->head_wanted = true;
  journal->lost_lsn = active->first_lsn;
}

/* ---- steps ---- */

static bool to_remove(const struct journal *journal) {
  return journal->segments[0].first_lsn < journal->durable_oldest_lsn;
}

bool helper_step(struct journal *journal, bool sync) {
  state_lock(journal);
  if (sync) sync_active(journal);
  if (sync) look_for_active(journal);
  close_retired(journal);
  bool grew = true;
  bool tried = !journal->dead && !remove_oldest(journal) &&
               (room_is_wanted(journal) || atomic_load(&journal->progress.room_error) != 0);
  if (tried) grew = room_help(journal);
  bool more = !journal->dead && grew &&
              (journal->retired != NULL || to_remove(journal) || room_is_wanted(journal));
  state_unlock(journal);
  return more;
}

/* ---- the thread ---- */

/* Locked. */
static void sleep_until(struct journal *journal, int64_t ns) {
  struct timespec until = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
  pthread_cond_timedwait(&journal->wanted, &journal->lock, &until);
}

static void step_now(struct journal *journal) {
  int64_t now_ns = (int64_t)clock_monotonic_ns();
  bool sync = now_ns - journal->synced_ns >= HELPER_SYNC_NS;
  if (sync) journal->synced_ns = now_ns;
  helper_step(journal, sync);
}

/* Locked. What else there is waits for the next commit, after which the disk has nothing to do; and
 * what failed, for a while. */
static bool is_urgent(const struct journal *journal) {
  bool failed = atomic_load(&journal->progress.room_error) != 0;
  return !journal->dead && !failed &&
         (journal->retired != NULL || to_remove(journal) || room_is_urgent(journal));
}

static void *help(void *argument) {
  struct journal *journal = argument;
  state_lock(journal);
  while (!journal->leaving) {
    state_unlock(journal);
    step_now(journal);
    state_lock(journal);
    if (is_urgent(journal) || journal->leaving) continue;
    bool failed = atomic_load(&journal->progress.room_error) != 0;
    int64_t next_ns = journal->synced_ns + HELPER_SYNC_NS;
    if (failed) next_ns = (int64_t)clock_monotonic_ns() + HELPER_RETRY_NS;
    sleep_until(journal, next_ns);
  }
  state_unlock(journal);
  return NULL;
}

bool helper_start(struct journal *journal) {
  journal->has_helper = thread_start(&journal->helper, help, journal) == 0;
  return journal->has_helper;
}

void helper_stop(struct journal *journal) {
  if (!journal->has_helper) return;
  state_lock(journal);
  journal->leaving = true;
  pthread_cond_signal(&journal->wanted);
  state_unlock(journal);
  pthread_join(journal->helper, NULL);
  journal->has_helper = false;
}
