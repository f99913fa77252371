/*
 * keyspace.h - many engines behind one hash: what several threads use at once.
 *
 *     key -> hash -> shard [lock | engine | its clock | when its loop is to look after it]
 *
 * A shard is an engine with a lock around it; a key has one shard for as long as the process lives.
 * Whoever calls an engine holds its shard's lock: for one key that one, for all keys all of them,
 * taken in their order. With one loop there is one shard, and no lock is taken at all.
 *
 * Each shard has a loop that looks after its deadlines (shard number modulo loops). What one loop's
 * call brings about for others (a waiter of theirs is ready, a deadline is nearer than they know)
 * is noted in words that they read without a lock; shard_unlock returns whom to wake.
 *
 * Why not a thousand shards: each is a whole engine, with wheels and open chunks of
 * its own, about 65 KB before its first key. With L loops a command meets another in its shard with
 * a chance of about (L - 1) x (share of the time spent in engines) / shards: below 2 % here.
 *
 * Thread-safe as said at each function; creating and destroying are not.
 */
#ifndef IDEM_SERVER_ENGINE_KEYSPACE_H
#define IDEM_SERVER_ENGINE_KEYSPACE_H

#include "server/engine/engine.h"

#define KEYSPACE_MAX_LOOPS ENGINE_MAX_LOOPS
#define KEYSPACE_MAX_SHARDS 64u /* as many as a word has bits */
#define KEYSPACE_SHARDS_PER_LOOP 16u

struct keyspace;
struct shard;

/* As engine_create; options.common and options.regions are set by it. 1 <= loops <=
 * KEYSPACE_MAX_LOOPS. */
struct keyspace *keyspace_create(const struct engine_options *options, unsigned loops,
                                 int64_t now_ms);
void keyspace_destroy(struct keyspace *keyspace); /* takes NULL */

unsigned keyspace_shards(const struct keyspace *keyspace);
struct shard *keyspace_shard(struct keyspace *keyspace, unsigned number);
struct shard *keyspace_find(struct keyspace *keyspace, struct span key);
/* By a key's name, which is the same for all its engines. */
struct shard *keyspace_find_name(struct keyspace *keyspace, const struct engine_name *name);
void keyspace_name(const struct keyspace *keyspace, struct span key, struct engine_name *name);
unsigned shard_number(const struct shard *shard);
/* For those who hold the lock. */
struct engine *shard_engine(struct shard *shard);

/*
 * From lock to unlock the shard's engine is the caller's. *now_ms goes in as the caller's clock and
 * comes out as what the engine is to be told: another loop may have been a moment ahead, and an
 * engine's time never runs backwards. unlock returns a bit for each loop that has something to do
 * now and does not know it yet.
 */
struct engine *shard_lock(struct shard *shard, int64_t *now_ms);
/* NULL when another loop has it: waiting takes time, which the caller is to look at anew. */
struct engine *shard_try_lock(struct shard *shard, int64_t *now_ms);
/* For who has the lock: *now_ms as above. */
void shard_see_time(struct shard *shard, int64_t *now_ms);
uint64_t shard_unlock(struct shard *shard);
void keyspace_lock_all(struct keyspace *keyspace);
/* For who holds all: one time for all shards. */
void keyspace_see_time(struct keyspace *keyspace, int64_t *now_ms);
uint64_t keyspace_unlock_all(struct keyspace *keyspace);

/* engine_prefetch and engine_prefetch_entry, for those who do not hold the shard. A shard that is
 * in use is not waited for: then nothing is fetched. */
void keyspace_prefetch(struct keyspace *keyspace, const struct engine_name *name);
void keyspace_prefetch_entry(struct keyspace *keyspace, const struct engine_name *name);

/* ---- what a loop has to do; any loop may ask for itself, without a lock ---- */

/* Shards in which waiters of the loop are ready, a bit each; forgets them: the caller looks into
 * all of them, or says keyspace_still_ready. */
uint64_t keyspace_take_ready(struct keyspace *keyspace, unsigned loop);
void keyspace_still_ready(struct keyspace *keyspace, unsigned loop, uint64_t shards);
bool keyspace_has_ready(const struct keyspace *keyspace, unsigned loop);
/* When the loop is to look after its shards next; INT64_MAX: never, INT64_MIN: at once. */
int64_t keyspace_next_due(const struct keyspace *keyspace, unsigned loop);
/* Those of its shards in which something is due, a bit each: the caller is to lock, engine_tick and
 * unlock each of them. */
uint64_t keyspace_take_due(struct keyspace *keyspace, unsigned loop, int64_t now_ms);

#endif
