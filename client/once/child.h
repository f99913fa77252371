/*
 * child.h - runs the command of idem-once: takes its output, passes signals on, stops when it
 * stops.
 *
 * It must not know what a claim is; a loss is told through a descriptor. Invariants: it
 * never blocks where a signal could not be served (but for one renewal after a stop, while the
 * command stands still); the command does not run while idem-once is stopped by job control, unless
 * the command alone is continued, which idem-once cannot see; the command never outlives idem-once
 * by more than the kernel needs to deliver a SIGKILL (but for a set-user-ID program, for which the
 * kernel drops that order at its start).
 */
#ifndef IDEM_CLIENT_ONCE_CHILD_H
#define IDEM_CLIENT_ONCE_CHILD_H

#include <signal.h>
#include <stdbool.h>

#include "client/once/output.h"

/* Between SIGTERM and SIGKILL when the claim is lost. */
#define CHILD_KILL_GRACE_MS 10000

struct child_order {
  char **command;  /* ends with NULL; found along PATH */
  bool foreground; /* it stays in this process group, even where that is not the terminal's */
  int lost; /* a byte to be read from it means that the claim is lost or in doubt; -1: none */
  bool kill_when_lost;
  /* Called after a stop, before the command goes on; false: the claim is lost or in doubt. NULL:
   * nothing to renew. */
  bool (*renew)(void *context);
  void *context;
};

struct child_outcome {
  struct output output;
  int exit_status; /* as a shell has it: 128 + signal when one ended it */
  int ended_by;    /* that signal; 0: none, it ended by itself */
  bool killed;     /* it was told to end because the claim was lost */
  sigset_t signals_before;
};

/*
 * Runs the command to its end. Then the records of the output are complete, and what readers have
 * not taken yet is still to be written by child_pass_on. Returns 0, or -errno when the command
 * could not be started; then nothing ran. The outcome is written whole in both cases; deinit it.
 *
 * Blocks the signals that it passes on, and leaves them blocked: storing the outcome is not to be
 * interrupted either.
 */
int child_run(const struct child_order *order, struct child_outcome *outcome);
/* Restores the signals, and writes the rest of the output. */
void child_pass_on(struct child_outcome *outcome);
/* Fine after a child_run that failed. */
void child_outcome_deinit(struct child_outcome *outcome);

#endif
