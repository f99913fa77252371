/*
 * memory_limit.h - what an engine takes against the limit that all engines of a keyspace share.
 *
 *     demand   bytes allocated + a reserve for the response of each open claim
 *
 * Nothing is evicted, ever: at the limit a claim that would add a record is refused; a STORE is
 * not. What flushed entries and holes in chunks take is looked for before a caller is refused.
 */
#ifndef IDEM_SERVER_ENGINE_MEMORY_LIMIT_H
#define IDEM_SERVER_ENGINE_MEMORY_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;

/* What an open claim counts for against the memory limit: a response of so many bytes with all that
 * it takes beside them at worst. */
size_t memory_limit_reserve(size_t store_reserve);
/* Tells the other engines of the common what this one takes of the memory limit: to be called
 * before another thread may use it. Without a limit, or alone, it does nothing. */
void memory_limit_publish(struct engine *engine);

/* ---- for the rooms of the engine ---- */

struct memory_limit_demand {
  size_t bytes;
  bool claim; /* and an open claim, with its reserve */
};
/* Whether so much more is over the limit. */
bool memory_limit_refuses(struct engine *engine, struct memory_limit_demand more, int64_t now_ms);
/* What may be taken below the limit when so much has been freed; SIZE_MAX: there is none. */
size_t memory_limit_room(const struct engine *engine, size_t freed_bytes);
/* Before a response may be refused an open chunk for lack of room: frees what a sweep can. */
void memory_limit_relieve(struct engine *engine, int64_t now_ms);

#endif
