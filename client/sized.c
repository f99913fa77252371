/* sized.c - see sized.h. */
#include "client/sized.h"

#include <string.h>

bool sized_copy(void *to, size_t to_size, const void *from, size_t size_0_1) {
  size_t size = 0;
  memcpy(&size, from, sizeof size);
  if (size == 0) size = size_0_1;
  if (size < size_0_1) return false;
  size_t common = size < to_size ? size : to_size;
  memset(to, 0, to_size);
  memcpy(to, from, common);
  const unsigned char *beyond = (const unsigned char *)from + common;
  for (size_t i = 0; i < size - common; i++) {
    if (beyond[i] != 0) return false;
  }
  return true;
}
