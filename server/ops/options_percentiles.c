/* options_percentiles.c - see options_percentiles.h. */
#include "server/ops/options_percentiles.h"

#include <stdlib.h>

/* Of a number: as many digits as anybody asks for. */
#define NUMBER_MAX 16

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static struct span next_word(const char **cursor) {
  while (is_blank(**cursor)) ++*cursor;
  const char *start = *cursor;
  while (**cursor != '\0' && !is_blank(**cursor)) ++*cursor;
  return (struct span){start, (size_t)(*cursor - start)};
}

/* Digits with at most one point between them: strtod takes more, and a point only in some locales.
 */
static bool parse(struct span word, double *number) {
  bool point = false;
  double scale = 1;
  *number = 0;
  if (word.len == 0 || word.len > NUMBER_MAX) return false;
  for (size_t i = 0; i < word.len; i++) {
    char c = word.data[i];
    if (c == '.' && !point && i > 0 && i + 1 < word.len) {
      point = true;
      continue;
    }
    if (c < '0' || c > '9') return false;
    *number = *number * 10 + (c - '0');
    if (point) scale *= 10;
  }
  *number /= scale;
  return *number <= 100;
}

bool options_percentiles_next(const char **cursor, double *percentile) {
  return parse(next_word(cursor), percentile);
}

bool options_percentiles_check(const char *list, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  double number;
  for (size_t count = 0;; count++) {
    struct span word = next_word(&list);
    if (word.len == 0) return true;
    if (count == OPTIONS_PERCENTILES_MAX)
      return refusal_write(error, "more than %d percentiles", OPTIONS_PERCENTILES_MAX);
    if (!parse(word, &number))
      return refusal_write(error, "bad percentile '%s': expected a number from 0 to 100, as 99.9",
                           refusal_show(word, shown));
  }
}
