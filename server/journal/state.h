/*
 * state.h - the layout of a journal, for the files of this room; what its threads share, and how.
 * Outside of it struct journal is opaque.
 *
 * One mutex guards everything that no role owns. Nobody waits for a disk while it is locked: who
 * does takes a role first, which is a flag under the lock, and unlocks it.
 *
 *     role      one thread at a time; owns
 *     writing   the leader of a commit, a beat: `taken`, the end of the active file, the chain
 *     growing   the helper or who needs room: the bytes of a file from `filled` on; the spare
 *
 * Who writes may grow, never the other way about.
 *
 * Invariants:
 *  - progress.committed <= progress.appended; when the journal is dead, appended is UINT64_MAX;
 *  - durable_lsn <= lsn; durable_oldest_lsn <= carried_oldest_lsn <= oldest_lsn <= lsn;
 *  - segments are in the order of the log without a gap, the last is the active one;
 *  - batches are only written below `filled` of a file, and it only grows from there.
 */
#ifndef IDEM_SERVER_JOURNAL_STATE_H
#define IDEM_SERVER_JOURNAL_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/journal/format.h"
#include "server/journal/pending.h"
#include "server/journal/segment.h"

/* A file that batches are written to, or will be. */
struct log_file {
  int file;
  int ahead;             /* the same, for who makes room: the system tells each descriptor once that
                            writing back failed, and a sync of room must not hear it for a batch */
  uint64_t first_lsn;    /* once it is a segment */
  uint64_t end;          /* where the next batch begins */
  uint64_t filled;       /* there is room up to here */
  uint64_t limit;        /* it grows up to here */
  struct log_file *next; /* retired */
};

/* The oldest segment, while it is read. */
struct reading {
  bool open;
  int file;
  uint64_t first_lsn, end_lsn;
  uint64_t lsn;        /* of the next batch */
  struct span records; /* what is left of this one, in the buffer */
  char *bytes;         /* the buffer: from buffer_lsn on */
  size_t len, capacity;
  uint64_t buffer_lsn;
};

/* From journal_open to journal_start. */
struct found {
  uint64_t
      *lsns; /* of the segments: leftovers first, which a crash has left, then those that count */
  size_t leftover_count, count;
  char *tail; /* the newest segment */
  size_t tail_size, tail_end;
  struct span head;
  struct format_batch newest;
  bool recovered;
};

struct counters {
  uint64_t batches, records, appended_bytes, again_bytes;
  uint64_t removed_segments, removed_unread, unreadable;
  uint64_t slice_max_ns;
  struct histogram syncs; /* microseconds */
};

struct journal {
  struct journal_progress progress; /* first */
  struct journal_options options;
  struct journal_files *files;
  unsigned char log_id[JOURNAL_ID_BYTES];
  uint64_t key;
  uint64_t growth_bytes, last_bytes; /* JOURNAL_GROWTH_BYTES, ...; less with small segments */

  pthread_mutex_t lock;
  pthread_cond_t changed; /* a role was given back, a batch was written, dead */
  pthread_cond_t wanted;  /* the helper's */
  bool writing, growing;
  bool dead, started, leaving;
  bool unnamed; /* the active file still has the spare's name (rotate.h); then there is no spare */

  struct pending pending, taken;
  struct log_file *active, *spare;
  struct log_file
      *retired; /* former active files: the helper closes them, when nobody grows them */
  struct segment *segments;
  size_t segment_count, segment_capacity;

  uint64_t lsn, previous; /* of the next batch; checksum of the last header */
  uint64_t durable_lsn;
  uint64_t written_appended, durable_appended; /* as progress.appended: written; durable */
  bool loss_is_marked; /* a durable header says that syncs are not awaited */
  /* Where the log begins: as decided, as a written header says, as a durable one does. */
  uint64_t oldest_lsn, carried_oldest_lsn, durable_oldest_lsn;
  uint64_t carried_end_lsn; /* the end of the batch that carried it */

  /* The newest head. Heads are numbered as they are asked for. */
  uint64_t head_offset; /* of its records, in the active file */
  uint64_t head_checksum;
  uint32_t head_bytes, head_count;
  int64_t head_as_of_ms;
  uint64_t heads_asked, head_number;
  bool head_wanted; /* before the next batch, though it would fit */

  int64_t changed_ns; /* journal_beat's: when it last saw something appended, */
  int64_t batch_ns;   /* a batch, */
  uint64_t seen_appended, seen_batches;
  bool sealed; /* nothing was appended since the last seal */

  struct reading reading;
  bool active_is_lost; /* somebody has removed the active file (helper.c) */
  uint64_t lost_lsn;   /* its first; both until trim.c has seen it */
  /* trim.h: segments before it are replaced by what the caller appends; 0: none. */
  uint64_t again_lsn;
  struct found found;
  struct counters counters;
  uint64_t recovered_records, recovered_batches, cut_bytes;
  uint64_t written_bytes; /* since the start: room ahead grows as the log does */
  uint64_t all_batches;   /* since the start */
  int64_t synced_ns;      /* the helper's: when it last synced */
  pthread_t helper;
  bool has_helper;
};

static inline void state_lock(const struct journal *journal) {
  pthread_mutex_lock((pthread_mutex_t *)&journal->lock);
}
static inline void state_unlock(const struct journal *journal) {
  pthread_mutex_unlock((pthread_mutex_t *)&journal->lock);
}

/* NULL: no memory. */
struct journal *state_create(const struct journal_options *options);
/* Closes files; takes NULL. */
void state_destroy(struct journal *journal);

/* 0, and *opened with both descriptors and nothing else; or a negative errno. */
int state_open_file(const struct journal *journal, const char *name, bool create,
                    struct log_file **opened);
void state_close_file(const struct journal *journal, struct log_file *file); /* takes NULL */

/* Locked. Waits until the role is free, and takes it. */
void state_take_role(struct journal *journal, bool *role);
void state_give_role(struct journal *journal, bool *role);

/* Unlocked. The journal is dead from here on: says so to all that wait, and to the hook. */
void state_fail(struct journal *journal, const char *file, const char *what, int error);

/* Locked, or before the start. Room for one more segment in the table; false: no memory. */
bool state_reserve_segment(struct journal *journal);
/* Locked. All before this position is durable, and the first so many bytes that were appended. */
void state_note_durable(struct journal *journal, uint64_t lsn, uint64_t appended);
#endif
