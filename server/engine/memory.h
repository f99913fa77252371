/*
 * memory.h - the engine's account of what it takes from the allocator, with the allocator's
 * rounding.
 *
 * The allocator is never asked for the size of an allocation: that is a lookup in its tables at
 * every malloc and free, which cost more than the allocation. The caller passes the size when it
 * frees, and taking and freeing both round it as jemalloc does, so the account is exact with
 * jemalloc and a close estimate elsewhere.
 */
#ifndef IDEM_SERVER_ENGINE_MEMORY_H
#define IDEM_SERVER_ENGINE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#define MEMORY_KIN_INDEX 0u
#define MEMORY_KIN_RECORDS 1u
#define MEMORY_KIN_RESPONSES 2u /* and those above it, by how long they live */

struct regions;

struct memory {
  struct regions *regions; /* borrowed, see memory_take_aligned; NULL: there are none */
  size_t bytes, peak_bytes;
};

/* What an allocation of so many bytes takes. */
size_t memory_rounded(size_t size);

/* NULL when the allocator fails. */
void *memory_take(struct memory *memory, size_t size);
/* Counts bytes that the caller had from malloc. */
void memory_adopt(struct memory *memory, size_t size);
/* Takes NULL. size as it was taken. */
void memory_give(struct memory *memory, void *piece, size_t size);

/* Aligned to `alignment`, a power of two; size is a multiple of it. Large ones come from the
 * regions (regions.h, which explains kin), in huge pages. What is taken here is freed here. */
void *memory_take_aligned(struct memory *memory, size_t alignment, size_t size, unsigned kin);
void memory_give_aligned(struct memory *memory, void *piece, size_t size);

#endif
