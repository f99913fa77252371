/*
 * horizon.h - up to when requests of a key may have been forgotten: for each slot of hashes the
 * latest time that a record had which ended by time.
 *
 *     hash       [slot: its top bits |                 the rest]
 *     slots      of this engine: first, first + 1, ...            a time each
 *     segments   [512 slots] [untouched] [512 slots] ...          taken when first touched
 *
 * The time of a record is that of its STORE, without a response that of its grant. A request of
 * the key that was born at or before horizon_ms may have had a record that is gone; one that was
 * born later has not. Clocks differ, so the caller adds what it allows for that (the skew).
 *
 * Invariants: horizon_ms may be too late, because keys share slots, but is never too early; it is
 * at least the start and never falls. While memory lacks, one time that all untouched segments
 * share moves in the place of a slot's, and a segment that is taken later begins with it.
 *
 * How often it is too late: a first try is refused when a record with a time from birth - skew to
 * now - TTL has ended in its slot, as with the chance
 *
 *     1 - exp(-ends per second * max(0, age + skew - TTL) / slots of the keyspace)
 *
 * where age is that of the request, and ends and TTL are those of the records. Records whose TTL is
 * over age + skew refuse none. bench/README.md has the figures.
 *
 * A shard has the hashes that the keyspace gives it by their upper half (keyspace.h), so its slots
 * are neighbours. Shards whose border is not one of slots have both a slot of the same number, with
 * the ends of their own keys; so do several when there are fewer slots than shards.
 *
 * It must not know records, the rules or the clock. Times are those of the engine, in milliseconds.
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_HORIZON_H
#define IDEM_SERVER_ENGINE_HORIZON_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "server/engine/memory.h"

#define HORIZON_MOST_BITS 24u /* 128 MiB when all is touched */
#define HORIZON_LG_SEGMENT 9u
#define HORIZON_SEGMENT (1u << HORIZON_LG_SEGMENT) /* 4 KiB */

/* Which part of the table an engine has. */
struct horizon_place {
  unsigned bits;           /* the whole keyspace has 2^bits slots; at most HORIZON_MOST_BITS */
  unsigned number, shards; /* the engine is this one of so many; 0 of 1: it has all hashes */
};

struct horizon {
  struct memory *memory; /* borrowed; counts the segments */
  int64_t **segments;    /* NULL until the first is taken; in it NULL: untouched */
  int64_t start_ms;
  int64_t untouched_ms; /* of each slot in an untouched segment */
  uint32_t first, slots;
  unsigned shift;
};

/* Takes no memory. start_ms: when this memory of requests began. */
void horizon_init(struct horizon *horizon, struct memory *memory, const struct horizon_place *place,
                  int64_t start_ms);
/* The memory began then, and not when it was made. Nothing is noted yet. */
void horizon_begin(struct horizon *horizon, int64_t start_ms);
void horizon_deinit(struct horizon *horizon);

/* ---- by slots: 512 KiB of times at the default of 65,536, which can be written out by walking
 * over them, and read back by raising each; of another number of shards too ---- */

static inline uint32_t horizon_first_slot(const struct horizon *horizon) { return horizon->first; }
static inline uint32_t horizon_slots(const struct horizon *horizon) { return horizon->slots; }

/* NULL: it is in an untouched segment. */
static inline int64_t *horizon_at(const struct horizon *horizon, uint32_t slot) {
  uint32_t at = slot - horizon->first;
  assert(at < horizon->slots);
  if (horizon->segments == NULL) return NULL;
  int64_t *segment = horizon->segments[at >> HORIZON_LG_SEGMENT];
  return segment == NULL ? NULL : segment + (at & (HORIZON_SEGMENT - 1));
}

static inline int64_t horizon_slot_ms(const struct horizon *horizon, uint32_t slot) {
  const int64_t *at = horizon_at(horizon, slot);
  return at == NULL ? horizon->untouched_ms : *at;
}

/* horizon_raise of a slot in an untouched segment. */
void horizon_touch(struct horizon *horizon, uint32_t slot, int64_t since_ms);

/* To since_ms at least. */
static inline void horizon_raise(struct horizon *horizon, uint32_t slot, int64_t since_ms) {
  int64_t *at = horizon_at(horizon, slot);
  if (at == NULL) {
    horizon_touch(horizon, slot, since_ms);
  } else if (*at < since_ms) {
    *at = since_ms;
  }
}

/* ---- by hashes; the hash has to be one of this engine's ---- */

/* Two shifts, since one by 64 is undefined. */
static inline uint32_t horizon_slot_of(const struct horizon *horizon, uint64_t hash) {
  return (uint32_t)(hash >> 32 >> horizon->shift);
}

/* A record of this hash that has had the time since_ms ended by time. Never fails, O(1). */
static inline void horizon_note(struct horizon *horizon, uint64_t hash, int64_t since_ms) {
  horizon_raise(horizon, horizon_slot_of(horizon, hash), since_ms);
}

/* The latest time up to which requests of this key may have been forgotten. */
static inline int64_t horizon_ms(const struct horizon *horizon, uint64_t hash) {
  return horizon_slot_ms(horizon, horizon_slot_of(horizon, hash));
}

static inline int64_t horizon_start_ms(const struct horizon *horizon) { return horizon->start_ms; }

#endif
