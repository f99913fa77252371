/* effect.c - see effect.h. */
#include "server/engine/effect.h"

#include "server/engine/entry.h"

struct effect_kept {
  struct list link; /* in engine.effects */
  enum effect_kind kind;
  uint32_t key_len;
  char key[];
};

/* ---- keeping; not inlined, so that without a watcher an effect costs one comparison ---- */

static __attribute__((noinline)) void keep(struct engine *engine, enum effect_kind kind,
                                           struct key key) {
  size_t len = key_text_len(key);
  struct effect_kept *kept = memory_take(&engine->memory, sizeof *kept + len);
  if (kept == NULL) { /* the record has changed already */
    list_remove(&engine->effects_lost);
    list_append(&engine->effects, &engine->effects_lost);
    return;
  }
  kept->kind = kind;
  kept->key_len = (uint32_t)len;
  if (key.form == KEY_RAW) {
    memcpy(kept->key, key.bytes.data, len);
  } else {
    key_text(key, kept->key);
  }
  list_append(&engine->effects, &kept->link);
}

void effect_emit(struct engine *engine, enum effect_kind kind, struct key key) {
  if (engine->effects_wanted) keep(engine, kind, key);
}

static __attribute__((noinline)) void keep_free(struct engine *engine, struct entry entry) {
  const struct record *record = entry.record;
  if (record != NULL && (record_is_value(record) || record->phase == RULES_LAPSED)) return;
  keep(engine, EFFECT_FREE, entry_key(entry));
}

void effect_emit_free(struct engine *engine, struct entry entry) {
  if (engine->effects_wanted) keep_free(engine, entry);
}

/* ---- reading ---- */

static void drop_given(struct engine *engine) {
  struct effect_kept *kept = engine->effect_given;
  if (kept != NULL) memory_give(&engine->memory, kept, sizeof *kept + kept->key_len);
  engine->effect_given = NULL;
}

void effect_want(struct engine *engine, bool wanted) {
  engine->effects_wanted = wanted;
  if (wanted) return;
  for (struct effect effect; effect_next(engine, &effect);) continue;
}

bool effect_any(const struct engine *engine) { return !list_empty(&engine->effects); }

bool effect_next(struct engine *engine, struct effect *effect) {
  drop_given(engine);
  struct list *node = list_pop(&engine->effects);
  if (node == NULL) return false;
  if (node == &engine->effects_lost) {
    *effect = (struct effect){.kind = EFFECT_LOST};
    return true;
  }
  struct effect_kept *given = LIST_ENTRY(node, struct effect_kept, link);
  engine->effect_given = given;
  *effect = (struct effect){.kind = given->kind, .key = {given->key, given->key_len}};
  return true;
}
