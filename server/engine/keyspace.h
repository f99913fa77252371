/*
 * keyspace.h - many engines, chosen by a hash: what several threads use at once.
 *
 *     key -> name -> hash -> shard (shard.h)
 *
 * A key has one shard for as long as the process lives. A call for one key locks its shard, one for
 * all keys locks all of them, in their order. With one loop there is one shard.
 *
 * Why not a thousand shards: each is a whole engine, with wheels and open chunks of its own, about
 * 96 KiB before its first key. With L loops the chance that a command finds its shard in use is
 * about (L - 1) x (share of the time spent in engines) / shards: below 2 % here.
 *
 * Thread-safe as said at each function; creating and destroying are not.
 */
#ifndef IDEM_SERVER_ENGINE_KEYSPACE_H
#define IDEM_SERVER_ENGINE_KEYSPACE_H

#include "server/engine/shard.h"

#define KEYSPACE_MAX_LOOPS ENGINE_MAX_LOOPS
#define KEYSPACE_MAX_SHARDS 64u /* as many as a word has bits */
#define KEYSPACE_SHARDS_PER_LOOP 16u

struct keyspace;

/* As engine_create; options.common and options.regions are set by it. 1 <= loops <=
 * KEYSPACE_MAX_LOOPS. */
struct keyspace *keyspace_create(const struct engine_options *options, unsigned loops,
                                 int64_t now_ms);
void keyspace_destroy(struct keyspace *keyspace); /* takes NULL */

/* Counts from now on what each user holds (quotas.h), and what is there already. Call once, before
 * the first command. False: memory is short. */
bool keyspace_count_users(struct keyspace *keyspace);
struct quotas *keyspace_quotas(struct keyspace *keyspace); /* NULL before */

/* ---- which shard; any loop may call these, without a lock ---- */

unsigned keyspace_shards(const struct keyspace *keyspace);
struct shard *keyspace_shard(struct keyspace *keyspace, unsigned number);
struct shard *keyspace_find(struct keyspace *keyspace, struct span key);
/* By a key's name, which is the same for all its engines. */
struct shard *keyspace_find_name(struct keyspace *keyspace, const struct name *name);
void keyspace_name(const struct keyspace *keyspace, struct span key, struct name *name);

/* Whether the three below are worth their instructions. */
bool keyspace_exceeds_cache(const struct keyspace *keyspace);
/* keys_prefetch, without a lock. */
void keyspace_prefetch(const struct keyspace *keyspace, const struct name *name);
/* keys_prefetch_chain and keys_prefetch_entry. With several loops they fetch nothing of a shard
 * that another loop uses. */
void keyspace_prefetch_chain(struct keyspace *keyspace, const struct name *name);
void keyspace_prefetch_entry(struct keyspace *keyspace, const struct name *name);

/* ---- all shards ---- */

void keyspace_lock_all(struct keyspace *keyspace);
/* For the loop that holds all locks: one time for all shards, *now_ms as in shard_lock. */
void keyspace_see_time(struct keyspace *keyspace, int64_t *now_ms);
uint64_t keyspace_unlock_all(struct keyspace *keyspace); /* as shard_unlock */

/* ---- what a loop has to do; any loop may call these for itself, without a lock ---- */

/* Shards in which waiters of the loop are ready, a bit each; clears them: the caller looks into all
 * of them, or calls keyspace_still_ready. */
uint64_t keyspace_take_ready(struct keyspace *keyspace, unsigned loop);
void keyspace_still_ready(struct keyspace *keyspace, unsigned loop, uint64_t shards);
bool keyspace_has_ready(const struct keyspace *keyspace, unsigned loop);
/* When the loop has to tick its shards next; INT64_MAX: never, INT64_MIN: at once. */
int64_t keyspace_next_due(const struct keyspace *keyspace, unsigned loop);
/* Those of its shards in which something is due, a bit each: the caller has to lock, tick_run and
 * unlock each of them. */
uint64_t keyspace_take_due(struct keyspace *keyspace, unsigned loop, int64_t now_ms);

#endif
