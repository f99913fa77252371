/*
 * chunk.h - a part of the response log: responses one after the other, in 1, 4, 16 or 64 KiB
 * aligned to their size, so that a response leads to the head of its chunk.
 *
 *     chunk    [head][response][response][response]......
 *
 * All of them end in one slot of time, 2^width times CHUNK_FINEST_MS wide. Here are the layout and
 * what concerns one chunk alone; response_log.h opens, seals and frees chunks.
 *
 * It must not know the log, other chunks, the index or the time. Invariants: begin <= at <=
 * used; responses stand in [0, used) without gaps and do not move; while it is not ending, live is
 * the number of those not marked as dropped and live_bytes their sizes together.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_CHUNK_H
#define IDEM_SERVER_ENGINE_CHUNK_H

#include "server/base/wheel.h"
#include "server/engine/codec.h"

#define CHUNK_CLASSES 4u
#define CHUNK_SMALLEST 1024u
#define CHUNK_CLASS_BITS 2u /* each class is four times the one before */
#define CHUNK_LARGEST (CHUNK_SMALLEST << CHUNK_CLASS_BITS * (CHUNK_CLASSES - 1))
#define CHUNK_LINE_BYTES 64u
#define CHUNK_SLOTS_BITS \
  8u /* a response lives for 128 to 256 slots, unless they are the narrowest */
#define CHUNK_FINEST_BITS 10u
#define CHUNK_FINEST_MS (1u << CHUNK_FINEST_BITS) /* the narrowest slot */

/* The first cache line holds what a pass over an order needs, the second what a reader needs. */
struct chunk {
  struct wheel_node timer; /* in response_log.ends */
  uint64_t *order;         /* of a mixed chunk that ends, see order.h; NULL: there is none */
  int64_t slot;
  uint32_t order_count, order_at;
  uint32_t live, epoch;
  uint8_t class, width;
  bool mixed;             /* the ends are not in order */
  bool ending;            /* the first end has come */
  struct codec_base base; /* the numbers of the first response */
  int64_t last_ms;        /* the end of the response appended last */
  struct list sparse;     /* in response_log.sparse or ended */
  struct chunk **place;   /* where it is open; NULL: it is sealed */
  uint32_t size, used;
  uint32_t begin; /* all responses before it have ended, whether marked as dropped or not */
  uint32_t at;    /* where the current pass continues */
  uint32_t live_bytes, pins;
  int64_t next_ms; /* without an order: the earliest end after those that the pass has looked at */
  _Alignas(CODEC_ALIGNMENT) unsigned char bytes[];
};

_Static_assert(offsetof(struct chunk, ending) < CHUNK_LINE_BYTES,
               "one line for a pass over an order");

static inline size_t chunk_class_size(unsigned class) {
  return (size_t)CHUNK_SMALLEST << (CHUNK_CLASS_BITS * class);
}

/* A chunk is aligned to its size, and the class in the response tells the size. */
static inline struct chunk *chunk_of(const struct response_ref *ref) {
  return (struct chunk *)((uintptr_t)ref & ~(chunk_class_size(codec_class(ref)) - 1));
}

static inline struct response_ref *chunk_at(struct chunk *chunk, uint32_t at) {
  return (struct response_ref *)(void *)(chunk->bytes + at);
}

static inline int64_t chunk_slot_start_ms(const struct chunk *chunk) {
  return (int64_t)((uint64_t)chunk->slot << (CHUNK_FINEST_BITS + chunk->width));
}

/* The width of the slots for a response that ends in left_ms: about 1/256 of that. */
unsigned chunk_width_for(int64_t left_ms);
/* The smallest class, from this one on, with room for `size` bytes of responses. */
unsigned chunk_class_with(unsigned class, size_t size);

/* An empty chunk of at least this class with room for `size` bytes of responses, in no list and no
 * wheel. One that is larger than every class has the alignment of the largest, and takes one
 * response only, which begins directly after the head. NULL when memory is short. */
struct chunk *chunk_create(struct memory *memory, unsigned class, unsigned width, size_t size);
/* It is in no list and no wheel by then, nor pinned. Its order and blobs have been freed before. */
void chunk_free(struct memory *memory, struct chunk *chunk);

/* Whether a response fits after the others. */
bool chunk_has_room(const struct chunk *chunk, const struct response *response);
/* Writes it there; chunk_has_room was true. Its bytes are copied; references to blobs are taken
 * over. */
struct response_ref *chunk_append(struct chunk *chunk, const struct response *response);

/* Releases the blobs of one of its responses, if it has any. */
void chunk_release_blobs(struct memory *memory, const struct response_ref *ref);

#endif
