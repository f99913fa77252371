/*
 * types.h - what the caller and all files of this room share: moments, ends, hooks, options,
 * results, figures. Their place is journal.h, which says how they are used; they stand here since
 * files below journal.c may not know it.
 */
#ifndef IDEM_SERVER_JOURNAL_TYPES_H
#define IDEM_SERVER_JOURNAL_TYPES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/span.h"
#include "server/base/histogram.h"
#include "server/journal/files.h"

#define JOURNAL_SEGMENT_BYTES (64u << 20)
#define JOURNAL_GROWTH_BYTES (4u << 20) /* room ahead grows by so much at a time */
#define JOURNAL_LAST_BYTES (1u << 20)   /* the end of the room, for what frees only */
#define JOURNAL_ERROR_BYTES 512u
#define JOURNAL_ID_BYTES 16u
/* Of one batch, that is of all that is appended between two commits. */
#define JOURNAL_BATCH_BYTES (1u << 31)

struct journal;

/* What loops look at without a lock; a struct journal begins with it. */
struct journal_progress {
  _Atomic uint64_t appended, committed; /* bytes of records, since the start; dead: UINT64_MAX */
  _Atomic uint64_t room;                /* so many bytes can be appended without asking further */
  _Atomic int room_error;
};

enum journal_sync { JOURNAL_SYNC_ALWAYS, JOURNAL_SYNC_EVERYSEC, JOURNAL_SYNC_NO };

/* What every batch header says of the time at which it was written. */
struct journal_moment {
  int64_t engine_ms;   /* the engines' clock; at least that of every change in the batch */
  int64_t wall_ms;     /* unix time */
  int64_t largest_ms;  /* the largest (unix time - engines' clock) that was ever seen */
  uint64_t next_token; /* above all tokens in the batch and before it */
};

/* When the records of an append have all ended by themselves: engines' clock. */
struct journal_ends {
  int64_t last_ms; /* INT64_MIN: none of them holds the segment; INT64_MAX: never */
  bool of_older;   /* records in older segments end as late, too: an end was moved */
};

struct journal_hooks {
  void *context; /* for `failed` */
  /* A write or a sync failed, or the log is broken: nothing that waits may be answered. The server
   * logs the text and exits; if it returns (tests), the journal is dead: commit returns false. From
   * any thread. */
  void (*failed)(void *context, const char *text);
  /* A segment that trimming has to read cannot be read any more (journal_wants_all); the text says
   * which and why. Called by journal_trim; NULL: nobody listens. */
  void (*unreadable)(void *context, const char *text);
  /*
   * The records of a segment's head: borrowed until the next call. *as_of_ms: all that ended by
   * itself up to then is counted in it. `caller` is that of commit, trim or beat; no shard is
   * locked. Absent: no memory; the former head is written again.
   */
  struct span (*head)(void *context, void *caller, int64_t *as_of_ms);
};

/* How far a recovery has come, in bytes of the log. whole: 0 while the newest segment is looked at,
 * before it is known how much there is. */
struct journal_step {
  uint64_t done, whole;
};
/* Called by journal_open and journal_recover after every JOURNAL_STEP_BYTES, a few milliseconds, so
 * that a long start can see to other things; a larger batch is one piece. false: it is to end, with
 * JOURNAL_STOPPED. */
struct journal_steps {
  bool (*next)(void *context, struct journal_step step); /* NULL: none */
  void *context;
};
#define JOURNAL_STEP_BYTES (256u << 10)

struct journal_options {
  struct journal_files *files; /* borrowed */
  enum journal_sync sync;
  uint64_t segment_bytes;      /* JOURNAL_SEGMENT_BYTES; smaller in tests */
  const unsigned char *log_id; /* 16 random bytes, for a new log */
  struct journal_hooks hooks;
  struct journal_steps steps;
  bool helper; /* false: no thread; tests call journal_help themselves */
};

enum journal_result {
  JOURNAL_OK,
  JOURNAL_REFUSED, /* no memory, no permission, no room, an I/O error: nothing was changed */
  JOURNAL_CORRUPT, /* rotten, a segment is missing, or of a newer version: nothing was changed */
  JOURNAL_STOPPED, /* by journal_steps: nothing was changed */
};

struct journal_batch {
  struct span records;
  unsigned count;
  int64_t engine_ms;
  bool head; /* of a segment */
  bool last; /* of a segment; perhaps without records */
};
/* Takes in one batch, whole. false: no memory. *ends: as for journal_append. The records of all
 * batches of a segment are borrowed until the last of them is in. */
typedef bool journal_restorer(void *context, const struct journal_batch *batch,
                              struct journal_ends *ends);
struct journal_append {
  struct span records; /* whole records; at least one */
  unsigned count;
  struct journal_ends ends;
  struct journal_moment moment;
  bool again; /* by journal_trim's visitor: for the figures */
};

enum journal_room {
  JOURNAL_ROOM_ENOUGH,
  JOURNAL_ROOM_LOW, /* the last attempt to make room failed, less is left than JOURNAL_GROWTH_BYTES,
                     * or than the oldest segment may need to be compacted (room.c) */
  JOURNAL_ROOM_LAST, /* it failed; these bytes would leave less than JOURNAL_LAST_BYTES */
  JOURNAL_ROOM_NONE, /* these bytes do not fit */
};

/* A record of the oldest segment, which begins at `segment`: appends it again if it still counts.
 * false: it cannot now, and is asked again later. */
typedef bool journal_visitor(void *caller, uint64_t segment, struct span record);
#define JOURNAL_SLICE_NS 500000

struct journal_figures {
  uint64_t lsn;                                      /* where the next batch begins */
  uint64_t segments, disk_bytes, live_segment_bytes; /* disk_bytes: with room ahead */
  uint64_t batches, records, appended_bytes, again_bytes;
  uint64_t syncs, sync_p50_us, sync_p99_us, sync_max_us;
  struct histogram sync_us;
  uint64_t removed_segments, removed_unread; /* unread: without a slice read */
  uint64_t unreadable;                       /* times that a segment could not be read */
  uint64_t slice_max_us;
  uint64_t recovered_records, recovered_batches, cut_bytes;
  uint64_t room_bytes; /* ahead, ready to be written */
  bool failed;         /* to make room, at the last attempt */
};

#endif
