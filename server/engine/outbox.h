/*
 * outbox.h - where an engine leaves the images of what it changed, for the journal: a flat buffer,
 * of the thread that holds the engine.
 *
 * Room is reserved before anything changes, so that no image is ever lost: outbox_reserve for a
 * command, before its shard is locked; beyond that there is always room for OUTBOX_CALL_IMAGES
 * images without a body, which is more than one call on an engine leaves. Work that has no such
 * bound stops: tick.h at OUTBOX_TICK_BYTES, and sweep.h, which may run in any call that needs
 * memory, at OUTBOX_SWEEP_BYTES of its own. What was left is taken out before the shards are
 * unlocked.
 *
 * It must not know what an image says, but when its key ends by itself. One thread at a time.
 */
#ifndef IDEM_SERVER_ENGINE_OUTBOX_H
#define IDEM_SERVER_ENGINE_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OUTBOX_CALL_IMAGES 8u
#define OUTBOX_TICK_BYTES (64u * 1024)
#define OUTBOX_SWEEP_BYTES (64u * 1024)
/* Capacity beyond the least that is kept when it is emptied. */
#define OUTBOX_KEPT_BYTES (1024u * 1024)

struct outbox {
  char *bytes;
  size_t len, capacity;
  size_t least_bytes; /* capacity that is always there */
  size_t most_bytes;  /* of an image without a body */
  size_t swept_bytes; /* of len: what sweeps left */
  unsigned count;
  bool spares; /* the last room is for what frees: an image that a start can do without is left out
                */
  int64_t last_end_ms; /* of the images; INT64_MIN: none has an end, INT64_MAX: one never ends */
  int64_t latest_ms;   /* of the times at which they were granted or stored */
  bool of_older;       /* an end was moved: older images of the key may be in need as long */
};

/* most_bytes: no image without a body is larger. false: no memory. */
bool outbox_init(struct outbox *outbox, size_t most_bytes);
void outbox_deinit(struct outbox *outbox);

/* Room for so many images without a body, and so many bytes besides. false: no memory; nothing
 * changed. */
bool outbox_reserve(struct outbox *outbox, size_t images, size_t bytes);
/* Takes out everything. */
void outbox_clear(struct outbox *outbox);

/* ---- for emit.h ---- */

/* Room that was reserved; the caller writes `size` bytes. */
char *outbox_add(struct outbox *outbox, size_t size);

#endif
