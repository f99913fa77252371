/*
 * pages.h - pages of 4 KiB out of pieces of the regions: what is smaller than a piece of theirs,
 * and is aligned to its size.
 *
 *     unit    [page][page][page] ...    8 pages, 32 KiB, one piece of the regions (regions.h)
 *
 * A unit is given back when its last page is. The first pages come one by one, so that a small
 * engine takes no more than it needs. Knows nothing of what lies in a page.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_PAGES_H
#define IDEM_SERVER_ENGINE_PAGES_H

#include "server/base/list.h"
#include "server/engine/memory.h"

#define PAGES_BYTES ((size_t)4 << 10) /* of a page, and what it is aligned to */
#define PAGES_UNIT 8u
#define PAGES_SINGLE 8u /* so many at most come one by one */

struct pages_unit;

struct pages {
  struct memory *memory;
  struct list partial; /* units with a free page */
  unsigned singles;
};

void pages_init(struct pages *pages, struct memory *memory);
/* A page, and its unit, which is NULL for one that came by itself. NULL: no memory. Its bytes are
 * undefined. */
void *pages_take(struct pages *pages, struct pages_unit **unit);
void pages_give(struct pages *pages, void *page, struct pages_unit *unit);
/* By how much the memory of the engine grows with the next page. */
size_t pages_growth(const struct pages *pages);

#endif
