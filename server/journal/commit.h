/*
 * commit.h - from memory to the disk: appending, and one writer for all that wait.
 *
 * Who commits and finds nobody writing leads: takes all that is pending, writes it as one batch and
 * syncs it. Who comes meanwhile waits; what it appended is in the next batch, which one of those
 * who waited leads. So a sync covers everybody, and the more loops there are, the fewer syncs each
 * needs.
 *
 * It never tries a write or sync again that failed: what is on the disk then is not known.
 */
#ifndef IDEM_SERVER_JOURNAL_COMMIT_H
#define IDEM_SERVER_JOURNAL_COMMIT_H

#include "server/journal/state.h"

/* Unlocked, all of them. */
void commit_append(struct journal *journal, const struct journal_append *append);
bool commit_all(struct journal *journal, void *caller);
/* A batch without records, if nothing is pending. False: dead. */
bool commit_empty(struct journal *journal, void *caller, const struct journal_moment *moment,
                  unsigned flags);
/* rotate_head. False: dead. */
bool commit_head(struct journal *journal, void *caller);
/* Nothing is appended any more: writes what is pending, says that the end is clean and syncs all.
 * False: it is not. */
bool commit_last(struct journal *journal);

#endif
