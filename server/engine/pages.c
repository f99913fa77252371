/* pages.c - see pages.h. */
#include "server/engine/pages.h"

#include <assert.h>
#include <stdint.h>

#define UNIT_BYTES (PAGES_UNIT * PAGES_BYTES)
#define ALL_FREE ((1u << PAGES_UNIT) - 1)

/* Apart from its pages, since all of these are used. */
struct pages_unit {
  struct list list; /* in pages.partial, unless no page is free */
  char *base;
  uint32_t free; /* a bit for each page */
};

void pages_init(struct pages *pages, struct memory *memory) {
  pages->memory = memory;
  pages->singles = 0;
  list_init(&pages->partial);
}

static bool take_single(const struct pages *pages) {
  return list_empty(&pages->partial) && pages->singles < PAGES_SINGLE;
}

size_t pages_growth(const struct pages *pages) {
  if (!list_empty(&pages->partial)) return 0;
  return take_single(pages) ? PAGES_BYTES : UNIT_BYTES + memory_rounded(sizeof(struct pages_unit));
}

/* In the list; NULL: no memory. */
static struct pages_unit *add_unit(struct pages *pages) {
  struct pages_unit *unit = memory_take(pages->memory, sizeof *unit);
  if (unit == NULL) return NULL;
  unit->base = memory_take_aligned(pages->memory, PAGES_BYTES, UNIT_BYTES, MEMORY_KIN_RECORDS);
  if (unit->base == NULL) {
    memory_give(pages->memory, unit, sizeof *unit);
    return NULL;
  }
  unit->free = ALL_FREE;
  list_init(&unit->list);
  list_append(&pages->partial, &unit->list);
  return unit;
}

static void drop_unit(struct pages *pages, struct pages_unit *unit) {
  list_remove(&unit->list);
  memory_give_aligned(pages->memory, unit->base, UNIT_BYTES);
  memory_give(pages->memory, unit, sizeof *unit);
}

void *pages_take(struct pages *pages, struct pages_unit **of) {
  *of = NULL;
  if (take_single(pages)) {
    void *page = memory_take_aligned(pages->memory, PAGES_BYTES, PAGES_BYTES, MEMORY_KIN_RECORDS);
    if (page != NULL) pages->singles++;
    return page;
  }
  struct pages_unit *unit = list_empty(&pages->partial)
                                ? add_unit(pages)
                                : LIST_ENTRY(pages->partial.next, struct pages_unit, list);
  if (unit == NULL) return NULL;
  unsigned number = (unsigned)__builtin_ctz(unit->free);
  unit->free &= unit->free - 1;
  if (unit->free == 0) list_remove(&unit->list);
  *of = unit;
  return unit->base + number * PAGES_BYTES;
}

/* The fullest units first, so that the others can become free: one that was full goes to the front,
 * and one that has become half free to the end. */
static void list_again(struct pages *pages, struct pages_unit *unit) {
  unsigned count = (unsigned)__builtin_popcount(unit->free);
  if (count == 1) list_prepend(&pages->partial, &unit->list);
  if (count != PAGES_UNIT / 2) return;
  list_remove(&unit->list);
  list_append(&pages->partial, &unit->list);
}

void pages_give(struct pages *pages, void *page, struct pages_unit *unit) {
  if (unit == NULL) {
    pages->singles--;
    memory_give_aligned(pages->memory, page, PAGES_BYTES);
    return;
  }
  uint32_t bit = 1u << (size_t)((char *)page - unit->base) / PAGES_BYTES;
  assert((unit->free & bit) == 0);
  unit->free |= bit;
  if (unit->free == ALL_FREE) {
    drop_unit(pages, unit);
  } else {
    list_again(pages, unit);
  }
}
