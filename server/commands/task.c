/* task.c - see task.h. */
#include "server/commands/task.h"

#include <stdlib.h>
#include <time.h>

#include "server/commands/slowlog.h"

static uint64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool task_over(const struct task *task) {
  return task->slice_end_ns != UINT64_MAX && clock_ns() >= task->slice_end_ns;
}

/* ---- what is gathered ---- */

/* Large enough that a reply of gigabytes has few pieces, small enough for a short one. */
#define PIECE_LEAST (16u * 1024)
#define PIECE_MOST (1024u * 1024)
/* What costs less to copy than to reference. */
#define COPIED_BYTES (64u * 1024)

struct gathered_piece {
  struct gathered_piece *next;
  size_t len, capacity;
  char bytes[];
};

static struct gathered_piece *add_piece(struct gathered *gathered, size_t least) {
  size_t capacity = gathered->bytes < PIECE_LEAST  ? PIECE_LEAST
                    : gathered->bytes < PIECE_MOST ? gathered->bytes
                                                   : PIECE_MOST;
  if (capacity < least) capacity = least;
  struct gathered_piece *piece = malloc(sizeof *piece + capacity);
  gathered->failed = piece == NULL;
  if (piece == NULL) return NULL;
  *piece = (struct gathered_piece){.capacity = capacity};
  atomic_fetch_add(&gathered->shared->sending_bytes, capacity);
  if (gathered->last != NULL) gathered->last->next = piece;
  if (gathered->first == NULL) gathered->first = piece;
  gathered->last = piece;
  return piece;
}

void gathered_append(struct gathered *gathered, const char *bytes, size_t len) {
  struct gathered_piece *piece = gathered->last;
  if (gathered->failed) return;
  if (piece == NULL || piece->capacity - piece->len < len) piece = add_piece(gathered, len);
  if (piece == NULL) return;
  memcpy(piece->bytes + piece->len, bytes, len);
  piece->len += len;
  gathered->bytes += len;
}

/* The oldest piece; from here on it counts as what it is sent as. */
static struct gathered_piece *take_piece(struct gathered *gathered) {
  struct gathered_piece *piece = gathered->first;
  if (piece == NULL) return NULL;
  gathered->first = piece->next;
  atomic_fetch_sub(&gathered->shared->sending_bytes, piece->capacity);
  return piece;
}

void gathered_send(struct gathered *gathered, struct resp_writer *reply) {
  bool copied = gathered->bytes <= COPIED_BYTES;
  for (struct gathered_piece *piece; (piece = take_piece(gathered)) != NULL;) {
    struct span bytes = {piece->bytes, piece->len};
    if (copied) resp_output_append(reply->out, bytes.data, bytes.len);
    if (copied || !resp_output_refer(reply->out, bytes, piece, NULL)) free(piece);
  }
}

void gathered_deinit(struct gathered *gathered) {
  for (struct gathered_piece *piece; (piece = take_piece(gathered)) != NULL;) free(piece);
}

/* ---- running ---- */

static void run_slice(struct call *call, struct task *task, bool *done) {
  task->slice_end_ns = call->in_exec ? UINT64_MAX : clock_ns() + TASK_SLICE_NS;
  *done = task->step(call, task);
}

void task_begin(struct call *call, struct task *task) {
  bool done;
  struct client *client = call->client;
  list_init(&task->link);
  task->command = call->command;
  task->client = client;
  run_slice(call, task, &done);
  struct client_details *details = done ? NULL : client_details(client);
  if (!done && details == NULL) {
    resp_error(call->reply, "ERR out of memory");
  } else if (done) {
    task->reply(call, task);
  } else {
    details->task = task;
    client->working = true;
    list_append(&call->host->tasks, &task->link);
    return;
  }
  task->destroy(call->host, task);
}

void task_abandon(struct task *task) {
  task->client->details->task = NULL;
  task->client->working = false;
  task->client = NULL;
}

/* As a command that took long by itself: its arguments are gone. */
static void note_time(const struct call *call, const struct task *task) {
  struct host *host = call->host;
  host->stats[task->command - COMMAND_TABLE].nanoseconds += task->spent_ns;
  if (!slowlog_wants(host, task->spent_ns)) return;
  const struct span argv[] = {span_of(task->command->name), SPAN_LITERAL("... (in slices)")};
  struct call whole = *call;
  whole.argv = argv;
  whole.argc = sizeof argv / sizeof argv[0];
  slowlog_note(&whole, task->spent_ns);
}

static void finish(struct call *call, struct task *task) {
  struct client *client = task->client;
  struct resp_writer reply = client_writer(client, call->host);
  call->reply = &reply;
  if (!client->silent) task->reply(call, task);
  client->silent = false;
  client->active_ms = call->host->now_ms;
  note_time(call, task);
  task_abandon(task);
}

/* In turns; but where many have much to take already, one gathers more, and the others wait. */
static void put_back(struct host *host, struct task *task) {
  if (client_output_crowded(host)) {
    list_prepend(&host->tasks, &task->link);
  } else {
    list_append(&host->tasks, &task->link);
  }
}

struct client *task_run(struct host *host) {
  struct list *node = list_pop(&host->tasks);
  if (node == NULL) return NULL;
  struct task *task = LIST_ENTRY(node, struct task, link);
  struct client *client = task->client;
  struct call call = {
      .host = host, .client = client, .command = task->command, .now_ms = host->now_ms};
  uint64_t start_ns = clock_ns();
  bool done = client == NULL;
  enum command_reach reach = command_reach(task->command, 1);
  command_lock(&call, reach);
  if (!done) run_slice(&call, task, &done);
  task->spent_ns += clock_ns() - start_ns;
  if (!done) {
    put_back(host, task);
  } else {
    if (client != NULL) finish(&call, task);
    task->destroy(host, task);
  }
  command_unlock(&call, reach);
  return done ? client : NULL;
}

void task_destroy_all(struct host *host) {
  for (struct list *node; (node = list_pop(&host->tasks)) != NULL;) {
    struct task *task = LIST_ENTRY(node, struct task, link);
    task->destroy(host, task);
  }
}
