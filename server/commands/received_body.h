/*
 * received_body.h - a body that the network has received in an allocation of its own, so that the
 * engine can adopt it instead of copying it.
 *
 * It belongs to its request (call.h); a handler that lets the engine adopt it notes the shard.
 * Until then the network frees it.
 */
#ifndef IDEM_SERVER_COMMANDS_RECEIVED_BODY_H
#define IDEM_SERVER_COMMANDS_RECEIVED_BODY_H

#include "server/commands/worker.h"
#include "server/engine/adopted_body.h"

struct received_body {
  struct adopted_body adopted;
  struct shard *shard; /* whose engine was offered it; set before adopted.taken */
};

/* Releases it after its command: frees the bytes, or the reference to the blob. No shard may be
 * locked. */
void received_body_release(struct worker *worker, struct received_body *body);

#endif
