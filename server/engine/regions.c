/* regions.c - see regions.h. */
#include "server/engine/regions.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "server/base/list.h"
#include "server/engine/memory.h"
#include "server/base/table.h"

#define ORDERS 7u /* of pieces: 2^0 .. 2^6 units */
#define WHOLE (ORDERS - 1)
#define PAGE_BYTES 4096u /* the smallest there is */

struct region {
  struct table_node node; /* in regions.all, under its number */
  struct list list;       /* in regions.partial, ready or spent; a full one is in none */
  char *base;
  uint64_t used; /* a bit for each unit */
  uint64_t cold; /* free, and given back to the system */
  unsigned kin;
};

/* Invariants: in each list of `partial` the regions with warm free units come first. The thread
 * maps, unmaps and gives back without the lock; what it works on meanwhile is in no list or counts
 * as used. */
struct regions {
  pthread_mutex_t lock;
  pthread_cond_t work;
  pthread_t thread;
  bool started; /* or no thread could be made: all comes from the allocator */
  bool ending, busy;
  bool short_of_memory;                     /* until somebody wants a region again */
  struct table all;                         /* of struct region */
  struct list partial[REGIONS_KINS][WHOLE]; /* in use, by the largest piece that they have */
  struct list ready;                        /* free, with all its pages */
  struct list spent;                        /* free, with cold units: to be unmapped */
  size_t plain_bytes, ready_count;
  size_t units, slack_units; /* slack: warm free ones of regions that are in use */
};

/* ---- runs of units ---- */

static unsigned order_of(size_t size) {
  return (unsigned)__builtin_ctzll(size / REGIONS_UNIT_BYTES);
}

static uint64_t run_mask(unsigned order) { return UINT64_MAX >> (64u - (1u << order)); }

/* Where the aligned runs of 2^order units begin. */
static uint64_t runs_of(uint64_t units, unsigned order) {
  static const uint64_t STARTS[ORDERS] = {
      UINT64_MAX,
      UINT64_C(0x5555555555555555),
      UINT64_C(0x1111111111111111),
      UINT64_C(0x0101010101010101),
      UINT64_C(0x0001000100010001),
      UINT64_C(0x0000000100000001),
      1,
  };
  for (unsigned half = 0; half < order; half++) units &= units >> (1u << half) & STARTS[half + 1];
  return units;
}

static unsigned count_of(uint64_t units) { return (unsigned)__builtin_popcountll(units); }

static uint64_t warm_free(const struct region *region) { return ~region->used & ~region->cold; }

/* ---- regions in their lists; all of it under the lock ---- */

static bool is_ready(const struct region *region) { return region->used == 0 && region->cold == 0; }

static void list_out(struct regions *regions, struct region *region) {
  if (is_ready(region)) regions->ready_count--;
  if (region->used != 0) regions->slack_units -= count_of(warm_free(region));
  regions->units -= count_of(region->used);
  list_remove(&region->list);
}

static void list_partial(struct regions *regions, struct region *region) {
  unsigned order = WHOLE - 1;
  while (runs_of(~region->used, order) == 0) order--;
  struct list *list = &regions->partial[region->kin][order];
  if (warm_free(region) != 0) {
    list_prepend(list, &region->list);
  } else {
    list_append(list, &region->list);
  }
}

static void list_in(struct regions *regions, struct region *region) {
  if (is_ready(region)) {
    regions->ready_count++;
    list_append(&regions->ready, &region->list);
  } else if (region->used == 0) {
    list_append(&regions->spent, &region->list);
  } else {
    regions->units += count_of(region->used);
    regions->slack_units += count_of(warm_free(region));
    if (region->used != UINT64_MAX) list_partial(regions, region);
  }
}

static struct region *first_in(const struct list *list) {
  return list_empty(list) ? NULL : LIST_ENTRY(list->next, struct region, list);
}

