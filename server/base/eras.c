/* eras.c - see eras.h. */
#include "server/base/eras.h"

#include <string.h>

static void merge_oldest(struct eras *eras) {
  eras->of[1].from_ms = eras->of[0].from_ms;
  memmove(eras->of, eras->of + 1, (ERAS_MOST - 1) * sizeof eras->of[0]);
  eras->count--;
}

void eras_begin(struct eras *eras, int64_t from_ms, int64_t former_offset_ms) {
  if (eras->count > 0) eras->of[eras->count - 1].offset_ms = former_offset_ms;
  if (eras->count == ERAS_MOST) merge_oldest(eras);
  eras->of[eras->count++] = (struct era){.from_ms = from_ms, .offset_ms = former_offset_ms};
}

static int64_t offset_of(const struct eras *eras, int64_t offset_ms, unsigned era) {
  return era + 1 >= eras->count ? offset_ms : eras->of[era].offset_ms;
}

int64_t eras_unix_ms(const struct eras *eras, int64_t offset_ms, int64_t ms) {
  unsigned era = eras->count > 0 ? eras->count - 1 : 0;
  while (era > 0 && ms < eras->of[era].from_ms) era--;
  return ms + offset_of(eras, offset_ms, era);
}

int64_t eras_clock_ms(const struct eras *eras, int64_t offset_ms, int64_t unix_ms) {
  int64_t ms = unix_ms - offset_ms;
  for (unsigned era = eras->count; era-- > 1 && ms < eras->of[era].from_ms;) {
    ms = unix_ms - offset_of(eras, offset_ms, era - 1);
    if (ms >= eras->of[era].from_ms) return eras->of[era].from_ms; /* away */
  }
  return ms;
}
