/*
 * effects.h - what an engine has done to its keys, on its way to those who listen.
 *
 *     engine's buffer of effects --effects_post--> inbox of each worker that wants them
 *
 * It must not know who listens: a worker says so (worker.wants_effects), and its inbox brings the
 * effects to its sessions as messages on the channel EFFECTS_PREFIX + key: `done`, `unknown` or
 * `free`. Engines keep effects only while a worker wants them (shards_want_effects).
 *
 * Through the inbox on one's own worker too: what one shard has to tell of a key comes in the order
 * in which it happened, since the shard is locked, and not in the middle of a command's reply.
 */
#ifndef IDEM_SERVER_COMMANDS_EFFECTS_H
#define IDEM_SERVER_COMMANDS_EFFECTS_H

#include "server/commands/worker.h"

/* Before a key: the channel on which its record's ends are told. */
#define EFFECTS_PREFIX "__idem__:"

/* Empties the buffer of an engine, whose shard is locked, into the inboxes. Where memory is short,
 * the inboxes lose something instead. */
void effects_post(struct worker *worker, struct engine *engine);

#endif
