/*
 * allocator.h - what malloc's interface lacks: whether memory is there at this moment, and how a
 * thread makes the allocator set up its data for it in time. Thread-safe.
 */
#ifndef IDEM_SERVER_BASE_ALLOCATOR_H
#define IDEM_SERVER_BASE_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>

/* Whether an allocation of this size would succeed at this moment. */
bool allocator_has(size_t size);
/* Call first in every thread that allocates or frees. The allocator sets up its data for a thread
 * at the thread's first call, and jemalloc 5.3 ends the process if it has no memory for that. */
void allocator_begin_thread(void);

#endif
