/* blob.c - see blob.h; and what engine.h says of blobs of both kinds. */
#include "server/engine/blob.h"

#include <assert.h>

#include "server/engine/record.h"

struct engine_blob *blob_create(struct memory *memory, struct span bytes) {
  if (!span_present(bytes)) return NULL;
  assert(bytes.len <= UINT32_MAX);
  struct blob *blob = memory_take(memory, sizeof *blob + bytes.len);
  if (blob == NULL) return NULL;
  blob->references = 1;
  blob->len = (uint32_t)bytes.len;
  if (bytes.len != 0) memcpy(blob->bytes, bytes.data, bytes.len);
  return blob_as_part(blob, BLOB_ITSELF);
}

struct engine_blob *blob_adopt(struct memory *memory, struct engine_piece *piece, size_t len) {
  _Static_assert(ENGINE_PIECE_HEAD == sizeof(struct blob), "a piece is a blob without its head");
  assert(len <= UINT32_MAX);
  struct blob *blob = (void *)piece->bytes;
  *blob = (struct blob){.references = 2, .len = (uint32_t)len};
  memory_adopt(memory, sizeof *blob + len);
  return piece->taken = blob_as_part(blob, BLOB_ITSELF);
}

size_t blob_size(const struct engine_blob *blob) {
  if (blob == NULL) return 0;
  const struct blob *counted = blob_address(blob);
  return sizeof *counted + counted->len;
}

struct span blob_bytes(const struct engine_blob *blob) {
  const struct blob *counted = blob_address(blob);
  return (struct span){counted->bytes, counted->len};
}

void blob_release(struct memory *memory, struct engine_blob *blob) {
  if (blob == NULL) return;
  struct blob *counted = blob_address(blob);
  assert(blob_part(blob) == BLOB_ITSELF && counted->references > 0);
  if (--counted->references == 0) memory_give(memory, counted, blob_size(blob));
}

struct span engine_bytes(const struct engine_blob *blob) {
  if (blob == NULL) return SPAN_ABSENT;
  if (blob_part(blob) != BLOB_ITSELF) {
    struct response response;
    stored_read(blob_address(blob), &response);
    return blob_part(blob) == BLOB_BODY ? response.body : response.meta;
  }
  return blob_bytes(blob);
}

struct engine_blob *engine_pin(struct engine_blob *blob) {
  if (blob == NULL) return NULL;
  if (blob_part(blob) != BLOB_ITSELF) {
    stored_pin(blob_address(blob));
  } else {
    ((struct blob *)blob_address(blob))->references++;
  }
  return blob;
}

void engine_unpin(struct engine *engine, struct engine_blob *blob) {
  if (blob == NULL) return;
  if (blob_part(blob) != BLOB_ITSELF) {
    stored_unpin(&engine->shelf, blob_address(blob));
  } else {
    blob_release(&engine->memory, blob);
  }
}
