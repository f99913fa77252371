/*
 * task.h - commands that look at everything (KEYS, SCAN, CLIENT LIST, CLIENT KILL): run in slices,
 * so that other connections do not wait for them.
 *
 *     handler -> task_begin: first slice -> done? -> reply
 *                                        \-> session->working; worker.tasks
 *                                            -> a slice a turn -> reply
 *
 * The first slice runs at once, and for most tasks it is the only one. While a session works, its
 * later commands wait, as after a command that waits. Between slices everything may change: the
 * result is not a snapshot. Inside EXEC, which promises that no other command runs in between,
 * there is one slice however long it takes.
 *
 * Invariant: a task is in worker.tasks from the end of its first slice until it is destroyed; its
 * session, as long as it exists, points at it.
 */
#ifndef IDEM_SERVER_COMMANDS_TASK_H
#define IDEM_SERVER_COMMANDS_TASK_H

#include "server/commands/call.h"

/* About how long a slice takes, and so how long another connection waits for it. */
#define TASK_SLICE_NS 500000u

struct task {
  struct list link;              /* in worker.tasks */
  const struct command *command; /* its row */
  bool large;                    /* its reply may be as large as the keyspace */
  struct session *session;       /* NULL: it has ended, and the reply goes nowhere */
  uint64_t spent_ns, begun_ns;   /* in all slices; in the first one */
  /* One slice: looks at task_over now and then, and returns true when nothing is left to do. What
   * the row says is locked. */
  bool (*step)(struct call *call, struct task *task);
  void (*reply)(struct call *call, struct task *task);
  void (*destroy)(struct worker *worker, struct task *task); /* frees it */
  uint64_t slice_end_ns;                                     /* of the slice that runs */
};

/* From the handler; takes the task over. */
void task_begin(struct call *call, struct task *task);
/* Whether the current slice has used its time. */
bool task_over(const struct task *task);
/* Call when its session ends. */
void task_abandon(struct task *task);

/* Whether there is a task that may run now. */
bool task_ready(const struct worker *worker);
/* One slice of the one that has waited longest, if there is one. Returns its session if the reply
 * is now written, NULL otherwise. */
struct session *task_run(struct worker *worker);
/* Call at the end of the worker. */
void task_destroy_all(struct worker *worker);

#endif
