/* journaling.c - see journaling.h. */
#include "server/commands/journaling.h"

#include <unistd.h>

#include "server/engine/engine.h"
#include "server/engine/image.h"
#include "server/engine/token.h"

/* ---- the outbox of a worker ---- */

/* An image without a body: key, fingerprint, owner and stage, as long as they may be. */
static size_t most_bytes(const struct request_limits *limits) {
  return IMAGE_HEAD_BYTES + IMAGE_ALIGNMENT + (size_t)limits->key_bytes +
         (size_t)limits->fingerprint_bytes + (size_t)limits->owner_bytes +
         (size_t)limits->stage_bytes;
}

bool journaling_init(struct worker *worker) {
  worker->journal = worker->instance->journal;
  if (worker->journal == NULL) return true;
  worker->awaits_sync = worker->options->appendfsync == OPTIONS_APPENDFSYNC_ALWAYS;
  size_t restored = worker->instance->restored_most_bytes; /* under larger limits than today's */
  size_t most = most_bytes(&worker->options->limits);
  return outbox_init(&worker->outbox, most > restored ? most : restored);
}

void journaling_deinit(struct worker *worker) { outbox_deinit(&worker->outbox); }

/* ---- from the outbox into the journal ---- */

/* What one tick may leave, for which nobody asks. */
static bool spares(const struct worker *worker) {
  return worker->no_room &&
         journal_room(worker->journal, 2 * OUTBOX_TICK_BYTES) >= JOURNAL_ROOM_LAST;
}

/* Another loop may have found out since this one looked. */
static void see_room(struct worker *worker) {
  if (worker->no_room || journal_room_error(worker->journal) == 0) return;
  worker->no_room = journal_room(worker->journal, 0) != JOURNAL_ROOM_ENOUGH;
}

void journaling_attach(struct worker *worker, struct engine *engine) {
  see_room(worker);
  worker->outbox.spares = spares(worker);
  engine_use_outbox(engine, &worker->outbox, worker->no_room);
}

struct journal_moment journaling_moment(const struct worker *worker) {
  struct keyspace *keyspace = worker->instance->keyspace;
  return (struct journal_moment){
      .engine_ms = worker->now_ms,
      .wall_ms = worker_unix_ms(worker),
      .largest_ms = worker_largest_offset_ms(worker),
      .next_token = token_end(shard_engine(keyspace_shard(keyspace, 0))),
  };
}

void journaling_append(struct worker *worker) {
  struct outbox *outbox = &worker->outbox;
  struct journal_append append = {
      .records = {outbox->bytes, outbox->len},
      .count = outbox->count,
      .ends = {outbox->last_end_ms, outbox->of_older},
      .moment = journaling_moment(worker),
      .again = worker->emits_again,
  };
  /* Another loop may have been a moment ahead when the shard was locked. */
  if (append.moment.engine_ms < outbox->latest_ms) append.moment.engine_ms = outbox->latest_ms;
  journal_append(worker->journal, &append);
  outbox_clear(outbox);
  worker->appends++;
}

/* ---- turns ---- */

/* hooks.failed ends the process, but in the thread that found out: until it has, nothing that this
 * one has gathered may leave. */
static _Noreturn void await_end(void) {
  while (true) pause();
}

void journaling_commit(struct worker *worker) {
  worker->appends = 0;
  if (worker->promised_bytes > 0) {
    atomic_fetch_sub(&worker->instance->promised_bytes, worker->promised_bytes);
    worker->promised_bytes = 0;
  }
  if (!journal_commit(worker->journal, worker)) await_end();
}
