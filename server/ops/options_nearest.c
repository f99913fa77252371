/* options_nearest.c - see options_nearest.h. */
#include "server/ops/options_nearest.h"

#include "server/ops/options.h"

#define MAX_NAME 32 /* bytes of a name that are compared; ours are shorter */

static size_t smallest(size_t a, size_t b, size_t c) {
  size_t least = a < b ? a : b;
  return least < c ? least : c;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* Levenshtein's distance with one row of the matrix. */
static size_t edit_distance(struct span a, struct span b) {
  size_t row[MAX_NAME + 1];
  for (size_t j = 0; j <= b.len; j++) row[j] = j;
  for (size_t i = 1; i <= a.len; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.len; j++) {
      size_t above = row[j];
      size_t change = lower(a.data[i - 1]) == b.data[j - 1] ? 0 : 1;
      row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + change);
      diagonal = above;
    }
  }
  return row[b.len];
}

const char *options_nearest_name(struct span name) {
  const char *nearest = NULL;
  /* Two letters (one transposition), or a third of them, may be wrong; more is a different word. */
  size_t best = (name.len < 6 ? 2 : name.len / 3) + 1;
  if (name.len < 3 || name.len > MAX_NAME) return NULL;
  for (size_t i = 0; i < options_count(); i++) {
    struct span candidate = span_of(options_row(i)->name);
    if (candidate.len > MAX_NAME) continue;
    size_t distance = edit_distance(name, candidate);
    if (distance >= best) continue;
    best = distance;
    nearest = candidate.data;
  }
  return nearest;
}