/* The fullest, so that the others can become free. */
static struct region *partial_with(const struct regions *regions, unsigned kin, unsigned order) {
  struct region *region = NULL;
  for (; order < WHOLE && region == NULL; order++) region = first_in(&regions->partial[kin][order]);
  return region;
}

static size_t most_slack(const struct regions *regions) {
  size_t part = regions->units / REGIONS_SLACK_PART;
  return part > REGIONS_SLACK_UNITS ? part : REGIONS_SLACK_UNITS;
}

/* One of its kin, or a new one unless too much is free already, or whichever there is. */
static struct region *region_with(const struct regions *regions, unsigned kin, unsigned order) {
  struct region *region = partial_with(regions, kin, order);
  if (region == NULL && regions->slack_units + REGIONS_REGION_UNITS <= most_slack(regions))
    region = first_in(&regions->ready);
  for (unsigned other = 0; other < REGIONS_KINS && region == NULL; other++)
    region = partial_with(regions, other, order);
  return region != NULL ? region : first_in(&regions->ready);
}

static void *take_from(struct regions *regions, unsigned kin, unsigned order) {
  struct region *region = region_with(regions, kin, order);
  if (region == NULL) return NULL;
  uint64_t runs = runs_of(warm_free(region), order);
  if (runs == 0) runs = runs_of(~region->used, order);
  unsigned unit = (unsigned)__builtin_ctzll(runs);
  list_out(regions, region);
  if (region->used == 0) region->kin = kin;
  region->used |= run_mask(order) << unit;
  region->cold &= ~region->used;
  list_in(regions, region);
  return region->base + unit * REGIONS_UNIT_BYTES;
}

static struct region *find(const struct regions *regions, const void *piece) {
  uint64_t number = (uint64_t)(uintptr_t)piece / REGIONS_REGION_BYTES;
  struct table_node *node = *table_bucket(&regions->all, number);
  while (node != NULL && node->hash != number) node = node->next;
  return node != NULL ? LIST_ENTRY(node, struct region, node) : NULL;
}

/* ---- what there is to do for the thread ---- */

/* Half of it, once there is one: so that a source that breathes at the edge does not map at every
 * breath. */
static size_t wanted(const struct regions *regions) {
  size_t enough = regions->ready_count == 0 ? REGIONS_PLAIN_BYTES : REGIONS_PLAIN_BYTES / 2;
  if (regions->units == 0 && regions->plain_bytes < enough) return 0;
  size_t part = 1 + regions->units / (REGIONS_REGION_UNITS * REGIONS_AHEAD_PART);
  return part < REGIONS_AHEAD ? part : REGIONS_AHEAD;
}

static bool too_few(const struct regions *regions) {
  return regions->ready_count < wanted(regions) && !regions->short_of_memory;
}

/* One more than is wanted may be: the one that was freed last is the one to be taken next. */
static bool too_many(const struct regions *regions) {
  size_t most = wanted(regions);
  return !list_empty(&regions->spent) || regions->ready_count > (most > 0 ? most + 1 : 0);
}

static bool too_slack(const struct regions *regions) {
  return regions->slack_units > most_slack(regions);
}

static bool work_to_do(const struct regions *regions) {
  return too_few(regions) || too_many(regions) || too_slack(regions);
}

/* ---- the thread: what takes long is done without the lock ---- */

static char *map(size_t bytes) {
  char *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return base != MAP_FAILED ? base : NULL;
}

/* From Linux 6.7 on what is as large as a huge page is aligned to it. */
static char *map_region(void) {
  char *base = map(REGIONS_REGION_BYTES);
  if (base == NULL || (uintptr_t)base % REGIONS_REGION_BYTES == 0) return base;
  munmap(base, REGIONS_REGION_BYTES);
  base = map(2 * REGIONS_REGION_BYTES);
  if (base == NULL) return NULL;
  size_t behind = (uintptr_t)base % REGIONS_REGION_BYTES;
  size_t before = REGIONS_REGION_BYTES - behind;
  munmap(base, before);
  if (behind > 0) munmap(base + before + REGIONS_REGION_BYTES, behind);
  return base + before;
}

