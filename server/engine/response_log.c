/* response_log.c - see response_log.h. */
#include "server/engine/response_log.h"

#include <assert.h>

#include "server/engine/order.h"
#include "server/rules/rules.h"

#define SLOTS (1u << CHUNK_SLOTS_BITS)
#define PLACES_BYTES (SLOTS * sizeof(struct chunk *))
#define PREFETCHED_LINES 3u /* a response of 100 bytes with its key */

_Static_assert(RESPONSE_LOG_ROOM_BYTES >= CHUNK_LARGEST + PLACES_BYTES,
               "the largest chunk and its place");

void response_log_init(struct response_log *log, struct memory *memory, int64_t now_ms) {
  *log = (struct response_log){.memory = memory};
  wheel_init(&log->ends, now_ms);
  list_init(&log->sparse);
  list_init(&log->ended);
}

/* ---- reading ---- */

void response_log_read(const struct response_ref *ref, struct response *response) {
  codec_read(&chunk_of(ref)->base, ref, response);
}

int64_t response_log_since_ms(const struct response_ref *ref) {
  return codec_since_ms(&chunk_of(ref)->base, ref);
}

int64_t response_log_deadline_ms(const struct response_ref *ref) {
  return codec_deadline_ms(&chunk_of(ref)->base, ref);
}

/* Most chunks are of the largest class; for a smaller one a wrong line is fetched. All lines are
 * fetched at once, because waiting for all takes as long as for one. */
void response_log_prefetch(const struct response_ref *ref) {
  uintptr_t address = (uintptr_t)ref, largest = CHUNK_LARGEST;
  for (unsigned line = 0; line < PREFETCHED_LINES; line++)
    __builtin_prefetch((const char *)ref + line * CHUNK_LINE_BYTES);
  __builtin_prefetch((const void *)(address & ~(largest - 1)));
  __builtin_prefetch((const void *)((address & ~(largest - 1)) + CHUNK_LINE_BYTES));
}

size_t response_log_size(const struct response_ref *ref) {
  size_t size = codec_length(ref);
  if (!codec_has_blobs(ref)) return size;
  struct response r;
  response_log_read(ref, &r);
  size += memory_rounded(blob_size(r.body_blob));
  return r.meta_blob != NULL ? size + memory_rounded(blob_size(r.meta_blob)) : size;
}

bool response_log_is_flushed(const struct response_log *log, const struct response_ref *ref) {
  return chunk_of(ref)->epoch != log->epoch;
}

/* ---- open chunks and sealed ones ---- */

struct slot {
  unsigned width;
  int64_t number;
};

static struct slot slot_of(const struct response *r, int64_t now_ms) {
  unsigned width = chunk_width_for(r->deadline_ms - now_ms);
  return (struct slot){width, r->deadline_ms >> (CHUNK_FINEST_BITS + width)};
}

/* The place of a slot's open chunk; NULL when memory is short. */
static struct chunk **place_for(struct response_log *log, struct slot slot) {
  struct chunk ***places = &log->open[slot.width];
  if (*places == NULL) {
    *places = memory_take(log->memory, PLACES_BYTES);
    if (*places == NULL) return NULL;
    memset(*places, 0, PLACES_BYTES);
  }
  return &(*places)[(uint64_t)slot.number % SLOTS];
}

/* The open chunk in the place of the slot; it may belong to another slot. */
static struct chunk *open_at(const struct response_log *log, struct slot slot) {
  struct chunk **places = log->open[slot.width];
  return places != NULL ? places[(uint64_t)slot.number % SLOTS] : NULL;
}

static void give_up_places(struct response_log *log, unsigned width) {
  if (--log->open_count[width] > 0) return;
  memory_give(log->memory, log->open[width], PLACES_BYTES);
  log->open[width] = NULL;
}

