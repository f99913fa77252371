/*
 * gathered.h - what a task gathers for its reply, in pieces that are never moved: a large reply is
 * sent from where it lies. Zero-filled but for `instance` it is empty.
 */
#ifndef IDEM_SERVER_COMMANDS_GATHERED_H
#define IDEM_SERVER_COMMANDS_GATHERED_H

#include "server/commands/worker.h"

struct gathered_piece;

struct gathered {
  struct instance *instance; /* whose gathered_bytes count it */
  struct gathered_piece *first, *last;
  size_t bytes;
  bool failed; /* memory is short; nothing more is taken */
};

void gathered_append(struct gathered *gathered, const char *bytes, size_t len);
/* Whether there was memory for all of it; replies an error if not. */
bool gathered_whole(const struct gathered *gathered, struct resp_writer *reply);
/* Moves all of it to the end of the reply. */
void gathered_send(struct gathered *gathered, struct resp_writer *reply);
void gathered_deinit(struct gathered *gathered);

#endif
