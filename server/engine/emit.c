/* emit.c - see emit.h. */
#include "server/engine/emit.h"

#include <assert.h>

#include "server/engine/outbox.h"
#include "server/engine/pin.h"

/* ---- into the outbox ---- */

static void note_end(struct outbox *outbox, int64_t end_ms) {
  if (end_ms > outbox->last_end_ms) outbox->last_end_ms = end_ms;
}

static void emit(struct engine *engine, const struct image *image) {
  struct outbox *outbox = engine->outbox;
  note_end(outbox, emit_end_of(engine, image));
  if (image->kind == IMAGE_END) outbox->of_older = true;
  if (image->since_ms > outbox->latest_ms) outbox->latest_ms = image->since_ms;
  image_write(image, outbox_add(outbox, image_size(image)));
}

bool emit_is_full(const struct engine *engine) {
  return engine->outbox != NULL && engine->outbox->len >= OUTBOX_TICK_BYTES;
}

/* ---- ends ---- */

static int64_t after(int64_t ms, int64_t more_ms) {
  return ms == RULES_NEVER || more_ms == RULES_NEVER ? RULES_NEVER : ms + more_ms;
}

int64_t emit_after_lease_ms(const struct engine *engine, int64_t deadline_ms, bool hold) {
  if (!hold) return after(deadline_ms, engine->options.retention_ms);
  int64_t unknown_ms = engine->options.unknown_retention_ms;
  return after(deadline_ms, unknown_ms == 0 ? RULES_NEVER : unknown_ms);
}

/* A lease that has expired leaves LAPSED or UNKNOWN, which is not written. */
static int64_t end_of(const struct engine *engine, const struct image *image) {
  if (image->kind != IMAGE_RECORD || image->phase != RULES_HELD) return image->deadline_ms;
  return emit_after_lease_ms(engine, image->deadline_ms, image->hold);
}

int64_t emit_end_of(const struct engine *engine, const struct image *image) {
  switch (image->kind) {
    case IMAGE_RECORD:
    case IMAGE_RESPONSE:
    case IMAGE_VALUE:
    case IMAGE_END: /* with a grain for the lease, and one for the record */
      return rules_over_at_ms(end_of(engine, image), 2 * engine->options.clock_grain_ms);
    case IMAGE_ABSENT:
    case IMAGE_FLUSH:
    case IMAGE_KEYSPACE:
    case IMAGE_HORIZON:
    default: return INT64_MIN;
  }
}

/* ---- images ---- */

/* text: of the fingerprint, as long as the image is used. */
static struct image image_of_record(const struct record *record, char text[FINGERPRINT_TEXT]) {
  return (struct image){
      .kind = IMAGE_RECORD,
      .phase = record->phase,
      .hold = (record->flags & RECORD_HOLD) != 0,
      .bind = (record->flags & RECORD_BIND) != 0,
      .nobody = (record->flags & RECORD_NOBODY) != 0,
      .user = record->user,
      .token = record->token,
      .since_ms = record_since_ms(record),
      .deadline_ms = record_deadline_ms(record),
      .lease_ms = record->lease_ms,
      .attempt = record_attempt(record),
      .key = record_key(record),
      .fingerprint = fingerprint_text(record_fingerprint(record), text),
      .owner = pin_bytes(record_owner(record)),
      .stage = record_claim(record) != NULL ? pin_bytes(record->claim->stage) : SPAN_ABSENT,
  };
}

static struct image image_of_response(const struct response *response,
                                      char text[FINGERPRINT_TEXT]) {
  return (struct image){
      .kind = IMAGE_RESPONSE,
      .token = response->token,
      .since_ms = response->since_ms,
      .deadline_ms = response->deadline_ms,
      .key = response->key,
      .fingerprint = fingerprint_text(response->fingerprint, text),
      .body = response->body,
      .meta = response->meta,
  };
}