/* Before anybody else knows it. Where there are no huge pages it is filled with small ones. By
 * touching it: MADV_POPULATE_WRITE holds the lock of all mappings meanwhile, and a loop whose
 * allocator maps memory waited for it, 5 ms of the 8 that a page took on a virtual machine. */
static void populate(char *base) {
  madvise(base, REGIONS_REGION_BYTES, MADV_HUGEPAGE);
  for (size_t at = 0; at < REGIONS_REGION_BYTES; at += PAGE_BYTES)
    *(volatile char *)(base + at) = 0;
}

static void free_region(struct region *region) {
  munmap(region->base, REGIONS_REGION_BYTES);
  free(region);
}

static struct region *make_region(void) {
  struct region *region = malloc(sizeof *region);
  if (region == NULL) return NULL;
  *region = (struct region){.base = map_region()};
  if (region->base == NULL) {
    free(region);
    return NULL;
  }
  region->node.hash = (uint64_t)(uintptr_t)region->base / REGIONS_REGION_BYTES;
  list_init(&region->list);
  populate(region->base);
  return region;
}

static void add_region(struct regions *regions) {
  pthread_mutex_unlock(&regions->lock);
  struct region *region = make_region();
  pthread_mutex_lock(&regions->lock);
  regions->short_of_memory = region == NULL;
  if (region == NULL) return;
  table_insert(&regions->all, &region->node);
  list_in(regions, region);
}

static void drop_region(struct regions *regions) {
  struct region *region = first_in(&regions->spent);
  if (region == NULL) region = first_in(&regions->ready);
  list_out(regions, region);
  struct table_node **link = table_bucket(&regions->all, region->node.hash);
  while (*link != &region->node) link = &(*link)->next;
  table_remove(&regions->all, link);
  pthread_mutex_unlock(&regions->lock);
  free_region(region);
  pthread_mutex_lock(&regions->lock);
}

static void give_back(char *base, uint64_t units) {
  while (units != 0) {
    unsigned from = (unsigned)__builtin_ctzll(units);
    uint64_t rest = ~(units >> from);
    unsigned count = rest == 0 ? 64u : (unsigned)__builtin_ctzll(rest);
    madvise(base + from * REGIONS_UNIT_BYTES, count * REGIONS_UNIT_BYTES, MADV_DONTNEED);
    units &= ~(UINT64_MAX >> (64u - count) << from);
  }
}

/* Longest runs first: from there the next pieces of the kin would be taken last. */
static struct region *region_to_cool(const struct regions *regions) {
  for (unsigned order = WHOLE; order-- > 0;) {
    for (unsigned kin = 0; kin < REGIONS_KINS; kin++) {
      struct region *region = first_in(&regions->partial[kin][order]);
      if (region != NULL && warm_free(region) != 0) return region;
    }
  }
  return NULL;
}

/* Its free units count as used meanwhile. */
static void cool_region(struct regions *regions) {
  struct region *region = region_to_cool(regions);
  assert(region != NULL);
  uint64_t units = warm_free(region);
  list_out(regions, region);
  region->used |= units;
  list_in(regions, region);
  pthread_mutex_unlock(&regions->lock);
  give_back(region->base, units);
  pthread_mutex_lock(&regions->lock);
  list_out(regions, region);
  region->used &= ~units;
  region->cold |= units;
  list_in(regions, region);
}

static void *run(void *argument) {
  struct regions *regions = argument;
  memory_begin_thread();
  pthread_mutex_lock(&regions->lock);
  while (!regions->ending) {
    regions->busy = work_to_do(regions);
    if (too_few(regions)) {
      add_region(regions);
    } else if (too_many(regions)) {
      drop_region(regions);
    } else if (too_slack(regions)) {
      cool_region(regions);
    } else {
      pthread_cond_wait(&regions->work, &regions->lock);
    }
  }
  pthread_mutex_unlock(&regions->lock);
  return NULL;
}

