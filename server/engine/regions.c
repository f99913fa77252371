/* regions.c - see regions.h. */
#include "server/engine/regions.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "server/base/hugepages.h"
#include "server/base/list.h"
#include "server/base/table.h"

#define ORDERS 7u /* of pieces: 2^0 .. 2^6 units */
#define WHOLE (ORDERS - 1)

_Static_assert(REGIONS_REGION_BYTES == HUGEPAGES_BYTES, "a region is a huge page");

struct region {
  struct table_node node; /* in regions.all, under its number */
  struct list list;       /* in regions.partial, ready or spent; a full one is in none */
  char *base;
  uint64_t used; /* a bit for each unit */
  uint64_t cold; /* free, and given back to the system */
  unsigned kin;
};

/* Invariants: in each list of `partial` the regions with warm free units come first. The helper
 * maps, unmaps and gives back without the lock; what it works on is in no list then, or counts as
 * used. */
struct regions {
  struct hugepages helper;                  /* its lock protects all that follows */
  bool short_of_memory;                     /* until a region is wanted again */
  bool grew, at_rest;                       /* a region was taken since the last look; none was */
  struct table all;                         /* of struct region */
  struct list partial[REGIONS_KINS][WHOLE]; /* in use, by the largest free run that they have */
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

/* The fullest region, so that the others can become free. */
static struct region *partial_with(const struct regions *regions, unsigned kin, unsigned order) {
  struct region *region = NULL;
  for (; order < WHOLE && region == NULL; order++) region = first_in(&regions->partial[kin][order]);
  return region;
}

static size_t most_slack(const struct regions *regions) {
  size_t part = regions->units / REGIONS_SLACK_PART;
  return part > REGIONS_SLACK_UNITS ? part : REGIONS_SLACK_UNITS;
}

/* A region of the same kin; or a new one, unless too much is free already; or any that has room. */
static struct region *region_with(const struct regions *regions, unsigned kin, unsigned order) {
  struct region *region = partial_with(regions, kin, order);
  if (region == NULL && regions->slack_units + REGIONS_REGION_UNITS <= most_slack(regions))
    region = first_in(&regions->ready);
  for (unsigned other = 0; other < REGIONS_KINS && region == NULL; other++)
    region = partial_with(regions, other, order);
  return region != NULL ? region : first_in(&regions->ready);
}

static void note_growth(struct regions *regions) {
  regions->grew = true;
  regions->at_rest = false;
}

static void *take_from(struct regions *regions, unsigned kin, unsigned order) {
  struct region *region = region_with(regions, kin, order);
  if (region == NULL) return NULL;
  uint64_t runs = runs_of(warm_free(region), order);
  if (runs == 0) runs = runs_of(~region->used, order);
  unsigned unit = (unsigned)__builtin_ctzll(runs);
  list_out(regions, region);
  if (region->used == 0) {
    region->kin = kin;
    note_growth(regions);
  }
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

/* ---- what the helper has to do ---- */

/* The threshold is halved once a region is ready, so that a source whose size varies around it does
 * not map each time. */
static size_t wanted(const struct regions *regions) {
  if (regions->at_rest) return 0;
  size_t enough = regions->ready_count == 0 ? REGIONS_PLAIN_BYTES : REGIONS_PLAIN_BYTES / 2;
  if (regions->units == 0 && regions->plain_bytes < enough) return 0;
  size_t part = 1 + regions->units / (REGIONS_REGION_UNITS * REGIONS_AHEAD_PART);
  return part < REGIONS_AHEAD ? part : REGIONS_AHEAD;
}

static bool too_few(const struct regions *regions) {
  return regions->ready_count < wanted(regions) && !regions->short_of_memory;
}

/* One more than wanted may stay, since the region that was freed last is taken next. */
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

/* ---- the helper: releases the lock around what takes long ---- */

static void free_region(struct region *region) {
  hugepages_unmap(region->base);
  free(region);
}

static struct region *make_region(void) {
  struct region *region = malloc(sizeof *region);
  if (region == NULL) return NULL;
  *region = (struct region){.base = hugepages_map()};
  if (region->base == NULL) {
    free(region);
    return NULL;
  }
  region->node.hash = (uint64_t)(uintptr_t)region->base / REGIONS_REGION_BYTES;
  list_init(&region->list);
  return region;
}

static void add_region(struct regions *regions) {
  hugepages_unlock(&regions->helper);
  struct region *region = make_region();
  hugepages_lock(&regions->helper);
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
  hugepages_unlock(&regions->helper);
  free_region(region);
  hugepages_lock(&regions->helper);
}

static void give_back(char *base, uint64_t units) {
  while (units != 0) {
    unsigned from = (unsigned)__builtin_ctzll(units);
    uint64_t rest = ~(units >> from);
    unsigned count = rest == 0 ? 64u : (unsigned)__builtin_ctzll(rest);
    hugepages_give_back(base + from * REGIONS_UNIT_BYTES, count * REGIONS_UNIT_BYTES);
    units &= ~(UINT64_MAX >> (64u - count) << from);
  }
}

/* Regions with the longest free runs first: the next pieces of the kin are taken from there
 * last. */
static struct region *region_to_cool(const struct regions *regions) {
  for (unsigned order = WHOLE; order-- > 0;) {
    for (unsigned kin = 0; kin < REGIONS_KINS; kin++) {
      struct region *region = first_in(&regions->partial[kin][order]);
      if (region != NULL && warm_free(region) != 0) return region;
    }
  }
  return NULL;
}

/* Its free units count as used while the lock is released. */
static void cool_region(struct regions *regions) {
  struct region *region = region_to_cool(regions);
  assert(region != NULL);
  uint64_t units = warm_free(region);
  list_out(regions, region);
  region->used |= units;
  list_in(regions, region);
  hugepages_unlock(&regions->helper);
  give_back(region->base, units);
  hugepages_lock(&regions->helper);
  list_out(regions, region);
  region->used &= ~units;
  region->cold |= units;
  list_in(regions, region);
}

static void note_rest(struct regions *regions) {
  if (!regions->helper.rested) return;
  regions->at_rest = !regions->grew;
  regions->grew = false;
}

static bool step(void *owner) {
  struct regions *regions = owner;
  note_rest(regions);
  if (too_few(regions)) {
    add_region(regions);
  } else if (too_many(regions)) {
    drop_region(regions);
  } else if (too_slack(regions)) {
    cool_region(regions);
  } else {
    if (regions->ready_count > 0) regions->helper.again_ms = REGIONS_REST_MS;
    return false;
  }
  return true;
}

static void wake_if_needed(struct regions *regions) {
  if (work_to_do(regions)) hugepages_wake(&regions->helper);
}

/* ---- use ---- */

struct regions *regions_create(void) {
  struct regions *regions = calloc(1, sizeof *regions);
  if (regions == NULL) return NULL;
  if (!table_init(&regions->all)) {
    free(regions);
    return NULL;
  }
  for (unsigned kin = 0; kin < REGIONS_KINS; kin++) {
    for (unsigned order = 0; order < WHOLE; order++) list_init(&regions->partial[kin][order]);
  }
  list_init(&regions->ready);
  list_init(&regions->spent);
  hugepages_start(&regions->helper, step, regions);
  return regions;
}

void regions_destroy(struct regions *regions) {
  if (regions == NULL) return;
  hugepages_stop(&regions->helper);
  assert(regions->units == 0 && regions->plain_bytes == 0);
  for (struct list *node;
       (node = list_pop(&regions->ready)) != NULL || (node = list_pop(&regions->spent)) != NULL;)
    free_region(LIST_ENTRY(node, struct region, list));
  table_deinit(&regions->all);
  free(regions);
}

void *regions_take(struct regions *regions, size_t alignment, size_t size, unsigned kin) {
  assert(regions_fit(size) && alignment <= size && kin < REGIONS_KINS);
  hugepages_lock(&regions->helper);
  void *piece = take_from(regions, kin, order_of(size));
  if (piece == NULL) {
    note_growth(regions);
    regions->plain_bytes += size;
    regions->short_of_memory = false;
  }
  wake_if_needed(regions);
  hugepages_unlock(&regions->helper);
  if (piece != NULL) return piece;
  piece = aligned_alloc(alignment, size);
  if (piece != NULL) return piece;
  hugepages_lock(&regions->helper);
  regions->plain_bytes -= size;
  hugepages_unlock(&regions->helper);
  return NULL;
}

void regions_give(struct regions *regions, void *piece, size_t size) {
  hugepages_lock(&regions->helper);
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
  wake_if_needed(regions);
  hugepages_unlock(&regions->helper);
  if (region == NULL) free(piece);
}

void regions_stats(struct regions *regions, struct regions_stats *stats) {
  hugepages_lock(&regions->helper);
  size_t mapped = regions->all.count;
  *stats = (struct regions_stats){
      .plain_bytes = regions->plain_bytes,
      .regions = mapped,
      .ready = regions->ready_count,
      .units = regions->units,
      .slack = regions->slack_units,
      .busy = regions->helper.started && (regions->helper.busy || work_to_do(regions)),
  };
  stats->cold = mapped * REGIONS_REGION_UNITS - regions->units - regions->slack_units -
                regions->ready_count * REGIONS_REGION_UNITS;
  hugepages_unlock(&regions->helper);
}
