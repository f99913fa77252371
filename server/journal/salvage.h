/*
 * salvage.h - what can be saved of a log with faults, as a new log in another directory. For
 * `idem-server --salvage DIR TO`.
 *
 * Every valid batch is copied, in the order of the log, whatever is missing before it: after-images
 * stand for themselves, so a record that was lost only leaves its key at an older state. What that
 * means for each key a person has to judge; the ranges that were lost are listed.
 */
#ifndef IDEM_SERVER_JOURNAL_SALVAGE_H
#define IDEM_SERVER_JOURNAL_SALVAGE_H

#include <stdio.h>

#include "server/journal/types.h"

/* Tokens of the new log begin so far above those that were found: the lost ones were lower. */
#define SALVAGE_TOKENS (UINT64_C(1) << 24)

/* `from` is only read. `to`: open for writing, without a log. new_id: JOURNAL_ID_BYTES random
 * bytes. Lines of the form "lost: FILE offset N..M", then the sums. JOURNAL_OK also when much was
 * lost; REFUSED when nothing could be read or written. */
enum journal_result salvage_journal(struct journal_files *from, struct journal_files *to,
                                    const unsigned char *new_id, FILE *out);

#endif
