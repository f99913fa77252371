/*
 * order.h - the ends of a mixed chunk, put in order once, so that the chunk is not looked through
 * for each of its ends.
 *
 *     order    [end after the start of the slot | place in the chunk] ...     a number each
 *
 * Invariant: an order has an item for each response that was live when it was made; one that is
 * dropped later is marked as gone. Items rise by their ends.
 *
 * It must not know the log, the wheel or the time: the pass that uses it is in response_expiry.h.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_ORDER_H
#define IDEM_SERVER_ENGINE_ORDER_H

#include "server/engine/chunk.h"

#define ORDER_PLACE_BITS 14u /* where a response lies in the largest chunk, in CODEC_ALIGNMENTs */
/* No place: a chunk begins with its head. */
#define ORDER_GONE ((UINT64_C(1) << ORDER_PLACE_BITS) - 1)

/* Makes the order of a chunk that has none: chunk.order, order_count, order_at. Returns the number
 * of items; 0: the chunk stays without an order, because memory is short or the slot is too wide
 * for the items. */
uint32_t order_make(struct memory *memory, struct chunk *chunk);
void order_free(struct memory *memory, struct chunk *chunk); /* if there is one */

/* The end of an item, gone or not; item < chunk.order_count. */
static inline int64_t order_end_ms(const struct chunk *chunk, uint32_t item) {
  return chunk_slot_start_ms(chunk) + (int64_t)(chunk->order[item] >> ORDER_PLACE_BITS);
}

/* NULL: it is gone. */
static inline struct response_ref *order_ref(struct chunk *chunk, uint32_t item) {
  uint64_t place = chunk->order[item] & ORDER_GONE;
  return place != ORDER_GONE ? chunk_at(chunk, (uint32_t)place * CODEC_ALIGNMENT) : NULL;
}

/* Call when a live response is dropped: a pass over the order does not read the
 * flags of responses. */
void order_mark_gone(struct chunk *chunk, const struct response_ref *ref);

#endif
