/*
 * wheel.h - deadlines: a hierarchical timing wheel of embedded nodes, in milliseconds.
 *
 * Eleven levels of 64 slots: every bit of a time, so that no deadline is too far away and no carry
 * leaves the last level. A node lies on the level of the highest group of six bits in which its
 * deadline differs from the wheel's time, so level 0 holds exact milliseconds and a slot of level n
 * stands for 64^n of them:
 *
 *     level 2  [.][.][x][.]...   4 s a slot      deadline = 0b 000010 000101 001100
 *     level 1  [.][x][.][.]...   64 ms a slot    time     = 0b 000010 000011 111000
 *     level 0  [x][.][.][.]...   1 ms a slot     they differ first on level 1: slot 5 of it
 *
 * When time reaches a slot of an upper level its nodes are laid out again on the levels below, one
 * node a step, so that a slot with a million nodes can be worked off under a budget. A node is
 * moved at most ten times in its life, one that ends within a week hardly ever more than five
 * times. Insertion and removal are O(1). The alternative, a binary heap, costs log n cache misses
 * for each of a million deadlines that end together.
 *
 * Invariant: no node lies in a slot that the wheel's time has passed. A deadline in the past counts
 * as "now", but for wheel_earliest.
 */
#ifndef IDEM_SERVER_BASE_WHEEL_H
#define IDEM_SERVER_BASE_WHEEL_H

#include <stdint.h>

#include "server/base/list.h"

#define WHEEL_LEVELS 11
#define WHEEL_BITS 6
#define WHEEL_SLOTS (1u << WHEEL_BITS)

struct wheel_node {
  struct list link;
  int64_t deadline_ms;
};

struct wheel {
  int64_t time_ms;
  int64_t nearest_ms; /* a lower bound of all deadlines: the earliest one set since wheel_refresh */
  int64_t late_ms;    /* one of those that were in the past when they were put in; INT64_MAX: none */
  uint64_t count;
  uint64_t occupied[WHEEL_LEVELS]; /* a bit per slot */
  struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel, int64_t now_ms);

/* Marks the node as being in no wheel. */
static inline void wheel_node_init(struct wheel_node *node) { list_init(&node->link); }
static inline bool wheel_node_armed(const struct wheel_node *node) {
  return !list_empty(&node->link);
}

/* (Re)arms the node. */
void wheel_set(struct wheel *wheel, struct wheel_node *node, int64_t deadline_ms);
/* Takes the node out; harmless when it is in no wheel. */
void wheel_cancel(struct wheel *wheel, struct wheel_node *node);

/*
 * Takes out and returns a node that is due (deadline <= now), in no particular order among those;
 * NULL when there is none or the budget is used up. Every node that is touched costs one of
 * *budget. now_ms must not run backwards.
 */
struct wheel_node *wheel_pop(struct wheel *wheel, int64_t now_ms, unsigned *budget);

/* When wheel_pop has work to do next: a lower bound of the earliest deadline; INT64_MAX when the
 * wheel is empty. */
int64_t wheel_next(const struct wheel *wheel);
/* A lower bound of all deadlines, also of those in the past: wheel_next says the present of them. */
int64_t wheel_earliest(const struct wheel *wheel);
/* Sets nearest_ms to wheel_next. */
void wheel_refresh(struct wheel *wheel);

#endif
