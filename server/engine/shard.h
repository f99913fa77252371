/*
 * shard.h - an engine with a lock around it, for several threads.
 *
 *     shard [lock | engine | its clock | when its loop is to look after it]
 *
 * The caller of an engine holds its shard's lock. With one loop no lock is taken at all. What one
 * loop's call brings about for others (a waiter of theirs is ready, a deadline is nearer than they
 * know) is noted in their errands, which they read without a lock; shard_unlock returns which of
 * them to wake.
 *
 * Each shard has a loop that looks after its deadlines: its number modulo the loops.
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
  int64_t now_ms;               /* the latest that its engine was told */
  _Atomic int64_t announced_ms; /* the due time that its loop was last told */
};

/* ---- for every loop ---- */

unsigned shard_number(const struct shard *shard);
/* For the loop that holds the lock. */
struct engine *shard_engine(struct shard *shard);

/*
 * From lock to unlock the shard's engine is the caller's. *now_ms goes in as the caller's clock and
 * comes out as what the engine is to be told: another loop may have been a moment ahead, and an
 * engine's time never runs backwards. unlock returns a bit for each loop that has something to do
 * now and does not know it yet.
 */
struct engine *shard_lock(struct shard *shard, int64_t *now_ms);
/* NULL when another loop holds it: a caller that then waits should read the clock again. */
struct engine *shard_try_lock(struct shard *shard, int64_t *now_ms);
/* For the loop that holds the lock: *now_ms as above. */
void shard_see_time(struct shard *shard, int64_t *now_ms);
uint64_t shard_unlock(struct shard *shard);

/* keys_prefetch and keys_prefetch_entry, for a loop that does not hold the lock. A shard that is in
 * use is not waited for: then nothing is fetched. */
void shard_prefetch(struct shard *shard, const struct name *name);
void shard_prefetch_entry(struct shard *shard, const struct name *name);

/* ---- for keyspace.h ---- */

/* Takes engine, errands, loops, number and now_ms of `as`. false: no engine can be had. */
bool shard_init(struct shard *shard, const struct shard *as, const struct engine_options *options);
void shard_deinit(struct shard *shard);
/* Lowers a due time that several threads lower. */
void shard_errands_lower(struct shard_errands *errands, int64_t due_ms);

#endif
