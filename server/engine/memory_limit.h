/*
 * memory_limit.h - an engine's memory against the limit of all engines of a keyspace.
 *
 *     demand   bytes allocated + a reserve for the response of each claim that is HELD
 *
 * Nothing is evicted, ever: at the limit a claim that would be granted anew is refused, and so is
 * SET of a plain value; a STORE is not, since its claim keeps a reserve. One that has lapsed has
 * given its reserve back: its STORE and RENEW may be refused. Flushed entries and holes in
 * chunks are freed before a caller is refused.
 *
 * It must not know commands or answers. Invariant: an engine that sweeps after FLUSHALL counts as
 * empty for the others, so it removes more than it takes: each memory_limit_make_room sweeps some.
 * Records give their bytes back by whole slabs: until the sweep ends, all may be over the limit by
 * the slabs that claims of other sizes took meanwhile.
 *
 * Only the thread that holds the engine calls; of the other engines only their published figures
 * are read, which are atomic.
 */
#ifndef IDEM_SERVER_ENGINE_MEMORY_LIMIT_H
#define IDEM_SERVER_ENGINE_MEMORY_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;

/* What a HELD claim counts for against the memory limit: a response of so many bytes, and the most
 * that it can take besides them. */
size_t memory_limit_reserve(size_t store_reserve);
/* Publishes how much of the memory limit this engine takes, for the other engines of its
 * engine_common: call it after the last call on the engine, before its lock is given up. Does
 * nothing without a limit, or for a single engine. */
void memory_limit_publish(struct engine *engine);

/* ---- for the rooms of the engine ---- */

struct memory_limit_demand {
  size_t bytes;
  bool claim; /* and a HELD claim, with its reserve */
};
/*
 * Makes sure that so much more fits below the limit; false: it does not, and the caller is refused.
 *
 * While it does not fit, and anything is left to sweep, it sweeps: flushed entries are freed, and
 * live responses MOVE out of sparse chunks, so that every response_ref of the caller may be stale
 * afterwards. A record that is not flushed stays where it is. The sweep ends when enough is free or
 * sweep_is_needed is false, so it takes at most one pass over the index and the sparse chunks.
 * While the engine is sweeping after FLUSHALL, some entries are swept even if there is room.
 */
bool memory_limit_make_room(struct engine *engine, struct memory_limit_demand more, int64_t now_ms);
/* What may be taken below the limit once freed_bytes of this engine are given back; SIZE_MAX: there
 * is no limit. */
size_t memory_limit_room(const struct engine *engine, size_t freed_bytes);
/* Call before the key of a STORE is looked up: near the limit, frees what one bounded sweep can, so
 * that its response gets an open chunk. Responses MOVE, as above. */
void memory_limit_relieve(struct engine *engine, int64_t now_ms);

#endif
