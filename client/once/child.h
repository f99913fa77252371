/*
 * child.h - runs the command of idem-once: passes its output on, records it, forwards signals.
 *
 * It must not know what a claim is; that one was lost it learns from a descriptor. Invariants: it
 * never blocks where a signal could not be served; what is recorded of a stream is always the first
 * part of it; the command never outlives idem-once by more than the kernel needs to deliver a
 * SIGKILL.
 */
#ifndef IDEM_CLIENT_ONCE_CHILD_H
#define IDEM_CLIENT_ONCE_CHILD_H

#include <stddef.h>

/* Of both streams together. The server's default limit of a body. */
#define CHILD_OUTPUT_LIMIT_BYTES ((size_t)16 * 1024 * 1024)
/* Between SIGTERM and SIGKILL when the claim is lost. */
#define CHILD_KILL_GRACE_MS 10000

enum child_stream { CHILD_STDOUT, CHILD_STDERR, CHILD_STREAMS };

struct child_record {
  char *data; /* malloc'd */
  size_t len;
  size_t size;
};

struct child_order {
  char **command; /* ends with NULL; found along PATH */
  int lost;       /* a byte to read from it says that the claim is lost or in doubt; -1: none */
  int kill_when_lost;
};

struct child_outcome {
  struct child_record record[CHILD_STREAMS];
  size_t missed; /* bytes that were passed on, but are in no record: over the limit, or no memory */
  int exit_status; /* as a shell has it: 128 + signal when one ended it */
  int killed;      /* 1: stopped here because the claim was lost */
};

/*
 * Runs the command to its end. Blocks the signals that it forwards, and leaves them blocked: what
 * comes behind (storing the outcome) is not to be interrupted either. Returns 0, or -errno when the
 * command could not be started; then nothing ran. The outcome is written whole in both cases;
 * deinit it.
 */
int child_run(const struct child_order *order, struct child_outcome *outcome);
void child_outcome_deinit(struct child_outcome *outcome);

#endif
