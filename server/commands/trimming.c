/* trimming.c - see trimming.h. */
#include "server/commands/trimming.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/commands/access.h"
#include "server/commands/journaling.h"
#include "server/commands/shards.h"
#include "server/engine/emit.h"
#include "server/engine/reemit.h"
#include "server/engine/engine.h"
#include "server/engine/horizon.h"
#include "server/engine/restore.h"
#include "server/engine/stats.h"
#include "server/engine/tick.h"

/* sysexits.h: EX_IOERR. */
#define FAILED_STATUS 74
#define MEASURE_EVERY_MS 1000
/* What a key takes in the log beside what it takes in memory: an image, a batch for itself. */
#define KEY_BYTES (IMAGE_HEAD_BYTES + 96u)
/* A claim that was renewed a thousand times has as many images that look like the last one. */
#define SEEN 4096u

_Static_assert(sizeof(struct eras) <= EMIT_MORE_BYTES, "they are kept in the head");

/* A grant has a token of its own, but not the values of two shards. */
struct seen {
  uint64_t token, hash;
};

struct trimming {
  struct log *log;
  struct outbox head;
  bool has_head; /* the outbox is there */
  int64_t measured_ms;
  uint64_t live_bytes;
  bool lease_runs;
  uint64_t segment;       /* that is read */
  struct seen seen[SEEN]; /* what was emitted again */
  unsigned shard;         /* where writing all again stands: */
  uint64_t cursor;        /* as of keys_scan */
};

struct trimming *trimming_create(struct log *log) {
  struct trimming *trimming = calloc(1, sizeof *trimming);
  if (trimming == NULL) return NULL;
  trimming->log = log;
  trimming->measured_ms = INT64_MIN / 2;
  trimming->segment = UINT64_MAX;
  return trimming;
}

void trimming_destroy(struct trimming *trimming) {
  if (trimming == NULL) return;
  if (trimming->has_head) outbox_deinit(&trimming->head);
  free(trimming);
}

/* Nothing that waits for the journal may be answered, and nothing is tried again: after a failed
 * sync the system may have dropped what it could not write. */
void trimming_failed(void *context, const char *text) {
  struct trimming *trimming = context;
  log_line(trimming->log, LOG_LEVEL_WARNING, "%s; nothing that it would have confirmed is answered",
           text);
  log_close(trimming->log);
  _exit(FAILED_STATUS);
}

/* ---- the head of a segment ---- */

static size_t head_bytes(const struct worker *worker) {
  size_t slots = (size_t)worker->options->horizon_slots;
  size_t shards = keyspace_shards(worker->instance->keyspace);
  size_t pieces = slots / HORIZON_SEGMENT + 2 * shards + 1;
  return (slots + 2 * shards) * sizeof(int64_t) + pieces * (IMAGE_HEAD_BYTES + IMAGE_ALIGNMENT) +
         ENGINE_HASH_SECRET_BYTES + EMIT_MORE_BYTES;
}

static bool begin_head(struct trimming *trimming, const struct worker *worker) {
  if (!trimming->has_head) trimming->has_head = outbox_init(&trimming->head, IMAGE_HEAD_BYTES);
  if (!trimming->has_head) return false;
  outbox_clear(&trimming->head);
  return outbox_reserve(&trimming->head, 1, head_bytes(worker));
}

static struct span eras_of(const struct worker *worker) {
  const struct eras *eras = &worker->instance->eras;
  return (struct span){(const char *)eras->of, eras->count * sizeof eras->of[0]};
}

struct span trimming_head(void *context, void *caller, int64_t *as_of_ms) {
  struct trimming *trimming = context;
  struct worker *worker = caller;
  struct keyspace *keyspace = worker->instance->keyspace;
  if (!begin_head(trimming, worker)) return SPAN_ABSENT;
  *as_of_ms = INT64_MAX;
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++) {
    struct shard *shard = keyspace_shard(keyspace, i);
    int64_t now_ms = worker->now_ms;
    struct engine *engine = access_lock(worker, shard, &now_ms);
    engine_use_outbox(engine, &trimming->head, worker->no_room);
    if (i == 0) emit_keyspace(engine, eras_of(worker));
    emit_horizon(engine);
    int64_t past_ms = tick_past_ms(engine, now_ms);
    if (past_ms < *as_of_ms) *as_of_ms = past_ms;
    journaling_attach(worker, engine);
    access_unlock(worker, shard);
  }
  return (struct span){trimming->head.bytes, trimming->head.len};
}

/* ---- again ---- */

/* What was emitted again lies in a later segment, and is emitted once more out of that. */
static void begin_segment(struct trimming *trimming, uint64_t segment) {
  if (segment == trimming->segment) return;
  trimming->segment = segment;
  memset(trimming->seen, 0, sizeof trimming->seen);
}

static struct seen *place_of(struct trimming *trimming, const struct seen *image) {
  return &trimming->seen[(image->token ^ image->hash) % SEEN];
}

static bool was_seen(struct trimming *trimming, const struct seen *image) {
  const struct seen *place = place_of(trimming, image);
  return place->token == image->token && place->hash == image->hash;
}

/* One that no longer counts needs no room: on a full disk those have to go first. The present image
 * may be larger by a stage. */
static bool carries(struct worker *worker, size_t bytes) {
  return journal_carries(worker->journal, bytes + worker->outbox.most_bytes) &&
         outbox_reserve(&worker->outbox, 1, bytes);
}

/* Not out of what is kept for the oldest segment: all that is there may be much more. */
static bool has_room(struct worker *worker, struct reemit_need need) {
  size_t most = need.bytes + need.images * worker->outbox.most_bytes;
  return journal_room(worker->journal, most) == JOURNAL_ROOM_ENOUGH &&
         outbox_reserve(&worker->outbox, need.images, need.bytes);
}

