/*
 * trimming.h - what the first loop does for the journal while it serves: seals and heartbeats,
 * letting go of old segments, the head of a new one, and the log lines about it.
 *
 *     cron    beat, figures, does the log take too much? -> worker.trims
 *     turn    a slice of the oldest segment: what still counts is appended again; if it cannot be
 *             read, a slice of all that is there
 *
 * Only with a journal. trimming_head may be called by any loop, one at a time (journal.h); the rest
 * by the first loop's own thread.
 */
#ifndef IDEM_SERVER_COMMANDS_TRIMMING_H
#define IDEM_SERVER_COMMANDS_TRIMMING_H

#include "server/commands/worker.h"
#include "server/journal/journal.h"

struct trimming;

/* For the journal's hooks; the log is borrowed. NULL: no memory. destroy takes NULL. */
struct trimming *trimming_create(struct log *log);
void trimming_destroy(struct trimming *trimming);
/* context: the trimming. The process ends. */
void trimming_failed(void *context, const char *text);
/* A segment cannot be read again: goes to the log. */
void trimming_unreadable(void *context, const char *text);
struct span trimming_head(void *context, void *worker, int64_t *as_of_ms);

/* Every loop: looks whether there is room for grants. The first: all that is due. */
void trimming_cron(struct worker *worker);
/* worker.trims: one slice. */
void trimming_step(struct worker *worker);

#endif
