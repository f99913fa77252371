/* horizon.c - see horizon.h. */
#include "server/engine/horizon.h"

#include <string.h>

/* ---- life ---- */

/* A hash is of the shard upper half * shards >> 32 (name_shard), so the border before a shard is
 * number * 2^32 / shards. The slots in which two shards meet are of both. */
void horizon_init(struct horizon *horizon, struct memory *memory, const struct horizon_place *place,
                  int64_t start_ms) {
  assert(place->bits <= HORIZON_MOST_BITS && place->number < place->shards);
  uint64_t begin = (uint64_t)place->number << place->bits;
  uint64_t end = (uint64_t)(place->number + 1) << place->bits;
  uint32_t first = (uint32_t)(begin / place->shards);
  uint32_t after = (uint32_t)((end + place->shards - 1) / place->shards);
  *horizon = (struct horizon){.memory = memory,
                              .start_ms = start_ms,
                              .untouched_ms = start_ms,
                              .first = first,
                              .slots = after - first,
                              .shift = 32 - place->bits};
}

void horizon_begin(struct horizon *horizon, int64_t start_ms) {
  horizon->start_ms = horizon->untouched_ms = start_ms;
}

static size_t segments_of(const struct horizon *horizon) {
  return (horizon->slots + HORIZON_SEGMENT - 1) >> HORIZON_LG_SEGMENT;
}

static size_t directory_bytes(const struct horizon *horizon) {
  return segments_of(horizon) * sizeof *horizon->segments;
}

/* The last segment may be a shorter one. */
static size_t slots_in(const struct horizon *horizon, size_t segment) {
  size_t left = horizon->slots - segment * HORIZON_SEGMENT;
  return left < HORIZON_SEGMENT ? left : HORIZON_SEGMENT;
}

void horizon_deinit(struct horizon *horizon) {
  if (horizon->segments == NULL) return;
  for (size_t i = 0; i < segments_of(horizon); i++) {
    memory_give(horizon->memory, horizon->segments[i], slots_in(horizon, i) * sizeof(int64_t));
  }
  memory_give(horizon->memory, horizon->segments, directory_bytes(horizon));
  horizon->segments = NULL;
}

/* ---- the first touch of a segment ---- */

static bool has_directory(struct horizon *horizon) {
  if (horizon->segments != NULL) return true;
  horizon->segments = memory_take(horizon->memory, directory_bytes(horizon));
  if (horizon->segments == NULL) return false;
  memset(horizon->segments, 0, directory_bytes(horizon));
  return true;
}

static int64_t *take_segment(struct horizon *horizon, size_t number) {
  if (!has_directory(horizon)) return NULL;
  size_t slots = slots_in(horizon, number);
  int64_t *segment = memory_take(horizon->memory, slots * sizeof *segment);
  if (segment == NULL) return NULL;
  for (size_t i = 0; i < slots; i++) segment[i] = horizon->untouched_ms;
  return horizon->segments[number] = segment;
}

void horizon_touch(struct horizon *horizon, uint32_t slot, int64_t since_ms) {
  if (since_ms <= horizon->untouched_ms) return; /* takes no memory for nothing */
  uint32_t at = slot - horizon->first;
  int64_t *segment = take_segment(horizon, at >> HORIZON_LG_SEGMENT);
  if (segment == NULL) {
    horizon->untouched_ms = since_ms;
  } else {
    segment[at & (HORIZON_SEGMENT - 1)] = since_ms;
  }
}
