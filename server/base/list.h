/*
 * list.h - circular doubly linked lists with embedded nodes: O(1) removal by the node alone, no
 * allocation.
 *
 *     head <-> a <-> b <-> head        an empty list's head points at itself
 *
 * A node that is in no list points at itself after list_init, so removing it twice is harmless.
 */
#ifndef IDEM_SERVER_BASE_LIST_H
#define IDEM_SERVER_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
  struct list *prev, *next;
};

#define LIST_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list *l) { l->prev = l->next = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }

static inline void list_append(struct list *head, struct list *node) {
  node->prev = head->prev;
  node->next = head;
  head->prev->next = node;
  head->prev = node;
}

static inline void list_prepend(struct list *head, struct list *node) {
  list_append(head->next, node);
}

static inline void list_remove(struct list *node) {
  node->prev->next = node->next;
  node->next->prev = node->prev;
  list_init(node);
}

/* All nodes of `from` go to the front of `head`, in their order. */
static inline void list_splice(struct list *head, struct list *from) {
  if (list_empty(from)) return;
  from->prev->next = head->next;
  head->next->prev = from->prev;
  head->next = from->next;
  from->next->prev = head;
  list_init(from);
}

/* The first node, taken out; NULL when empty. */
static inline struct list *list_pop(struct list *head) {
  struct list *node = head->next;
  if (node == head) return NULL;
  list_remove(node);
  return node;
}

#endif
