/* allocator.c - see allocator.h. */
#include "server/base/allocator.h"

#include <stdlib.h>

/* Volatile: otherwise the compiler drops an allocation that is only freed again. */
bool allocator_has(size_t size) {
  void *volatile bytes = malloc(size);
  bool there = bytes != NULL;
  free(bytes);
  return there;
}
