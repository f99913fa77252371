/* order.c - see order.h. */
#include "server/engine/order.h"

#include <assert.h>

#define RADIX_BITS 8u
#define AHEAD_BYTES 1024u /* fetched so far ahead: some seven responses */

_Static_assert(CHUNK_LARGEST / CODEC_ALIGNMENT == UINT64_C(1) << ORDER_PLACE_BITS,
               "places of a chunk");

static uint64_t after_start(const struct chunk *chunk, const struct response_ref *ref) {
  return (uint64_t)(codec_deadline_ms(&chunk->base, ref) - chunk_slot_start_ms(chunk));
}

/* ---- making ---- */

/* Sorts by the bits from ORDER_PLACE_BITS on, of which those in `differ` are not the same in all.
 * Returns where the result lies: in one of the two. Sorted by comparisons, 460 responses cost three
 * times as much. */
static uint64_t *sort(uint64_t *values, uint64_t *spare, size_t count, uint64_t differ) {
  const uint64_t mask = (UINT64_C(1) << RADIX_BITS) - 1;
  for (unsigned shift = ORDER_PLACE_BITS; shift < 64 && differ >> shift != 0; shift += RADIX_BITS) {
    if ((differ >> shift & mask) == 0) continue;
    uint32_t starts[(1u << RADIX_BITS) + 1] = {0};
    for (size_t i = 0; i < count; i++) starts[(values[i] >> shift & mask) + 1]++;
    for (size_t digit = 0; digit < mask; digit++) starts[digit + 1] += starts[digit];
    for (size_t i = 0; i < count; i++) spare[starts[values[i] >> shift & mask]++] = values[i];
    uint64_t *sorted = spare;
    spare = values;
    values = sorted;
  }
  return values;
}

/* One number for each live response: its end and its place. */
static uint32_t list_ends(struct chunk *chunk, uint64_t *values, uint64_t *differ) {
  uint32_t count = 0;
  int64_t start_ms = chunk_slot_start_ms(chunk);
  for (uint32_t at = chunk->begin, used = chunk->used; at < used;) {
    const struct response_ref *ref = chunk_at(chunk, at);
    struct codec_outline seen;
    codec_look(&chunk->base, ref, &seen);
    __builtin_prefetch((const char *)ref + AHEAD_BYTES);
    if (!codec_is_dropped(ref)) {
      values[count] =
          (uint64_t)(seen.deadline_ms - start_ms) << ORDER_PLACE_BITS | at / CODEC_ALIGNMENT;
      *differ |= values[0] ^ values[count++];
    }
    at += seen.size;
  }
  return count;
}

uint32_t order_make(struct memory *memory, struct chunk *chunk) {
  if (CHUNK_FINEST_BITS + chunk->width + ORDER_PLACE_BITS > 64) return 0;
  size_t bytes = chunk->live * sizeof *chunk->order;
  uint64_t *values = memory_take(memory, bytes), *spare = memory_take(memory, bytes), differ = 0;
  if (values != NULL && spare != NULL) {
    chunk->order_count = list_ends(chunk, values, &differ);
    chunk->order_at = 0;
    assert(chunk->order_count == chunk->live);
    chunk->order = sort(values, spare, chunk->order_count, differ);
  }
  if (chunk->order != values) memory_give(memory, values, bytes);
  if (chunk->order != spare) memory_give(memory, spare, bytes);
  return chunk->order != NULL ? chunk->order_count : 0;
}

void order_free(struct memory *memory, struct chunk *chunk) {
  memory_give(memory, chunk->order, chunk->order_count * sizeof *chunk->order);
  chunk->order = NULL;
}

/* ---- marking ---- */

void order_mark_gone(struct chunk *chunk, const struct response_ref *ref) {
  uint64_t after = after_start(chunk, ref);
  uint64_t place = (uint64_t)((const unsigned char *)ref - chunk->bytes) / CODEC_ALIGNMENT;
  uint32_t low = chunk->order_at, high = chunk->order_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (chunk->order[middle] >> ORDER_PLACE_BITS < after) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  while (low < chunk->order_count && chunk->order[low] != (after << ORDER_PLACE_BITS | place))
    low++;
  assert(low < chunk->order_count);
  chunk->order[low] |= ORDER_GONE;
}
