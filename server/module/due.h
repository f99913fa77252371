/*
 * due.h - what time, other commands and other hands have made of a key since it was last looked at.
 *
 * Every command and event asks first, so deadlines count in their order, however late they are
 * noticed. A visit that only reads (a replica, or a master that is about to hand over to one)
 * learns what follows from the deadlines, and nothing is carried out.
 */
#ifndef IDEM_SERVER_MODULE_DUE_H
#define IDEM_SERVER_MODULE_DUE_H

#include "server/module/visit.h"

void due_apply(struct visit *visit);

/* Opens, applies, and sets the alarm of the queue. To be closed with due_close. */
void due_open(struct visit *visit, struct host *of, RedisModuleCtx *ctx, RedisModuleString *name,
              bool writes);
/* Only to read it, unless somebody waits for it: then what is due has to be carried out, so that
 * the reply tells of it. */
void due_open_to_read(struct visit *visit, struct host *of, RedisModuleCtx *ctx,
                      RedisModuleString *name);
/* Its waiters are looked at again when the record as it is now is due. */
void due_close(struct visit *visit);

/* The same for whoever waits for a key, or is bound to it: no client asks. */
void due_visit(struct host *of, RedisModuleCtx *ctx, int db, struct span key);

#endif
