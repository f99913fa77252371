/*
 * shard.h - an engine with a lock around it, for several threads.
 *
 *     shard [lock | engine | its clock | when its loop has to tick it]
 *
 * The caller of an engine holds its shard's lock. With one loop no lock is taken at all. What a
 * call means for other loops (a waiter of theirs is ready, a deadline is earlier than they know) is
 * noted in their errands, which they read without a lock; shard_unlock returns which loops to wake.
 *
 * Each shard has a loop that ticks it: the shard's number modulo the number of loops.
 *
 * Thread-safe as said at each function; the layout is for keyspace.h, which makes the shards.
 */
#ifndef IDEM_SERVER_ENGINE_SHARD_H
#define IDEM_SERVER_ENGINE_SHARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/engine/engine_options.h"
#include "server/engine/name.h"

#define SHARD_CACHE_LINE_BYTES 64

/* What a loop has to do. */
struct shard_errands {
  _Alignas(SHARD_CACHE_LINE_BYTES) _Atomic uint64_t ready; /* a bit for each shard */
  _Atomic int64_t due_ms;
};

struct shard {
  _Alignas(SHARD_CACHE_LINE_BYTES) pthread_mutex_t lock;
  struct engine *engine;
  struct shard_errands *errands; /* of all loops; borrowed */
  unsigned loops, number;
  int64_t now_ms;               /* the latest time that its engine was given */
  _Atomic int64_t announced_ms; /* the due time that was last announced to its loop */
};

/* ---- for every loop ---- */

unsigned shard_number(const struct shard *shard);
/* The caller holds the lock. */
struct engine *shard_engine(struct shard *shard);

/*
 * From lock to unlock the shard's engine is the caller's. *now_ms goes in as the caller's clock and
 * comes out as the time for the engine: another loop may have been a moment ahead, and an engine's
 * time never runs backwards. unlock returns a bit for each loop that now has something to do that
 * it does not know of.
 */
struct engine *shard_lock(struct shard *shard, int64_t *now_ms);
/* NULL when another loop has locked it: a caller that then waits should read the clock again. */
struct engine *shard_try_lock(struct shard *shard, int64_t *now_ms);
/* The caller holds the lock; *now_ms as above. */
void shard_see_time(struct shard *shard, int64_t *now_ms);
uint64_t shard_unlock(struct shard *shard);

/* keys_prefetch_chain and keys_prefetch_entry of one of several loops, which does not hold the
 * lock. If the shard is in use it does not wait, and fetches nothing. */
void shard_prefetch_chain(struct shard *shard, const struct name *name);
void shard_prefetch_entry(struct shard *shard, const struct name *name);

/* ---- for keyspace.h ---- */

/* Takes engine, errands, loops, number and now_ms from `as`. false: no memory for an engine. */
bool shard_init(struct shard *shard, const struct shard *as, const struct engine_options *options);
void shard_deinit(struct shard *shard);
/* Lowers a due time; several threads may do so at once. */
void shard_errands_lower(struct shard_errands *errands, int64_t due_ms);

#endif
