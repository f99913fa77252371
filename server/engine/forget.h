/*
 * forget.h - an entry becomes absent: watchers are told (effect.h), then it is removed (entry.h).
 *
 * Whether it should be absent is decided before, in due.h, grant.h or keys.h, which also count
 * it. It must not know the rules, waiters or time. STORE with TTL 0 and tick.h, which removes
 * responses in groups, tell the watchers on their own.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_FORGET_H
#define IDEM_SERVER_ENGINE_FORGET_H

#include "server/engine/entry.h"

/* Frees the record; it has no waiters by then. */
void forget_record(struct engine *engine, struct record *record);
/* `hash` is that of its key. A pinned response can still be read by those that pinned it. */
void forget_response(struct engine *engine, struct response_ref *response, uint64_t hash);
/* Either kind; the entry is not absent. */
void forget_entry(struct engine *engine, struct entry entry);

#endif
