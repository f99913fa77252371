/* task.c - see task.h. */
#include "server/commands/task.h"

#include <stdlib.h>

#include "server/commands/slowlog.h"

bool task_over(const struct task *task) {
  return task->slice_end_ns != UINT64_MAX && clock_monotonic_ns() >= task->slice_end_ns;
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
  atomic_fetch_add(&gathered->instance->gathered_bytes, capacity);
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
  if (gathered->failed) resp_write_error(reply, "ERR out of memory");
  return !gathered->failed;
}

/* The oldest piece; from here on it counts as what it is sent as. */
static struct gathered_piece *take_piece(struct gathered *gathered) {
  struct gathered_piece *piece = gathered->first;
  if (piece == NULL) return NULL;
  gathered->first = piece->next;
  atomic_fetch_sub(&gathered->instance->gathered_bytes, piece->capacity);
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
  uint64_t start_ns = clock_monotonic_ns();
  task->slice_end_ns = call->in_exec ? UINT64_MAX : start_ns + TASK_SLICE_NS;
  bool done = task->step(call, task);
  task->spent_ns += clock_monotonic_ns() - start_ns;
  return done;
}

void task_begin(struct call *call, struct task *task) {
  struct session *session = call->session;
  list_init(&task->link);
  task->command = call->command;
  task->session = session;
  if (run_slice(call, task)) {
    task->reply(call, task);
    task->destroy(call->worker, task);
    return;
  }
  struct session_details *details = session_details(session);
  if (details == NULL) {
    resp_write_error(call->reply, "ERR out of memory");
    task->destroy(call->worker, task);
    return;
  }
  task->begun_ns = task->spent_ns; /* which is measured with the command */
  details->task = task;
  session->working = true;
  list_append(&call->worker->tasks, &task->link);
}

void task_abandon(struct task *task) {
  task->session->details->task = NULL;
  task->session->working = false;
  task->session = NULL;
}

/* As a command that took long by itself: its arguments are gone. */
static void note_time(const struct call *call, const struct task *task) {
  struct worker *worker = call->worker;
  worker->stats[task->command - COMMAND_TABLE].nanoseconds += task->spent_ns - task->begun_ns;
  if (!slowlog_wants(worker, task->spent_ns)) return;
  const struct span argv[] = {span_of(task->command->name), SPAN_LITERAL("... (in slices)")};
  struct call whole = *call;
  whole.argv = argv;
  whole.argc = sizeof argv / sizeof argv[0];
  slowlog_note(&whole, task->spent_ns);
}

static void finish(struct call *call, struct task *task) {
  struct session *session = task->session;
  struct resp_writer reply = session_writer(session, call->worker);
  call->reply = &reply;
  if (!session->silent) task->reply(call, task);
  session->silent = false;
  session->active_ms = call->worker->now_ms;
  note_time(call, task);
  task_abandon(task);
}

/* In turns; but when much has been gathered, one gathers more, and the others wait. */
static void put_back(struct worker *worker, struct task *task) {
  if (session_outputs_crowd(worker, atomic_load(&worker->instance->gathered_bytes))) {
    list_prepend(&worker->tasks, &task->link);
  } else {
    list_append(&worker->tasks, &task->link);
  }
}

/* While readers have much to take, what makes large replies waits until they take it, or are closed
 * for taking nothing. */
static bool may_run(const struct worker *worker, const struct task *task) {
  return task->session == NULL || !task->large || !session_output_crowded(worker);
}

static struct task *next_task(const struct worker *worker) {
  for (struct list *node = worker->tasks.next; node != &worker->tasks; node = node->next) {
    struct task *task = LIST_ENTRY(node, struct task, link);
    if (may_run(worker, task)) return task;
  }
  return NULL;
}

bool task_ready(const struct worker *worker) { return next_task(worker) != NULL; }

struct session *task_run(struct worker *worker) {
  struct task *task = next_task(worker);
  if (task == NULL) return NULL;
  list_remove(&task->link);
  struct session *session = task->session;
  struct call call = {
      .worker = worker, .session = session, .command = task->command, .now_ms = worker->now_ms};
  bool done = session == NULL;
  enum command_reach reach = command_reach(task->command, 1);
  command_lock(&call, reach);
  done = done || run_slice(&call, task);
  if (!done) {
    put_back(worker, task);
  } else {
    if (session != NULL) finish(&call, task);
    task->destroy(worker, task);
  }
  command_unlock(&call, reach);
  return done ? session : NULL;
}

void task_destroy_all(struct worker *worker) {
  for (struct list *node; (node = list_pop(&worker->tasks)) != NULL;) {
    struct task *task = LIST_ENTRY(node, struct task, link);
    task->destroy(worker, task);
  }
}
