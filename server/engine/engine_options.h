/*
 * engine_options.h - the options of an engine, and what the engines of one keyspace share.
 */
#ifndef IDEM_SERVER_ENGINE_ENGINE_OPTIONS_H
#define IDEM_SERVER_ENGINE_ENGINE_OPTIONS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define ENGINE_HASH_SECRET_BYTES 192 /* XXH_SECRET_DEFAULT_SIZE of xxHash */

/* The most loops whose waiters one engine can list separately: as many as a word has bits. */
#define ENGINE_MAX_LOOPS 64u

struct engine;
struct regions;

/*
 * What the engines of one keyspace (keyspace.h) count together while different threads use them:
 * the numbers of grants, waiters, and memory against the common limit. A single engine needs none.
 */
struct engine_common {
  _Atomic uint64_t next_token;
  _Atomic uint64_t waiters;
  _Atomic int64_t demand_bytes; /* of all engines, as last published: memory_limit.h */
  struct engine *const *engines;
  unsigned count;
};

struct engine_options {
  struct engine_common *common; /* borrowed; NULL: a single engine */
  struct regions *regions;      /* borrowed, see regions.h; NULL: the allocator alone */
  unsigned shard, shards;       /* which of how many engines of a keyspace; 0 of 0: a single one */
  uint64_t first_token;         /* see RULES_TOKEN_EPOCH_S; a common's token takes precedence */
  int64_t retention_ms;         /* of LAPSED */
  int64_t unknown_retention_ms; /* of UNKNOWN; 0: for ever */
  int64_t born_skew_ms;         /* by how much the clocks of callers may differ from this one */
  unsigned horizon_bits;        /* the horizon has 2^bits slots, in all engines together */
  int64_t clock_grain_ms;       /* the clock given is rounded down to so many: see rules_past_ms */
  size_t memory_limit;          /* bytes, 0 none */
  size_t store_reserve; /* bytes kept free for the response of each claim that is HELD, when there
                           is a limit */
  uint32_t waiters_per_key;
  uint32_t waiters_total;
  unsigned char hash_secret[ENGINE_HASH_SECRET_BYTES]; /* random, so that no client can choose keys
                                                          that collide */
};

#endif
