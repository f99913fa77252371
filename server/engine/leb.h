/*
 * leb.h - numbers in seven bits a byte, the lowest first (LEB128): as many bytes as they need.
 *
 * Knows nothing of what they stand for. What is read was written by leb_write: nothing is checked.
 */
#ifndef IDEM_SERVER_ENGINE_LEB_H
#define IDEM_SERVER_ENGINE_LEB_H

#include <stddef.h>
#include <stdint.h>

#define LEB_MOST 10u /* bytes of a number */

static inline size_t leb_size(uint64_t value) {
  return value == 0 ? 1 : (63u - (unsigned)__builtin_clzll(value)) / 7 + 1;
}

/* These return what follows. */

static inline unsigned char *leb_write(unsigned char *to, uint64_t value) {
  for (; value > 0x7f; value >>= 7) *to++ = (unsigned char)(value | 0x80);
  *to++ = (unsigned char)value;
  return to;
}

static inline const unsigned char *leb_read(const unsigned char *from, uint64_t *value) {
  uint64_t read = *from & 0x7fu;
  for (unsigned shift = 7; (*from++ & 0x80) != 0; shift += 7)
    read |= (uint64_t)(*from & 0x7f) << shift;
  *value = read;
  return from;
}

static inline const unsigned char *leb_skip(const unsigned char *from) {
  while ((*from++ & 0x80) != 0) continue;
  return from;
}

#endif
