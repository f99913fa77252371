/*
 * binding.h - BIND: what claims are bound to: one connection of the caller.
 *
 * When it is closed the claims that are HELD under it end, in O(1): each ends when a call looks at
 * its key, or in tick.h.
 *
 * It must not know connections, nor what the end of a claim means (due.h, grant.h). Invariants: a
 * claim is bound to at most one binding; a closed binding is in engine.closing while claims that
 * were bound at its close are left, and is freed with its last reference.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_BINDING_H
#define IDEM_SERVER_ENGINE_BINDING_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/list.h"

struct claim;
struct engine;

struct binding {
  uint32_t references; /* claims, waiters and pending undos that point here */
  bool closed;
  int64_t closed_ms;
  struct list claims; /* struct claim.bound */
  struct list link;   /* in engine.closing, once closed with claims left */
};

/* It starts without references: the caller's part ends with binding_close, which has to be called
 * exactly once. NULL when memory is short. */
struct binding *binding_create(struct engine *engine);
/* Whether any claim bound to it is HELD; with very many bound, returns true without looking at all
 * of them. Takes NULL. */
bool binding_holds(const struct binding *binding);
/* No claim is bound to it from here on; its connection may be closed without any end. */
void binding_forget(struct engine *engine, struct binding *binding);
/* The connection is closed: its held claims end, as of now_ms. Call it exactly once, after its
 * waiters were cancelled. The binding is the engine's to free from here on: no claim and no waiter
 * may be given it any more. Takes NULL. */
void binding_close(struct engine *engine, struct binding *binding, int64_t now_ms);

/* ---- for the rooms of the engine ---- */

/* Binds a claim that is bound to nothing, to a binding that is not closed. Takes NULL as the
 * binding: the claim stays bound to nothing. */
void binding_bind(struct binding *binding, struct claim *claim);
/* The claim is bound to nothing afterwards; a closed binding is freed with its last reference. Does
 * nothing to a claim that is bound to nothing. */
void binding_unbind(struct engine *engine, struct claim *claim);
/* A reference in addition to those of its claims; both take NULL. */
void binding_refer(struct binding *binding);
void binding_release(struct engine *engine, struct binding *binding);

#endif