/* Signals are for the loops. */
static void start(struct regions *regions) {
  sigset_t all, former;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &former);
  regions->started = pthread_create(&regions->thread, NULL, run, regions) == 0;
  pthread_sigmask(SIG_SETMASK, &former, NULL);
}

static void see_to_it(struct regions *regions) {
  if (!regions->started || regions->busy || !work_to_do(regions)) return;
  regions->busy = true;
  pthread_cond_signal(&regions->work);
}

/* ---- use ---- */

struct regions *regions_create(void) {
  struct regions *regions = calloc(1, sizeof *regions);
  if (regions == NULL) return NULL;
  if (!table_init(&regions->all)) {
    free(regions);
    return NULL;
  }
  pthread_mutex_init(&regions->lock, NULL);
  pthread_cond_init(&regions->work, NULL);
  for (unsigned kin = 0; kin < REGIONS_KINS; kin++) {
    for (unsigned order = 0; order < WHOLE; order++) list_init(&regions->partial[kin][order]);
  }
  list_init(&regions->ready);
  list_init(&regions->spent);
  start(regions);
  return regions;
}

void regions_destroy(struct regions *regions) {
  if (regions == NULL) return;
  if (regions->started) {
    pthread_mutex_lock(&regions->lock);
    regions->ending = true;
    pthread_cond_signal(&regions->work);
    pthread_mutex_unlock(&regions->lock);
    pthread_join(regions->thread, NULL);
  }
  assert(regions->units == 0 && regions->plain_bytes == 0);
  for (struct list *node;
       (node = list_pop(&regions->ready)) != NULL || (node = list_pop(&regions->spent)) != NULL;)
    free_region(LIST_ENTRY(node, struct region, list));
  table_deinit(&regions->all);
  pthread_cond_destroy(&regions->work);
  pthread_mutex_destroy(&regions->lock);
  free(regions);
}

void *regions_take(struct regions *regions, size_t alignment, size_t size, unsigned kin) {
  assert(regions_fit(size) && alignment <= size && kin < REGIONS_KINS);
  pthread_mutex_lock(&regions->lock);
  void *piece = take_from(regions, kin, order_of(size));
  if (piece == NULL) {
    regions->plain_bytes += size;
    regions->short_of_memory = false;
  }
  see_to_it(regions);
  pthread_mutex_unlock(&regions->lock);
  if (piece != NULL) return piece;
  piece = aligned_alloc(alignment, size);
  if (piece != NULL) return piece;
  pthread_mutex_lock(&regions->lock);
  regions->plain_bytes -= size;
  pthread_mutex_unlock(&regions->lock);
  return NULL;
}

void regions_give(struct regions *regions, void *piece, size_t size) {
  pthread_mutex_lock(&regions->lock);
  struct region *region = find(regions, piece);
  if (region != NULL) {
    size_t unit = (size_t)((char *)piece - region->base) / REGIONS_UNIT_BYTES;
    uint64_t run = run_mask(order_of(size)) << unit;
    assert((region->used & run) == run);
    list_out(regions, region);
    region->used &= ~run;
    list_in(regions, region);
  } else {
    regions->plain_bytes -= size;
  }
  see_to_it(regions);
  pthread_mutex_unlock(&regions->lock);
  if (region == NULL) free(piece);
}

void regions_stats(struct regions *regions, struct regions_stats *stats) {
  pthread_mutex_lock(&regions->lock);
  size_t mapped = regions->all.count;
  *stats = (struct regions_stats){
      .plain_bytes = regions->plain_bytes,
      .regions = mapped,
      .ready = regions->ready_count,
      .units = regions->units,
      .slack = regions->slack_units,
      .busy = regions->started && (regions->busy || work_to_do(regions)),
  };
  stats->cold = mapped * REGIONS_REGION_UNITS - regions->units - regions->slack_units -
                regions->ready_count * REGIONS_REGION_UNITS;
  pthread_mutex_unlock(&regions->lock);
}
