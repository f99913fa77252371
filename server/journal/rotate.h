/*
 * rotate.h - the beginning of a segment.
 *
 *     sync the active file | spare: header, head, sync | rename to its name | sync the directory
 *
 * Only then are batches written to it. A crash in between leaves no new segment, or a whole one:
 * a file that has the name of a segment begins with a valid header and a valid head.
 *
 * Where the directory has no room for the new name, the segment begins under the name of the spare,
 * which is there: batches of it were promised room. A start finds it there (load.h). There is no
 * other spare until it has its name, so that nothing more is promised than it has room for.
 */
#ifndef IDEM_SERVER_JOURNAL_ROTATE_H
#define IDEM_SERVER_JOURNAL_ROTATE_H

#include "server/journal/state.h"

/* What failed, where. */
struct fault {
  int error; /* negative errno; 0: nothing */
  const char *what;
  char file[SEGMENT_NAME_BYTES];
};

/*
 * For who writes, unlocked: the next segment begins here, with a head and room for a batch of so
 * many bytes. The first segment too, when there is none yet. `caller` as in journal_commit.
 * ask: false: the former head is written again, as at the end, when nobody can give one.
 */
bool rotate_segment(struct journal *journal, void *caller, bool ask, uint64_t batch_bytes,
                    struct fault *fault);
/* fdatasync of a file that is written to; its time counts in the figures. */
int rotate_sync(struct journal *journal, int file);

/* A head in the active file, if there is room for it there: when there is none for a new segment,
 * so that segments may go for which a later head is missing. False: fault. */
bool rotate_head(struct journal *journal, void *caller, struct fault *fault);

#endif
