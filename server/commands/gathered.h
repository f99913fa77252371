/*
 * gathered.h - what a task gathers for its reply, in pieces that are never moved: a large reply is
 * sent from where it lies. Zero-filled but for `worker` it is empty. Each function is called by the
 * worker's own thread.
 */
#ifndef IDEM_SERVER_COMMANDS_GATHERED_H
#define IDEM_SERVER_COMMANDS_GATHERED_H

#include "server/commands/worker.h"

struct gathered_piece;
struct blob;
struct shard;

struct gathered {
  struct worker *worker; /* whose instance.gathered_bytes count it */
  struct gathered_piece *first, *last;
  size_t bytes; /* of all pieces */
  bool failed;  /* memory is short; nothing more is taken */
};

void gathered_append(struct gathered *gathered, const char *bytes, size_t len);
/* The bytes of a blob, which are pinned and sent from where they lie. The shard, whose blob it is,
 * is locked. */
void gathered_pin(struct gathered *gathered, struct shard *shard, struct blob *blob,
                  struct span bytes);
/* Whether there was memory for all of it; replies an error if not. */
bool gathered_whole(const struct gathered *gathered, struct resp_writer *reply);
/* Moves all of it to the end of the reply. */
void gathered_send(struct gathered *gathered, struct resp_writer *reply);
/* Locks the shards of what is still pinned, so none may be locked but all. */
void gathered_deinit(struct gathered *gathered);

#endif
