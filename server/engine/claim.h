/*
 * claim.h - the part of a record that most open claims never need: its waiters, its stage, the
 * connection that it is bound to. Made when the first of them is needed.
 *
 * It must not know the index, keys or time: who joins, is granted or is bound is decided by
 * wait_queue.h, grant.h and binding.h, which change its lists. Invariants: waiting is the length of
 * both queues together; `granted` is GRANTED and points back through its record.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_CLAIM_H
#define IDEM_SERVER_ENGINE_CLAIM_H

#include <stdint.h>

#include "server/base/list.h"
#include "server/engine/memory.h"

struct binding;
struct blob;
struct record;
struct waiter;

struct claim {
  struct record *record;
  int64_t since_ms; /* of the record, which has no place for it then, nor for its attempt */
  uint32_t attempt, waiting;
  struct blob *owner; /* when the record has no place for one */
  struct blob *stage;
  struct list claimers, readers; /* struct waiter.link, oldest first */
  int64_t first_wait_ms;         /* no waiter's deadline is earlier */
  struct list waited;            /* in engine.waited while waiting > 0 */
  struct binding *binding;
  struct list bound;      /* in binding.claims */
  struct waiter *granted; /* the waiter it was handed over to, while the grant may be taken back */
};

/* Of a record that has none, without its since and attempt. NULL: no memory. */
struct claim *claim_create(struct memory *memory, struct record *record);
/* Frees it with its owner and stage. It has no waiters and no binding by then. Takes NULL. */
void claim_destroy(struct memory *memory, struct claim *claim);
/* The current grant can no longer be taken back: it was acted on, or has ended. Its waiter becomes
 * ANSWERED. Takes NULL, and a claim without such a grant. */
void claim_confirm(struct claim *claim);

#endif
