/*
 * queue.h - the commands that a session has queued between MULTI and EXEC.
 *
 * A session's queue takes at most QUEUE_MAX_BYTES, and body-limit for bodies besides; both count in
 * client-input-total. More spoils the queue: later commands are answered QUEUED, as in Redis, but
 * not kept, and EXEC refuses. It must not know how commands run. Each function is called by the
 * session's own thread; those that take a session do nothing, or answer as for an empty queue, when
 * it has none.
 */
#ifndef IDEM_SERVER_COMMANDS_QUEUE_H
#define IDEM_SERVER_COMMANDS_QUEUE_H

#include "server/commands/session.h"

#define QUEUE_MAX_BYTES (1024u * 1024) /* of commands and their arguments, not counting bodies */
/* An argument that may be as long as a body, and is longer than this, counts as a body. */
#define QUEUE_BODY_BYTES 1024u

/* One allocation: the spans, and after them the bytes that they point at. */
struct queue_item {
  struct queue_item *next;
  const struct command *command;
  size_t argc;
  struct span argv[];
};

struct queue {
  struct instance *instance;
  struct queue_item *first, **last;
  size_t count;
  size_t bytes, body_bytes; /* both count in instance.input_bytes */
  bool spoiled, writes;
  enum command_reach reach; /* the widest of any queued command, at least all shards */
};

/* Begins one. False: memory is short. */
bool queue_begin(struct worker *worker, struct session *session);
/* Takes it from the session, so that a handler that changes the session finds none. NULL: there is
 * none. The caller destroys it. */
struct queue *queue_take(struct session *session);
void queue_destroy(struct queue *queue);
/* Discards it. */
void queue_discard(struct session *session);
/* A command was refused while queueing: EXEC will be -EXECABORT. */
void queue_spoil(struct session *session);

enum queue_outcome {
  QUEUE_TAKEN, /* or spoiled already, and answered QUEUED all the same */
  QUEUE_FULL,  /* of this session; from here on the queue is spoiled */
  QUEUE_ALL_FULL,
  QUEUE_NO_MEMORY
};
struct queue_command {
  const struct command *command;
  const struct span *argv;
  size_t argc;
};
/* Copies a command, which was checked, to the end of the session's queue, which exists. */
enum queue_outcome queue_add(struct worker *worker, struct session *session,
                             const struct queue_command *command);

/* What EXEC needs to lock: all shards, or the other loops too; nothing when it will refuse. */
enum command_reach queue_reach(const struct session *session);
/* The commands of its queue; NULL: none, or EXEC will refuse. */
const struct queue_item *queue_first(const struct session *session);
/* Whether a command that writes is queued. */
bool queue_writes(const struct session *session);
int queue_length(const struct session *session); /* -1 without MULTI, as CLIENT LIST shows it */
size_t queue_bytes(const struct session *session);

#endif
