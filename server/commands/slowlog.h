/*
 * slowlog.h - SLOWLOG: the latest commands whose handler took long (slowlog-log-slower-than),
 * newest first. The time is the handler's alone: neither waiting nor sending counts. A user that
 * may not touch every key sees, counts and forgets its own commands only.
 */
#ifndef IDEM_SERVER_COMMANDS_SLOWLOG_H
#define IDEM_SERVER_COMMANDS_SLOWLOG_H

#include "server/commands/call.h"

#define SLOWLOG_MAX_ARGS 32       /* arguments kept of an entry, as in Redis */
#define SLOWLOG_MAX_ARG_BYTES 128 /* bytes kept of an argument, as in Redis */

struct slowlog *slowlog_create(void); /* NULL when memory is short */
void slowlog_destroy(struct slowlog *slowlog);

/* Whether a command that took so long is kept. */
static inline bool slowlog_wants(const struct worker *worker, uint64_t nanoseconds) {
  int64_t slower_us = worker->options->slowlog_slower_us;
  return slower_us >= 0 && nanoseconds >= (uint64_t)slower_us * 1000;
}
/* Adds an entry; drops it when memory is short. From any thread. */
void slowlog_note(const struct call *call, uint64_t nanoseconds);

void slowlog_get(struct call *call);
void slowlog_len(struct call *call);
void slowlog_reset(struct call *call);

#endif
