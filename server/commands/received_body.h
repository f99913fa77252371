/*
 * received_body.h - a body that the network has received in an allocation of its own, so that the
 * engine can adopt it instead of copying it.
 *
 * It goes with its request (call.h); a handler that lets the engine adopt it notes the shard. Until
 * then it is the network's to free.
 */
#ifndef IDEM_SERVER_COMMANDS_RECEIVED_BODY_H
#define IDEM_SERVER_COMMANDS_RECEIVED_BODY_H

#include "server/commands/worker.h"
#include "server/engine/adopted_body.h"

struct received_body {
  struct adopted_body piece;
  struct shard *keeper; /* once an engine has adopted it */
};

/* What is left of it after its command. No shard may be locked. */
void received_body_release(struct worker *worker, struct received_body *body);

#endif
