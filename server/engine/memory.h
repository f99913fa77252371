/*
 * memory.h - the engine's account of what it takes from the allocator, with the allocator's
 * rounding.
 *
 * The allocator is never asked how large a piece is: that is a lookup in its tables at every malloc
 * and free, which cost more than the allocation. Whoever gives a piece back says its size, and both
 * sides round it as jemalloc does, so the account is exact there and a close estimate elsewhere.
 */
#ifndef IDEM_SERVER_ENGINE_MEMORY_H
#define IDEM_SERVER_ENGINE_MEMORY_H

#include <stddef.h>

struct memory {
  size_t bytes, peak_bytes;
};

/* What an allocation of so many bytes takes. */
size_t memory_rounded(size_t size);

/* NULL when the allocator fails. */
void *memory_take(struct memory *memory, size_t size);
/* Aligned to `alignment`, a power of two; size is a multiple of it. */
void *memory_take_aligned(struct memory *memory, size_t alignment, size_t size);
/* A piece that malloc gave somebody else comes into the account. */
void memory_adopt(struct memory *memory, size_t size);
/* Takes NULL. size as it was taken. */
void memory_give(struct memory *memory, void *piece, size_t size);

#endif
