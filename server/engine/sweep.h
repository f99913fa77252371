/*
 * sweep.h - frees what is no longer used: entries that FLUSHALL made absent, and the holes of
 * sparse chunks. Runs in steps, in tick.h and near the memory limit.
 */
#ifndef IDEM_SERVER_ENGINE_SWEEP_H
#define IDEM_SERVER_ENGINE_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

struct engine;

/* It has left as many images as it may before they are taken out: nothing is swept meanwhile. */
bool sweep_is_full(const struct engine *engine);
bool sweep_is_needed(const struct engine *engine);
/* Frees flushed entries, those with waiters first. What is due on each is applied as if a command
 * had looked at it. A step looks at one entry or bucket. */
void sweep_flushed(struct engine *engine, int64_t now_ms, unsigned *budget);
/* Copies live responses out of sparse chunks, which are then freed. A step moves one response. */
void sweep_sparse(struct engine *engine, int64_t now_ms, unsigned *budget);

#endif
