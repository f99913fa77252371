/*
 * inspect.c - see inspect.h.
 *
 * CLAIMS merges the open claims of all shards by their tokens:
 *
 *     shard 0 --> source [item] [item] --\
 *     shard 1 --> source [item] -----------> the lowest token first --> gathered --> reply
 *     ...                                /
 *     shard n --> source (empty: its shard is looked at next, if its position is the lowest)
 *
 * A shard is locked while its source takes a few items, which are kept as the bytes of the reply. A
 * source is not filled before its turn, so that few items are encoded in vain.
 */
#include "server/commands/inspect.h"

#include <stdlib.h>
#include <string.h>

#include "server/commands/access.h"
#include "server/commands/gathered.h"
#include "server/commands/reply.h"
#include "server/commands/sight.h"
#include "server/commands/task.h"
#include "server/engine/inspect.h"
#include "server/rules/inspection.h"
#include "server/rules/request_claims.h"

/* ---- what both show ---- */

static void write_field(struct resp_writer *reply, const struct inspection *shown,
                        const struct inspection_field *field) {
  resp_write_bulk(reply, field->name);
  if (field->kind == INSPECTION_BYTES) {
    resp_write_bulk(reply, inspection_bytes(shown, field));
    return;
  }
  int64_t number = inspection_integer(shown, field);
  if (number == INSPECTION_NONE) {
    resp_write_null(reply);
  } else {
    resp_write_integer(reply, number);
  }
}

static void write_shown(struct resp_writer *reply, const struct inspection *shown, size_t first) {
  resp_write_map(reply, INSPECTION_FIELD_COUNT - first);
  for (size_t i = first; i < INSPECTION_FIELD_COUNT; i++)
    write_field(reply, shown, &INSPECTION_FIELDS[i]);
}

/* ---- INSPECT ---- */

void inspect_command(struct call *call) {
  struct inspection shown;
  switch (inspect_key(call->engine, call->argv[1], call->now_ms, &shown)) {
    case INSPECT_RECORD: write_shown(call->reply, &shown, INSPECTION_WITHOUT_KEY); return;
    case INSPECT_VALUE: reply_wrongtype(call); return;
    case INSPECT_ABSENT:
    default: resp_write_null_array(call->reply); return;
  }
}

/* ---- CLAIMS: one shard ---- */

/* How many records are looked at while a shard is locked: some ten microseconds. */
#define LOOKED_AT_ONCE 256u
/* A source takes no more items when it has so many, or so many bytes. */
#define SOURCE_ITEMS 32u
#define SOURCE_BYTES 4096u

struct item {
  struct item *next;
  uint64_t token;
  size_t len;
  char bytes[]; /* of the reply */
};

struct claims;
struct source {
  struct claims *claims;
  struct inspect_walk walk;
  struct item *first, **last;
  size_t count, bytes;
};

struct claims {
  struct task task;
  unsigned left, found; /* of COUNT */
  int version;          /* of RESP */
  struct resp_output scratch;
  struct gathered gathered;
  unsigned shards;
  struct source sources[]; /* by the number of the shard; after them the bytes of the prefix */
};

static size_t item_bytes(const struct item *item) { return sizeof *item + item->len; }

static unsigned items_wanted(const struct claims *claims) {
  unsigned share = claims->left / claims->shards + 2;
  return share < SOURCE_ITEMS ? share : SOURCE_ITEMS;
}

/* inspect_visitor. */
static bool add_item(void *context, const struct inspection *shown) {
  struct source *source = context;
  struct claims *claims = source->claims;
  if (!sight_key(claims->task.session, shown->key)) return true;
  resp_output_reset(&claims->scratch);
  struct resp_writer writer = {&claims->scratch, claims->version};
  write_shown(&writer, shown, 0);
  struct item *item = claims->scratch.failed ? NULL : malloc(sizeof *item + claims->scratch.len);
  if (item == NULL) {
    claims->gathered.failed = true;
    return false;
  }
  *item = (struct item){.token = (uint64_t)shown->token, .len = claims->scratch.len};
  memcpy(item->bytes, claims->scratch.bytes, item->len);
  atomic_fetch_add(&claims->gathered.worker->instance->gathered_bytes, item_bytes(item));
  *source->last = item;
  source->last = &item->next;
  source->bytes += item_bytes(item);
  return ++source->count < items_wanted(claims) && source->bytes < SOURCE_BYTES;
}

static struct item *take_item(struct source *source) {
  struct item *item = source->first;
  if (item == NULL) return NULL;
  source->first = item->next;
  if (source->first == NULL) source->last = &source->first;
  source->count--;
  source->bytes -= item_bytes(item);
  atomic_fetch_sub(&source->claims->gathered.worker->instance->gathered_bytes, item_bytes(item));
  return item;
}

