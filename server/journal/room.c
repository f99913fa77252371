/* room.c - see room.h. */
#include "server/journal/room.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t over(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

/* ---- how much there is ---- */

static uint64_t head_space(const struct journal *journal) {
  return room_head_space(journal->head_bytes);
}

/* There is none before the first segment of a new log has begun. */
static uint64_t active_rest(const struct journal *journal) {
  const struct log_file *active = journal->active;
  return active == NULL ? 0 : active->filled - active->end;
}

static uint64_t spare_rest(const struct journal *journal) {
  return journal->spare == NULL ? 0 : over(journal->spare->filled, head_space(journal));
}

bool room_spare_takes(const struct journal *journal, uint64_t bytes) {
  return spare_rest(journal) >= bytes;
}

/* What is appended already and has to be written first. */
static uint64_t occupied(const struct journal *journal) {
  uint64_t taken = journal->writing ? journal->taken.len : 0;
  return format_padded(journal->pending.len) + format_padded(taken);
}

bool room_takes_head(const struct journal *journal, uint64_t bytes) {
  uint64_t rest = active_rest(journal);
  return rest >= bytes && most(rest - bytes, spare_rest(journal)) >= occupied(journal);
}

/* What can be appended to the batch that is pending, wherever it lands. */
static uint64_t left(const struct journal *journal) {
  return over(most(active_rest(journal), spare_rest(journal)), occupied(journal));
}

uint64_t room_ahead(const struct journal *journal) {
  return active_rest(journal) + (journal->spare != NULL ? journal->spare->filled : 0);
}

/* ---- what is kept, once there is no more to be had ---- */

static bool has_failed(const struct journal *journal) {
  return atomic_load(&journal->progress.room_error) != 0;
}

/* A log of a few segments takes no whole segment ahead. */
static bool keeps_a_segment(const struct journal *journal) {
  return journal->segment_count >= ROOM_KEPT_SEGMENTS;
}

/* The oldest segment is not written again into this. */
static uint64_t kept_for_owners(const struct journal *journal) {
  return least(journal->growth_bytes, journal->options.segment_bytes / 4);
}

/* Of both files together: on a disk that is full of live keys nothing makes room, though most of
 * them are deleted, but to write again what the oldest segment still has. With less, that may use
 * up the room and not get to its end. There is less when the disk fills while a segment begins. */
static uint64_t kept_to_compact(const struct journal *journal) {
  if (!keeps_a_segment(journal)) return 0;
  uint64_t live = over(journal->options.segment_bytes, head_space(journal));
  return live + kept_for_owners(journal);
}

static uint64_t left_in_both(const struct journal *journal) {
  return over(active_rest(journal) + spare_rest(journal), occupied(journal));
}

/* What claims may append after a failure. */
static bool leaves_what_is_kept(const struct journal *journal, uint64_t bytes) {
  return left(journal) >= bytes + journal->growth_bytes &&
         left_in_both(journal) >= bytes + kept_to_compact(journal);
}

static uint64_t told(const struct journal *journal) {
  if (!has_failed(journal)) return over(left(journal), journal->last_bytes);
  return least(over(left(journal), journal->growth_bytes),
               over(left_in_both(journal), kept_to_compact(journal)));
}

void room_tell(struct journal *journal) {
  uint64_t room = least(told(journal), pending_room(&journal->pending));
  atomic_store(&journal->progress.room, journal->dead ? 0 : room);
}

/* ---- growing ---- */

static void note(struct journal *journal, int error) {
  atomic_store(&journal->progress.room_error, -error);
  room_tell(journal);
}

/*
 * `ahead`: there is time to write zeros, which makes later syncs cheaper: 88 to 114 us instead of
 * 139 where the file was only allocated (4 KiB on ext4). A sync that fails ends the journal here,
 * too: what was written to the file before is not known.
 */
