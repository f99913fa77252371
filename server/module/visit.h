/*
 * visit.h - a key while a command or an event looks at it: opened, its record read, and the changed
 * record written.
 *
 * A change is written as `SET key value PXAT end` or `UNLINK key`, to the keyspace, the AOF and the
 * replicas alike: so none of these needs the module. It must not know what the rules make of a
 * record. Invariant: the spans of the record point into the value, or, until visit_commit, into
 * what the caller put there.
 */
#ifndef IDEM_SERVER_MODULE_VISIT_H
#define IDEM_SERVER_MODULE_VISIT_H

#include "server/module/host.h"
#include "server/module/layout.h"

enum visit_found {
  VISIT_ABSENT, /* the record's phase is ABSENT */
  VISIT_RECORD,
  VISIT_FOREIGN /* a value that is no record; the record's phase is ABSENT */
};

struct visit {
  struct host *host;
  RedisModuleCtx *ctx;
  RedisModuleString *name; /* borrowed */
  RedisModuleKey *key;     /* NULL: only read, and there is none */
  struct span text;        /* of the name */
  int db;
  int64_t now_ms;
  bool writes; /* opened for writing: what is due may be carried out */
  enum visit_found found;
  struct layout_record record;
  RedisModuleString *value; /* that was written; NULL: none. The keyspace may have a copy of it */
};

/* What the key has: NULL is ABSENT. The record's spans point into its value. */
enum visit_found visit_read(RedisModuleKey *key, struct layout_record *record);

/* In the database that is selected in ctx. */
void visit_open(struct visit *visit, struct host *host, RedisModuleCtx *ctx,
                RedisModuleString *name, bool writes);
void visit_close(struct visit *visit);
/* Writes the record as it is now; ABSENT: the key is deleted. The spans then point into the new
 * value. */
void visit_commit(struct visit *visit);
/* The same for a record that was not there, whose spans stay where the caller has put them. */
void visit_create(struct visit *visit);
/* The value as visit_commit would write it. Owned by the caller. */
RedisModuleString *visit_value(const struct visit *visit);
/* The record is what these bytes say; it is not written. */
void visit_put_back(struct visit *visit, RedisModuleString *value);

/* Its waiters. NULL: nobody waits. Good until a waiter leaves, for the last one closes the queue.
 */
struct queue *visit_queue(const struct visit *visit);
/* True: the key, which is not there, is this process' to decide about. False: its slot has left. */
bool visit_is_ours(const struct visit *visit);
/* When the connection of a claim with BIND was closed; RULES_NEVER: it is open, or there is none.
 */
int64_t visit_closed_ms(const struct visit *visit);
/* Whether an open connection has the claim. */
bool visit_is_bound(const struct visit *visit);
/* Up to when requests of the key may have been forgotten, by clocks that differ. */
int64_t visit_horizon_ms(const struct visit *visit);

#endif
