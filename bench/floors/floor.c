/* Options and lines of the floors. */
#include "bench/floors/floor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_size(const char *text, size_t least, size_t most, size_t *size) {
  char *end = NULL;
  errno = 0;
  unsigned long value = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
  if (end == NULL || *end != '\0' || errno != 0 || value < least || value > most) return false;
  *size = value;
  return true;
}

bool floor_parse(struct floor_options *options, const char *name, bool relay, int argc,
                 char **argv) {
  struct {
    const char *name;
    size_t least, most;
    size_t *size;
  } rows[] = {{"--port", 0, 65535, &options->port},
              {"--reply-bytes", 1, FLOOR_SIZE_MAX_BYTES, &options->reply_bytes},
              {"--request-bytes", 1, FLOOR_SIZE_MAX_BYTES, &options->request_bytes}};
  size_t count = sizeof rows / sizeof rows[0] - (relay ? 1 : 0);
  for (int i = 1; i < argc; i += 2) {
    size_t row = 0;
    while (row < count && strcmp(rows[row].name, argv[i]) != 0) row++;
    if (row == count) {
      fprintf(stderr, "%s: %s: unknown option\n", name, argv[i]);
      return false;
    }
    if (i + 1 == argc ||
        !parse_size(argv[i + 1], rows[row].least, rows[row].most, rows[row].size)) {
      fprintf(stderr, "%s: %s needs a number from %zu to %zu\n", name, argv[i], rows[row].least,
              rows[row].most);
      return false;
    }
  }
  if (options->reply_bytes > 0 && (relay || options->request_bytes > 0)) return true;
  fprintf(stderr, "%s: %s--reply-bytes required\n", name, relay ? "" : "--request-bytes and ");
  return false;
}

char floor_next(struct floor_line *line, const char **at, const char *end) {
  if (*at == end) return 0;
  if (!line->inside) line->first = **at;
  const char *stop = memchr(*at, '\n', (size_t)(end - *at));
  line->inside = stop == NULL;
  *at = stop == NULL ? end : stop + 1;
  return stop == NULL ? 0 : line->first;
}

size_t floor_count(char *text, size_t count) {
  return (size_t)snprintf(text, FLOOR_COUNT_BYTES, ":%zu\r\n", count);
}

void floor_ready(size_t port) {
  printf("ready %zu\n", port);
  fflush(stdout);
}
