/* http_format.c - see http_format.h. */
#include "server/net/http_format.h"

#include <inttypes.h>

void http_format_count(struct http_text *text, uint64_t count) {
  if (count < 1000) {
    http_text_print(text, "%" PRIu64, count);
    return;
  }
  uint64_t unit = 1000;
  while (count / unit >= 1000) unit *= 1000;
  http_text_print(text, "%" PRIu64, count / unit);
  for (unit /= 1000; unit > 0; unit /= 1000)
    http_text_print(text, ",%03" PRIu64, count / unit % 1000);
}

void http_format_duration(struct http_text *text, int64_t ms) {
  int64_t s = ms / 1000;
  if (ms < 1000) {
    http_text_print(text, "%lld ms", (long long)ms);
  } else if (s < 60) {
    http_text_print(text, "%lld.%lld s", (long long)s, (long long)(ms / 100 % 10));
  } else if (s < 3600) {
    http_text_print(text, "%lld min %02lld s", (long long)s / 60, (long long)s % 60);
  } else if (s < 86400) {
    http_text_print(text, "%lld h %02lld min", (long long)s / 3600, (long long)s / 60 % 60);
  } else {
    http_text_print(text, "%lld d %lld h", (long long)s / 86400, (long long)s / 3600 % 24);
  }
}

void http_format_bytes(struct http_text *text, uint64_t bytes) {
  static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = (double)bytes / 1024;
  unsigned unit = 0;
  if (bytes < 1024) {
    http_text_print(text, "%" PRIu64 " B", bytes);
    return;
  }
  for (; value >= 1024 && unit < 3; unit++) value /= 1024;
  http_text_print(text, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, units[unit]);
}
