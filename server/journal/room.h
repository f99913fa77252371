/*
 * room.h - room ahead: bytes of the active file and of the spare that can be written without asking
 * the file system for more.
 *
 *     active   [ batches ... end | room ... filled | not there yet ... limit ]
 *     spare    [ room ........................ filled | not there yet ... limit ]
 *
 * A batch lands in the active file if it fits below its limit, else in the spare, which becomes the
 * next segment. Who lacks room makes it in steps of JOURNAL_GROWTH_BYTES; the helper keeps as much
 * ahead as an eighth of what was written since the start, at least a step in each file and at most
 * a segment, so that a small log takes little; of a log of ROOM_KEPT_SEGMENTS, the whole spare. It
 * makes a piece after each commit, or a step at once where little is left.
 *
 * To fail here is no failure of the journal: it is remembered, and tried again by the helper.
 */
#ifndef IDEM_SERVER_JOURNAL_ROOM_H
#define IDEM_SERVER_JOURNAL_ROOM_H

#include "server/journal/state.h"

#define ROOM_PIECE_BYTES (1u << 20)
#define ROOM_KEPT_SEGMENTS 4u

/* ---- locked; unlocks while it grows a file ---- */

/* Tells loops how much they may append without asking. After whatever changes it. */
void room_tell(struct journal *journal);
/* What journal_room says. */
enum journal_room room_ask(struct journal *journal, size_t bytes);
/* Whether what the oldest segment has can be appended again: claims leave room for it (types.h). */
bool room_carries(struct journal *journal, size_t bytes);
/* For who writes: makes room in this file up to this offset. 0, or a negative errno. */
int room_reach(struct journal *journal, struct log_file *file, uint64_t offset);
/* The spare, made if there is none. NULL: not, and why in *error. */
struct log_file *room_spare(struct journal *journal, int *error);
/* Whether the spare has room for a segment with a head as the last and so many bytes of batches. */
bool room_spare_takes(const struct journal *journal, uint64_t bytes);
/* Whether the active file has room for a head, and what is appended already still has some then. */
bool room_takes_head(const struct journal *journal, uint64_t bytes);

/* Whether the helper should make more room, and whether at once: without waiting for the next
 * commit. */
bool room_is_wanted(const struct journal *journal);
bool room_is_urgent(const struct journal *journal);
/* One piece ahead, written with zeros and synced, so that a commit into it only writes data. True:
 * it succeeded. */
bool room_help(struct journal *journal);

/* What is ahead. */
uint64_t room_ahead(const struct journal *journal);
/* What the header and a head of this size take at the beginning of a segment. */
static inline uint64_t room_head_space(uint64_t head_bytes) {
  return FORMAT_SEGMENT_BYTES + FORMAT_BATCH_BYTES + format_padded(head_bytes);
}

#endif
