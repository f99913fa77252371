/*
 * reply.h - what a client is told, and how that is written through the host's interface.
 *
 * The forms of the answers are those of rules/answer.h, the texts of errors too. It must not know
 * why somebody is told something.
 */
#ifndef IDEM_SERVER_MODULE_REPLY_H
#define IDEM_SERVER_MODULE_REPLY_H

#include "server/module/api.h"
#include "server/module/layout.h"
#include "server/rules/answer.h"

/* Borrowed until it is written. */
struct reply {
  enum answer_kind kind;
  const char *error;                  /* in the place of kind, if not NULL */
  const struct layout_record *record; /* whose fields are told; NULL: kind needs none */
  int64_t at_ms;                      /* the moment as of which it is told */
  int64_t number;                     /* of waiters; the horizon */
};

/* The kind for a verdict that is told to a client. */
enum answer_kind reply_kind(enum rules_verdict verdict);
void reply_write(RedisModuleCtx *ctx, const struct reply *reply);

#endif
