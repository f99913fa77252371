/*
 * reemit.h - what is there, into the journal once more. An image out of its oldest part: the state
 * that its key has now is emitted again, if no later image has it. Or, when that part cannot be
 * read, the state of every key, bucket by bucket.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_REEMIT_H
#define IDEM_SERVER_ENGINE_REEMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;
struct image;
struct name;

/* `name` is that of the image's key. What is due is applied first. */

/* Whether reemit_image would emit. */
bool reemit_counts(struct engine *engine, const struct name *name, const struct image *image,
                   int64_t now_ms);
/* false: a later image has it, or the key is gone; nothing was emitted. What is due is applied
 * first. */
bool reemit_image(struct engine *engine, const struct name *name, const struct image *image,
                  int64_t now_ms);

/* What reemit_bucket needs of outbox_reserve: images, and bytes besides. */
struct reemit_need {
  size_t images, bytes;
};
/* Of the bucket under the cursor of a scan (keys_scan). Changes nothing. */
struct reemit_need reemit_need(const struct engine *engine, uint64_t cursor, int64_t now_ms);
/* Emits the state of each of its keys; returns the cursor after it, 0 at the end. What is due is
 * not applied: time alone writes nothing. */
uint64_t reemit_bucket(struct engine *engine, uint64_t cursor, int64_t now_ms);

#endif
