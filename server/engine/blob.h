/*
 * blob.h - reference-counted byte strings: owners, stages, values and large responses.
 *
 * What the caller of the engine sees as a struct blob is either one of these or a part of a stored
 * response. The lowest bits of its address tell which:
 *
 *     00  struct blob_counted      01  the body of a struct response_ref      10  its meta
 *
 * This room knows the first kind only; pin.h serves both.
 */
#ifndef IDEM_SERVER_ENGINE_BLOB_H
#define IDEM_SERVER_ENGINE_BLOB_H

#include <stdint.h>

#include "proto/span.h"
#include "server/engine/adopted_body.h"
#include "server/engine/memory.h"

enum blob_part { BLOB_ITSELF, BLOB_BODY, BLOB_META, BLOB_PARTS_MASK };

struct blob; /* an address and a part */

struct blob_counted {
  uint32_t references, len;
  char bytes[];
};

static inline struct blob *blob_as_part(const void *address, enum blob_part part) {
  return (struct blob *)((uintptr_t)address | part);
}
static inline enum blob_part blob_part(const struct blob *blob) {
  return (enum blob_part)((uintptr_t)blob & BLOB_PARTS_MASK);
}
static inline void *blob_address(const struct blob *blob) {
  return (void *)((uintptr_t)blob & ~(uintptr_t)BLOB_PARTS_MASK);
}

/* A copy with one reference; NULL when the bytes are absent or memory is short. */
struct blob *blob_create(struct memory *memory, struct span bytes);
/* Takes over a body of `len` bytes: a blob with two references, one of them the caller's. */
struct blob *blob_adopt(struct memory *memory, struct adopted_body *body, size_t len);

/* These take a struct blob_counted only. */
void blob_refer(struct blob *blob);                          /* takes NULL */
void blob_release(struct memory *memory, struct blob *blob); /* takes NULL */
size_t blob_size(const struct blob *blob);                   /* as taken; 0 for NULL */
struct span blob_bytes(const struct blob *blob);

#endif
