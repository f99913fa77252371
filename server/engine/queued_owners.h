/*
 * queued_owners.h - finds the CLAIM that waits for a record with an OWNER, without walking the
 * record's queue.
 *
 *     (record, owner) -> hash -> chain of waiters
 *
 * It must not know why one is looked for, nor the order of a queue (wait_queue.h). Invariant: it
 * has exactly the waiters that are WAITING, claim, and have an owner; of one record each owner at
 * most once.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_QUEUED_OWNERS_H
#define IDEM_SERVER_ENGINE_QUEUED_OWNERS_H

#include <stdbool.h>

#include "proto/span.h"

struct engine;
struct record;
struct waiter;

/* Call before the first queued_owners_add: the table is made for it, 4 KiB, and kept from then on.
 * false: memory is short. */
bool queued_owners_prepare(struct engine *engine);
void queued_owners_deinit(struct engine *engine);
/* NULL: none. */
struct waiter *queued_owners_find(const struct engine *engine, const struct record *record,
                                  struct span owner);
/* The waiter has an owner and waits for its record. */
void queued_owners_add(struct engine *engine, struct waiter *waiter);
void queued_owners_remove(struct engine *engine, struct waiter *waiter);

#endif