static struct image image_of_value(const struct record *record) {
  return (struct image){
      .kind = IMAGE_VALUE,
      .token = record->token,
      .since_ms = record_since_ms(record),
      .deadline_ms = record_deadline_ms(record),
      .key = record_key(record),
      .fingerprint = SPAN_ABSENT,
      .body = pin_bytes(record->value),
      .meta = SPAN_ABSENT,
  };
}

/* One that has no parts but a key, or none at all. */
static struct image image_of_key(enum image_kind kind, struct key key, int64_t deadline_ms) {
  return (struct image){
      .kind = kind,
      .deadline_ms = deadline_ms,
      .key = key,
      .fingerprint = SPAN_ABSENT,
      .body = SPAN_ABSENT,
      .meta = SPAN_ABSENT,
  };
}

static const struct key NO_KEY = {KEY_RAW, {"", 0}};

/* ---- what changed ---- */

void emit_record_image(struct engine *engine, const struct record *record) {
  char text[FINGERPRINT_TEXT];
  const struct image image = image_of_record(record, text);
  emit(engine, &image);
}

void emit_response_image(struct engine *engine, const struct response *response) {
  char text[FINGERPRINT_TEXT];
  const struct image image = image_of_response(response, text);
  emit(engine, &image);
}

void emit_value_image(struct engine *engine, const struct record *record) {
  const struct image image = image_of_value(record);
  emit(engine, &image);
}

void emit_absent_image(struct engine *engine, struct key key) {
  const struct image image = image_of_key(IMAGE_ABSENT, key, 0);
  emit(engine, &image);
}

void emit_end_image(struct engine *engine, struct key key, int64_t deadline_ms) {
  const struct image image = image_of_key(IMAGE_END, key, deadline_ms);
  emit(engine, &image);
}

void emit_flush_image(struct engine *engine) {
  struct image image = image_of_key(IMAGE_FLUSH, NO_KEY, 0);
  image.since_ms = engine->flushed_ms;
  emit(engine, &image);
}

/* ---- heads ---- */

void emit_keyspace(struct engine *engine, struct span more) {
  char body[ENGINE_HASH_SECRET_BYTES + EMIT_MORE_BYTES];
  assert(more.len <= EMIT_MORE_BYTES);
  struct image image = image_of_key(IMAGE_KEYSPACE, NO_KEY, 0);
  memcpy(body, engine->options.hash_secret, ENGINE_HASH_SECRET_BYTES);
  if (more.len != 0) memcpy(body + ENGINE_HASH_SECRET_BYTES, more.data, more.len);
  image.since_ms = horizon_start_ms(&engine->horizon);
  image.body = (struct span){body, ENGINE_HASH_SECRET_BYTES + more.len};
  emit(engine, &image);
}

static void emit_slots(struct engine *engine, uint32_t slot, uint32_t count, struct span times) {
  struct image image = image_of_key(IMAGE_HORIZON, NO_KEY, 0);
  image.since_ms = horizon_slot_ms(&engine->horizon, slot); /* of all of them, without times */
  image.token = count;
  image.lg_slots = engine->options.horizon_bits;
  image.slot = slot;
  image.body = times;
  emit(engine, &image);
}

void emit_horizon(struct engine *engine) {
  const struct horizon *horizon = &engine->horizon;
  uint32_t slot = horizon_first_slot(horizon), end = slot + horizon_slots(horizon);
  while (slot < end) {
    uint32_t count = end - slot < HORIZON_SEGMENT ? end - slot : HORIZON_SEGMENT;
    const int64_t *times = horizon_at(horizon, slot);
    struct span bytes = {(const char *)times, count * sizeof *times};
    /* Those of which the image of the keyspace says all are left out. */
    if (times != NULL || horizon_slot_ms(horizon, slot) > horizon_start_ms(horizon))
      emit_slots(engine, slot, count, times != NULL ? bytes : SPAN_ABSENT);
    slot += count;
  }
}
