/* monitor.h - MONITOR: shows every command that runs to the sessions that watch. output_limit.h
 * bounds what a watcher that does not read may pile up. Passwords are never shown. */
#ifndef IDEM_SERVER_COMMANDS_MONITOR_H
#define IDEM_SERVER_COMMANDS_MONITOR_H

#include "server/commands/call.h"

#define MONITOR_MAX_LINE (64u * 1024) /* bytes; a longer line is cut */

/* Shows a call that has run: its arguments, not its reply. */
void monitor_feed(const struct call *call);
/* The same, if any session of any worker watches. */
static inline void monitor_note(const struct call *call) {
  const struct instance *instance = call->worker->instance;
  if (atomic_load_explicit(&instance->monitor_count, memory_order_relaxed) > 0) monitor_feed(call);
}
/* Sends a line about another loop's call to this worker's watchers. */
void monitor_deliver(struct worker *worker, struct span line);
/* Closes this worker's watchers: they may have missed something. */
void monitor_close_watchers(struct worker *worker);
/* The session stops watching (RESET, or it ends). Harmless when it did not watch. */
void monitor_leave(struct worker *worker, struct session *session);

void monitor_command(struct call *call);

#endif
