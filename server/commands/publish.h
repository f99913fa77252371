/*
 * publish.h - sends messages to subscribers (topics.h).
 *
 * A message is written into the output of every subscriber at once; a short payload is copied for
 * each, a long one once. output_limit.h bounds what a subscriber that does not read may pile up.
 * Subscribers of other workers get it through their worker's inbox.
 *
 * It must not know why a message is sent (PUBLISH, or an effect). Invariant: a subscriber misses no
 * message; one that would is closed. Each function is called by the worker's own thread, with no
 * topics locked; what is passed is copied, or counted, before it returns.
 */
#ifndef IDEM_SERVER_COMMANDS_PUBLISH_H
#define IDEM_SERVER_COMMANDS_PUBLISH_H

#include "server/commands/worker.h"

/* To the sessions of all workers. Returns the number of receivers; a session that is subscribed to
 * the channel and to matching patterns counts for each. */
size_t publish_message(struct worker *worker, struct span channel, struct span payload);
/* The part of that for the worker's own sessions. A session that may take no more is closed,
 * and counts all the same. */
size_t publish_here(struct worker *worker, struct span channel, struct span payload);
/* Closes all subscribers of the worker: they may have missed a message. */
void publish_close_subscribers(struct worker *worker);

#endif
