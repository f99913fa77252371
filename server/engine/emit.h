/*
 * emit.h - the images of what has changed, into the engine's outbox (outbox.h).
 *
 * Called where a grant is made, taken back, renewed or ended other than by time; where a response
 * is stored, a value set, an end moved, a key deleted. Never for what time alone does: whoever
 * restores the images finds that again from their deadlines. Without an outbox nothing happens.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_EMIT_H
#define IDEM_SERVER_ENGINE_EMIT_H

#include "server/engine/image.h"
#include "server/engine/record.h"
#include "server/engine/response.h"

/* ---- for the rooms of the engine: after the change ---- */

void emit_record_image(struct engine *engine, const struct record *record);
static inline void emit_record(struct engine *engine, const struct record *record) {
  if (engine->outbox != NULL) emit_record_image(engine, record);
}
void emit_response_image(struct engine *engine, const struct response *response);
static inline void emit_response(struct engine *engine, const struct response *response) {
  if (engine->outbox != NULL) emit_response_image(engine, response);
}
void emit_value_image(struct engine *engine, const struct record *record);
static inline void emit_value(struct engine *engine, const struct record *record) {
  if (engine->outbox != NULL) emit_value_image(engine, record);
}
/* Before the entry goes: the key may be borrowed from it. */
void emit_absent_image(struct engine *engine, struct key key);
static inline void emit_absent(struct engine *engine, struct key key) {
  if (engine->outbox != NULL) emit_absent_image(engine, key);
}
void emit_end_image(struct engine *engine, struct key key, int64_t deadline_ms);
static inline void emit_end(struct engine *engine, struct key key, int64_t deadline_ms) {
  if (engine->outbox != NULL) emit_end_image(engine, key, deadline_ms);
}
void emit_flush_image(struct engine *engine);
static inline void emit_flush(struct engine *engine) {
  if (engine->outbox != NULL) emit_flush_image(engine);
}
/* As much as one tick may leave. */
bool emit_is_full(const struct engine *engine);

/* ---- for those who keep the images ---- */

/* When a key with this image ends by itself at the latest, and is counted in the horizon then:
 * INT64_MIN of what leaves no key, RULES_NEVER: it does not end. */
int64_t emit_end_of(const struct engine *engine, const struct image *image);
/* When what a lease leaves that ends at deadline_ms has ended, under the retention of now. */
int64_t emit_after_lease_ms(const struct engine *engine, int64_t deadline_ms, bool hold);
/* The images at the head of a segment, of this engine: the slots of its horizon. What ended
 * by itself is counted in it up to tick_past_ms. */
void emit_horizon(struct engine *engine);
#define EMIT_MORE_BYTES 1024u
/* more: of the caller, kept beside the secret. */
void emit_keyspace(struct engine *engine, struct span more);

#endif
