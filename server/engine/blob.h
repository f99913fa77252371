/*
 * blob.h - bytes that several may share, counted: owners, stages, values and large responses.
 *
 * What the host sees as a struct engine_blob is either one of these or a part of a stored response
 * (shelf.h). The lowest bits of its address tell which:
 *
 *     00  struct blob          01  the body of a struct stored          10  its meta
 */
#ifndef IDEM_SERVER_ENGINE_BLOB_H
#define IDEM_SERVER_ENGINE_BLOB_H

#include <stdint.h>

#include "proto/span.h"
#include "server/engine/memory.h"

enum blob_part { BLOB_ITSELF, BLOB_BODY, BLOB_META, BLOB_PARTS_MASK };

struct engine_blob;
struct engine_piece;

struct blob {
  uint32_t references, len;
  char bytes[];
};

static inline struct engine_blob *blob_as_part(const void *address, enum blob_part part) {
  return (struct engine_blob *)((uintptr_t)address | part);
}
static inline enum blob_part blob_part(const struct engine_blob *blob) {
  return (enum blob_part)((uintptr_t)blob & BLOB_PARTS_MASK);
}
static inline void *blob_address(const struct engine_blob *blob) {
  return (void *)((uintptr_t)blob & ~(uintptr_t)BLOB_PARTS_MASK);
}

/* A copy with one reference; NULL when the bytes are absent or memory is short. */
struct engine_blob *blob_create(struct memory *memory, struct span bytes);
/* Takes a piece over: the bytes behind its head become a blob with two references, of which one is
 * the host's. */
struct engine_blob *blob_adopt(struct memory *memory, struct engine_piece *piece, size_t len);
/* Of a struct blob only. Takes NULL. */
void blob_release(struct memory *memory, struct engine_blob *blob);
size_t blob_size(const struct engine_blob *blob);       /* as taken; 0 for NULL */
struct span blob_bytes(const struct engine_blob *blob); /* of a struct blob only */

#endif
