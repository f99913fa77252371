/*
 * reemit.h - an image out of the oldest part of the journal: the state that its key has now is
 * emitted again, if no later image has it.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_REEMIT_H
#define IDEM_SERVER_ENGINE_REEMIT_H

#include <stdbool.h>
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

#endif
