/* queued_owners.c - see queued_owners.h. */
#include "server/engine/queued_owners.h"

#include "server/engine/name.h"
#include "server/engine/pin.h"
#include "server/engine/record.h"
#include "server/engine/waiter_state.h"

/* The table allocates by itself: the engine counts what it takes. */
static void count_memory(struct engine *engine, size_t before_bytes) {
  struct memory *memory = &engine->memory;
  memory->bytes += engine->queued_owners.table.memory_bytes - before_bytes;
  if (memory->bytes > memory->peak_bytes) memory->peak_bytes = memory->bytes;
}

bool queued_owners_prepare(struct engine *engine) {
  struct queued_owners *owners = &engine->queued_owners;
  if (owners->made) return true;
  owners->made = table_init(&owners->table);
  if (owners->made) count_memory(engine, 0);
  return owners->made;
}

void queued_owners_deinit(struct engine *engine) {
  if (engine->queued_owners.made) table_deinit(&engine->queued_owners.table);
}

/* With the engine's secret, so that no client can choose owners that collide. An address differs
 * from others in its middle bits. */
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)
static uint64_t hash_of(const struct engine *engine, const struct record *record,
                        struct span owner) {
  return name_hash(engine, owner) ^ ((uint64_t)(uintptr_t)record * GOLDEN >> 16);
}

static struct waiter *waiter_of(struct table_node *node) {
  return LIST_ENTRY(node, struct waiter, by_owner);
}

struct waiter *queued_owners_find(const struct engine *engine, const struct record *record,
                                  struct span owner) {
  if (!engine->queued_owners.made) return NULL;
  uint64_t hash = hash_of(engine, record, owner);
  struct table_node *node = *table_bucket(&engine->queued_owners.table, hash);
  for (; node != NULL; node = node->next) {
    struct waiter *waiter = waiter_of(node);
    if (node->hash == hash && waiter->record == record &&
        span_equal(pin_bytes(waiter->owner), owner))
      return waiter;
  }
  return NULL;
}

void queued_owners_add(struct engine *engine, struct waiter *waiter) {
  struct table *table = &engine->queued_owners.table;
  size_t before_bytes = table->memory_bytes;
  waiter->by_owner.hash = hash_of(engine, waiter->record, pin_bytes(waiter->owner));
  table_insert(table, &waiter->by_owner);
  count_memory(engine, before_bytes);
}

void queued_owners_remove(struct engine *engine, struct waiter *waiter) {
  struct table *table = &engine->queued_owners.table;
  size_t before_bytes = table->memory_bytes;
  struct table_node **link = table_bucket(table, waiter->by_owner.hash);
  while (*link != &waiter->by_owner) link = &(*link)->next;
  table_remove(table, link);
  count_memory(engine, before_bytes);
}
