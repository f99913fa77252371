/* response.c - see response.h. */
#include "server/engine/response.h"

bool response_make_blobs(struct memory *memory, struct response *response) {
  if (response->body_blob == NULL) response->body_blob = blob_create(memory, response->body);
  if (response->meta_blob == NULL) response->meta_blob = blob_create(memory, response->meta);
  bool made =
      response->body_blob != NULL && (response->meta_blob != NULL || !span_present(response->meta));
  if (!made) response_drop_blobs(memory, response);
  return made;
}

void response_drop_blobs(struct memory *memory, struct response *response) {
  blob_release(memory, response->body_blob);
  blob_release(memory, response->meta_blob);
}
