/* restoring.c - see restoring.h. */
#include "server/commands/restoring.h"

#include <stdio.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/random.h"
#include "server/engine/emit.h"
#include "server/engine/refill.h"
#include "server/engine/restore.h"
#include "server/engine/stats.h"

/* ---- the newest head ---- */

/* The next image of a batch; false: there is none, or it is malformed. */
static bool next_image(struct span *records, struct image *image) {
  size_t size = image_read(*records, image);
  records->data += size;
  records->len -= size;
  return size > 0;
}

static bool read_eras(struct eras *eras, struct span bytes) {
  if (bytes.len % sizeof eras->of[0] != 0 || bytes.len > sizeof eras->of) return false;
  eras->count = (unsigned)(bytes.len / sizeof eras->of[0]);
  memcpy(eras->of, bytes.data, bytes.len);
  return true;
}

/* Its secret, the eras, and when the memory of requests began. */
static bool read_keyspace(struct restoring *restoring) {
  const size_t secret = sizeof restoring->secret;
  struct span records = journal_newest_head(restoring->journal);
  struct image image;
  if (!next_image(&records, &image) || image.kind != IMAGE_KEYSPACE || image.body.len < secret)
    return false;
  memcpy(restoring->secret, image.body.data, secret);
  restoring->start_ms = image.since_ms;
  return read_eras(&restoring->eras,
                   (struct span){image.body.data + secret, image.body.len - secret});
}

static bool read_newest(struct restoring *restoring) {
  struct journal_moment newest = journal_newest(restoring->journal);
  bool lost = journal_may_have_lost(restoring->journal);
  restoring->now_ms = newest.engine_ms;
  restoring->largest_ms = newest.largest_ms;
  restoring->first_token = newest.next_token + (lost ? RESTORING_LOST_TOKENS : 0);
  if (!read_keyspace(restoring)) return false;
  eras_begin(&restoring->eras, newest.engine_ms, newest.largest_ms);
  return true;
}

/* ---- opening ---- */

int restoring_status(enum journal_result result) {
  if (result == JOURNAL_OK) return 0;
  if (result == JOURNAL_STOPPED) return RESTORING_STOPPED;
  return result == JOURNAL_CORRUPT ? RESTORING_CORRUPT : RESTORING_REFUSED;
}

static int open_journal(struct restoring *restoring, const struct options *options,
                        const struct restoring_calls *calls, char error[REFUSAL_BYTES]) {
  unsigned char log_id[16];
  char text[JOURNAL_ERROR_BYTES];
  if (!random_get(log_id, sizeof log_id)) {
    snprintf(error, REFUSAL_BYTES, "journal: no random numbers");
    return RESTORING_REFUSED;
  }
  const struct journal_options journal = {
      .files = restoring->files,
      .sync = (enum journal_sync)options->appendfsync,
      .segment_bytes = (uint64_t)options->segment_bytes,
      .log_id = log_id,
      .hooks = calls->hooks,
      .steps = calls->steps,
      .helper = true,
  };
  enum journal_result result = journal_open(&journal, &restoring->journal, text);
  if (result != JOURNAL_OK) snprintf(error, REFUSAL_BYTES, "%s", text);
  return restoring_status(result);
}

static int read_start(struct restoring *restoring, char error[REFUSAL_BYTES]) {
  restoring->is_new = journal_is_new(restoring->journal);
  if (restoring->is_new) {
    restoring->now_ms = restoring->start_ms = (int64_t)(clock_monotonic_ns() / 1000000);
    eras_begin(&restoring->eras, restoring->now_ms, 0);
    if (random_get(restoring->secret, sizeof restoring->secret)) return 0;
    snprintf(error, REFUSAL_BYTES, "journal: no random numbers");
    return RESTORING_REFUSED;
  }
  if (read_newest(restoring)) return 0;
  snprintf(error, REFUSAL_BYTES, "journal: the head of the newest segment is malformed");
  return RESTORING_CORRUPT;
}

int restoring_open(struct restoring *restoring, const struct options *options,
                   const struct restoring_calls *calls, char error[REFUSAL_BYTES]) {
  *restoring = (struct restoring){.largest_ms = INT64_MIN};
  if (!options_keep_journal(options)) return 0;
  char text[FILES_ERROR_BYTES];
  restoring->files = files_open(options->dir, true, text);
  if (restoring->files == NULL) {
    snprintf(error, REFUSAL_BYTES, "%s", text);
    return RESTORING_REFUSED;
  }
  int status = open_journal(restoring, options, calls, error);
  if (status == 0) status = read_start(restoring, error);
  if (status != 0) restoring_close(restoring);
  return status;
}

void restoring_close(struct restoring *restoring) {
  journal_close(restoring->journal);
  files_close(restoring->files);
  restoring->journal = NULL;
  restoring->files = NULL;
}

/* ---- batches into engines ---- */

/* What has ended goes now and then, so that not much more lies in memory than before the restart.
 */
