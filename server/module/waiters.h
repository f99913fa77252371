/*
 * waiters.h - clients that wait for a key: a queue for each key, and when their waits end.
 *
 *     queues   (db, key) --> queue [claimers --> waiter <-> waiter]     CLAIM ... WAIT
 *                                  [readers  --> waiter]                WAIT
 *     owners   (queue, OWNER) --> the CLAIM that waits with it
 *     alarms   the wheel of all deadlines at which a queue is to be looked at
 *
 * It must not know records: who ends a wait says with which reply (reply.h). A queue has one alarm,
 * at the earliest of its waits and of what its record waits for; which waits are over is asked of
 * the queue. Invariants: a queue is there while a client waits in it; a waiter is in a queue until
 * it is answered or has left.
 */
#ifndef IDEM_SERVER_MODULE_WAITERS_H
#define IDEM_SERVER_MODULE_WAITERS_H

#include "proto/span.h"
#include "server/base/list.h"
#include "server/base/wheel.h"
#include "server/module/api.h"

struct reply;

/* The longest key or owner that settings allow. */
#define WAITERS_TEXT_MAX (64 * 1024)

struct waiters {
  RedisModuleDict *queues, *owners;
  char *id; /* room to put the name of a queue or an owner together: not on the stack, whose pages
               each call would have to touch */
  struct wheel alarms; /* struct queue.alarm */
  uint64_t count;
};

struct queue {
  struct list claimers, readers; /* struct waiter.link, in order of arrival */
  struct wheel_node alarm;
  int64_t first_wait_ms; /* at most the earliest deadline of a wait */
  uint64_t count;
  int db;
  struct span key, fingerprint; /* of the record; into bytes */
  char bytes[];
};

struct waiter {
  struct list link;
  struct queue *queue; /* NULL: it has left */
  RedisModuleBlockedClient *client;
  uint64_t client_id;
  bool checks;                   /* a WAIT with FP */
  bool claims, hold, bind, born; /* the rest is of a CLAIM */
  uint32_t lease_ms;
  int64_t born_ms;
  int64_t deadline_ms;
  const struct reply *reply; /* while it is delivered; else NULL */
  struct span owner;         /* into bytes; absent: none */
  char bytes[];
};

void waiters_init(struct waiters *waiters, int64_t now_ms);

/* NULL: nobody waits for it. */
struct queue *waiters_find(const struct waiters *waiters, int db, struct span key);
/* The queue of a key that nobody waits for, to be joined next. The spans are copied. */
struct queue *waiters_open(struct waiters *waiters, int db, struct span key,
                           struct span fingerprint);
/* The CLAIM that waits in it with this OWNER. NULL: none. */
struct waiter *waiters_same_owner(const struct waiters *waiters, const struct queue *queue,
                                  struct span owner);
/* A waiter of its own memory, in no queue: a copy of `as` with a copy of its owner. waiter_free
 * frees it. */
struct waiter *waiters_create(const struct waiter *as);
void waiters_free(struct waiter *waiter);
/* At the end of its queue, or in the place before another one (NULL: at the end). */
void waiters_join(struct waiters *waiters, struct queue *queue, struct waiter *waiter,
                  struct waiter *before);
/* Harmless if it has left. The queue is freed with its last waiter. */
void waiters_leave(struct waiters *waiters, struct waiter *waiter);
/* Leaves, and its client gets the reply. */
void waiters_answer(struct waiters *waiters, struct waiter *waiter, const struct reply *reply);

/* The oldest that claims. NULL: none. */
struct waiter *waiters_first_claimer(const struct queue *queue);
/* One for whom a record with another fingerprint is no answer: it claims, or checks. NULL: none. */
struct waiter *waiters_first_checker(const struct queue *queue);
/* One whose wait was over at past_ms. NULL: none. */
struct waiter *waiters_over(struct queue *queue, int64_t past_ms);

/* Sets when the queue is looked at: at the first end of a wait, and at record_ms. */
void waiters_alarm(struct waiters *waiters, struct queue *queue, int64_t record_ms);
/* All queues are looked at as soon as possible. */
void waiters_alarm_all(struct waiters *waiters);
/* A queue whose alarm has come. NULL: none. */
struct queue *waiters_due(struct waiters *waiters, int64_t now_ms);
/* When waiters_due has one next: may be early, never late. RULES_NEVER: nobody waits. */
int64_t waiters_next_ms(struct waiters *waiters);

#endif
