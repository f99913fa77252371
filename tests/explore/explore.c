/*
 * explore.c - every history of one key, up to a depth: is there one that breaks a promise?
 *
 *     explore [--depth N] [--seconds N] [--least N] [--memory MB] [--mutant NAME]
 *
 * Breadth first over the worlds of world.h, each visited once, so the first history that breaks a
 * promise is a shortest one; it is printed in words. Goes to --depth (20), or as deep as --seconds
 * (40) and --memory (900) allow, but never less than --least (9), and prints how deep that was.
 *
 * Then each mutant of the rules has to be found, and by the promise that it breaks.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/explore/mutants.h"
#include "tests/explore/world.h"

#define NO_PARENT UINT32_MAX
#define PER_WORLD 26 /* bytes: a key, a parent, an event, and two of the hash table's slots */

struct visited {
  uint64_t *keys;
  uint32_t *parents;
  struct world_event *events; /* from the parent to this one */
  uint32_t count, room;
  uint32_t *slots; /* index + 1; 0: empty */
  uint32_t mask;
};

struct search {
  struct visited seen;
  const struct world_rules *rules;
  uint32_t broken_from; /* the world before the event that broke a promise */
  struct world_event broken_by;
  struct world broken; /* and the world then */
};

struct bounds {
  unsigned depth, least;
  double seconds;
  size_t memory_mb;
};

static double now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- worlds that were seen ---- */

static void *had(void *block) {
  if (block != NULL) return block;
  fprintf(stderr, "explore: out of memory\n");
  exit(2);
}

static uint32_t slot_of(const struct visited *seen, uint64_t key) {
  uint64_t hash = key * UINT64_C(0x9E3779B97F4A7C15);
  uint32_t slot = (uint32_t)(hash >> 32) & seen->mask;
  while (seen->slots[slot] != 0 && seen->keys[seen->slots[slot] - 1] != key)
    slot = (slot + 1) & seen->mask;
  return slot;
}

static void grow(struct visited *seen) {
  seen->room = seen->room == 0 ? 4096 : 2 * seen->room;
  seen->keys = had(realloc(seen->keys, seen->room * sizeof *seen->keys));
  seen->parents = had(realloc(seen->parents, seen->room * sizeof *seen->parents));
  seen->events = had(realloc(seen->events, seen->room * sizeof *seen->events));
  free(seen->slots);
  seen->mask = 2 * seen->room - 1;
  seen->slots = had(calloc((size_t)seen->mask + 1, sizeof *seen->slots));
  for (uint32_t i = 0; i < seen->count; i++) seen->slots[slot_of(seen, seen->keys[i])] = i + 1;
}

/* False: it was there already. */
static bool add(struct visited *seen, uint64_t key, uint32_t parent, struct world_event event) {
  if (seen->count == seen->room) grow(seen);
  uint32_t slot = slot_of(seen, key);
  if (seen->slots[slot] != 0) return false;
  seen->keys[seen->count] = key;
  seen->parents[seen->count] = parent;
  seen->events[seen->count] = event;
  seen->slots[slot] = ++seen->count;
  return true;
}

static void drop(struct visited *seen) {
  free(seen->keys);
  free(seen->parents);
  free(seen->events);
  free(seen->slots);
  *seen = (struct visited){0};
}

/* ---- a history in words ---- */

static void print_step(struct world *w, struct world_event event, unsigned number) {
  char text[WORLD_TEXT];
  w->text = text;
  world_apply(w, event);
  w->text = NULL;
  printf("    %2u. %s\n", number, text);
}

/* a and b change names when a world was packed under the other ones: the reader sees none of it. */
static void follow(struct world *w, const struct world_rules *rules) {
  const char *names[] = {w->names[0], w->names[1]};
  bool swapped;
  uint64_t key = world_pack(w, &swapped);
  world_unpack(key, w, rules);
  w->names[0] = names[swapped];
  w->names[1] = names[!swapped];
}

static void print_history(const struct search *search) {
  const struct visited *seen = &search->seen;
  uint32_t path[256], length = 0;
  for (uint32_t at = search->broken_from; at != 0; at = seen->parents[at]) path[length++] = at;
  struct world w;
  unsigned number = 0;
  world_begin(&w, search->rules);
  while (length > 0) {
    print_step(&w, seen->events[path[--length]], ++number);
    follow(&w, search->rules);
  }
  print_step(&w, search->broken_by, ++number);
  printf("    then %s: %s\n", WORLD_PROMISE_NAMES[search->broken.broken], search->broken.why);
}

/* ---- the search ---- */