#define TICK_EVERY_MS 1000
#define TICK_EVERY_BYTES (8u << 20)

struct run {
  struct restoring *restoring;
  struct keyspace *keyspace;
  struct refill *refill;
  struct journal_ends *ends;
  int64_t ticked_ms;
  uint64_t since_tick; /* bytes */
  bool malformed;
};

static struct engine *engine_of(struct keyspace *keyspace, unsigned number) {
  return shard_engine(keyspace_shard(keyspace, number));
}

static void note(struct run *run, const struct image *image) {
  int64_t end_ms = emit_end_of(engine_of(run->keyspace, 0), image);
  if (end_ms > run->ends->last_ms) run->ends->last_ms = end_ms;
  if (image->kind == IMAGE_END) run->ends->of_older = true;
  if (image->kind != IMAGE_RECORD) return;
  size_t size = image_size(image);
  if (size > run->restoring->most_bytes) run->restoring->most_bytes = size;
}

static bool apply(struct run *run, const char *bytes, const struct image *image) {
  note(run, image);
  if (image->kind == IMAGE_KEYSPACE || image->kind == IMAGE_HORIZON)
    return true; /* those of the newest head were taken */
  return refill_add(run->refill, bytes, image);
}

static bool tick(struct run *run, const struct journal_batch *batch) {
  run->since_tick += batch->records.len;
  bool due = batch->engine_ms - run->ticked_ms >= TICK_EVERY_MS;
  if (!due || run->since_tick < TICK_EVERY_BYTES) return true;
  run->ticked_ms = batch->engine_ms;
  run->since_tick = 0;
  return refill_tick(run->refill, batch->engine_ms);
}

static bool restore_batch(void *context, const struct journal_batch *batch,
                          struct journal_ends *ends) {
  struct run *run = context;
  struct span records = batch->records;
  struct image image;
  run->ends = ends;
  *ends = (struct journal_ends){.last_ms = INT64_MIN};
  while (records.len > 0) {
    const char *bytes = records.data;
    run->malformed = !next_image(&records, &image);
    if (run->malformed || !apply(run, bytes, &image)) return false;
    run->restoring->records++;
  }
  return tick(run, batch) && (!batch->last || refill_settle(run->refill));
}

/* ---- the whole ---- */

/* The horizon of the newest head counts what all heads before it do. */
static bool restore_head(struct run *run) {
  struct span records = journal_newest_head(run->restoring->journal);
  struct image image;
  while (records.len > 0) {
    if (!next_image(&records, &image)) return false;
    for (unsigned i = 0; i < keyspace_shards(run->keyspace); i++) {
      struct engine *engine = engine_of(run->keyspace, i);
      if (image.kind == IMAGE_KEYSPACE) restore_keyspace(engine, &image);
      if (image.kind == IMAGE_HORIZON && !restore_horizon(engine, &image)) return false;
    }
  }
  return true;
}

/* The counters are of this life; the times and deadlines are announced to the loops. */
static void settle(const struct restoring *restoring, struct keyspace *keyspace) {
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++) {
    struct shard *shard = keyspace_shard(keyspace, i);
    int64_t now_ms = restoring->now_ms;
    stats_reset(shard_lock(shard, &now_ms));
    shard_unlock(shard);
  }
}

static int recover(struct run *run, char error[REFUSAL_BYTES]) {
  char text[JOURNAL_ERROR_BYTES];
  if (!restore_head(run)) run->malformed = true;
  enum journal_result result = JOURNAL_CORRUPT;
  if (!run->malformed) result = journal_recover(run->restoring->journal, restore_batch, run, text);
  if (run->malformed)
    snprintf(text, sizeof text, "journal: a record is malformed, though its checksum is right");
  if (result != JOURNAL_OK) snprintf(error, REFUSAL_BYTES, "%s", text);
  return run->malformed ? RESTORING_CORRUPT : restoring_status(result);
}

static struct refill *refill_of(struct keyspace *keyspace) {
  struct engine *engines[KEYSPACE_MAX_SHARDS];
  for (unsigned i = 0; i < keyspace_shards(keyspace); i++) engines[i] = engine_of(keyspace, i);
  return refill_create(engines, keyspace_shards(keyspace));
}

int restoring_run(struct restoring *restoring, struct keyspace *keyspace,
                  char error[REFUSAL_BYTES]) {
  if (restoring->journal == NULL || restoring->is_new) return 0;
  struct run run = {.restoring = restoring, .keyspace = keyspace, .refill = refill_of(keyspace)};
  if (run.refill == NULL) {
    snprintf(error, REFUSAL_BYTES, "journal: out of memory");
    return RESTORING_REFUSED;
  }
  uint64_t start_ns = clock_monotonic_ns();
  int status = recover(&run, error);
  if (status == 0) settle(restoring, keyspace);
  restoring->seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
  refill_destroy(run.refill);
  return status;
}
