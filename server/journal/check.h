/*
 * check.h - looks at a log without a server and without writing: what is in it, and the first
 * fault. Says what a start would say. For `idem-server --check-journal DIR`.
 */
#ifndef IDEM_SERVER_JOURNAL_CHECK_H
#define IDEM_SERVER_JOURNAL_CHECK_H

#include <stdio.h>

#include "server/journal/types.h"

/* A line for each segment, the sums, the newest moment; then "fine", or the fault with its file and
 * offset. The files of a server that runs may be looked at: its end then is where it was. */
enum journal_result check_journal(struct journal_files *files, FILE *out);

#endif