static void fill(struct call *call, struct source *source) {
  unsigned number = (unsigned)(source - source->claims->sources);
  struct shard *shard = keyspace_shard(call->worker->instance->keyspace, number);
  struct engine *engine = access_lock(call->worker, shard, &call->now_ms);
  inspect_walk_on(engine, &source->walk, LOOKED_AT_ONCE, call->now_ms);
  access_unlock(call->worker, shard);
}

/* ---- CLAIMS: all shards ---- */

/* No claim of it that is still to come has a lower token. */
static uint64_t lowest_token(const struct source *source) {
  if (source->first != NULL) return source->first->token;
  return source->walk.ended ? UINT64_MAX : source->walk.after + 1;
}

static struct source *lowest_source(struct claims *claims) {
  struct source *lowest = &claims->sources[0];
  for (unsigned i = 1; i < claims->shards; i++) {
    if (lowest_token(&claims->sources[i]) < lowest_token(lowest)) lowest = &claims->sources[i];
  }
  return lowest_token(lowest) != UINT64_MAX ? lowest : NULL;
}

static void put_item(struct claims *claims, struct item *item) {
  gathered_append(&claims->gathered, item->bytes, item->len);
  free(item);
  claims->found++;
  claims->left--;
}

static bool claims_step(struct call *call, struct task *task) {
  struct claims *claims = (struct claims *)task;
  do {
    struct source *source = claims->left > 0 ? lowest_source(claims) : NULL;
    if (source == NULL) return true;
    struct item *item = take_item(source);
    if (item != NULL) {
      put_item(claims, item);
    } else {
      fill(call, source);
    }
  } while (!task_over(task) && !claims->gathered.failed);
  return claims->gathered.failed;
}

static void claims_reply(struct call *call, struct task *task) {
  struct claims *claims = (struct claims *)task;
  if (!gathered_whole(&claims->gathered, call->reply)) return;
  resp_write_array(call->reply, claims->found);
  gathered_send(&claims->gathered, call->reply);
}

static void claims_destroy(struct worker *worker, struct task *task) {
  (void)worker;
  struct claims *claims = (struct claims *)task;
  for (unsigned i = 0; i < claims->shards; i++) {
    for (struct item *item; (item = take_item(&claims->sources[i])) != NULL;) free(item);
  }
  resp_output_deinit(&claims->scratch);
  gathered_deinit(&claims->gathered);
  free(claims);
}

static struct claims *claims_create(const struct call *call, const struct request_claims *request,
                                    uint64_t end) {
  unsigned shards = keyspace_shards(call->worker->instance->keyspace);
  size_t bytes = sizeof(struct claims) + shards * sizeof(struct source);
  struct claims *claims = malloc(bytes + request->prefix.len);
  if (claims == NULL) return NULL;
  *claims = (struct claims){.task = {.large = true,
                                     .step = claims_step,
                                     .reply = claims_reply,
                                     .destroy = claims_destroy},
                            .left = request->count,
                            .version = call->session->version,
                            .gathered.worker = call->worker,
                            .shards = shards};
  struct span prefix = request->prefix;
  if (prefix.len > 0) prefix.data = memcpy((char *)claims + bytes, prefix.data, prefix.len);
  const struct inspect_walk walk = {.after = request->after,
                                    .end = end,
                                    .phase = request->phase,
                                    .prefix = prefix,
                                    .older_ms = request->older_ms,
                                    .visit = add_item};
  for (unsigned i = 0; i < shards; i++) {
    struct source *source = &claims->sources[i];
    *source = (struct source){.claims = claims, .walk = walk, .last = &source->first};
    source->walk.context = source;
  }
  return claims;
}

/* Grants from here on are not shown: one shard would be looked at before them, another after. */
static uint64_t end_of(struct call *call) {
  struct shard *shard = keyspace_shard(call->worker->instance->keyspace, 0);
  uint64_t end = inspect_end(access_lock(call->worker, shard, &call->now_ms));
  access_unlock(call->worker, shard);
  return end;
}

void inspect_claims(struct call *call) {
  const struct request_input input = {call->argv, call->argc, &call->worker->options->limits};
  struct request_claims request;
  char error[REQUEST_ERROR_BYTES];
  if (!request_claims_parse(&input, &request, error)) {
    resp_write_error(call->reply, error);
    return;
  }
  struct claims *claims = claims_create(call, &request, end_of(call));
  if (claims == NULL) {
    reply_no_memory(call);
  } else {
    task_begin(call, &claims->task);
  }
}

size_t inspect_claims_limit(const struct options *options, const struct span *argv, size_t index) {
  return request_claims_limit(&options->limits, argv, index);
}
