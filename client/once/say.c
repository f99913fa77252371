/* say.c - see say.h. */
#include "client/once/say.h"

#include <stdarg.h>
#include <stdio.h>

#define ESCAPE_BYTES 4 /* \xNN */

/* In one write, so that lines of several processes do not mix. */
static void put_escaped(const char *text) {
  char line[SAY_BYTES * ESCAPE_BYTES + 2];
  char *end = line;
  for (const char *at = text; *at != '\0'; at++) {
    if (*at >= ' ' && *at <= '~') {
      *end++ = *at;
    } else {
      end += sprintf(end, "\\x%02x", (unsigned char)*at);
    }
  }
  *end++ = '\n';
  fwrite(line, 1, (size_t)(end - line), stderr);
}

void say(const char *key, const char *format, ...) {
  char text[SAY_BYTES];
  va_list arguments;
  int len = snprintf(text, sizeof text, "idem-once: ");
  if (key != NULL) len = snprintf(text, sizeof text, "idem-once: key %.1024s: ", key);
  va_start(arguments, format);
  vsnprintf(text + len, sizeof text - (size_t)len, format, arguments);
  va_end(arguments);
  put_escaped(text);
}
