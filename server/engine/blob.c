/* blob.c - see blob.h. */
#include "server/engine/blob.h"

#include <assert.h>

static struct blob_counted *counted_of(const struct blob *blob) {
  assert(blob_part(blob) == BLOB_ITSELF);
  return blob_address(blob);
}

struct blob *blob_create(struct memory *memory, struct span bytes) {
  if (!span_present(bytes)) return NULL;
  assert(bytes.len <= UINT32_MAX);
  struct blob_counted *counted = memory_take(memory, sizeof *counted + bytes.len);
  if (counted == NULL) return NULL;
  counted->references = 1;
  counted->len = (uint32_t)bytes.len;
  if (bytes.len != 0) memcpy(counted->bytes, bytes.data, bytes.len);
  return blob_as_part(counted, BLOB_ITSELF);
}

_Static_assert(ADOPTED_BODY_HEAD_BYTES == sizeof(struct blob_counted),
               "an adopted body is a blob without its head");

struct blob *blob_adopt(struct memory *memory, struct adopted_body *body, size_t len) {
  assert(len <= UINT32_MAX);
  struct blob_counted *counted = (void *)body->bytes;
  *counted = (struct blob_counted){.references = 2, .len = (uint32_t)len};
  memory_adopt(memory, sizeof *counted + len);
  return body->taken = blob_as_part(counted, BLOB_ITSELF);
}

void blob_refer(struct blob *blob) {
  if (blob != NULL) counted_of(blob)->references++;
}

void blob_release(struct memory *memory, struct blob *blob) {
  if (blob == NULL) return;
  struct blob_counted *counted = counted_of(blob);
  assert(counted->references > 0);
  if (--counted->references == 0) memory_give(memory, counted, blob_size(blob));
}

size_t blob_size(const struct blob *blob) {
  if (blob == NULL) return 0;
  const struct blob_counted *counted = blob_address(blob);
  return sizeof *counted + counted->len;
}

struct span blob_bytes(const struct blob *blob) {
  const struct blob_counted *counted = blob_address(blob);
  return (struct span){counted->bytes, counted->len};
}
