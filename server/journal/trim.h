/*
 * trim.h - when a segment may go: always the oldest first, never the one that is written to.
 *
 *  - All its records have ended by themselves, and the newest durable head counts them: it goes
 *    unread. Costs nothing.
 *  - The log takes too much: the oldest is read in slices, and what still counts is appended again.
 *    It goes when all that is durable, and a head that was asked for later, which counts the
 * records that had ended until then. So many segments may wait for that head that it is worth a new
 *    segment of its own (TRIM_HEAD_SEGMENTS).
 *
 *  - The oldest cannot be read, or is not there: the caller appends all that is alive from memory.
 *    It goes then as if it had been read, with all that were there when that was found out.
 *  - The newest is not there: the same, once a new segment has begun.
 *
 * Here it is only decided: the next batch says where the log begins, and once that is durable the
 * helper removes the file. One thread trims.
 */
#ifndef IDEM_SERVER_JOURNAL_TRIM_H
#define IDEM_SERVER_JOURNAL_TRIM_H

#include "server/journal/state.h"

#define TRIM_READ_BYTES (64u << 10) /* at a time */
#define TRIM_KEPT_BYTES (2u << 20)  /* of the buffer, which a batch lies in whole */
#define TRIM_HEAD_SEGMENTS 4u

/* As journal_trim. */
bool trim_now(struct journal *journal, uint64_t live_bytes, journal_visitor *visit, void *caller);
/* As journal_wants_all, journal_note_all. */
bool trim_wants_all(const struct journal *journal);
void trim_note_all(struct journal *journal);
/* As journal_delay_ends. */
void trim_delay_ends(struct journal *journal, int64_t by_ms);

#endif
