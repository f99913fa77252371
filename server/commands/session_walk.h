/*
 * session_walk.h - walks through all sessions of all workers, in slices between which sessions come
 * and go.
 *
 * Oldest first, except watchers (MONITOR), which come before all. A session that comes or goes
 * between two slices may or may not be visited. A walk takes a step while all other loops are
 * paused; a session leaves its worker's list by session_walk_remove, which moves the cursors on.
 */
#ifndef IDEM_SERVER_COMMANDS_SESSION_WALK_H
#define IDEM_SERVER_COMMANDS_SESSION_WALK_H

#include "server/commands/session.h"

/* Where a walk is with the sessions of one worker. */
struct session_walk_cursor {
  struct list link;  /* in worker.cursors */
  struct list *next; /* of worker.sessions; the list itself: at the end */
};

/* There is a cursor for each worker, in their order. */
void session_walk_begin(struct session_walk_cursor *cursors, struct instance *instance);
void session_walk_end(struct session_walk_cursor *cursors, struct instance *instance);
/* The next session and its worker; NULL: there is no other. */
struct session *session_walk_next(struct session_walk_cursor *cursors, struct instance *instance,
                                  struct worker **worker);

/* The session leaves its place in worker.sessions. By the worker's own thread. */
void session_walk_remove(struct worker *worker, struct session *session);

#endif
