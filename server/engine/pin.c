/* pin.c - see pin.h. */
#include "server/engine/pin.h"

#include "server/engine/state.h"

struct span pin_bytes_of(const struct blob *blob) {
  if (blob_part(blob) == BLOB_ITSELF) return blob_bytes(blob);
  struct response response;
  response_log_read(blob_address(blob), &response);
  return blob_part(blob) == BLOB_BODY ? response.body : response.meta;
}

struct blob *pin_take(struct blob *blob) {
  if (blob == NULL) return NULL;
  if (blob_part(blob) != BLOB_ITSELF) {
    response_log_pin(blob_address(blob));
  } else {
    blob_refer(blob);
  }
  return blob;
}

void pin_release(struct engine *engine, struct blob *blob) {
  if (blob == NULL) return;
  if (blob_part(blob) != BLOB_ITSELF) {
    response_log_unpin(&engine->log, blob_address(blob));
  } else {
    blob_release(&engine->memory, blob);
  }
}

void pin_take_answer(const struct engine_answer *answer) {
  pin_take(answer->body);
  pin_take(answer->meta);
  pin_take(answer->stage);
  pin_take(answer->owner);
}

void pin_release_answer(struct engine *engine, const struct engine_answer *answer) {
  pin_release(engine, answer->body);
  pin_release(engine, answer->meta);
  pin_release(engine, answer->stage);
  pin_release(engine, answer->owner);
}
