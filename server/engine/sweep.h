/*
 * sweep.h - memory that waits to be given back: entries that FLUSHALL made absent, and the holes of
 * sparse chunks. Done in steps, by tick.h and near the memory limit.
 */
#ifndef IDEM_SERVER_ENGINE_SWEEP_H
#define IDEM_SERVER_ENGINE_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

struct engine;

bool sweep_is_needed(const struct engine *engine);
/* Frees flushed entries, those with waiters first. What is due on each is applied as if it had been
 * asked for. A step looks at one entry or bucket. */
void sweep_flushed(struct engine *engine, int64_t now_ms, unsigned *budget);
/* Writes sparse chunks anew. A step moves one response. */
void sweep_sparse(struct engine *engine, int64_t now_ms, unsigned *budget);

#endif