/* False: a promise was broken. */
static bool visit(struct search *search, uint32_t index) {
  struct world from, to;
  struct world_event events[WORLD_MOST_EVENTS];
  world_unpack(search->seen.keys[index], &from, search->rules);
  size_t count = world_events(&from, events);
  for (size_t i = 0; i < count; i++) {
    bool swapped;
    to = from;
    world_apply(&to, events[i]);
    if (to.broken == WORLD_KEPT && add(&search->seen, world_pack(&to, &swapped), index, events[i]))
      world_check(&to);
    if (to.broken == WORLD_KEPT) continue;
    search->broken_from = index;
    search->broken_by = events[i];
    search->broken = to;
    return false;
  }
  return true;
}

static void begin(struct search *search, const struct world_rules *rules) {
  struct world first;
  bool swapped;
  *search = (struct search){.rules = rules};
  world_begin(&first, rules);
  add(&search->seen, world_pack(&first, &swapped), NO_PARENT, (struct world_event){0});
}

static bool has_time(const struct bounds *bounds, const struct search *search, double start_s) {
  if (now_s() - start_s > bounds->seconds) return false;
  return (size_t)search->seen.count * PER_WORLD < bounds->memory_mb << 20;
}

/* Returns the depth up to which no history breaks a promise, or -1. */
static int explore(struct search *search, const struct bounds *bounds) {
  const double start_s = now_s();
  uint32_t next = 0;
  for (unsigned depth = 1; depth <= bounds->depth; depth++) {
    const uint32_t level_end = search->seen.count;
    for (; next < level_end; next++) {
      if (!visit(search, next)) return -1;
      if (next % 4096 == 0 && depth > bounds->least && !has_time(bounds, search, start_s))
        return (int)depth - 1;
    }
    if (search->seen.count == level_end) return (int)bounds->depth; /* there are no more worlds */
  }
  return (int)bounds->depth;
}

static int explore_rules(const struct bounds *bounds, const struct world_rules *rules) {
  struct search search;
  begin(&search, rules);
  const double start_s = now_s();
  int depth = explore(&search, bounds);
  if (depth < 0) {
    printf("explore: a promise is broken\n");
    print_history(&search);
  } else {
    printf("explore: every history of %d events keeps the promises; %" PRIu32 " worlds\n", depth,
           search.seen.count);
  }
  printf("measured: %.1f s\n", now_s() - start_s);
  drop(&search.seen);
  return depth >= (int)bounds->least ? 0 : 1;
}

static int explore_mutant(const struct mutants_one *mutant, const struct bounds *bounds) {
  struct search search;
  begin(&search, &mutant->rules);
  int depth = explore(&search, bounds);
  int status = 1;
  if (depth >= 0) {
    printf("NOT FOUND: %s (%s)\n", mutant->name, mutant->does);
  } else {
    printf("  mutant %s: %s\n", mutant->name, mutant->does);
    print_history(&search);
    status = search.broken.broken == mutant->breaks ? 0 : 1;
    if (status != 0) printf("OTHER PROMISE than %s\n", WORLD_PROMISE_NAMES[mutant->breaks]);
  }
  drop(&search.seen);
  return status;
}

/* ---- the command line ---- */

static long number(const char *text) {
  char *end;
  long value = text == NULL ? -1 : strtol(text, &end, 10);
  if (value < 0 || *end != '\0') {
    fprintf(stderr,
            "usage: explore [--depth N] [--seconds N] [--least N] [--memory MB] "
            "[--mutant NAME]\n");
    exit(2);
  }
  return value;
}

static void set(struct bounds *bounds, const char *option, const char *value) {
  if (strcmp(option, "--depth") == 0)
    bounds->depth = (unsigned)number(value);
  else if (strcmp(option, "--seconds") == 0)
    bounds->seconds = (double)number(value);
  else if (strcmp(option, "--least") == 0)
    bounds->least = (unsigned)number(value);
  else if (strcmp(option, "--memory") == 0)
    bounds->memory_mb = (size_t)number(value);
  else
    number(NULL);
}

int main(int argc, char **argv) {
  struct bounds bounds = {.depth = 20, .least = 9, .seconds = 40, .memory_mb = 900};
  const char *only = NULL;
  for (int i = 1; i < argc; i += 2) {
    if (strcmp(argv[i], "--mutant") == 0)
      only = argv[i + 1] == NULL ? "" : argv[i + 1];
    else
      set(&bounds, argv[i], argv[i + 1]);
  }
  if (bounds.depth > WORLD_MOST_DEPTH) number(NULL);
  if (bounds.least > bounds.depth) bounds.least = bounds.depth;
  if (only != NULL) {
    const struct mutants_one *mutant = mutants_find(only);
    return mutant == NULL ? (int)number(NULL) : explore_mutant(mutant, &bounds);
  }
  int failed = explore_rules(&bounds, &WORLD_REAL), count = 0;
  fflush(stdout);
  for (const struct mutants_one *mutant = MUTANTS; mutant->name != NULL; mutant++, count++)
    failed |= explore_mutant(mutant, &bounds);
  if (!failed) printf("explore: each of %d mutants of the rules is found\n", count);
  return failed;
}
