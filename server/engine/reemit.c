/* reemit.c - see reemit.h. */
#include "server/engine/reemit.h"

#include "server/engine/emit.h"
#include "server/engine/find.h"

/* The time alone may have moved it from HELD to LAPSED or UNKNOWN since. */
static bool is_current(const struct record *record, const struct image *image) {
  if (record_is_value(record)) return image->kind == IMAGE_VALUE && record->token == image->token;
  if (image->kind != IMAGE_RECORD) return false;
  bool same = record->token == image->token && record->since_ms == image->since_ms;
  bool moved_on = record->phase != image->phase;
  return same && (moved_on || record->timer.deadline_ms == image->deadline_ms);
}

/* What is emitted: one of the two, or neither. */
struct current {
  struct record *record;
  bool is_response;
  struct response response;
};

static void find_current(struct engine *engine, const struct name *name, const struct image *image,
                         int64_t now_ms, struct current *current) {
  struct entry entry = find_entry(engine, name, now_ms, &current->response);
  bool record = entry.record != NULL && is_current(entry.record, image);
  current->record = record ? entry.record : NULL;
  current->is_response = entry.response != NULL && image->kind == IMAGE_RESPONSE &&
                         current->response.token == image->token;
}

bool reemit_counts(struct engine *engine, const struct name *name, const struct image *image,
                   int64_t now_ms) {
  struct current current;
  find_current(engine, name, image, now_ms, &current);
  return current.record != NULL || current.is_response;
}

bool reemit_image(struct engine *engine, const struct name *name, const struct image *image,
                  int64_t now_ms) {
  struct current current;
  find_current(engine, name, image, now_ms, &current);
  if (current.is_response) {
    emit_response(engine, &current.response);
  } else if (current.record != NULL && record_is_value(current.record)) {
    emit_value(engine, current.record);
  } else if (current.record != NULL) {
    emit_record(engine, current.record);
  } else {
    return false;
  }
  return true;
}