static int make_bytes(struct journal *journal, const struct log_file *file, uint64_t count,
                      bool ahead) {
  struct journal_files *files = journal->files;
  uint64_t at = file->filled;
  int error = segment_allocate(files, file->ahead, at, count);
  bool unsupported = error == -EOPNOTSUPP;
  if (error != 0 && !unsupported) return error;
  if (!ahead && !unsupported) return 0;
  error = segment_write_zeros(files, file->ahead, count, at);
  if (error != 0) return error;
  error = segment_sync(files, file->ahead);
  if (error != 0) state_fail(journal, "room ahead", "sync", error);
  return error;
}

/* Zeros come in pieces, each after a commit, while a loop runs the next batch: behind them a commit
 * waited for up to 3 ms (p99), behind a whole step for 6. With pieces of 256 KiB it was no better,
 * and a twelfth slower, since each piece is also a sync. */
static uint64_t step_bytes(const struct journal *journal, const struct log_file *file, bool ahead) {
  bool failed = has_failed(journal);
  bool first = file->filled < journal->growth_bytes;
  uint64_t most_bytes = failed || first || !ahead ? journal->growth_bytes : ROOM_PIECE_BYTES;
  return least(least(most_bytes, journal->growth_bytes), file->limit - file->filled);
}

/* In the role. One step more of this file; not beyond its limit. A failure is over once a whole
 * step can be had again, or claims would use up what is kept for owners. */
static int grow(struct journal *journal, struct log_file *file, bool ahead) {
  uint64_t at = file->filled, count = step_bytes(journal, file, ahead);
  state_unlock(journal);
  int error = make_bytes(journal, file, count, ahead);
  state_lock(journal);
  if (error == 0) file->filled = at + count;
  if (error == 0 && !leaves_what_is_kept(journal, 0)) {
    room_tell(journal);
  } else {
    note(journal, error);
  }
  return error;
}

/* In the role. Who begins a segment may have found no room for its name (rotate.h). The next spare
 * may take the former name only once this is durable: or a power cut could undo the one and keep
 * the other. */
static int name_active(struct journal *journal) {
  struct journal_files *files = journal->files;
  char name[SEGMENT_NAME_BYTES];
  if (!journal->unnamed) return 0;
  segment_name(journal->active->first_lsn, name);
  state_unlock(journal);
  int error = files->rename(files->context, SEGMENT_SPARE, name);
  int unsynced = error == 0 ? files->sync_directory(files->context) : 0;
  if (unsynced != 0) state_fail(journal, name, "sync of the directory", unsynced);
  state_lock(journal);
  if (error == -ENOENT) error = 0; /* somebody has removed it: helper.c */
  journal->unnamed = error != 0 || unsynced != 0;
  return error != 0 ? error : unsynced;
}

static struct log_file *open_spare(struct journal *journal, int *error) {
  struct log_file *file = NULL;
  if (!state_reserve_segment(journal)) {
    *error = -ENOMEM;
    return NULL;
  }
  state_unlock(journal);
  *error = state_open_file(journal, SEGMENT_SPARE, true, &file);
  state_lock(journal);
  if (file == NULL) return NULL;
  uint64_t segment = journal->options.segment_bytes;
  file->limit = most(segment, head_space(journal) + segment / 2);
  return file;
}

/* In the role. */
static struct log_file *have_spare(struct journal *journal, int *error) {
  if (journal->spare == NULL) *error = name_active(journal);
  if (journal->spare == NULL && *error == 0) journal->spare = open_spare(journal, error);
  if (journal->spare == NULL) note(journal, *error);
  return journal->spare;
}

/* Neither of the two waits for the helper when there is enough already. */
struct log_file *room_spare(struct journal *journal, int *error) {
  if (journal->spare != NULL) return journal->spare;
  state_take_role(journal, &journal->growing);
  struct log_file *spare = have_spare(journal, error);
  state_give_role(journal, &journal->growing);
  return spare;
}

int room_reach(struct journal *journal, struct log_file *file, uint64_t offset) {
  int error = 0;
  if (file->limit < offset) file->limit = offset;
  if (file->filled >= offset) return 0;
  state_take_role(journal, &journal->growing);
  while (file->filled < offset && error == 0) error = grow(journal, file, false);
  state_give_role(journal, &journal->growing);
  return error;
}

