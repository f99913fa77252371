/*
 * access.h - the way to an engine: the locks of shards, and pausing the other loops.
 *
 * Every use of an engine is framed by these: the shard's lock, the engine's time, and afterwards
 * its consequences: images are appended to the journal, effects are posted to the other loops, and
 * those are woken. With one worker there is one shard, which no other thread uses: nothing is
 * locked then, and its time is the worker's.
 *
 * Each function is called by the worker's own thread.
 */
#ifndef IDEM_SERVER_COMMANDS_ACCESS_H
#define IDEM_SERVER_COMMANDS_ACCESS_H

#include "server/commands/worker.h"
#include "server/engine/effect.h"

/* Locks a shard and returns its engine; *now_ms as in shard_lock, so not to be read in the same
 * expression. Waits while another loop has locked it. Nested only between access_lock_all and
 * access_unlock_all. */
struct engine *access_lock_shared(struct worker *worker, struct shard *shard, int64_t *now_ms);
static inline struct engine *access_lock(struct worker *worker, struct shard *shard,
                                         int64_t *now_ms) {
  if (worker->plain) return shard_engine(shard);
  return access_lock_shared(worker, shard, now_ms);
}
void access_unlock_shared(struct worker *worker, struct shard *shard);
static inline void access_unlock(struct worker *worker, struct shard *shard) {
  if (worker->plain && !effect_any(shard_engine(shard))) return;
  access_unlock_shared(worker, shard);
}

/* All shards, in their order. No shard may be locked. Must not be nested. */
void access_lock_all(struct worker *worker, int64_t *now_ms);
void access_unlock_all(struct worker *worker);

/* The other loops are paused between two of their turns until they are resumed. No shard may be
 * locked. Must not be nested. */
void access_pause_others(struct worker *worker);
void access_resume_others(struct worker *worker);

#endif
