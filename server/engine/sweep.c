/* sweep.c - see sweep.h. */
#include "server/engine/sweep.h"

#include "server/engine/due.h"
#include "server/engine/outbox.h"

bool sweep_is_full(const struct engine *engine) {
  return engine->outbox != NULL && engine->outbox->swept_bytes >= OUTBOX_SWEEP_BYTES;
}

bool sweep_is_needed(const struct engine *engine) {
  return engine->sweeping || !list_empty(&engine->log.sparse);
}

/* ---- after FLUSHALL ---- */

/* The first record with waiters, if it is flushed; else NULL. */
static struct record *flushed_with_waiters(const struct engine *engine) {
  if (list_empty(&engine->waited)) return NULL;
  struct record *record = LIST_ENTRY(engine->waited.next, struct claim, waited)->record;
  return record_is_flushed(engine, record) ? record : NULL;
}

/* The next flushed entry in the bucket under the cursor; false when there is none. */
static bool flushed_in_bucket(const struct engine *engine, uint64_t *next, struct entry *entry) {
  struct index_walk walk = index_scan(&engine->index, engine->sweep_cursor, next);
  for (uint64_t word; (word = index_next(&walk)) != 0;) {
    *entry = entry_of_word(word);
    if (entry_is_flushed(engine, *entry)) return true;
  }
  return false;
}

static void sweep_one(struct engine *engine, int64_t now_ms) {
  struct record *record = flushed_with_waiters(engine);
  if (record != NULL) {
    struct list *waited = &record->claim->waited;
    list_remove(waited);
    list_append(&engine->waited, waited); /* last in the list, in case it is handed over */
    due_apply(engine, record, now_ms);
    return;
  }
  uint64_t next = 0;
  struct entry entry;
  if (flushed_in_bucket(engine, &next, &entry)) {
    due_apply_entry(engine, entry, now_ms);
    return;
  }
  engine->sweep_cursor = next;
  if (next == 0) engine->sweeping = false;
}

/* The waiters of a flushed record are granted, which leaves images. */
void sweep_flushed(struct engine *engine, int64_t now_ms, unsigned *budget) {
  struct outbox *outbox = engine->outbox;
  size_t len = outbox != NULL ? outbox->len : 0;
  for (; engine->sweeping && *budget > 0 && !sweep_is_full(engine); --*budget) {
    sweep_one(engine, now_ms);
    if (outbox == NULL) continue;
    outbox->swept_bytes += outbox->len - len;
    len = outbox->len;
  }
}

/* ---- holes in chunks ---- */

/* Copies a live response out of a sparse chunk. false: no memory. */
static bool move_response(struct engine *engine, struct response_ref *response, int64_t now_ms) {
  struct entry entry = {.response = response};
  if (due_is_gone(engine, entry, now_ms)) {
    due_apply_entry(engine, entry, now_ms);
    return true;
  }
  struct response_ref *copy =
      response_log_copy(&engine->log, response, RULES_NEVER, SIZE_MAX, now_ms);
  if (copy == NULL) return false;
  entry_move(engine, response, copy);
  return true;
}

#define MOVED_AT_ONCE 16u

void sweep_sparse(struct engine *engine, int64_t now_ms, unsigned *budget) {
  struct response_ref *live[MOVED_AT_ONCE];
  while (*budget > 0) {
    size_t room = *budget < MOVED_AT_ONCE ? *budget : MOVED_AT_ONCE;
    size_t count = response_log_sparse(&engine->log, live, room);
    if (count == 0) return;
    *budget -= (unsigned)count;
    for (size_t i = 0; i < count; i++) {
      if (move_response(engine, live[i], now_ms)) continue;
      response_log_keep_sparse(&engine->log);
      return;
    }
  }
}
