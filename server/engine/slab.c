/* slab.c - see slab.h. */
#include "server/engine/slab.h"

#include <assert.h>

/* A sanitizer does not see what is used after it was given back to a slab, unless it is told. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define HIDE(from, size) __asan_poison_memory_region(from, size)
#define SHOW(from, size) __asan_unpoison_memory_region(from, size)
#else
#define HIDE(from, size) ((void)0)
#define SHOW(from, size) ((void)0)
#endif

#define ROOM (PAGES_BYTES - sizeof(struct slab))

_Static_assert(sizeof(struct slab) == 64, "a head takes a cache line");
_Static_assert(ROOM / SLAB_LEAST < 64, "a bit for each piece");
_Static_assert(ROOM / SLAB_LARGEST >= 8, "the rest of a page is small");

void slab_init(struct slabs *slabs, struct memory *memory, int64_t now_ms) {
  slabs->memory = memory;
  pages_init(&slabs->pages, memory);
  wheel_init(&slabs->timers, now_ms);
  for (unsigned class = 0; class < SLAB_CLASSES; class ++) list_init(&slabs->partial[class]);
}

/* ---- one alone ---- */

static size_t alone_size(size_t size) { return sizeof(struct slab) + size; }

static void *take_alone(struct slabs *slabs, size_t size) {
  struct slab *slab = memory_take(slabs->memory, alone_size(size));
  if (slab == NULL) return NULL;
  *slab = (struct slab){.used = 1, .count = 1, .taken = 1};
  wheel_node_init(&slab->timer);
  return slab + 1;
}

void slab_give_alone(struct slabs *slabs, void *piece, size_t size) {
  struct slab *slab = slab_of(piece, true);
  wheel_cancel(&slabs->timers, &slab->timer);
  memory_give(slabs->memory, slab, alone_size(size));
}

/* ---- slabs ---- */

static size_t piece_size(size_t size) {
  return size < SLAB_LEAST ? SLAB_LEAST : (size + SLAB_STEP - 1) & ~(size_t)(SLAB_STEP - 1);
}

size_t slab_rounded(size_t size) {
  return slab_is_alone(size) ? memory_rounded(alone_size(size)) : piece_size(size);
}

static struct list *partial_of(struct slabs *slabs, size_t piece) {
  return &slabs->partial[piece / SLAB_STEP];
}

size_t slab_growth(const struct slabs *slabs, size_t size) {
  if (slab_is_alone(size)) return slab_rounded(size);
  bool room = !list_empty(&slabs->partial[piece_size(size) / SLAB_STEP]);
  return room ? 0 : pages_growth(&slabs->pages);
}

/* In its list; NULL: no memory. */
static __attribute__((noinline)) struct slab *add_slab(struct slabs *slabs, size_t piece) {
  struct pages_unit *unit;
  struct slab *slab = pages_take(&slabs->pages, &unit);
  if (slab == NULL) return NULL;
  *slab = (struct slab){.unit = unit, .size = (uint16_t)piece, .count = (uint16_t)(ROOM / piece)};
  wheel_node_init(&slab->timer);
  list_init(&slab->list);
  list_append(partial_of(slabs, piece), &slab->list);
  HIDE(slab + 1, ROOM);
  return slab;
}

static __attribute__((noinline)) void drop_slab(struct slabs *slabs, struct slab *slab) {
  wheel_cancel(&slabs->timers, &slab->timer);
  list_remove(&slab->list);
  SHOW(slab + 1, ROOM);
  pages_give(&slabs->pages, slab, slab->unit);
}

void *slab_take(struct slabs *slabs, size_t size) {
  if (slab_is_alone(size)) return take_alone(slabs, size);
  size_t rounded = piece_size(size);
  const struct list *partial = partial_of(slabs, rounded);
  struct slab *slab =
      list_empty(partial) ? add_slab(slabs, rounded) : LIST_ENTRY(partial->next, struct slab, list);
  if (slab == NULL) return NULL;
  unsigned number = (unsigned)__builtin_ctzll(~slab->used);
  slab->used |= UINT64_C(1) << number;
  if (++slab->taken == slab->count) list_remove(&slab->list);
  void *piece = slab_piece(slab, number);
  SHOW(piece, rounded);
  return piece;
}

/* The fullest slabs first: one that was full goes to the front, and one that has become half empty
 * to the end. */
static void list_again(struct slabs *slabs, struct slab *slab) {
  struct list *partial = partial_of(slabs, slab->size);
  if (slab->taken == slab->count - 1u) list_prepend(partial, &slab->list);
  if (slab->taken != slab->count / 2u) return;
  list_remove(&slab->list);
  list_append(partial, &slab->list);
}

void slab_give(struct slabs *slabs, void *piece) {
  struct slab *slab = slab_of(piece, false);
  unsigned number = (unsigned)((char *)piece - (char *)(slab + 1)) / slab->size;
  assert(slab->used >> number & 1);
  slab->used &= ~(UINT64_C(1) << number);
  HIDE(piece, slab->size);
  if (--slab->taken == 0) {
    drop_slab(slabs, slab);
  } else {
    list_again(slabs, slab);
  }
}
