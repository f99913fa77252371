/*
 * effects.h - sends what an engine has done to its keys to subscribers.
 *
 *     engine's buffer of effects --effects_post--> inbox of each worker that wants them
 *
 * It must not know the subscribers: a worker says whether it has any (worker.wants_effects), and
 * its inbox brings the effects to its sessions as messages on the channel EFFECTS_PREFIX + key:
 * `done`, `unknown` or `free`. Engines keep effects only while a worker wants them
 * (shards_want_effects).
 *
 * Effects go through the inbox of the own worker too: those of one key arrive in the order in which
 * they happened, since the shard is locked, and not in the middle of a command's reply.
 *
 * Invariant: a worker that wants effects gets each, or learns that some were lost, and closes its
 * subscribers (incoming.h). Called by access.h only, on the worker's own thread.
 */
#ifndef IDEM_SERVER_COMMANDS_EFFECTS_H
#define IDEM_SERVER_COMMANDS_EFFECTS_H

#include "server/commands/worker.h"

/* Before a key: the channel for the effects on its record. */
#define EFFECTS_PREFIX "__idem__:"

/* Empties the buffer of an engine, whose shard is locked, into the inboxes. When memory is short,
 * the inboxes note a loss instead. */
void effects_post(struct worker *worker, struct engine *engine);

#endif
