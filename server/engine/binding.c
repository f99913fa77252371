/* binding.c - see binding.h. */
#include "server/engine/binding.h"

#include "server/engine/record.h"

struct binding *binding_create(struct engine *engine) {
  struct binding *binding = memory_take(&engine->memory, sizeof *binding);
  if (binding == NULL) return NULL;
  *binding = (struct binding){.references = 0};
  list_init(&binding->claims);
  list_init(&binding->link);
  return binding;
}

#define BOUND_LOOKED_AT 256u

bool binding_holds(const struct binding *binding) {
  if (binding == NULL) return false;
  unsigned left = BOUND_LOOKED_AT;
  for (struct list *node = binding->claims.next; node != &binding->claims; node = node->next) {
    const struct claim *claim = LIST_ENTRY(node, struct claim, bound);
    if (claim->record->phase == RULES_HELD || --left == 0) return true;
  }
  return false;
}

void binding_forget(struct engine *engine, struct binding *binding) {
  binding_refer(binding);
  while (!list_empty(&binding->claims)) {
    struct claim *claim = LIST_ENTRY(binding->claims.next, struct claim, bound);
    record_clear(claim->record, RECORD_BIND);
    binding_unbind(engine, claim);
  }
  binding->references--; /* the caller's part is left */
}

void binding_close(struct engine *engine, struct binding *binding, int64_t now_ms) {
  if (binding == NULL) return;
  binding_refer(binding);
  binding->closed = true;
  binding->closed_ms = now_ms;
  if (!list_empty(&binding->claims)) list_append(&engine->closing, &binding->link);
  binding_release(engine, binding);
}

void binding_bind(struct binding *binding, struct claim *claim) {
  if (binding == NULL) return;
  binding_refer(binding);
  claim->binding = binding;
  list_append(&binding->claims, &claim->bound);
}

void binding_unbind(struct engine *engine, struct claim *claim) {
  struct binding *binding = claim->binding;
  list_remove(&claim->bound);
  claim->binding = NULL;
  binding_release(engine, binding);
}

void binding_refer(struct binding *binding) {
  if (binding != NULL) binding->references++;
}

void binding_release(struct engine *engine, struct binding *binding) {
  if (binding == NULL || --binding->references > 0 || !binding->closed) return;
  list_remove(&binding->link);
  memory_give(&engine->memory, binding, sizeof *binding);
}
