/*
 * effect.h - what changed, for watchers.
 *
 * A record became DONE, UNKNOWN or free (no owner runs it and nothing is stored: LAPSED, or ABSENT
 * but not by way of LAPSED). Kept only while effects are wanted.
 */
#ifndef IDEM_SERVER_ENGINE_EFFECT_H
#define IDEM_SERVER_ENGINE_EFFECT_H

#include <stdbool.h>

#include "proto/span.h"

struct engine;
struct entry;
struct key;

enum effect_kind {
  EFFECT_DONE,
  EFFECT_UNKNOWN,
  EFFECT_FREE,
  EFFECT_LOST /* one or more were lost for lack of memory; which ones is not known */
};

struct effect {
  enum effect_kind kind;
  struct span key; /* borrowed until the next call on the engine; absent: none */
};

/* false: those that are kept are dropped. */
void effect_want(struct engine *engine, bool wanted);
bool effect_any(const struct engine *engine);
/* The oldest, taken out; false when there is none. */
bool effect_next(struct engine *engine, struct effect *effect);

/* ---- for the rooms of the engine ---- */

void effect_emit(struct engine *engine, enum effect_kind kind, struct key key);
/* Call before a record becomes LAPSED or ABSENT: no owner runs it from then on. A record that was
 * LAPSED has been reported already; a plain value is not reported. */
void effect_emit_free(struct engine *engine, struct entry entry);

#endif
