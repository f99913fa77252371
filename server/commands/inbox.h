/*
 * inbox.h - what other loops have to say to the clients of a host: messages of pub/sub, lines for
 * MONITOR; and effects, from its own loop too. Posted by any thread, taken by the host's own.
 *
 * In the order of posting for each sender. Bounded: a host that is so far behind that its inbox is
 * full, or for which there is no memory, loses what comes next, and then closes those who may have
 * missed something, as it closes a listener that does not read.
 */
#ifndef IDEM_SERVER_COMMANDS_INBOX_H
#define IDEM_SERVER_COMMANDS_INBOX_H

#include "server/commands/worker.h"

#define INBOX_MAX_BYTES (64u * 1024 * 1024)

enum inbox_kind { INBOX_MESSAGE, INBOX_MONITOR_LINE };

struct inbox *inbox_create(void); /* NULL when memory is short */
void inbox_destroy(struct inbox *inbox);

/* Copies the bytes and wakes the loop of `to`, which may be one's own. From any thread; no lock of
 * pubsub may be held. */
void inbox_post(struct worker *to, enum inbox_kind kind, struct span channel, struct span payload);
/* Something that should have been posted was lost: as if there had been no room for it. */
void inbox_lose(struct worker *to);
bool inbox_empty(const struct worker *worker); /* from any thread */
/* Gives everything to those whom it is for. At the end of a turn, and before commands that have
 * arrived run: what was said before them must neither overtake what they say, nor reach those who
 * begin to listen only now. Not in the middle of a command. */
void inbox_deliver(struct worker *worker);

#endif
