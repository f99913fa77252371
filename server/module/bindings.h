/*
 * bindings.h - claims with BIND: which connection each ends with.
 *
 *     keys      (db, key) --> binding <--> binding    of one connection
 *     clients   client id --> its list
 *
 * It must not know records. A connection belongs to one process, so these are not replicated: BIND
 * holds as long as the key stays on this master.
 */
#ifndef IDEM_SERVER_MODULE_BINDINGS_H
#define IDEM_SERVER_MODULE_BINDINGS_H

#include "proto/span.h"
#include "server/base/list.h"
#include "server/module/api.h"

#define BINDINGS_KEY_MAX (64 * 1024) /* the longest key that settings allow */

struct bindings {
  RedisModuleDict *keys, *clients;
  char *id; /* room to put the name of a key together */
  struct list
      closed; /* struct binding.link: their connection was closed, and nothing was done yet */
};

struct binding {
  struct list link; /* of its client, or closed */
  uint64_t client_id, token;
  int64_t closed_ms; /* RULES_NEVER: it is open */
  int db;
  struct span key; /* into bytes */
  char bytes[];
};

void bindings_init(struct bindings *bindings);

/* NULL: the key is bound to no connection. */
struct binding *bindings_find(const struct bindings *bindings, int db, struct span key);
/* The claim with this token, in the place of any former one of the key. */
void bindings_set(struct bindings *bindings, int db, struct span key, uint64_t client_id,
                  uint64_t token);
/* Takes NULL. */
void bindings_drop(struct bindings *bindings, struct binding *binding);
/* Drops those of this database, -1: all. */
void bindings_clear(struct bindings *bindings, int db);
/* Its bindings are closed as of then. True: it had any. */
bool bindings_close(struct bindings *bindings, uint64_t client_id, int64_t now_ms);
/* One that was closed; the caller drops it. NULL: none. */
struct binding *bindings_closed(const struct bindings *bindings);

#endif
