/* wheel.c - see wheel.h. */
#include "server/base/wheel.h"

#include <assert.h>

#define SLOT_MASK (WHEEL_SLOTS - 1)

static unsigned slot_at(int64_t time_ms, unsigned level) {
  return (unsigned)((uint64_t)time_ms >> (WHEEL_BITS * level)) & SLOT_MASK;
}

void wheel_init(struct wheel *wheel, int64_t now_ms) {
  assert(now_ms >= 0); /* bits are compared, not numbers */
  wheel->time_ms = now_ms;
  wheel->nearest_ms = wheel->late_ms = INT64_MAX;
  wheel->count = 0;
  for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
    wheel->occupied[level] = 0;
    for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++) list_init(&wheel->slots[level][slot]);
  }
}

/* The highest group of bits in which the two times differ. */
static unsigned level_of(int64_t deadline_ms, int64_t time_ms) {
  uint64_t differ = (uint64_t)deadline_ms ^ (uint64_t)time_ms;
  return differ != 0 ? (63u - (unsigned)__builtin_clzll(differ)) / WHEEL_BITS : 0;
}

static void put(struct wheel *wheel, struct wheel_node *node) {
  int64_t when = node->deadline_ms;
  if (when < wheel->time_ms) {
    if (when < wheel->late_ms) wheel->late_ms = when;
    when = wheel->time_ms;
  }
  unsigned level = level_of(when, wheel->time_ms);
  unsigned slot = slot_at(when, level);
  list_append(&wheel->slots[level][slot], &node->link);
  wheel->occupied[level] |= UINT64_C(1) << slot;
}

static void take(struct wheel *wheel, struct wheel_node *node) {
  struct list *neighbour = node->link.next;
  bool last = neighbour == node->link.prev;
  list_remove(&node->link);
  if (!last) return; /* neighbour is the slot's head only if the node was alone */
  size_t index = (size_t)(neighbour - &wheel->slots[0][0]);
  wheel->occupied[index / WHEEL_SLOTS] &= ~(UINT64_C(1) << (index % WHEEL_SLOTS));
}

void wheel_set(struct wheel *wheel, struct wheel_node *node, int64_t deadline_ms) {
  if (wheel_node_armed(node)) {
    take(wheel, node);
  } else {
    wheel->count++;
  }
  node->deadline_ms = deadline_ms;
  if (deadline_ms < wheel->nearest_ms) wheel->nearest_ms = deadline_ms;
  put(wheel, node);
}

void wheel_cancel(struct wheel *wheel, struct wheel_node *node) {
  if (!wheel_node_armed(node)) return;
  take(wheel, node);
  wheel->count--;
}

/* The slot of an upper level that time stands in and that still has nodes to lay out; NULL when
 * there is none. */
static const struct list *slot_under_way(const struct wheel *wheel) {
  for (unsigned level = WHEEL_LEVELS - 1; level > 0; level--) {
    unsigned slot = slot_at(wheel->time_ms, level);
    if (wheel->occupied[level] >> slot & 1) return &wheel->slots[level][slot];
  }
  return NULL;
}

/* The start of the earliest occupied slot. Lower levels end before the next slot of a higher one
 * begins. */
static int64_t next_slot_ms(const struct wheel *wheel) {
  for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
    unsigned shift = WHEEL_BITS * level;
    unsigned from = slot_at(wheel->time_ms, level);
    uint64_t ahead = wheel->occupied[level] >> from << from;
    if (ahead == 0) continue;
    uint64_t slot = (uint64_t)__builtin_ctzll(ahead);
    uint64_t base = (uint64_t)wheel->time_ms >> shift >> WHEEL_BITS << WHEEL_BITS;
    int64_t start = (int64_t)((base | slot) << shift);
    return start > wheel->time_ms ? start : wheel->time_ms;
  }
  return INT64_MAX;
}

struct wheel_node *wheel_pop(struct wheel *wheel, int64_t now_ms, unsigned *budget) {
  while (wheel->count > 0 && *budget > 0) {
    const struct list *upper = slot_under_way(wheel);
    if (upper != NULL) {
      --*budget;
      struct wheel_node *node = LIST_ENTRY(upper->next, struct wheel_node, link);
      take(wheel, node);
      put(wheel, node);
      continue;
    }
    int64_t next = next_slot_ms(wheel);
    if (next > now_ms) break;
    wheel->time_ms = next;
    struct list *slot = &wheel->slots[0][slot_at(next, 0)];
    if (list_empty(slot)) continue; /* time reached an upper slot */
    --*budget;
    struct wheel_node *node = LIST_ENTRY(slot->next, struct wheel_node, link);
    take(wheel, node);
    wheel->count--;
    return node;
  }
  if (*budget > 0 && wheel->time_ms <= now_ms) {
    wheel->time_ms = now_ms;
    wheel->late_ms = INT64_MAX;
  }
  return NULL;
}

int64_t wheel_next(const struct wheel *wheel) {
  if (wheel->count == 0) return INT64_MAX;
  return slot_under_way(wheel) != NULL
             ? wheel->time_ms
             : next_slot_ms(wheel); /* what is not laid out may end at any time */
}

int64_t wheel_earliest(const struct wheel *wheel) {
  int64_t next_ms = wheel_next(wheel);
  return wheel->late_ms < next_ms ? wheel->late_ms : next_ms;
}

void wheel_refresh(struct wheel *wheel) { wheel->nearest_ms = wheel_next(wheel); }
