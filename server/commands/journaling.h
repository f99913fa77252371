/*
 * journaling.h - from the engines' outbox into the journal: what each loop does for it.
 *
 *     admission.h   room in the outbox and on the disk, or an error
 *     access.h      a shard is locked: its engine emits images into the worker's outbox
 *                   before it is unlocked: appended, so that the images of a key stand in order
 *     net/          the end of a turn: committed, before any output leaves
 *
 * EXEC, and commands of several keys, are appended as one when all shards are unlocked. Without a
 * journal (worker.journal NULL) only init and deinit are called.
 *
 * It must not know commands, nor the network. Each function is called by the worker's own thread.
 */
#ifndef IDEM_SERVER_COMMANDS_JOURNALING_H
#define IDEM_SERVER_COMMANDS_JOURNALING_H

#include "server/commands/worker.h"
#include "server/journal/journal.h"

/* A turn commits early once so many appends, or so many bytes, wait. */
#define JOURNALING_EARLY_APPENDS 1024u
#define JOURNALING_EARLY_BYTES (1024u * 1024)

/* The outbox of a worker. false: no memory. deinit takes a worker without one. */
bool journaling_init(struct worker *worker);
void journaling_deinit(struct worker *worker);

/* A locked engine emits into the worker's outbox. */
void journaling_attach(struct worker *worker, struct engine *engine);
/* What lies in the outbox; the shards are still locked. */
void journaling_append(struct worker *worker);

/* Returns when all that was appended, by whichever loop, is durable. No shard is locked. */
void journaling_commit(struct worker *worker);
static inline bool journaling_commits_early(const struct worker *worker) {
  return worker->appends >= JOURNALING_EARLY_APPENDS ||
         journal_pending_bytes(worker->journal) >= JOURNALING_EARLY_BYTES;
}

/* The times and the token for the header of a batch. */
struct journal_moment journaling_moment(const struct worker *worker);

#endif
