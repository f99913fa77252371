/*
 * journal.h - the durable log: what is appended and committed is there after a crash.
 *
 *     dir/  LOCK   idem-0000000000000000.log   idem-00000000040001c8.log   spare
 *
 *     segment   [header 64 | batch | batch | ... | zeros ]
 *     batch     [header 96 | record | record | ... ]           all or nothing
 *     record    [u32 bytes, a multiple of 8 | the caller's]    this room knows only its length
 *
 * A position in the log (LSN) is a number of bytes since its beginning; a segment is named after
 * its first. The first batch of a segment is its head: records that the caller gives, which count
 * what older segments held, so that those may be removed.
 *
 * Loops append while they hold a shard, and commit at the end of their turn: a commit returns when
 * all that any loop had appended before is durable, as `appendfsync` says. One thread writes for
 * all that wait (leader and followers). Everything appended since the last write is one batch.
 *
 * It must not know records, keys, engines or the network; time is an argument. It has one thread of
 * its own, which makes room ahead, syncs once a second (everysec) and removes files; it is never in
 * the way of a commit. The order of locks: the journal's are the innermost; no shard may be locked
 * in journal_commit, journal_trim and journal_beat, since the head is asked for there.
 *
 * All functions are thread-safe, but for open, recover, start and close.
 */
#ifndef IDEM_SERVER_JOURNAL_JOURNAL_H
#define IDEM_SERVER_JOURNAL_JOURNAL_H

#include "server/journal/types.h"

/* ---- start: open, look at the newest head, recover, start ---- */

/* Reads which segments there are and the newest batch. error: why not. options->steps hears of this
 * and of journal_recover, and may end them. */
enum journal_result journal_open(const struct journal_options *options, struct journal **journal,
                                 char error[JOURNAL_ERROR_BYTES]);
/* The log is new: there is no head, and nothing to recover. */
bool journal_is_new(const struct journal *journal);
/* Of the newest segment; borrowed until journal_start. */
struct span journal_newest_head(const struct journal *journal);
/* Of the newest batch. */
struct journal_moment journal_newest(const struct journal *journal);
/* Batches may have been lost at the end, with which the last tokens went: syncs were not awaited.
 */
bool journal_may_have_lost(const struct journal *journal);

/* All batches from the oldest that counts on, in order. Changes nothing on the disk. */
enum journal_result journal_recover(struct journal *journal, journal_restorer *restore,
                                    void *context, char error[JOURNAL_ERROR_BYTES]);
/*
 * Makes what was recovered durable (the tail is written again in place, what is torn is zeroed),
 * removes what a crash has left over, begins a new log when there is none, with the head that the
 * hook gives, and starts the thread. Appending is allowed from here on.
 */
enum journal_result journal_start(struct journal *journal, void *caller,
                                  const struct journal_moment *moment,
                                  char error[JOURNAL_ERROR_BYTES]);
/* Takes NULL. After journal_start: writes what is pending, syncs in every mode, and says in a last,
 * empty batch that the end was clean. Asks for no head. Other threads have to be done. */
void journal_close(struct journal *journal);

/* ---- appending ---- */

/* Stays within the room that journal_room said there is. Copies; the caller holds the shards that
 * the records are of, so that they stand in order. All of one append is in one batch. */
void journal_append(struct journal *journal, const struct journal_append *append);

/* Appended, and not committed yet. */
static inline bool journal_is_behind(const struct journal *journal) {
  const struct journal_progress *progress = (const struct journal_progress *)journal;
  return atomic_load(&progress->appended) != atomic_load(&progress->committed);
}
/* How many bytes of records. (What was committed is read first: it is never more.) */
static inline uint64_t journal_pending_bytes(const struct journal *journal) {
  const struct journal_progress *progress = (const struct journal_progress *)journal;
  uint64_t committed = atomic_load(&progress->committed);
  return atomic_load(&progress->appended) - committed;
}
/* Returns when all that was appended before is committed. false: dead, see hooks.failed. */
bool journal_commit_pending(struct journal *journal, void *caller);
static inline bool journal_commit(struct journal *journal, void *caller) {
  return !journal_is_behind(journal) || journal_commit_pending(journal, caller);
}

/* ---- room ---- */

/* Whether so many bytes of records can be appended. Grows the file itself when the helper is late.
 */
enum journal_room journal_ask_room(struct journal *journal, size_t bytes);
static inline enum journal_room journal_room(struct journal *journal, size_t bytes) {
  const struct journal_progress *progress = (const struct journal_progress *)journal;
  if (bytes < atomic_load(&progress->room)) return JOURNAL_ROOM_ENOUGH; /* 0: is there any? */
  return journal_ask_room(journal, bytes);
}
/* The same for what journal_trim has read: on a full disk room is kept for that. */
bool journal_carries(struct journal *journal, size_t bytes);
/* The last failure to make room, as errno; 0: none since the last success. */
int journal_room_error(const struct journal *journal);

/* ---- housekeeping, by one thread ---- */

/* Writes an empty batch if it is time: a seal when nothing was appended for 50 ms, a heartbeat
 * every second while a lease runs and every 60 s otherwise. now_ns: monotonic. */
bool journal_beat(struct journal *journal, void *caller, const struct journal_moment *moment,
                  bool lease_runs, int64_t now_ns);
/* The ends of records that are there already come later by this (CONFIG SET retention). */
void journal_delay_ends(struct journal *journal, int64_t by_ms);

/*
 * Lets go of the oldest segments whose records have all ended, as counted by the newest durable
 * head. If the log takes more than twice live_bytes (without room: one and a half times) and two
 * segments, reads a slice of the oldest
 * (of at most JOURNAL_SLICE_NS). True: there is more to do at once.
 */
bool journal_trim(struct journal *journal, uint64_t live_bytes, journal_visitor *visit,
                  void *caller);
/*
 * The oldest segment cannot be read any more, or is gone, so it cannot be compacted, and a start
 * would find it rotten. Nothing is lost while the process lives: the caller appends the state of
 * all that is alive once more (`again`), as it is after this was first true, and then says so. The
 * older segments then go as if they had been read.
 */
bool journal_wants_all(const struct journal *journal);
void journal_note_all(struct journal *journal);
/* One step of what the thread does, in its place. True: there is more to do. */
bool journal_help(struct journal *journal);

/* ---- figures ---- */

void journal_figures(const struct journal *journal, struct journal_figures *figures);
void journal_reset_figures(struct journal *journal);

#endif