/* The chunk takes no more responses. */
static void seal(struct response_log *log, struct chunk *chunk) {
  if (chunk->place == NULL) return;
  unsigned width = chunk->width;
  *chunk->place = NULL;
  chunk->place = NULL;
  give_up_places(log, width);
}

static void offer_if_sparse(struct response_log *log, struct chunk *chunk) {
  bool sparse = chunk->live_bytes < chunk->used / 2;
  if (!sparse || chunk->place != NULL || chunk->ending || !list_empty(&chunk->sparse)) return;
  chunk->at = 0;
  list_append(&log->sparse, &chunk->sparse);
}

void response_log_retire(struct response_log *log, struct chunk *chunk) {
  seal(log, chunk);
  wheel_cancel(&log->ends, &chunk->timer);
  list_remove(&chunk->sparse);
  order_free(log->memory, chunk);
}

/* ---- a chunk for a response ---- */

static bool goes_into(const struct response_log *log, const struct chunk *chunk, struct slot slot,
                      const struct response *r) {
  if (chunk == NULL) return false;
  bool open =
      chunk->slot == slot.number && chunk->epoch == log->epoch && !(chunk->ending && chunk->mixed);
  return open && chunk_has_room(chunk, r);
}

/* The least that a new chunk for it takes. */
static size_t least_for(const struct response_log *log, struct slot slot,
                        const struct response *r) {
  size_t least = chunk_class_size(chunk_class_with(0, codec_size(NULL, r)));
  return log->open[slot.width] != NULL ? least : least + PLACES_BYTES;
}

/* Whether there is neither an open chunk for the response, as it is, nor room for one. */
static bool is_crowded(const struct response_log *log, const struct response *r, size_t room_bytes,
                       int64_t now_ms) {
  if (room_bytes >= RESPONSE_LOG_ROOM_BYTES) return false;
  struct slot slot = slot_of(r, now_ms);
  return !goes_into(log, open_at(log, slot), slot, r) && least_for(log, slot, r) > room_bytes;
}

/* Each further chunk of a slot is of the next larger class, as far as there is room. */
static struct chunk *open_chunk(struct response_log *log, struct slot slot,
                                const struct response *r, size_t room_bytes) {
  struct chunk **place = place_for(log, slot);
  if (place == NULL) return NULL;
  struct chunk *former = *place;
  bool goes_on = former != NULL && former->slot == slot.number && former->epoch == log->epoch;
  unsigned class = goes_on ? former->class + 1u : 0;
  if (class == CHUNK_CLASSES) class --;
  while (class > 0 && chunk_class_size(class) > room_bytes) class --;
  log->open_count[slot.width]++; /* so that sealing the former does not free the place */
  struct chunk *chunk = chunk_create(log->memory, class, slot.width, codec_size(NULL, r));
  if (chunk == NULL) {
    give_up_places(log, slot.width);
    return NULL;
  }
  if (former != NULL) {
    seal(log, former);
    offer_if_sparse(log, former);
  }
  chunk->place = place;
  *place = chunk;
  return chunk;
}

/* The open chunk of a response's slot, with room for it; or, if there is no room for another open
 * chunk, a chunk for the response alone. */
static struct chunk *chunk_for(struct response_log *log, const struct response *r,
                               size_t room_bytes, int64_t now_ms) {
  struct slot slot = slot_of(r, now_ms);
  struct chunk *chunk = open_at(log, slot);
  if (goes_into(log, chunk, slot, r)) return chunk;
  chunk = least_for(log, slot, r) > room_bytes
              ? chunk_create(log->memory, 0, slot.width, codec_size(NULL, r))
              : open_chunk(log, slot, r, room_bytes);
  if (chunk == NULL) return NULL;
  chunk->epoch = log->epoch;
  chunk->base = (struct codec_base){r->since_ms, r->deadline_ms - r->since_ms, r->token};
  chunk->slot = slot.number;
  chunk->last_ms = r->deadline_ms;
  return chunk;
}

