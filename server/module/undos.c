/* undos.c - see undos.h. */
#include "server/module/undos.h"

#define UNDO(node) LIST_ENTRY(node, struct undo, link)

void undos_add(struct list *undos, const struct undo *as) {
  struct undo *undo = api.Alloc(sizeof *undo);
  *undo = *as;
  list_append(undos, &undo->link);
}

void undos_drop(struct undo *undo) {
  list_remove(&undo->link);
  api.FreeString(NULL, undo->name);
  if (undo->former != NULL) api.FreeString(NULL, undo->former);
  api.Free(undo);
}

void undos_clear(struct list *undos) {
  while (!list_empty(undos)) undos_drop(UNDO(undos->next));
}

void undos_confirm(struct list *undos, uint64_t token) {
  for (struct list *node = undos->next; node != undos; node = node->next) {
    if (UNDO(node)->token != token) continue;
    undos_drop(UNDO(node));
    return;
  }
}

bool undos_has_client(const struct list *undos, uint64_t client_id) {
  for (struct list *node = undos->next; node != undos; node = node->next) {
    if (UNDO(node)->client_id == client_id) return true;
  }
  return false;
}

void undos_close(struct list *undos, uint64_t client_id, bool written) {
  for (struct list *node = undos->next, *next; node != undos; node = next) {
    next = node->next;
    if (UNDO(node)->client_id != client_id) continue;
    UNDO(node)->gone = true;
    list_remove(node);
    list_prepend(undos, node);
    if (written) undos_drop(UNDO(node));
  }
}

bool undos_has_new(const struct list *undos) {
  const struct undo *last = UNDO(undos->prev);
  return !list_empty(undos) && !last->checked && !last->gone;
}

bool undos_has_gone(const struct list *undos) {
  return !list_empty(undos) && UNDO(undos->next)->gone;
}
