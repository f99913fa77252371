/* chunk.c - see chunk.h. */
#include "server/engine/chunk.h"

#include <assert.h>

#include "server/engine/regions.h"

unsigned chunk_width_for(int64_t left_ms) {
  if (left_ms <= 0) return 0;
  uint64_t step = (uint64_t)left_ms >> CHUNK_SLOTS_BITS >> CHUNK_FINEST_BITS;
  return step == 0 ? 0 : 64u - (unsigned)__builtin_clzll(step);
}

unsigned chunk_class_with(unsigned class, size_t size) {
  size_t needed = offsetof(struct chunk, bytes) + size;
  while (class < CHUNK_CLASSES - 1 && chunk_class_size(class) < needed) class ++;
  return class;
}

/* A kin has two widths: if some responses lived four times as long as others, their region would
 * become free long after the others' end. */
static unsigned kin_of(unsigned width) {
  unsigned kin = MEMORY_KIN_RESPONSES + width / 2;
  return kin < REGIONS_KINS ? kin : REGIONS_KINS - 1;
}

struct chunk *chunk_create(struct memory *memory, unsigned class, unsigned width, size_t size) {
  size_t needed = offsetof(struct chunk, bytes) + size;
  class = chunk_class_with(class, size);
  size_t alignment = chunk_class_size(class), whole = (needed + alignment - 1) & ~(alignment - 1);
  if (whole > UINT32_MAX) return NULL;
  struct chunk *chunk = memory_take_aligned(memory, alignment, whole, kin_of(width));
  if (chunk == NULL) return NULL;
  *chunk =
      (struct chunk){.class = (uint8_t) class, .width = (uint8_t)width, .size = (uint32_t)whole};
  wheel_node_init(&chunk->timer);
  list_init(&chunk->sparse);
  return chunk;
}

void chunk_free(struct memory *memory, struct chunk *chunk) {
  memory_give_aligned(memory, chunk, chunk->size);
}

bool chunk_has_room(const struct chunk *chunk, const struct response *response) {
  if (chunk->size != chunk_class_size(chunk->class)) return false; /* made for a single response */
  size_t room = chunk->size - offsetof(struct chunk, bytes) - chunk->used;
  /* The exact size is computed only where it matters, near the end of the chunk. */
  return codec_most(response) <= room || codec_size(&chunk->base, response) <= room;
}

struct response_ref *chunk_append(struct chunk *chunk, const struct response *response) {
  unsigned char *to = chunk->bytes + chunk->used;
  uint32_t size = (uint32_t)codec_write(&chunk->base, chunk->class, to, response);
  chunk->used += size;
  assert(offsetof(struct chunk, bytes) + chunk->used <= chunk->size);
  chunk->live_bytes += size;
  chunk->live++;
  if (response->deadline_ms < chunk->last_ms) chunk->mixed = true;
  chunk->last_ms = response->deadline_ms;
  return (struct response_ref *)(void *)to;
}

void chunk_release_blobs(struct memory *memory, const struct response_ref *ref) {
  struct response response;
  if (!codec_has_blobs(ref)) return;
  codec_read(&chunk_of(ref)->base, ref, &response);
  response_drop_blobs(memory, &response);
}