/* Noted only if it was emitted: an older image of the same claim hides none. false: no room. */
static bool emit_image_again(struct worker *worker, const struct image *image, size_t bytes) {
  struct trimming *trimming = worker->instance->trimming;
  struct keyspace *keyspace = worker->instance->keyspace;
  struct engine *first = shard_engine(keyspace_shard(keyspace, 0));
  const struct name name = restore_name(first, image);
  const struct seen seen = {image->token, name.hash};
  if (was_seen(trimming, &seen)) return true;
  struct shard *shard = keyspace_find_name(keyspace, &name);
  int64_t now_ms = worker->now_ms;
  worker->emits_again = true;
  struct engine *engine = access_lock(worker, shard, &now_ms);
  bool counts = reemit_counts(engine, &name, image, now_ms),
       room = !counts || carries(worker, bytes);
  if (counts && room && reemit_image(engine, &name, image, now_ms))
    *place_of(trimming, &seen) = seen;
  access_unlock(worker, shard);
  worker->emits_again = false;
  return room;
}

/* One that leaves no key, or is as old as the segment, is gone with it. */
static bool visit(void *caller, uint64_t segment, struct span record) {
  struct worker *worker = caller;
  struct image image;
  begin_segment(worker->instance->trimming, segment);
  if (image_read(record, &image) == 0) return true;
  bool keeps =
      image.kind == IMAGE_RECORD || image.kind == IMAGE_RESPONSE || image.kind == IMAGE_VALUE;
  return !keeps || emit_image_again(worker, &image, record.len);
}

/* ---- all again ---- */

void trimming_unreadable(void *context, const char *text) {
  struct trimming *trimming = context;
  log_line(trimming->log, LOG_LEVEL_WARNING, "%s; all that is there is written again, from memory",
           text);
  trimming->shard = 0;
  trimming->cursor = 0;
}

/* false: there is no room for it now. */
static bool write_bucket(struct worker *worker, struct trimming *trimming) {
  struct shard *shard = keyspace_shard(worker->instance->keyspace, trimming->shard);
  int64_t now_ms = worker->now_ms;
  worker->emits_again = true;
  struct engine *engine = access_lock(worker, shard, &now_ms);
  bool room = has_room(worker, reemit_need(engine, trimming->cursor, now_ms));
  if (room) trimming->cursor = reemit_bucket(engine, trimming->cursor, now_ms);
  access_unlock(worker, shard);
  worker->emits_again = false;
  if (room && trimming->cursor == 0) trimming->shard++;
  return room;
}

static bool has_written_all(const struct worker *worker, const struct trimming *trimming) {
  return trimming->shard == keyspace_shards(worker->instance->keyspace);
}

/* A slice. false: nothing more is to be done now. */
static bool write_all(struct worker *worker, struct trimming *trimming) {
  uint64_t end_ns = clock_monotonic_ns() + JOURNAL_SLICE_NS;
  while (!has_written_all(worker, trimming)) {
    if (!write_bucket(worker, trimming)) return false;
    if (clock_monotonic_ns() >= end_ns) return true;
  }
  journal_note_all(worker->journal);
  log_line(worker->log, LOG_LEVEL_NOTICE,
           "the journal has all again; the segment that cannot be read goes with the next head");
  return true;
}

void trimming_step(struct worker *worker) {
  struct trimming *trimming = worker->instance->trimming;
  worker->trims = journal_wants_all(worker->journal)
                      ? write_all(worker, trimming)
                      : journal_trim(worker->journal, trimming->live_bytes, visit, worker);
}

/* ---- cron ---- */

static void measure(struct trimming *trimming, struct worker *worker) {
  if (worker->monotonic_ms - trimming->measured_ms < MEASURE_EVERY_MS) return;
  trimming->measured_ms = worker->monotonic_ms;
  struct stats stats;
  shards_stats(worker, &stats);
  trimming->lease_runs = stats.phases[RULES_HELD] > 0;
  trimming->live_bytes = stats.memory_bytes + (stats.records + stats.values) * KEY_BYTES;
}

static void tell_room(const struct worker *worker) {
  if (worker->no_room) {
    log_line(worker->log, LOG_LEVEL_WARNING,
             "the journal has no room (%s: %s): new claims are refused until it has",
             worker->options->dir, strerror(journal_room_error(worker->journal)));
  } else {
    log_line(worker->log, LOG_LEVEL_NOTICE, "the journal has room again: claims are granted");
  }
}

/* What was held back, by whichever loop, is due from when its shard was looked at. */
static void go_on(struct worker *worker) {
  struct keyspace *keyspace = worker->instance->keyspace;
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++) {
    struct shard *shard = keyspace_shard(keyspace, i);
    int64_t now_ms = worker->now_ms;
    access_lock(worker, shard, &now_ms);
    access_unlock(worker, shard);
  }
}

static void see_room(struct worker *worker) {
  bool was = worker->had_no_room, held_back = was || worker->no_room;
  worker->no_room = journal_room(worker->journal, 0) != JOURNAL_ROOM_ENOUGH;
  worker->had_no_room = worker->no_room;
  if (held_back && !worker->no_room) go_on(worker);
  if (was != worker->no_room && worker->number == 0) tell_room(worker);
}

void trimming_cron(struct worker *worker) {
  see_room(worker);
  if (worker->number != 0) return;
  struct trimming *trimming = worker->instance->trimming;
  measure(trimming, worker);
  worker->trims = true;
  const struct journal_moment moment = journaling_moment(worker);
  journal_beat(worker->journal, worker, &moment, trimming->lease_runs,
               (int64_t)clock_monotonic_ns());
}
