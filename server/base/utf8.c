/* utf8.c - see utf8.h. */
#include "server/base/utf8.h"

#include <stdbool.h>

size_t utf8_read(const char *text, uint32_t *code) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  unsigned char first = (unsigned char)text[0];
  *code = first;
  if (first < 0x80) return first != '\0' ? 1 : 0;
  if (first < 0xc2 || first > 0xf4) return 0;
  size_t len = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  *code = first & (0x7fu >> len);
  for (size_t i = 1; i < len; i++) {
    if (((unsigned char)text[i] & 0xc0) != 0x80) return 0;
    *code = *code << 6 | ((unsigned char)text[i] & 0x3fu);
  }
  bool valid = *code >= least[len] && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff);
  return valid ? len : 0;
}
