/*
 * publish.h - messages to those who listen (topics.h).
 *
 * A message is written into the output of every subscriber at once; a short payload is copied for
 * each, a long one once. What a subscriber that does not read may pile up is bounded by
 * output_limit.h. Subscribers of other workers get it through their worker's inbox.
 */
#ifndef IDEM_SERVER_COMMANDS_PUBLISH_H
#define IDEM_SERVER_COMMANDS_PUBLISH_H

#include "server/commands/worker.h"

/* To the sessions of all workers. Returns to how many it goes; one that listens by channel and by
 * patterns counts for each. */
size_t publish_message(struct worker *worker, struct span channel, struct span payload);
/* The part of that for the worker's own sessions. */
size_t publish_here(struct worker *worker, struct span channel, struct span payload);
/* Closes all sessions of the worker that listen: they may have missed something. */
void publish_close_subscribers(struct worker *worker);

#endif
