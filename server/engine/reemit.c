/* reemit.c - see reemit.h. */
#include "server/engine/reemit.h"

#include "server/engine/due.h"
#include "server/engine/emit.h"
#include "server/engine/find.h"

/* The time alone may have moved it from HELD to LAPSED or UNKNOWN since. */
static bool is_current(const struct record *record, const struct image *image) {
  if (record_is_value(record)) return image->kind == IMAGE_VALUE && record->token == image->token;
  if (image->kind != IMAGE_RECORD) return false;
  bool same = record->token == image->token && record_since_ms(record) == image->since_ms;
  bool moved_on = record->phase != image->phase;
  return same && (moved_on || record_deadline_ms(record) == image->deadline_ms);
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

static void emit_of_record(struct engine *engine, const struct record *record) {
  if (record_is_value(record)) {
    emit_value(engine, record);
  } else {
    emit_record(engine, record);
  }
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
  } else if (current.record != NULL) {
    emit_of_record(engine, current.record);
  }
  return current.is_response || current.record != NULL;
}

/* ---- every key ---- */

struct reemit_need reemit_need(const struct engine *engine, uint64_t cursor, int64_t now_ms) {
  struct reemit_need need = {0};
  uint64_t next;
  struct index_walk walk = index_scan(&engine->index, cursor, &next);
  for (uint64_t word; (word = index_next(&walk)) != 0;) {
    struct entry entry = entry_of_word(word);
    if (due_is_gone(engine, entry, now_ms)) continue;
    need.images++;
    need.bytes += entry_memory(entry) + FINGERPRINT_PACKED; /* an image has its text */
  }
  return need;
}

static void emit_entry(struct engine *engine, struct entry entry) {
  struct response response;
  if (entry.response != NULL) {
    response_log_read(entry.response, &response);
    emit_response(engine, &response);
  } else {
    emit_of_record(engine, entry.record);
  }
}

uint64_t reemit_bucket(struct engine *engine, uint64_t cursor, int64_t now_ms) {
  uint64_t next;
  struct index_walk walk = index_scan(&engine->index, cursor, &next);
  for (uint64_t word; (word = index_next(&walk)) != 0;) {
    struct entry entry = entry_of_word(word);
    if (!due_is_gone(engine, entry, now_ms)) emit_entry(engine, entry);
  }
  return next;
}
