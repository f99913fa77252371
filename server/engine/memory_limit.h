/*
 * memory_limit.h - an engine's memory against the limit of all engines of a keyspace.
 *
 *     demand   bytes allocated + a reserve for the response of each open claim
 *
 * Nothing is evicted, ever: at the limit a claim that would add a record is refused; a STORE is
 * not. Flushed entries and holes in chunks are freed before a caller is refused.
 */
#ifndef IDEM_SERVER_ENGINE_MEMORY_LIMIT_H
#define IDEM_SERVER_ENGINE_MEMORY_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;

/* What an open claim counts for against the memory limit: a response of so many bytes, and the most
 * that it can take besides them. */
size_t memory_limit_reserve(size_t store_reserve);
/* Publishes to the other engines of the common how much of the memory limit this one takes: call it
 * before another thread may use the engine. Does nothing without a limit, or for a single
 * engine. */
void memory_limit_publish(struct engine *engine);

/* ---- for the rooms of the engine ---- */

struct memory_limit_demand {
  size_t bytes;
  bool claim; /* and an open claim, with its reserve */
};
/* Whether so much more would exceed the limit. */
bool memory_limit_refuses(struct engine *engine, struct memory_limit_demand more, int64_t now_ms);
/* What may be taken below the limit when so much has been freed; SIZE_MAX: there is none. */
size_t memory_limit_room(const struct engine *engine, size_t freed_bytes);
/* Call before a response gets no open chunk for lack of room: frees what a sweep can. */
void memory_limit_relieve(struct engine *engine, int64_t now_ms);

#endif
