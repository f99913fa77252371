/* refusal.c - see refusal.h. */
#include "server/ops/refusal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool refusal_write(char error[REFUSAL_BYTES], const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error, REFUSAL_BYTES, format, arguments);
  va_end(arguments);
  return false;
}

bool refusal_write_errno(const char *verb, const char *path, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  int reason = errno;
  return refusal_write(error, "cannot %s %s: %s", verb, refusal_show(span_of(path), shown),
                       strerror(reason));
}

const char *refusal_show(struct span bytes, char text[REFUSAL_SHOWN_BYTES]) {
  static const char digits[] = "0123456789abcdef";
  static const char cut_mark[] = "...";
  size_t len = 0;
  for (size_t i = 0; i < bytes.len; i++) {
    if (len + sizeof("\\xHH") + sizeof(cut_mark) > REFUSAL_SHOWN_BYTES) {
      memcpy(text + len, cut_mark, sizeof(cut_mark));
      return text;
    }
    unsigned char byte = (unsigned char)bytes.data[i];
    if (byte >= ' ' && byte < 0x7f) {
      text[len++] = (char)byte;
    } else {
      const char escape[] = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
      memcpy(text + len, escape, sizeof(escape));
      len += sizeof(escape);
    }
  }
  text[len] = '\0';
  return text;
}
