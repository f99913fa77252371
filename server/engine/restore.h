/*
 * restore.h - images back into an engine (image.h), in the order in which they were emitted.
 *
 * The engine has no waiters, bindings or outbox meanwhile, and its time runs behind that of the
 * images (restore_tick says how far), so that nothing ends before an image that still changes it.
 * What ended by itself between two images is counted in the horizon: what is replaced by an image
 * of another request, or was over when everything was flushed. So the horizon is never too early.
 * It may be later than that of the engine that emitted them: by what had ended there before a FLUSH
 * and was not noticed, and where slots are other ones. BIND is not restored: the connection is
 * gone, and the lease runs on.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_RESTORE_H
#define IDEM_SERVER_ENGINE_RESTORE_H

#include "server/engine/image.h"
#include "server/engine/name.h"

struct engine;

/* How far apart the times of two loops may be when they change keys one after the other: the served
 * clock stands at 250 ms after the last turn of the slowest. */
#define RESTORE_BEHIND_MS 1000

/* The name of an image's key. Borrows from it. */
static inline struct name restore_name(const struct engine *engine, const struct image *image) {
  return (struct name){.key = image->key, .hash = name_hash(engine, image->key.bytes)};
}

/* An image of a key of this engine. false: no memory; the entry is as it was, or gone. */
bool restore_image(struct engine *engine, const struct name *name, const struct image *image);
/* The image of a claim, and that of the response which it stored: of the same key and token, and no
 * other of the key between them. What is left is as if each were restored. */
bool restore_stored(struct engine *engine, const struct name *name, const struct image *claim,
                    const struct image *response);
/* The image is FLUSH; now_ms: its since. */
void restore_flush(struct engine *engine, int64_t now_ms);
/* The image is KEYSPACE, of the newest head, and the first of all. */
void restore_keyspace(struct engine *engine, const struct image *image);
/* Slots of a HORIZON image, also of another number of slots or shards than there are now; after
 * restore_keyspace. false: it is malformed. */
bool restore_horizon(struct engine *engine, const struct image *image);
/* The images up to engine_ms are in: lets go of what ended RESTORE_BEHIND_MS before that. */
void restore_tick(struct engine *engine, int64_t engine_ms);

#endif
