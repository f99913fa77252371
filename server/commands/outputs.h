/*
 * outputs.h - where replies are written: outputs kept ready, and what they refer to.
 *
 * An output is one session's until the network has sent it; then it is given back. It must not know
 * what is written there, nor how it is sent.
 *
 * Invariants: a spare output is empty and has no references; what an output refers to stays alive
 * until outputs_unpin. Each function is called by the worker's own thread; outputs_unpin locks
 * shards.
 */
#ifndef IDEM_SERVER_COMMANDS_OUTPUTS_H
#define IDEM_SERVER_COMMANDS_OUTPUTS_H

#include "server/commands/worker.h"

/* Outputs kept for the next turn, so that a busy server allocates none. */
#define OUTPUTS_SPARE 64
/* A spare output gives back a larger buffer than this. */
#define OUTPUTS_SPARE_BYTES (64u * 1024)

/* Room for the spare ones. False: memory is short. */
bool outputs_init(struct worker *worker);
void outputs_deinit(struct worker *worker);

/* Take returns an empty output, NULL when memory is short. Give takes it back after its references
 * were released. */
struct resp_output *outputs_take(struct worker *worker);
void outputs_give(struct worker *worker, struct resp_output *out);

/* Releases one reference: a blob of a shard, which is its keeper, is unpinned; bytes without a
 * keeper are counted (counted.h). */
void outputs_unpin_one(struct worker *worker, const struct resp_output_ref *ref);
/* Releases the references that the output holds, from number `first` on. The output still lists
 * them: reset or give it next. */
void outputs_unpin(struct worker *worker, struct resp_output *out, size_t first);

#endif
