/*
 * pin.h - the bytes of a blob in an answer, of either kind (blob.h), and keeping them beyond the
 * next call on the engine. A pinned part of a response keeps its whole chunk.
 *
 * It must not know what the bytes are, nor which entry they are of. Invariant: pinned bytes neither
 * move nor change, whatever becomes of their entry.
 *
 * Only the thread that holds the engine calls; the bytes of a pinned blob may be read by any
 * thread.
 */
#ifndef IDEM_SERVER_ENGINE_PIN_H
#define IDEM_SERVER_ENGINE_PIN_H

#include "proto/span.h"

struct blob;
struct engine;
struct engine_answer;

/* Borrowed from the blob, which must not be NULL. */
struct span pin_bytes_of(const struct blob *blob);
/* NULL reads as absent; most are NULL. */
static inline struct span pin_bytes(const struct blob *blob) {
  return blob == NULL ? SPAN_ABSENT : pin_bytes_of(blob);
}
/* Returns the blob; NULL for NULL. Each take needs a release on the same engine. */
struct blob *pin_take(struct blob *blob);
void pin_release(struct engine *engine, struct blob *blob); /* takes NULL */
/* All blobs of an answer. */
void pin_take_answer(const struct engine_answer *answer);
void pin_release_answer(struct engine *engine, const struct engine_answer *answer);

#endif