/* ---- writing ---- */

size_t response_log_alone_bytes(size_t bytes) {
  size_t heads = 2 * sizeof(struct blob_counted); /* of body and meta */
  size_t rounding = bytes / 4 + heads;            /* jemalloc's */
  return chunk_class_size(0) + heads + bytes + rounding;
}

static bool should_be_blobs(const struct response *r, bool crowded) {
  if (r->body.len >= RESPONSE_BLOB_BYTES || r->meta.len >= RESPONSE_BLOB_BYTES) return true;
  return crowded && chunk_class_with(0, codec_size(NULL, r)) > 0;
}

static struct response_ref *append(struct response_log *log, const struct response *r,
                                   size_t room_bytes, int64_t now_ms) {
  struct chunk *chunk = chunk_for(log, r, room_bytes, now_ms);
  if (chunk == NULL) return NULL;
  struct response_ref *ref = chunk_append(chunk, r);
  if (!wheel_node_armed(&chunk->timer) || r->deadline_ms < chunk->timer.deadline_ms)
    wheel_set(&log->ends, &chunk->timer, r->deadline_ms);
  return ref;
}

struct response_ref *response_log_write(struct response_log *log, struct response *r,
                                        size_t room_bytes, int64_t now_ms) {
  bool crowded = is_crowded(log, r, room_bytes, now_ms);
  if (should_be_blobs(r, crowded) && !response_make_blobs(log->memory, r)) return NULL;
  struct response_ref *ref = append(log, r, room_bytes, now_ms);
  if (ref == NULL) response_drop_blobs(log->memory, r);
  return ref;
}

struct response_ref *response_log_copy(struct response_log *log, const struct response_ref *former,
                                       int64_t deadline_ms, size_t room_bytes, int64_t now_ms) {
  struct response r;
  response_log_read(former, &r);
  if (deadline_ms != RULES_NEVER) r.deadline_ms = deadline_ms;
  if (!codec_has_blobs(former)) r.body_blob = r.meta_blob = NULL;
  blob_refer(r.body_blob); /* the copy's */
  blob_refer(r.meta_blob);
  return response_log_write(log, &r, room_bytes, now_ms);
}

/* ---- giving up ---- */

void response_log_drop(struct response_log *log, struct response_ref *ref) {
  struct chunk *chunk = chunk_of(ref);
  assert(!codec_is_dropped(ref));
  chunk_release_blobs(log->memory, ref);
  chunk->live_bytes -= codec_length(ref);
  chunk->live--;
  codec_mark_dropped(ref);
  if (chunk->order != NULL) order_mark_gone(chunk, ref);
  if (chunk->live > 0) {
    offer_if_sparse(log, chunk);
    return;
  }
  response_log_retire(log, chunk);
  if (chunk->pins == 0) chunk_free(log->memory, chunk);
}

void response_log_pin(struct response_ref *ref) { chunk_of(ref)->pins++; }

void response_log_unpin(struct response_log *log, struct response_ref *ref) {
  struct chunk *chunk = chunk_of(ref);
  assert(chunk->pins > 0);
  if (--chunk->pins == 0 && chunk->live == 0) chunk_free(log->memory, chunk);
}

/* ---- sparse chunks ---- */

size_t response_log_sparse(struct response_log *log, struct response_ref *live[], size_t room) {
  if (list_empty(&log->sparse)) return 0;
  struct chunk *chunk = LIST_ENTRY(log->sparse.next, struct chunk, sparse);
  size_t found = 0;
  while (found < room && chunk->at < chunk->used) {
    struct response_ref *ref = chunk_at(chunk, chunk->at);
    if (!codec_is_dropped(ref)) live[found++] = ref;
    chunk->at += codec_length(ref);
  }
  if (found == 0) list_remove(&chunk->sparse);
  return found;
}

void response_log_keep_sparse(struct response_log *log) { list_remove(log->sparse.next); }