/* ---- asking ---- */

/* In the role. The file that the pending batch will land in, when so many bytes more are in it. */
static struct log_file *landing(struct journal *journal, uint64_t bytes, int *error) {
  struct log_file *active = journal->active;
  uint64_t all = occupied(journal) + bytes;
  if (active->limit - active->end >= all) return active;
  struct log_file *spare = have_spare(journal, error);
  if (spare != NULL) spare->limit = most(spare->limit, head_space(journal) + all);
  return spare;
}

/* After a failure only the helper tries again, or every command would. */
static void make_room(struct journal *journal, uint64_t bytes) {
  int error = 0;
  while (!journal->dead && left(journal) < bytes &&
         atomic_load(&journal->progress.room_error) == 0) {
    state_take_role(journal, &journal->growing);
    if (left(journal) < bytes && atomic_load(&journal->progress.room_error) == 0) {
      struct log_file *file = landing(journal, bytes, &error);
      if (file != NULL && file->filled < file->limit) grow(journal, file, false);
    }
    state_give_role(journal, &journal->growing);
  }
}

static enum journal_room judge(const struct journal *journal, uint64_t bytes) {
  uint64_t there = left(journal);
  if (journal->dead || there < bytes) return JOURNAL_ROOM_NONE;
  if (!has_failed(journal)) return JOURNAL_ROOM_ENOUGH;
  if (there - bytes < journal->last_bytes) return JOURNAL_ROOM_LAST;
  return leaves_what_is_kept(journal, bytes) ? JOURNAL_ROOM_ENOUGH : JOURNAL_ROOM_LOW;
}

enum journal_room room_ask(struct journal *journal, size_t bytes) {
  if (!pending_reserve(&journal->pending, bytes)) {
    note(journal, -ENOMEM);
    return JOURNAL_ROOM_NONE;
  }
  make_room(journal, bytes + journal->last_bytes);
  enum journal_room room = judge(journal, bytes);
  room_tell(journal);
  return room;
}

bool room_carries(struct journal *journal, size_t bytes) {
  if (room_ask(journal, bytes) == JOURNAL_ROOM_ENOUGH) return true;
  return !journal->dead && left(journal) >= bytes + kept_for_owners(journal);
}

/* ---- ahead ---- */

/* A step in each file. An eighth, since until it is there the zeros come on top of the log's own
 * bytes. */
static uint64_t ahead_wanted(const struct journal *journal) {
  return most(2 * journal->growth_bytes,
              least(journal->written_bytes / 8, journal->options.segment_bytes));
}

/* First of all: a head can be written then though the disk is full, so that segments can be
 * removed. */
static bool spare_is_wanted(const struct journal *journal) {
  return !room_spare_takes(journal, journal->growth_bytes / 2);
}

static bool can_grow(const struct log_file *file) { return file->filled < file->limit; }

static bool whole_spare_is_wanted(const struct journal *journal) {
  return keeps_a_segment(journal) && (journal->spare == NULL || can_grow(journal->spare));
}

bool room_is_wanted(const struct journal *journal) {
  if (journal->dead) return false;
  bool can = can_grow(journal->active) || journal->spare == NULL || can_grow(journal->spare);
  return can && (spare_is_wanted(journal) || whole_spare_is_wanted(journal) ||
                 room_ahead(journal) < ahead_wanted(journal));
}

bool room_is_urgent(const struct journal *journal) {
  return room_is_wanted(journal) &&
         (spare_is_wanted(journal) || left(journal) < journal->growth_bytes ||
          room_ahead(journal) < ahead_wanted(journal) / 2);
}

bool room_help(struct journal *journal) {
  int error = 0;
  state_take_role(journal, &journal->growing);
  if (room_is_wanted(journal)) {
    struct log_file *file = journal->active;
    if (!can_grow(file) || spare_is_wanted(journal)) file = have_spare(journal, &error);
    if (file != NULL && can_grow(file)) error = grow(journal, file, true);
  } else {
    note(journal, 0); /* segments that were removed have made room */
  }
  state_give_role(journal, &journal->growing);
  return error == 0;
}
