/* random.h - random bytes of the system. Any thread may call. */
#ifndef IDEM_SERVER_BASE_RANDOM_H
#define IDEM_SERVER_BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>

/* false: the system gives none. */
bool random_get(void *bytes, size_t count);

#endif
