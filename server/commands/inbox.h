/*
 * inbox.h - entries from other loops for the sessions of a worker: messages of pub/sub and lines
 * for MONITOR; and effects, from its own loop too. Any thread posts, the worker's own thread takes;
 * incoming.h gives the entries to sessions.
 *
 * It must not know who gets an entry, nor what it says.
 *
 * Invariants: entries of one sender stay in order; an inbox has at most INBOX_MAX_BYTES. When it is
 * full, or memory is short, further entries are lost, and inbox_take says so. After a post the loop
 * is awake, or was woken and has not yet called inbox_take.
 */
#ifndef IDEM_SERVER_COMMANDS_INBOX_H
#define IDEM_SERVER_COMMANDS_INBOX_H

#include "server/commands/worker.h"

#define INBOX_MAX_BYTES (64u * 1024 * 1024)

enum inbox_kind { INBOX_MESSAGE, INBOX_MONITOR_LINE };

/* From malloc; the caller that takes it frees it. */
struct inbox_entry {
  struct list link;
  struct worker *to;
  enum inbox_kind kind;
  size_t channel_len, payload_len;
  char bytes[]; /* the channel, then the payload */
};

struct inbox *inbox_create(void);        /* NULL when memory is short */
void inbox_destroy(struct inbox *inbox); /* takes NULL */

/* Copies the bytes and wakes the loop of `to`, which may be the caller's own, `from`. The lock of
 * topics may not be held. While `from` holds all shards, the entry is kept back until
 * inbox_release: what it tells of is not appended to the journal yet, and another loop would send
 * it without waiting for that. */
void inbox_post(struct worker *from, struct worker *to, enum inbox_kind kind, struct span channel,
                struct span payload);
/* Posts what was kept back. By the thread of `from`. */
void inbox_release(struct worker *from);
/* Notes that an entry was lost before it could be posted, as if there had been no room. From any
 * thread. */
void inbox_lose(struct worker *to);
bool inbox_empty(const struct worker *worker); /* from any thread */
/* Moves all entries to the list, oldest first. Returns whether some were lost after them. */
bool inbox_take(struct worker *worker, struct list *entries);

#endif
