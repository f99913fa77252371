/* waiters.c - see waiters.h. */
#include "server/module/waiters.h"

#include <limits.h>

#include "server/module/tokens.h"
#include "server/rules/rules.h"

/* ---- names of queues and owners ---- */

/* The id of a queue begins with its database, that of an owner with its queue. */
static size_t put_id(char *id, const void *number, size_t number_bytes, struct span text) {
  memcpy(id, number, number_bytes);
  if (text.len > 0) memcpy(id + number_bytes, text.data, text.len);
  return number_bytes + text.len;
}

static size_t queue_id(const struct waiters *waiters, int db, struct span key) {
  return put_id(waiters->id, &db, sizeof db, key);
}

static size_t owner_id(const struct waiters *waiters, const struct queue *queue,
                       struct span owner) {
  return put_id(waiters->id, &queue, sizeof(struct queue *), owner);
}

/* ---- life ---- */

void waiters_init(struct waiters *waiters, int64_t now_ms) {
  *waiters = (struct waiters){.queues = api.CreateDict(NULL),
                              .owners = api.CreateDict(NULL),
                              .id = api.Alloc(sizeof(uint64_t) + WAITERS_TEXT_MAX)};
  wheel_init(&waiters->alarms, now_ms);
}

/* ---- queues ---- */

struct queue *waiters_find(const struct waiters *waiters, int db, struct span key) {
  if (waiters->count == 0 || key.len > WAITERS_TEXT_MAX) return NULL;
  return api.DictGetC(waiters->queues, waiters->id, queue_id(waiters, db, key), NULL);
}

static struct span keep(char **to, struct span text) {
  if (!span_present(text)) return text;
  if (text.len > 0) memcpy(*to, text.data, text.len);
  struct span kept = {*to, text.len};
  *to += text.len;
  return kept;
}

struct queue *waiters_open(struct waiters *waiters, int db, struct span key,
                           struct span fingerprint) {
  struct queue *queue = api.Alloc(sizeof *queue + key.len + fingerprint.len);
  char *to = queue->bytes;
  queue->key = keep(&to, key);
  queue->fingerprint = keep(&to, fingerprint);
  queue->db = db;
  queue->count = 0;
  queue->first_wait_ms = RULES_NEVER;
  list_init(&queue->claimers);
  list_init(&queue->readers);
  wheel_node_init(&queue->alarm);
  api.DictSetC(waiters->queues, waiters->id, queue_id(waiters, db, key), queue);
  return queue;
}

static void close_queue(struct waiters *waiters, struct queue *queue) {
  wheel_cancel(&waiters->alarms, &queue->alarm);
  api.DictDelC(waiters->queues, waiters->id, queue_id(waiters, queue->db, queue->key), NULL);
  api.Free(queue);
}

/* ---- waiters ---- */

struct waiter *waiters_create(const struct waiter *as) {
  struct waiter *waiter = api.Alloc(sizeof *waiter + as->owner.len);
  *waiter = *as;
  char *to = waiter->bytes;
  waiter->owner = keep(&to, as->owner);
  waiter->queue = NULL;
  list_init(&waiter->link);
  return waiter;
}

void waiters_free(struct waiter *waiter) { api.Free(waiter); }

static bool is_listed(const struct waiter *waiter) {
  return waiter->claims && span_present(waiter->owner);
}

struct waiter *waiters_same_owner(const struct waiters *waiters, const struct queue *queue,
                                  struct span owner) {
  return api.DictGetC(waiters->owners, waiters->id, owner_id(waiters, queue, owner), NULL);
}

void waiters_join(struct waiters *waiters, struct queue *queue, struct waiter *waiter,
                  struct waiter *before) {
  struct list *head = waiter->claims ? &queue->claimers : &queue->readers;
  list_append(before != NULL ? &before->link : head, &waiter->link);
  waiter->queue = queue;
  queue->count++;
  waiters->count++;
  if (waiter->deadline_ms < queue->first_wait_ms) queue->first_wait_ms = waiter->deadline_ms;
  if (!is_listed(waiter)) return;
  size_t len = owner_id(waiters, queue, waiter->owner);
  api.DictDelC(waiters->owners, waiters->id, len, NULL); /* the one whose place it takes */
  api.DictSetC(waiters->owners, waiters->id, len, waiter);
}

