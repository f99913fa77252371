/*
 * recovery.h - what a server sees to while it starts and reads its journal, when no loop runs yet:
 * the log and the supervisor hear how far it is, SIGTERM and SIGINT end it, and another room may
 * have its turn.
 *
 * The two signals are blocked from recovery_begin to recovery_end, and asked for in between; so
 * they need no handler, which would need a variable of the whole process. One that comes too late
 * to end the recovery is heard by the first loop, in its first turn. They are unblocked in the end,
 * also if the process was started with them blocked: else it could not be told to stop.
 */
#ifndef IDEM_SERVER_NET_RECOVERY_H
#define IDEM_SERVER_NET_RECOVERY_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/journal/types.h"
#include "server/ops/log.h"
#include "server/ops/notify.h"

/* How often it looks for signals and lets others have their turn; the pieces between are shorter.
 */
#define RECOVERY_TURN_MS 20
/* How often the log and the supervisor hear of it. */
#define RECOVERY_TELL_MS 3000
/* By how much the supervisor has to wait longer then: for a disk that hangs. */
#define RECOVERY_EXTEND_US 60000000u

/* A room that serves during the recovery; once in RECOVERY_TURN_MS, first as soon as something was
 * read. It may not wait. */
struct recovery_guest {
  void (*turn)(void *context, struct journal_step step); /* NULL: none */
  void *context;
};

struct recovery {
  struct log *log;
  const struct notify *notify;
  struct recovery_guest guest; /* the caller may set it */
  int64_t turned_ms, told_ms;  /* monotonic; when last */
  int ended_by;                /* a signal; 0: none */
};

/* All is borrowed until recovery_end, which is called by the same thread. */
void recovery_begin(struct recovery *recovery, struct log *log, const struct notify *notify);
void recovery_end(struct recovery *recovery);
/* The journal's: see struct journal_steps. context: struct recovery. */
bool recovery_step(void *context, struct journal_step step);
/* All is read; what follows may take the disk a while. */
void recovery_tell(struct recovery *recovery);

#endif
