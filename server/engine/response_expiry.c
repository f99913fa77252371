/* response_expiry.c - see response_expiry.h. */
#include "server/engine/response_expiry.h"

#include "server/engine/order.h"
#include "server/rules/rules.h"

#define AHEAD_BYTES 1024u /* a pass fetches so far ahead: some seven responses */

struct pass {
  struct response_log *log;
  struct chunk *chunk;
  int64_t past_ms;
  unsigned *budget;
  struct response_expiry_batch *batch;
  unsigned glances;
};

static void arm(struct pass *pass, int64_t deadline_ms) {
  wheel_set(&pass->log->ends, &pass->chunk->timer, deadline_ms);
}

/* Some that have ended are left for the next call; none of them ended before it was due. */
static void arm_again(struct pass *pass) { arm(pass, pass->chunk->timer.deadline_ms); }

static void spend(struct pass *pass, unsigned steps) {
  *pass->budget -= steps < *pass->budget ? steps : *pass->budget;
}

/* A response that is only looked at. */
static void glance(struct pass *pass) {
  if (++pass->glances % RESPONSE_EXPIRY_GLANCES == 0) spend(pass, 1);
}

static bool pass_is_full(const struct pass *pass) {
  return pass->batch->count == RESPONSE_EXPIRY_AT_ONCE || *pass->budget == 0;
}

/* live_bytes is no longer used once a chunk ends. The response is not marked as dropped: its cache
 * line would have to be written back, and the pass does not come here again. */
static void take(struct pass *pass, struct response_ref *ref, const struct codec_outline *seen) {
  struct response_expiry_batch *batch = pass->batch;
  batch->refs[batch->count] = ref;
  batch->keys[batch->count] = seen->key;
  batch->since_ms[batch->count++] = seen->since_ms;
  spend(pass, 1);
  if (codec_has_blobs(ref)) chunk_release_blobs(pass->log->memory, ref);
}

/* Reads the responses that were taken from an order without being read. Their cache lines have been
 * fetched by now. */
static void read_unseen(struct response_log *log, struct response_expiry_batch *batch) {
  for (size_t i = 0; i < batch->count; i++) {
    struct response_ref *ref = batch->refs[i];
    if (span_present(batch->keys[i])) continue;
    batch->keys[i] = codec_key(ref).bytes;
    batch->since_ms[i] = codec_since_ms(&chunk_of(ref)->base, ref);
    if (codec_has_blobs(ref)) chunk_release_blobs(log->memory, ref);
  }
}

/* Counts the responses that were added since the batch had `count`. */
static void taken_since(struct pass *pass, size_t count) {
  size_t taken = pass->batch->count - count;
  pass->chunk->live -= (uint32_t)taken;
  if (pass->chunk->epoch != pass->log->epoch) pass->batch->flushed += taken;
}

static void pass_over_order(struct pass *pass) {
  struct chunk *chunk = pass->chunk;
  struct response_expiry_batch *batch = pass->batch;
  size_t count = batch->count, room = RESPONSE_EXPIRY_AT_ONCE - count;
  size_t most = count + (room < *pass->budget ? room : *pass->budget);
  uint32_t item = chunk->order_at, items = chunk->order_count;
  int64_t end_ms = INT64_MIN;
  for (; item < items; item++) {
    end_ms = order_end_ms(chunk, item);
    if (!rules_is_over(end_ms, pass->past_ms) || count == most) break;
    struct response_ref *ref = order_ref(chunk, item);
    if (ref == NULL) continue;
    __builtin_prefetch(ref);
    batch->refs[count] = ref;
    batch->keys[count++] = SPAN_ABSENT; /* unseen */
  }
  chunk->order_at = item;
  spend(pass, (unsigned)(count - batch->count));
  batch->count = count;
  if (item < items) arm(pass, end_ms);
}

/* One response of a pass over the bytes; false: the pass stops before it. */
static bool pass_over_response(struct pass *pass, struct response_ref *ref,
                               const struct codec_outline *seen) {
  struct chunk *chunk = pass->chunk;
  bool over = rules_is_over(seen->deadline_ms, pass->past_ms);
  if (codec_is_dropped(ref)) {
    glance(pass);
  } else if (!over && !chunk->mixed) {
    arm(pass, seen->deadline_ms);
    return false;
  } else if (pass_is_full(pass)) {
    arm_again(pass);
    return false;
  } else if (over) {
    take(pass, ref, seen);
    if (chunk->mixed) codec_mark_dropped(ref);
  } else {
    glance(pass);
    if (seen->deadline_ms < chunk->next_ms) chunk->next_ms = seen->deadline_ms;
  }
  return true;
}

/* From chunk.at on. In the order of the ends: up to the first that lives on. Mixed: to the end, and
 * then again from chunk.begin once the earliest of the remaining ends has come. */
static void pass_over_bytes(struct pass *pass) {
  struct chunk *chunk = pass->chunk;
  if (chunk->at == chunk->begin) chunk->next_ms = INT64_MAX;
  while (chunk->at < chunk->used) {
    struct response_ref *ref = chunk_at(chunk, chunk->at);
    struct codec_outline seen;
    codec_look(&chunk->base, ref, &seen);
    __builtin_prefetch((const char *)ref + AHEAD_BYTES);
    if (!pass_over_response(pass, ref, &seen)) return;
    chunk->at += seen.size;
    if (!chunk->mixed) chunk->begin = chunk->at;
  }
  if (!chunk->mixed) return;
  chunk->at = chunk->begin;
  if (chunk->next_ms != INT64_MAX) arm(pass, chunk->next_ms);
}

static void begin_ending(struct chunk *chunk) {
  if (chunk->ending) return;
  chunk->ending = true;
  chunk->at = chunk->begin = 0;
  list_remove(&chunk->sparse);
}

static void pass_over(struct pass *pass) {
  struct chunk *chunk = pass->chunk;
  begin_ending(chunk);
  size_t before = pass->batch->count;
  if (chunk->mixed && chunk->order == NULL)
    spend(pass, order_make(pass->log->memory, chunk) / RESPONSE_EXPIRY_SORTED);
  if (chunk->order != NULL) {
    pass_over_order(pass);
  } else {
    pass_over_bytes(pass);
  }
  taken_since(pass, before);
  if (chunk->live > 0) return;
  response_log_retire(pass->log, chunk);
  if (chunk->pins == 0) list_append(&pass->log->ended, &chunk->sparse);
}

size_t response_expiry_due(struct response_log *log, int64_t past_ms, unsigned *budget,
                           struct response_expiry_batch *batch) {
  struct pass pass = {.log = log, .past_ms = past_ms, .budget = budget, .batch = batch};
  batch->count = batch->flushed = 0;
  for (struct list *node; (node = list_pop(&log->ended)) != NULL;)
    chunk_free(log->memory, LIST_ENTRY(node, struct chunk, sparse));
  while (batch->count < RESPONSE_EXPIRY_AT_ONCE) {
    struct wheel_node *node = wheel_pop(&log->ends, past_ms, budget);
    if (node == NULL) break;
    pass.chunk = LIST_ENTRY(node, struct chunk, timer);
    /* The pop may have used up the budget: then the pass arms the chunk again. */
    pass_over(&pass);
  }
  read_unseen(log, batch);
  return batch->count;
}

int64_t response_expiry_next(const struct response_log *log) { return wheel_next(&log->ends); }
