/* queue.c - see queue.h. */
#include "server/commands/queue.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "server/commands/argument_limits.h"

bool queue_begin(struct worker *worker, struct session *session) {
  struct session_details *details = session_details(session);
  struct queue *queue = details != NULL ? calloc(1, sizeof *queue) : NULL;
  if (queue == NULL) return false;
  queue->instance = worker->instance;
  queue->last = &queue->first;
  queue->reach = COMMAND_REACHES_ALL;
  details->queue = queue;
  return true;
}

struct queue *queue_take(struct session *session) {
  struct queue *queue = session_queue(session);
  if (queue != NULL) session->details->queue = NULL;
  return queue;
}

void queue_destroy(struct queue *queue) {
  if (queue == NULL) return;
  atomic_fetch_sub(&queue->instance->input_bytes, queue->bytes + queue->body_bytes);
  for (struct queue_item *next, *item = queue->first; item != NULL; item = next) {
    next = item->next;
    free(item);
  }
  free(queue);
}

void queue_discard(struct session *session) { queue_destroy(queue_take(session)); }

void queue_spoil(struct session *session) {
  struct queue *queue = session_queue(session);
  if (queue != NULL) queue->spoiled = true;
}

/* ---- adding ---- */

struct size {
  size_t bytes, body_bytes;
};

static bool is_body(const struct worker *worker, const struct queue_command *command,
                    size_t index) {
  return command->argv[index].len > QUEUE_BODY_BYTES &&
         argument_limits_of(worker, command->command, command->argv, index) ==
             (size_t)worker->options->limits.body_bytes;
}

static struct size size_of_copy(const struct worker *worker, const struct queue_command *command) {
  size_t argc = command->argc;
  struct size size = {.bytes = sizeof(struct queue_item) + argc * sizeof(struct span)};
  for (size_t i = 0; i < argc; i++)
    *(is_body(worker, command, i) ? &size.body_bytes : &size.bytes) += command->argv[i].len;
  return size;
}

/* Whether the queue may grow by so much: QUEUE_TAKEN, or why not. */
static enum queue_outcome room_for(const struct worker *worker, const struct queue *queue,
                                   struct size size) {
  const struct options *options = worker->options;
  uint64_t total = atomic_load(&queue->instance->input_bytes);
  if (queue->bytes + size.bytes > QUEUE_MAX_BYTES ||
      queue->body_bytes + size.body_bytes > (size_t)options->limits.body_bytes)
    return QUEUE_FULL;
  bool fits = total + size.bytes + size.body_bytes <= (uint64_t)options->client_input_total;
  return fits ? QUEUE_TAKEN : QUEUE_ALL_FULL;
}

static struct queue_item *copy(const struct queue_command *command, size_t size) {
  struct queue_item *item = malloc(size);
  if (item == NULL) return NULL;
  *item = (struct queue_item){.command = command->command, .argc = command->argc};
  char *at = (char *)&item->argv[command->argc];
  for (size_t i = 0; i < command->argc; i++) {
    memcpy(at, command->argv[i].data, command->argv[i].len);
    item->argv[i] = (struct span){at, command->argv[i].len};
    at += command->argv[i].len;
  }
  assert(at == (char *)item + size);
  return item;
}

static void append(struct queue *queue, struct queue_item *item, struct size size) {
  enum command_reach reach = command_reach(item->command, item->argc);
  if (reach > queue->reach) queue->reach = reach;
  if ((item->command->flags & COMMAND_WRITES) != 0) queue->writes = true;
  *queue->last = item;
  queue->last = &item->next;
  queue->count++;
  queue->bytes += size.bytes;
  queue->body_bytes += size.body_bytes;
  atomic_fetch_add(&queue->instance->input_bytes, size.bytes + size.body_bytes);
}

enum queue_outcome queue_add(struct worker *worker, struct session *session,
                             const struct queue_command *command) {
  struct queue *queue = session_queue(session);
  if (queue->spoiled) return QUEUE_TAKEN;
  struct size size = size_of_copy(worker, command);
  enum queue_outcome outcome = room_for(worker, queue, size);
  struct queue_item *item = NULL;
  if (outcome == QUEUE_TAKEN) {
    item = copy(command, size.bytes + size.body_bytes);
    if (item == NULL) outcome = QUEUE_NO_MEMORY;
  }
  if (item != NULL) {
    append(queue, item, size);
  } else {
    queue->spoiled = true;
  }
  return outcome;
}

/* ---- reading ---- */

enum command_reach queue_reach(const struct session *session) {
  const struct queue *queue = session_queue(session);
  return queue != NULL && !queue->spoiled ? queue->reach : COMMAND_REACHES_NOTHING;
}

const struct queue_item *queue_first(const struct session *session) {
  const struct queue *queue = session_queue(session);
  return queue != NULL && !queue->spoiled ? queue->first : NULL;
}

bool queue_writes(const struct session *session) {
  const struct queue *queue = session_queue(session);
  return queue != NULL && queue->writes;
}

int queue_length(const struct session *session) {
  _Static_assert(QUEUE_MAX_BYTES / sizeof(struct queue_item) <= INT_MAX, "the length is an int");
  const struct queue *queue = session_queue(session);
  return queue != NULL ? (int)queue->count : -1;
}

size_t queue_bytes(const struct session *session) {
  const struct queue *queue = session_queue(session);
  return queue != NULL ? queue->bytes + queue->body_bytes : 0;
}
