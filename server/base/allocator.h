/*
 * allocator.h - what callers of malloc need to know beyond its interface: whether it has memory at
 * this moment, and that a thread has to ask for some before others depend on it. Thread-safe.
 */
#ifndef IDEM_SERVER_BASE_ALLOCATOR_H
#define IDEM_SERVER_BASE_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>

/* Whether an allocation of this size would succeed at this moment. */
bool allocator_has(size_t size);
/* To be called first in a thread that allocates or frees. The allocator takes its data of a thread
 * when the thread first asks, and jemalloc 5.3 ends the process if there is no memory for it then.
 */
void allocator_begin_thread(void);

#endif
