/* slot.c - see slot.h. The rule is that of the cluster specification of Redis. */
#include "client/slot.h"

#include <stdint.h>
#include <string.h>

#define POLYNOMIAL 0x1021 /* x^16 + x^12 + x^5 + 1, not reflected, begun with 0 */

/* Bit by bit: a key is short, and the call that follows crosses a network. */
static unsigned crc16(const unsigned char *data, size_t len) {
  uint16_t crc = 0;
  for (size_t i = 0; i < len; i++) {
    crc = (uint16_t)(crc ^ data[i] << 8);
    for (int bit = 0; bit < 8; bit++)
      crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ POLYNOMIAL : crc << 1);
  }
  return crc;
}

unsigned slot_of(struct idem_bytes key) {
  const char *data = key.data;
  size_t len = key.len;
  const char *open = len > 0 ? memchr(data, '{', len) : NULL;
  if (open != NULL) {
    size_t left = len - (size_t)(open + 1 - data);
    const char *close = left > 0 ? memchr(open + 1, '}', left) : NULL;
    if (close != NULL && close > open + 1) {
      data = open + 1;
      len = (size_t)(close - data);
    }
  }
  return crc16((const unsigned char *)data, len) % SLOT_COUNT;
}
