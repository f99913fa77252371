/* allocator.h - what malloc's interface lacks: whether memory is there at this moment. Thread-safe.
 */
#ifndef IDEM_SERVER_BASE_ALLOCATOR_H
#define IDEM_SERVER_BASE_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>

/* Whether an allocation of this size would succeed at this moment. */
bool allocator_has(size_t size);

#endif
