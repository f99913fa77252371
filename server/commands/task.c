/* task.c - see task.h. */
#include "server/commands/task.h"

#include <stdlib.h>

#include "server/commands/slowlog.h"

bool task_over(const struct task *task) {
  return task->slice_end_ns != UINT64_MAX && host_clock_ns() >= task->slice_end_ns;
}

/* ---- what is gathered ---- */

/* Large enough that a reply of gigabytes has few pieces, small enough for a short one. */
#define PIECE_LEAST (16u * 1024)
#define PIECE_MOST (1024u * 1024)
/* What costs less to copy than to reference. */
#define COPIED_BYTES (64u * 1024)

struct gathered_piece {
  struct counted head;
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
  *piece = (struct gathered_piece){.head.references = 1, .capacity = capacity};
  atomic_fetch_add(&gathered->shared->gathered_bytes, capacity);
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

bool gathered_whole(const struct gathered *gathered, struct resp_writer *reply) {
  if (gathered->failed) resp_error(reply, "ERR out of memory");
  return !gathered->failed;
}

/* The oldest piece; from here on it counts as what it is sent as. */
static struct gathered_piece *take_piece(struct gathered *gathered) {
  struct gathered_piece *piece = gathered->first;
  if (piece == NULL) return NULL;
  gathered->first = piece->next;
  atomic_fetch_sub(&gathered->shared->gathered_bytes, piece->capacity);
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

/* True: nothing is left to do. */
static bool run_slice(struct call *call, struct task *task) {
  uint64_t start_ns = host_clock_ns();
  task->slice_end_ns = call->in_exec ? UINT64_MAX : start_ns + TASK_SLICE_NS;
  bool done = task->step(call, task);
  task->spent_ns += host_clock_ns() - start_ns;
  return done;
}

void task_begin(struct call *call, struct task *task) {
  struct client *client = call->client;
  list_init(&task->link);
  task->command = call->command;
  task->client = client;
  if (run_slice(call, task)) {
    task->reply(call, task);
    task->destroy(call->host, task);
    return;
  }
  struct client_details *details = client_details(client);
  if (details == NULL) {
    resp_error(call->reply, "ERR out of memory");
    task->destroy(call->host, task);
    return;
  }
  task->begun_ns = task->spent_ns; /* which is measured with the command */
  details->task = task;
  client->working = true;
  list_append(&call->host->tasks, &task->link);
}

void task_abandon(struct task *task) {
  task->client->details->task = NULL;
  task->client->working = false;
  task->client = NULL;
}

/* As a command that took long by itself: its arguments are gone. */
static void note_time(const struct call *call, const struct task *task) {
  struct host *host = call->host;
  host->stats[task->command - COMMAND_TABLE].nanoseconds += task->spent_ns - task->begun_ns;
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

/* In turns; but when much has been gathered, one gathers more, and the others wait. */
static void put_back(struct host *host, struct task *task) {
  if (client_outputs_crowd(host, atomic_load(&host->shared->gathered_bytes))) {
    list_prepend(&host->tasks, &task->link);
  } else {
    list_append(&host->tasks, &task->link);
  }
}

/* While readers have much to take, what makes large replies waits until they take it, or are closed
 * for taking nothing. */
static bool may_run(const struct host *host, const struct task *task) {
  return task->client == NULL || !task->large || !client_output_crowded(host);
}

static struct task *next_task(const struct host *host) {
  for (struct list *node = host->tasks.next; node != &host->tasks; node = node->next) {
    struct task *task = LIST_ENTRY(node, struct task, link);
    if (may_run(host, task)) return task;
  }
  return NULL;
}

bool task_ready(const struct host *host) { return next_task(host) != NULL; }

struct client *task_run(struct host *host) {
  struct task *task = next_task(host);
  if (task == NULL) return NULL;
  list_remove(&task->link);
  struct client *client = task->client;
  struct call call = {
      .host = host, .client = client, .command = task->command, .now_ms = host->now_ms};
  bool done = client == NULL;
  enum command_reach reach = command_reach(task->command, 1);
  command_lock(&call, reach);
  done = done || run_slice(&call, task);
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
