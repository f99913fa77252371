/*
 * shards.h - what is done to shard after shard, each locked in its turn: deadlines, figures,
 * whether effects are kept. Each function is called by the worker's own thread.
 */
#ifndef IDEM_SERVER_COMMANDS_SHARDS_H
#define IDEM_SERVER_COMMANDS_SHARDS_H

#include "server/commands/worker.h"
#include "server/engine/stats.h"

/* What is due by itself in the shards that this worker looks after, in so many steps of all of them
 * together (at least one for each shard that it can have); what is left is due again. */
#define SHARDS_TICK_LEAST KEYSPACE_MAX_SHARDS
void shards_tick(struct worker *worker, unsigned steps);

/* The figures of all engines, added up. */
void shards_stats(struct worker *worker, struct stats *sum);

/* Sessions of this worker listen to effects from here on, or do not any more: engines keep effects
 * while those of any worker do. */
void shards_want_effects(struct worker *worker, bool wanted);

#endif
