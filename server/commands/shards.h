/*
 * shards.h - what is done to one shard after the other, each locked in its turn: deadlines,
 * figures, the end of grants, whether effects are kept.
 *
 * It must not know keys, sessions or commands. What it reads of several shards is not of one
 * moment, unless the caller has locked all (access_lock_all). Each function is called by the
 * worker's own thread, with no shard locked, or all.
 */
#ifndef IDEM_SERVER_COMMANDS_SHARDS_H
#define IDEM_SERVER_COMMANDS_SHARDS_H

#include "server/commands/worker.h"
#include "server/engine/stats.h"

/* Applies what is due in the shards of this worker (shard.h), in so many steps for all of them
 * together (at least one for each shard that it can have); what is left stays due. */
#define SHARDS_TICK_LEAST KEYSPACE_MAX_SHARDS
void shards_tick(struct worker *worker, unsigned steps);

/* The figures of all engines, added up. */
void shards_stats(struct worker *worker, struct stats *sum);

/* The same of the ages of the oldest claims: the highest of all engines, in a sum that
 * shards_stats has read. Walks lists for a while, so it is not for every command. */
void shards_oldest(struct worker *worker, struct stats *sum);

/* From now on no claim is granted, from one moment on in all engines: engine_stop_grants. */
void shards_stop_grants(struct worker *worker);

/* Whether sessions of this worker are subscribed to effects from here on: engines keep effects
 * while those of any worker are. */
void shards_want_effects(struct worker *worker, bool wanted);

#endif