void waiters_leave(struct waiters *waiters, struct waiter *waiter) {
  struct queue *queue = waiter->queue;
  if (queue == NULL) return;
  if (is_listed(waiter) && waiters_same_owner(waiters, queue, waiter->owner) == waiter) {
    api.DictDelC(waiters->owners, waiters->id, owner_id(waiters, queue, waiter->owner), NULL);
  }
  list_remove(&waiter->link);
  waiter->queue = NULL;
  waiters->count--;
  if (--queue->count == 0) close_queue(waiters, queue);
}

void waiters_answer(struct waiters *waiters, struct waiter *waiter, const struct reply *reply) {
  waiters_leave(waiters, waiter);
  waiter->reply = reply;
  /* Calls the timeout callback of the blocked client, which writes the reply, before it returns. */
  api.UnblockClient(waiter->client, waiter);
  waiter->reply = NULL;
}

/* ---- whose turn it is, and whose time is over ---- */

struct waiter *waiters_first_claimer(const struct queue *queue) {
  if (queue == NULL || list_empty(&queue->claimers)) return NULL;
  return LIST_ENTRY(queue->claimers.next, struct waiter, link);
}

struct waiter *waiters_first_checker(const struct queue *queue) {
  if (queue == NULL || !list_empty(&queue->claimers)) return waiters_first_claimer(queue);
  const struct list *head = &queue->readers;
  for (struct list *node = head->next; node != head; node = node->next) {
    struct waiter *waiter = LIST_ENTRY(node, struct waiter, link);
    if (waiter->checks) return waiter;
  }
  return NULL;
}

/* The first deadline of the others is noted on the way. */
static struct waiter *over_in(struct list *head, int64_t past_ms, int64_t *first_ms) {
  for (struct list *node = head->next; node != head; node = node->next) {
    struct waiter *waiter = LIST_ENTRY(node, struct waiter, link);
    if (rules_is_over(waiter->deadline_ms, past_ms)) return waiter;
    if (waiter->deadline_ms < *first_ms) *first_ms = waiter->deadline_ms;
  }
  return NULL;
}

struct waiter *waiters_over(struct queue *queue, int64_t past_ms) {
  if (!rules_is_over(queue->first_wait_ms, past_ms)) return NULL;
  int64_t first_ms = RULES_NEVER;
  struct waiter *waiter = over_in(&queue->claimers, past_ms, &first_ms);
  if (waiter == NULL) waiter = over_in(&queue->readers, past_ms, &first_ms);
  if (waiter == NULL) queue->first_wait_ms = first_ms;
  return waiter;
}

/* ---- alarms ---- */

void waiters_alarm(struct waiters *waiters, struct queue *queue, int64_t record_ms) {
  int64_t first_ms = record_ms < queue->first_wait_ms ? record_ms : queue->first_wait_ms;
  int64_t at_ms = rules_over_at_ms(first_ms, TOKENS_GRAIN_MS);
  if (!wheel_node_armed(&queue->alarm) || queue->alarm.deadline_ms != at_ms)
    wheel_set(&waiters->alarms, &queue->alarm, at_ms);
}

void waiters_alarm_all(struct waiters *waiters) {
  RedisModuleDictIter *iterator = api.DictIteratorStartC(waiters->queues, "^", NULL, 0);
  size_t len;
  void *queue;
  while (api.DictNextC(iterator, &len, &queue) != NULL) waiters_alarm(waiters, queue, 0);
  api.DictIteratorStop(iterator);
}

struct queue *waiters_due(struct waiters *waiters, int64_t now_ms) {
  unsigned budget = UINT_MAX;
  struct wheel_node *node = wheel_pop(&waiters->alarms, now_ms, &budget);
  return node != NULL ? LIST_ENTRY(node, struct queue, alarm) : NULL;
}

int64_t waiters_next_ms(struct waiters *waiters) {
  if (waiters->count == 0) return RULES_NEVER;
  wheel_refresh(&waiters->alarms);
  return wheel_next(&waiters->alarms);
}
