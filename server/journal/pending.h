/*
 * pending.h - records that were appended and are not written yet: the next batch, with room for its
 * header in front, so that it is written in one piece.
 *
 * It must not know files or locks. Moments never go back: what one batch says of engines' clock,
 * largest difference and tokens, all later ones say too.
 */
#ifndef IDEM_SERVER_JOURNAL_PENDING_H
#define IDEM_SERVER_JOURNAL_PENDING_H

#include "server/journal/format.h"

#define PENDING_KEPT_BYTES (1u << 20)   /* capacity of an empty one */
#define PENDING_SLACK_BYTES (64u << 10) /* an append may be so much larger than was announced */

struct pending {
  char *bytes;
  size_t len, capacity; /* len: with the header, so never less than FORMAT_BATCH_BYTES */
  uint32_t count;
  struct journal_moment moment;
  int64_t last_ms;  /* as in struct journal_ends */
  int64_t older_ms; /* and of records before this batch; INT64_MIN: no end was moved */
};

/* False: no memory. */
bool pending_init(struct pending *pending);
void pending_deinit(struct pending *pending);
static inline bool pending_is_empty(const struct pending *pending) {
  return pending->len == FORMAT_BATCH_BYTES;
}
/* So many bytes can be added without an allocation. */
static inline size_t pending_room(const struct pending *pending) {
  size_t rest = pending->capacity - pending->len;
  return rest > PENDING_SLACK_BYTES ? rest - PENDING_SLACK_BYTES : 0;
}
/* Makes it so. False: no memory, or over JOURNAL_BATCH_BYTES. */
bool pending_reserve(struct pending *pending, size_t bytes);
/* False: no memory; nothing was added. */
bool pending_add(struct pending *pending, const struct journal_append *append);
void pending_see(struct pending *pending, const struct journal_moment *moment);
/* Empty again, after it was written; memory over PENDING_KEPT_BYTES is given back. */
void pending_clear(struct pending *pending);

#endif
