/* monitor.h - MONITOR: every command that runs, told to the sessions that watch. What a watcher
 * that does not read may pile up is bounded by output_limit.h. Passwords are never told. */
#ifndef IDEM_SERVER_COMMANDS_MONITOR_H
#define IDEM_SERVER_COMMANDS_MONITOR_H

#include "server/commands/call.h"

#define MONITOR_MAX_LINE (64u * 1024) /* bytes; a longer line is cut */

/* Tells of a call that has run: its arguments are read, its reply is not. */
void monitor_feed(const struct call *call);
/* The same, if any session of any worker watches. */
static inline void monitor_note(const struct call *call) {
  const struct instance *instance = call->worker->instance;
  if (atomic_load_explicit(&instance->monitor_count, memory_order_relaxed) > 0) monitor_feed(call);
}
/* A line that was made for another loop's call, to this worker's watchers. */
void monitor_deliver(struct worker *worker, struct span line);
/* Closes this worker's watchers: they may have missed something. */
void monitor_close_watchers(struct worker *worker);
/* The session watches no more: RESET, or it ends. Harmless when it did not. */
void monitor_leave(struct worker *worker, struct session *session);

void monitor_command(struct call *call);

#endif
