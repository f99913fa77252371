/* pending.c - see pending.h. */
#include "server/journal/pending.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

bool pending_init(struct pending *pending) {
  *pending = (struct pending){
      .bytes = malloc(PENDING_KEPT_BYTES),
      .len = FORMAT_BATCH_BYTES,
      .capacity = PENDING_KEPT_BYTES,
      .last_ms = INT64_MIN,
      .older_ms = INT64_MIN,
  };
  return pending->bytes != NULL;
}

void pending_deinit(struct pending *pending) { free(pending->bytes); }

bool pending_reserve(struct pending *pending, size_t bytes) {
  if (bytes <= pending_room(pending)) return true;
  if (bytes > JOURNAL_BATCH_BYTES || pending->len + bytes > JOURNAL_BATCH_BYTES) return false;
  size_t needed = pending->len + bytes + PENDING_SLACK_BYTES;
  size_t capacity = pending->capacity * 2 > needed ? pending->capacity * 2 : needed;
  char *grown = realloc(pending->bytes, capacity);
  if (grown == NULL) return false;
  pending->bytes = grown;
  pending->capacity = capacity;
  return true;
}

void pending_see(struct pending *pending, const struct journal_moment *moment) {
  struct journal_moment *own = &pending->moment;
  own->engine_ms = later(own->engine_ms, moment->engine_ms);
  own->largest_ms = later(own->largest_ms, moment->largest_ms);
  own->wall_ms = moment->wall_ms;
  if (moment->next_token > own->next_token) own->next_token = moment->next_token;
}

bool pending_add(struct pending *pending, const struct journal_append *append) {
  size_t bytes = append->records.len;
  assert(bytes > 0 && bytes % FORMAT_ALIGNMENT == 0);
  if (pending->capacity - pending->len < bytes && !pending_reserve(pending, bytes)) return false;
  memcpy(pending->bytes + pending->len, append->records.data, bytes);
  pending->len += bytes;
  pending->count += append->count;
  pending->last_ms = later(pending->last_ms, append->ends.last_ms);
  if (append->ends.of_older) pending->older_ms = later(pending->older_ms, append->ends.last_ms);
  pending_see(pending, &append->moment);
  return true;
}

static void give_back(struct pending *pending) {
  if (pending->capacity <= PENDING_KEPT_BYTES) return;
  char *less = malloc(PENDING_KEPT_BYTES);
  if (less == NULL) return;
  free(pending->bytes);
  pending->bytes = less;
  pending->capacity = PENDING_KEPT_BYTES;
}

void pending_clear(struct pending *pending) {
  give_back(pending);
  pending->len = FORMAT_BATCH_BYTES;
  pending->count = 0;
  pending->last_ms = pending->older_ms = INT64_MIN;
}
