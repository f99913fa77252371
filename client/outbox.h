/*
 * outbox.h - bytes that wait to be written: appended at the end, taken from the front.
 *
 *     [ taken | waiting | room ]
 */
#ifndef IDEM_CLIENT_OUTBOX_H
#define IDEM_CLIENT_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "client/wire.h"

/* Zero-filled at first. */
struct outbox {
  char *bytes;
  size_t taken, len, size; /* len counts from the start of bytes */
};

void outbox_deinit(struct outbox *outbox);
/* Room for so many more bytes, so that no append of them fails. False: no memory. */
bool outbox_reserve(struct outbox *outbox, size_t more);
/* False: no memory, and nothing was appended. */
bool outbox_append(struct outbox *outbox, const struct wire_frame *frame);
/* What waits. */
size_t outbox_waiting(const struct outbox *outbox);
const char *outbox_front(const struct outbox *outbox);
/* So many bytes of it were written. */
void outbox_take(struct outbox *outbox, size_t count);

#endif
