/* bindings.c - see bindings.h. */
#include "server/module/bindings.h"

#include "server/rules/rules.h"

static size_t key_id(const struct bindings *bindings, int db, struct span key) {
  memcpy(bindings->id, &db, sizeof db);
  memcpy(bindings->id + sizeof db, key.data, key.len);
  return sizeof db + key.len;
}

void bindings_init(struct bindings *bindings) {
  bindings->keys = api.CreateDict(NULL);
  bindings->clients = api.CreateDict(NULL);
  bindings->id = api.Alloc(sizeof(int) + BINDINGS_KEY_MAX);
  list_init(&bindings->closed);
}

/* A longer key was made by other hands (RENAME): no claim of it was bound under that name. */
struct binding *bindings_find(const struct bindings *bindings, int db, struct span key) {
  if (key.len > BINDINGS_KEY_MAX) return NULL;
  return api.DictGetC(bindings->keys, bindings->id, key_id(bindings, db, key), NULL);
}

static struct list *list_of(struct bindings *bindings, uint64_t client_id) {
  struct list *list = api.DictGetC(bindings->clients, &client_id, sizeof client_id, NULL);
  if (list != NULL) return list;
  list = api.Alloc(sizeof *list);
  list_init(list);
  api.DictSetC(bindings->clients, &client_id, sizeof client_id, list);
  return list;
}

static void drop_list_if_empty(struct bindings *bindings, uint64_t client_id) {
  struct list *list = api.DictGetC(bindings->clients, &client_id, sizeof client_id, NULL);
  if (list == NULL || !list_empty(list)) return;
  api.DictDelC(bindings->clients, &client_id, sizeof client_id, NULL);
  api.Free(list);
}

void bindings_set(struct bindings *bindings, int db, struct span key, uint64_t client_id,
                  uint64_t token) {
  bindings_drop(bindings, bindings_find(bindings, db, key));
  struct binding *binding = api.Alloc(sizeof *binding + key.len);
  *binding = (struct binding){.client_id = client_id,
                              .token = token,
                              .closed_ms = RULES_NEVER,
                              .db = db,
                              .key = {binding->bytes, key.len}};
  memcpy(binding->bytes, key.data, key.len);
  list_append(list_of(bindings, client_id), &binding->link);
  api.DictSetC(bindings->keys, bindings->id, key_id(bindings, db, key), binding);
}

void bindings_drop(struct bindings *bindings, struct binding *binding) {
  if (binding == NULL) return;
  list_remove(&binding->link);
  drop_list_if_empty(bindings, binding->client_id);
  api.DictDelC(bindings->keys, bindings->id, key_id(bindings, binding->db, binding->key), NULL);
  api.Free(binding);
}

/* The first one of the database, -1: of any. NULL: there is none. */
static struct binding *first_of(const struct bindings *bindings, int db) {
  bool any = db < 0;
  RedisModuleDictIter *iterator = api.DictIteratorStartC(
      bindings->keys, any ? "^" : ">=", any ? NULL : &db, any ? 0 : sizeof db);
  size_t len;
  void *binding = NULL;
  if (api.DictNextC(iterator, &len, &binding) == NULL) binding = NULL;
  api.DictIteratorStop(iterator);
  return binding != NULL && (any || ((struct binding *)binding)->db == db) ? binding : NULL;
}

void bindings_clear(struct bindings *bindings, int db) {
  for (struct binding *binding; (binding = first_of(bindings, db)) != NULL;)
    bindings_drop(bindings, binding);
}

bool bindings_close(struct bindings *bindings, uint64_t client_id, int64_t now_ms) {
  struct list *list = api.DictGetC(bindings->clients, &client_id, sizeof client_id, NULL);
  if (list == NULL) return false;
  while (!list_empty(list)) {
    struct binding *binding = LIST_ENTRY(list_pop(list), struct binding, link);
    binding->closed_ms = now_ms;
    list_append(&bindings->closed, &binding->link);
  }
  drop_list_if_empty(bindings, client_id);
  return true;
}

struct binding *bindings_closed(const struct bindings *bindings) {
  if (list_empty(&bindings->closed)) return NULL;
  return LIST_ENTRY(bindings->closed.next, struct binding, link);
}
