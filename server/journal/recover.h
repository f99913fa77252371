/*
 * recover.h - from the disk to memory, and the way back to a log that can be written.
 *
 * The newest header says where the log begins. From there to the end of the newest segment there
 * must be no gap and no fault, except at the very end:
 *
 *     the newest segment   | valid ...... | p: no valid batch | a later header of this log?
 *                                                        none: torn while it was written; cut at p
 *              written while p was not known to be durable: lost by a power cut; cut at p
 *                                             written when p was durable: rotten; nothing is
 * changed
 */
#ifndef IDEM_SERVER_JOURNAL_RECOVER_H
#define IDEM_SERVER_JOURNAL_RECOVER_H

#include "server/journal/state.h"

/* Which segments count, and the newest one in journal->found. */
enum journal_result recover_look(struct journal *journal, char error[JOURNAL_ERROR_BYTES]);
/* All batches with records; fills in the table of segments. */
enum journal_result recover_batches(struct journal *journal, journal_restorer *restore,
                                    void *context, char error[JOURNAL_ERROR_BYTES]);
/* Makes the tail durable and ready to be written to; removes what a crash has left over. Lets go of
 * journal->found. */
enum journal_result recover_finish(struct journal *journal, char error[JOURNAL_ERROR_BYTES]);

#endif
