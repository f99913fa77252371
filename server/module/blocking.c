/* blocking.c - see blocking.h. */
#include "server/module/blocking.h"

#include "server/module/due.h"
#include "server/module/reply.h"

/* ---- callbacks of the host ---- */

/* The key was written to, which says nothing about a wait. */
static int on_ready(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  (void)ctx, (void)argv, (void)argc;
  return API_ERR; /* it stays blocked */
}

/* CLIENT UNBLOCK: as if its time were over. */
static void reply_unblocked(RedisModuleCtx *ctx, RedisModuleString *name) {
  struct visit visit;
  due_open(&visit, &host, ctx, name, false);
  reply_write(ctx, &(struct reply){
                       .kind = reply_kind(rules_read(&visit.record.facts, false)),
                       .record = &visit.record,
                       .at_ms = visit.now_ms,
                   });
  due_close(&visit);
}

/* Also the way in which UnblockClient delivers: waiters_answer has set the reply then. */
static int on_end(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  (void)argc;
  struct waiter *waiter = api.GetBlockedClientPrivateData(ctx);
  if (waiter->reply != NULL) {
    reply_write(ctx, waiter->reply);
  } else {
    waiters_leave(&host.waiters, waiter);
    reply_unblocked(ctx, argv[1]);
  }
  return API_OK;
}

/* It hung up, or the host told it something else: a redirection, an error of CLIENT UNBLOCK. */
static void on_gone(RedisModuleCtx *ctx, RedisModuleBlockedClient *client) {
  (void)client;
  struct waiter *waiter = api.GetBlockedClientPrivateData(ctx);
  if (waiter != NULL) waiters_leave(&host.waiters, waiter);
}

static void on_free(RedisModuleCtx *ctx, void *data) {
  (void)ctx;
  waiters_leave(&host.waiters, data);
  waiters_free(data);
}

/* ---- beginning ---- */

bool blocking_is_allowed(RedisModuleCtx *ctx) {
  return (api.GetContextFlags(ctx) & API_FLAGS_DENY_BLOCKING) == 0;
}

static bool too_many_wait(const struct visit *visit, const struct queue *queue) {
  const struct settings *settings = &visit->host->settings;
  if (visit->host->waiters.count >= (uint64_t)settings->waiters_total) return true;
  return queue != NULL && queue->count >= (uint64_t)settings->waiters_per_key;
}

static struct waiter *same_owner(const struct visit *visit, const struct queue *queue,
                                 const struct waiter *as) {
  if (queue == NULL || !as->claims || !span_present(as->owner)) return NULL;
  return waiters_same_owner(&visit->host->waiters, queue, as->owner);
}

static void say_busy(const struct visit *visit, struct waiter *former) {
  const struct reply busy = {.kind = ANSWER_BUSY, .record = &visit->record, .at_ms = visit->now_ms};
  visit->host->counters.waits_timed_out++;
  waiters_answer(&visit->host->waiters, former, &busy);
}

bool blocking_begin(struct visit *visit, const struct waiter *as, int64_t wait_ms) {
  struct waiters *waiters = &visit->host->waiters;
  struct queue *queue = visit_queue(visit);
  struct waiter *former = same_owner(visit, queue, as);
  if (former == NULL && too_many_wait(visit, queue)) return false;
  if (queue == NULL)
    queue = waiters_open(waiters, visit->db, visit->text, visit->record.fingerprint);
  struct waiter *waiter = waiters_create(as);
  waiter->deadline_ms = visit->now_ms + wait_ms;
  waiter->client_id = api.GetClientId(visit->ctx);
  waiters_join(waiters, queue, waiter, former);
  waiter->client =
      api.BlockClientOnKeys(visit->ctx, on_ready, on_end, on_free, 0, &visit->name, 1, waiter);
  api.SetDisconnectCallback(waiter->client, on_gone);
  if (former != NULL) say_busy(visit, former);
  return true;
}
