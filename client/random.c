/* random.c - see random.h. */
#include "client/random.h"

#include <errno.h>
#include <sys/random.h>

static bool random_bytes(void *out, size_t len) {
  char *at = out;
  while (len > 0) {
    ssize_t got = getrandom(at, len, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    len -= (size_t)got;
  }
  return true;
}

bool random_hex(char *out) {
  static const char digits[] = "0123456789abcdef";
  unsigned char bytes[RANDOM_HEX_BYTES / 2];
  if (!random_bytes(bytes, sizeof bytes)) return false;
  for (size_t i = 0; i < sizeof bytes; i++) {
    out[2 * i] = digits[bytes[i] >> 4];
    out[2 * i + 1] = digits[bytes[i] & 15];
  }
  return true;
}

int64_t random_pause_ms(int64_t ms) {
  uint32_t dice = 0;
  if (ms < 2 || !random_bytes(&dice, sizeof dice)) return ms;
  return ms / 2 + (int64_t)(dice % (uint64_t)(ms - ms / 2 + 1));
}
