/*
 * refill.h - the images of a log back into the engines of all shards, as fast as memory allows.
 *
 *     image --> claims put aside --> a group --> restore.h
 *                 |     ^
 *                 +-----+ the response of the same grant: both as one
 *
 * Each image is of another key, so what it touches is in no cache: images are gathered into groups,
 * and all that a group needs is fetched before the first is restored. Most claims are stored soon
 * after they were granted: an image of a claim waits for the next image of its key, and if that is
 * its response, no record is made.
 *
 * What is restored of a key is in the order of its images. One thread.
 */
#ifndef IDEM_SERVER_ENGINE_REFILL_H
#define IDEM_SERVER_ENGINE_REFILL_H

#include "server/engine/image.h"

struct engine;
struct refill;

/* The engine of each shard, in their order (as engine_options.shards says); borrowed, and nobody
 * else uses them meanwhile. NULL: no memory. */
struct refill *refill_create(struct engine *const *engines, unsigned count);
void refill_destroy(struct refill *refill); /* takes NULL; what is put aside is lost */

/* The next image, of a key or FLUSH, as it was read from there: those bytes are borrowed until the
 * next settle. false here and below: no memory. */
bool refill_add(struct refill *refill, const char *bytes, const struct image *image);
/* All that was added is in the engines. */
bool refill_settle(struct refill *refill);
/* Settles; then restore_tick of all engines. */
bool refill_tick(struct refill *refill, int64_t engine_ms);

#endif
