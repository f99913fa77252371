/* outbox.c - see outbox.h. */
#include "client/outbox.h"

#include <stdlib.h>
#include <string.h>

#define SIZE_LEAST 1024
/* An empty one that has grown beyond this gives its memory back. */
#define SIZE_KEPT (64 * 1024)

void outbox_deinit(struct outbox *outbox) {
  free(outbox->bytes);
  *outbox = (struct outbox){0};
}

/* Moves what waits to the front of a buffer with that room. */
bool outbox_reserve(struct outbox *outbox, size_t more) {
  size_t waiting = outbox_waiting(outbox), size = outbox->size;
  if (outbox->size - outbox->len >= more) return true;
  if (waiting + more > size / 2) { /* else moving it would be done too often */
    size = SIZE_LEAST;
    while (size < waiting + more) size *= 2;
  }
  char *bytes = size == outbox->size ? outbox->bytes : malloc(size);
  if (bytes == NULL) return false;
  if (waiting > 0) memmove(bytes, outbox_front(outbox), waiting);
  if (bytes != outbox->bytes) free(outbox->bytes);
  *outbox = (struct outbox){.bytes = bytes, .len = waiting, .size = size};
  return true;
}

bool outbox_append(struct outbox *outbox, const struct wire_frame *frame) {
  if (!outbox_reserve(outbox, frame->size)) return false;
  wire_copy(frame, outbox->bytes + outbox->len);
  outbox->len += frame->size;
  return true;
}

size_t outbox_waiting(const struct outbox *outbox) { return outbox->len - outbox->taken; }

const char *outbox_front(const struct outbox *outbox) { return outbox->bytes + outbox->taken; }

void outbox_take(struct outbox *outbox, size_t count) {
  outbox->taken += count;
  if (outbox->taken < outbox->len) return;
  outbox->taken = outbox->len = 0;
  if (outbox->size > SIZE_KEPT) outbox_deinit(outbox);
}
