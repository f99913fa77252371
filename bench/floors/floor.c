/* Options, output and lines of the floors. */
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
              {"--request-bytes", 1, FLOOR_SIZE_MAX_BYTES, &options->request_bytes},
              {"--bodies", 1, FLOOR_BODIES_MAX, &options->bodies}};
  size_t count = sizeof rows / sizeof rows[0] - (relay ? 2 : 0);
  for (int i = 1; i < argc; i += 2) {
    size_t row = 0;
    if (strcmp(argv[i], "--unix") == 0 && i + 1 < argc) {
      options->unix_path = argv[i + 1];
      continue;
    }
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

bool floor_output_init(struct floor_output *output, const struct floor_options *options) {
  size_t bodies = options->bodies > 0 ? options->bodies : 1;
  size_t bytes = bodies * options->reply_bytes;
  *output = (struct floor_output){.reply_bytes = options->reply_bytes, .bodies = bodies};
  if (bodies == 1) bytes = FLOOR_WRITE_BYTES;
  output->data = malloc(bytes);
  if (output->data == NULL) return false;
  memset(output->data, 'b', bytes);
  return true;
}

char *floor_output_next(struct floor_output *output, size_t owed_bytes, size_t *bytes) {
  if (output->bodies == 1) {
    *bytes = owed_bytes < FLOOR_WRITE_BYTES ? owed_bytes : FLOOR_WRITE_BYTES;
    return output->data;
  }
  size_t rest = owed_bytes % output->reply_bytes;
  *bytes = rest == 0 ? output->reply_bytes : rest;
  /* The high bits of a linear congruence (Knuth's MMIX). */
  output->draws = output->draws * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  size_t body = (size_t)((output->draws >> 33) % output->bodies);
  return output->data + (body + 1) * output->reply_bytes - *bytes;
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
