/*
 * slab.h - where records lie: pieces of one size beside each other in a page, with one timer for
 * all of them.
 *
 *     slab    [head][piece][piece][piece]...     4 KiB, aligned to that: a piece leads to its slab
 *     alone   [head][piece]                      one that is too large for that
 *
 * What came at about the same time lies together, and ends at about the same time. So a timer for
 * each slab does: it is armed not after the first deadline of its pieces. When it comes, the pieces
 * are looked at (deadlines.h). A deadline that moves away, as by RENEW, or a piece that is given
 * back, leaves the timer as it is. A timer for each piece takes 16 bytes of it, and its list two
 * cache lines of others for each claim and each STORE.
 *
 * A slab is given back when its last piece is; a piece is taken from a full slab rather than from
 * an empty one. It must not know what lies in a piece. Invariants: a slab in a list has a free
 * piece; memory.bytes counts whole slabs.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_SLAB_H
#define IDEM_SERVER_ENGINE_SLAB_H

#include "server/base/wheel.h"
#include "server/engine/pages.h"

#define SLAB_STEP 8u
#define SLAB_LEAST 64u    /* so that a word has a bit for each piece */
#define SLAB_LARGEST 504u /* of which eight fill a slab */
#define SLAB_CLASSES (SLAB_LARGEST / SLAB_STEP + 1)

struct slab {
  struct wheel_node timer; /* in slabs.timers */
  struct list list;        /* in slabs.partial, unless it is full or alone */
  uint64_t used;           /* a bit for each piece */
  struct pages_unit *unit;
  uint16_t size, count; /* of a piece; of pieces. One alone: 0, 1 */
  uint16_t taken;       /* pieces */
};

struct slabs {
  struct memory *memory;
  struct pages pages;
  struct wheel timers;
  struct list partial[SLAB_CLASSES];
};

void slab_init(struct slabs *slabs, struct memory *memory, int64_t now_ms);

/* Whether a piece of so many bytes is alone. */
static inline bool slab_is_alone(size_t size) { return size > SLAB_LARGEST; }
/* What a piece takes, without its share of the head. */
size_t slab_rounded(size_t size);
/* A piece, aligned to SLAB_STEP; its bytes are undefined. NULL: no memory. */
void *slab_take(struct slabs *slabs, size_t size);
/* Gives back a piece that is not alone. Cancels the timer with the last one. */
void slab_give(struct slabs *slabs, void *piece);
void slab_give_alone(struct slabs *slabs, void *piece, size_t size); /* as it was taken */
/* By how much the memory of the engine grows when such a piece is taken. */
size_t slab_growth(const struct slabs *slabs, size_t size);

static inline struct slab *slab_of(const void *piece, bool alone) {
  uintptr_t at = (uintptr_t)piece;
  return (struct slab *)(alone ? at - sizeof(struct slab) : at & ~(uintptr_t)(PAGES_BYTES - 1));
}
static inline void *slab_piece(struct slab *slab, unsigned number) {
  return (char *)(slab + 1) + (size_t)number * slab->size;
}

/* The timer is armed not after this. */
static inline void slab_arm(struct slabs *slabs, struct slab *slab, int64_t deadline_ms) {
  if (wheel_node_armed(&slab->timer) && slab->timer.deadline_ms <= deadline_ms) return;
  wheel_set(&slabs->timers, &slab->timer, deadline_ms);
}

#endif
