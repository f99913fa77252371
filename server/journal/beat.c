/* beat.c - see beat.h. */
#include "server/journal/beat.h"

#include "server/journal/commit.h"
#include "server/journal/room.h"

/* What happened since the last beat happened now, as far as this knows. */
static void see(struct journal *journal, int64_t now_ns) {
  uint64_t appended = atomic_load(&journal->progress.appended);
  if (appended != journal->seen_appended) {
    journal->seen_appended = appended;
    journal->changed_ns = now_ns;
    journal->sealed = false;
  }
  if (journal->all_batches != journal->seen_batches) {
    journal->seen_batches = journal->all_batches;
    journal->batch_ns = now_ns;
  }
}

/* Segments go once a header says so, some after a new head: not left to the next append, which may
 * be far off. */
static bool lets_go(const struct journal *journal) {
  bool head = journal->head_wanted && atomic_load(&journal->progress.room_error) == 0;
  return head || journal->oldest_lsn > journal->carried_oldest_lsn;
}

static unsigned due(const struct journal *journal, bool lease_runs, int64_t now_ns) {
  int64_t rest_ns = now_ns - journal->batch_ns;
  if (!pending_is_empty(&journal->pending) || journal->writing) return 0;
  if (lets_go(journal)) return FORMAT_HEARTBEAT;
  if (!journal->sealed && now_ns - journal->changed_ns >= BEAT_SEAL_NS) return FORMAT_SEAL;
  return rest_ns >= (lease_runs ? BEAT_LEASE_NS : BEAT_HEARTBEAT_NS) ? FORMAT_HEARTBEAT : 0;
}

bool beat_now(struct journal *journal, void *caller, const struct journal_moment *moment,
              bool lease_runs, int64_t now_ns) {
  state_lock(journal);
  see(journal, now_ns);
  unsigned flags = due(journal, lease_runs, now_ns);
  /* The end of the room is for records that free something. */
  enum journal_room least = lets_go(journal) ? JOURNAL_ROOM_NONE : JOURNAL_ROOM_LAST;
  if (flags != 0 && room_ask(journal, FORMAT_ALIGNMENT) >= least) flags = 0;
  bool fine = !journal->dead;
  state_unlock(journal);
  if (flags == 0 || !fine) return fine;
  if (!commit_empty(journal, caller, moment, flags)) return false;
  journal->sealed = true; /* a heartbeat shows it as well */
  return true;
}
