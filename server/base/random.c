/* random.c - see random.h. */
#include "server/base/random.h"

#include <sys/random.h>

bool random_get(void *bytes, size_t count) { return getrandom(bytes, count, 0) == (ssize_t)count; }
