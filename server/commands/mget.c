/* mget.c - see mget.h. */
#include "server/commands/mget.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/commands/gathered.h"
#include "server/commands/reply.h"
#include "server/commands/sight.h"
#include "server/commands/task.h"
#include "server/engine/keys.h"
#include "server/engine/pin.h"

struct mget {
  struct task task;
  struct gathered values; /* as the reply shows them */
  size_t next, count;     /* keys */
  int version;            /* of RESP */
  bool over;              /* client-output-limit */
  struct span keys[];     /* and after them their bytes */
};

/* ---- one key ---- */

static void put_null(struct mget *mget) {
  struct span null = mget->version == 2 ? SPAN_LITERAL("$-1\r\n") : SPAN_LITERAL("_\r\n");
  gathered_append(&mget->values, null.data, null.len);
}

static void put_value(struct mget *mget, struct shard *shard, struct blob *body) {
  struct span bytes = pin_bytes(body);
  char header[RESP_WRITE_INTEGER_MAX];
  int len = snprintf(header, sizeof header, "$%zu\r\n", bytes.len);
  gathered_append(&mget->values, header, (size_t)len);
  if (bytes.len < REPLY_PINNED_BYTES) {
    gathered_append(&mget->values, bytes.data, bytes.len);
  } else {
    gathered_pin(&mget->values, shard, body, bytes);
  }
  gathered_append(&mget->values, "\r\n", 2);
}

/* A key that the user has lost since the first slice has no value for it. */
static void read_next(struct call *call, struct mget *mget) {
  struct span key = mget->keys[mget->next];
  struct shard *shard = keyspace_find(call->worker->instance->keyspace, key);
  size_t limit = (size_t)call->worker->options->client_output_limit;
  struct keys_entry entry = {0};
  if (sight_key(mget->task.session, key)) keys_look(shard_engine(shard), key, call->now_ms, &entry);
  size_t more = pin_bytes(entry.body).len, bytes = mget->values.bytes;
  mget->over = mget->next > 0 && (bytes > limit || more > limit - bytes);
  if (mget->over) return;
  mget->next++;
  if (entry.body == NULL) {
    put_null(mget);
  } else {
    put_value(mget, shard, entry.body);
  }
}

/* ---- all ---- */

static bool is_done(const struct mget *mget) {
  return mget->next == mget->count || mget->over || mget->values.failed;
}

/* In EXEC everything is locked, and what it may leave was reserved (admission.h). */
static void read_group(struct call *call, struct mget *mget) {
  bool locks = !call->in_exec;
  if (locks && call->worker->journal != NULL &&
      !outbox_reserve(&call->worker->outbox, MGET_AT_ONCE, 0)) {
    mget->values.failed = true;
    return;
  }
  if (locks) access_lock_all(call->worker, &call->now_ms);
  for (unsigned i = 0; i < MGET_AT_ONCE && !is_done(mget); i++) read_next(call, mget);
  if (locks) access_unlock_all(call->worker);
}

static bool mget_step(struct call *call, struct task *task) {
  struct mget *mget = (struct mget *)task;
  do read_group(call, mget);
  while (!is_done(mget) && !task_over(task));
  return is_done(mget);
}

static void mget_reply(struct call *call, struct task *task) {
  struct mget *mget = (struct mget *)task;
  if (mget->over) {
    resp_write_error(call->reply,
                     "ERR the values together exceed client-output-limit: ask for fewer keys");
  } else if (gathered_whole(&mget->values, call->reply)) {
    resp_write_array(call->reply, mget->count);
    gathered_send(&mget->values, call->reply);
  }
}

static void mget_destroy(struct worker *worker, struct task *task) {
  (void)worker;
  struct mget *mget = (struct mget *)task;
  gathered_deinit(&mget->values);
  free(mget);
}

static void copy_keys(struct mget *mget, const struct call *call) {
  char *at = (char *)&mget->keys[mget->count];
  for (size_t i = 0; i < mget->count; i++) {
    struct span key = call->argv[i + 1];
    if (key.len > 0) memcpy(at, key.data, key.len);
    mget->keys[i] = (struct span){at, key.len};
    at += key.len;
  }
}

/* The arguments do not outlive the first slice. */
static struct mget *mget_create(const struct call *call) {
  size_t count = call->argc - 1, bytes = sizeof(struct mget) + count * sizeof(struct span);
  for (size_t i = 0; i < count; i++) bytes += call->argv[i + 1].len;
  struct mget *mget = malloc(bytes);
  if (mget == NULL) return NULL;
  *mget = (struct mget){
      .task = {.large = true, .step = mget_step, .reply = mget_reply, .destroy = mget_destroy},
      .values.worker = call->worker,
      .count = count,
      .version = call->session->version};
  copy_keys(mget, call);
  return mget;
}

void mget_command(struct call *call) {
  struct mget *mget = mget_create(call);
  if (mget == NULL) {
    reply_no_memory(call);
  } else {
    task_begin(call, &mget->task);
  }
}
