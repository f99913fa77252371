/*
 * binding.h - BIND: what claims are bound to: one connection of the caller.
 *
 * When it is closed the claims that are HELD under it end, in O(1): each ends when a call looks at
 * its key, or in tick.h.
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

/* NULL when memory is short. */
struct binding *binding_create(struct engine *engine);
/* Whether any claim bound to it is HELD; with very many bound, returns true without looking at all
 * of them. Takes NULL. */
bool binding_holds(const struct binding *binding);
/* The connection is closed: its held claims end. Takes NULL; the binding is the engine's to free
 * from here on. */
void binding_close(struct engine *engine, struct binding *binding, int64_t now_ms);

/* ---- for the rooms of the engine ---- */

/* Binds a claim that is bound to nothing. Takes NULL as the binding. */
void binding_bind(struct binding *binding, struct claim *claim);
/* The claim is bound to nothing afterwards. */
void binding_unbind(struct engine *engine, struct claim *claim);
/* A reference in addition to those of its claims; both take NULL. */
void binding_refer(struct binding *binding);
void binding_release(struct engine *engine, struct binding *binding);

#endif
