/* effects.c - see effects.h. */
#include "server/commands/effects.h"

#include <stdlib.h>
#include <string.h>

#include "server/commands/inbox.h"
#include "server/engine/effect.h"

/* The channel of the key, in a buffer that the next call reuses; absent when memory is short. */
static struct span channel_of(struct worker *worker, struct span key) {
  const struct span prefix = SPAN_LITERAL(EFFECTS_PREFIX);
  size_t len = prefix.len + key.len;
  if (len > worker->effect_channel_capacity) {
    char *grown = realloc(worker->effect_channel, len);
    if (grown == NULL) return SPAN_ABSENT;
    memcpy(grown, prefix.data, prefix.len);
    worker->effect_channel = grown;
    worker->effect_channel_capacity = len;
  }
  memcpy(worker->effect_channel + prefix.len, key.data, key.len);
  return (struct span){worker->effect_channel, len};
}

static void post(struct worker *worker, const struct effect *effect) {
  static const char *const words[] = {
      [EFFECT_DONE] = "done",
      [EFFECT_UNKNOWN] = "unknown",
      [EFFECT_FREE] = "free",
  };
  struct span channel = SPAN_ABSENT;
  if (effect->kind != EFFECT_LOST) channel = channel_of(worker, effect->key);
  for (unsigned i = 0; i < worker->instance->worker_count; i++) {
    struct worker *to = worker->instance->workers[i];
    if (!atomic_load(&to->wants_effects)) continue;
    if (span_present(channel)) {
      inbox_post(worker, to, INBOX_MESSAGE, channel, span_of(words[effect->kind]));
    } else {
      inbox_lose(to);
    }
  }
}

void effects_post(struct worker *worker, struct engine *engine) {
  for (struct effect effect; effect_next(engine, &effect);) post(worker, &effect);
}
