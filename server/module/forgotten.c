/* forgotten.c - see forgotten.h. */
#include "server/module/forgotten.h"

/* Its code becomes part of this file: the module then needs no library that the host has not. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "server/module/api.h"

void forgotten_init(struct forgotten *forgotten, size_t slots, uint64_t secret, int64_t now_ms) {
  *forgotten = (struct forgotten){.start_ms = now_ms, .slots = slots, .secret = secret};
}

void forgotten_begin(struct forgotten *forgotten, int64_t now_ms) {
  if (now_ms > forgotten->start_ms) forgotten->start_ms = now_ms;
}

static size_t slot_of(const struct forgotten *forgotten, struct span key) {
  return XXH3_64bits_withSeed(key.data, key.len, forgotten->secret) & (forgotten->slots - 1);
}

void forgotten_note(struct forgotten *forgotten, struct span key, int64_t since_ms) {
  if (forgotten->times == NULL)
    forgotten->times = api.Calloc(forgotten->slots, sizeof *forgotten->times);
  int64_t *time = &forgotten->times[slot_of(forgotten, key)];
  if (since_ms > *time) *time = since_ms;
}

int64_t forgotten_until_ms(const struct forgotten *forgotten, struct span key) {
  if (forgotten->times == NULL) return forgotten->start_ms;
  int64_t time = forgotten->times[slot_of(forgotten, key)];
  return time > forgotten->start_ms ? time : forgotten->start_ms;
}
