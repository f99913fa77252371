/* memory.c - see memory.h. */
#include "server/engine/memory.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "server/engine/regions.h"

/* jemalloc's size classes: 8, multiples of 16 up to 128, then four to each doubling. */
#define CLASS_SMALLEST 8u
#define CLASS_STEP 16u
#define CLASS_STEPS_END 128u
#define CLASS_LG_PER_DOUBLING 2u

size_t memory_rounded(size_t size) {
  if (size <= CLASS_SMALLEST) return CLASS_SMALLEST;
  size_t step = CLASS_STEP;
  if (size > CLASS_STEPS_END) {
    unsigned doubling = 63u - (unsigned)__builtin_clzll((uint64_t)size - 1);
    step = (size_t)1 << (doubling - CLASS_LG_PER_DOUBLING);
  }
  return (size + step - 1) & ~(step - 1);
}

static void *taken(struct memory *memory, void *piece, size_t size) {
  if (piece == NULL) return NULL;
  memory->bytes += memory_rounded(size);
  if (memory->bytes > memory->peak_bytes) memory->peak_bytes = memory->bytes;
  return piece;
}

void *memory_take(struct memory *memory, size_t size) { return taken(memory, malloc(size), size); }

static bool from_regions(const struct memory *memory, size_t size) {
  return memory->regions != NULL && regions_fit(size);
}

void *memory_take_aligned(struct memory *memory, size_t alignment, size_t size, unsigned kin) {
  assert(size % alignment == 0);
  void *piece = from_regions(memory, size) ? regions_take(memory->regions, alignment, size, kin)
                                           : aligned_alloc(alignment, size);
  return taken(memory, piece, size);
}

void memory_give_aligned(struct memory *memory, void *piece, size_t size) {
  if (piece == NULL || !from_regions(memory, size)) {
    memory_give(memory, piece, size);
    return;
  }
  memory->bytes -= size;
  regions_give(memory->regions, piece, size);
}

void memory_adopt(struct memory *memory, size_t size) { taken(memory, memory, size); }

void memory_give(struct memory *memory, void *piece, size_t size) {
  if (piece == NULL) return;
  memory->bytes -= memory_rounded(size);
  free(piece);
}
