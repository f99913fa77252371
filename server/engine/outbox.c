/* outbox.c - see outbox.h. */
#include "server/engine/outbox.h"

#include <assert.h>
#include <stdlib.h>

static void reset(struct outbox *outbox) {
  outbox->len = 0;
  outbox->swept_bytes = 0;
  outbox->count = 0;
  outbox->last_end_ms = INT64_MIN;
  outbox->latest_ms = 0;
  outbox->of_older = false;
}

bool outbox_init(struct outbox *outbox, size_t most_bytes) {
  size_t least_bytes = OUTBOX_TICK_BYTES + OUTBOX_SWEEP_BYTES + OUTBOX_CALL_IMAGES * most_bytes;
  *outbox = (struct outbox){
      .bytes = malloc(least_bytes),
      .capacity = least_bytes,
      .least_bytes = least_bytes,
      .most_bytes = most_bytes,
  };
  reset(outbox);
  return outbox->bytes != NULL;
}

void outbox_deinit(struct outbox *outbox) {
  free(outbox->bytes);
  outbox->bytes = NULL;
}

bool outbox_reserve(struct outbox *outbox, size_t images, size_t bytes) {
  size_t needed = outbox->len + images * outbox->most_bytes + bytes + outbox->least_bytes;
  if (needed <= outbox->capacity) return true;
  char *grown = realloc(outbox->bytes, needed);
  if (grown == NULL) return false;
  outbox->bytes = grown;
  outbox->capacity = needed;
  return true;
}

void outbox_clear(struct outbox *outbox) {
  reset(outbox);
  if (outbox->capacity <= outbox->least_bytes + OUTBOX_KEPT_BYTES) return;
  char *shrunk = realloc(outbox->bytes, outbox->least_bytes);
  if (shrunk == NULL) return;
  outbox->bytes = shrunk;
  outbox->capacity = outbox->least_bytes;
}

char *outbox_add(struct outbox *outbox, size_t size) {
  assert(size <= outbox->capacity - outbox->len);
  char *to = outbox->bytes + outbox->len;
  outbox->len += size;
  outbox->count++;
  return to;
}
