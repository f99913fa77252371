/* session_walk.c - see session_walk.h. */
#include "server/commands/session_walk.h"

void session_walk_begin(struct session_walk_cursor *cursors, struct instance *instance) {
  for (unsigned i = 0; i < instance->worker_count; i++) {
    cursors[i].next = instance->workers[i]->sessions.next;
    list_append(&instance->workers[i]->cursors, &cursors[i].link);
  }
}

void session_walk_end(struct session_walk_cursor *cursors, struct instance *instance) {
  for (unsigned i = 0; i < instance->worker_count; i++) list_remove(&cursors[i].link);
}

static struct session *session_at(const struct session_walk_cursor *cursors,
                                  struct worker *worker) {
  struct list *node = cursors[worker->number].next;
  return node != &worker->sessions ? LIST_ENTRY(node, struct session, link) : NULL;
}

struct session *session_walk_next(struct session_walk_cursor *cursors, struct instance *instance,
                                  struct worker **worker) {
  struct session *oldest = NULL;
  for (unsigned i = 0; i < instance->worker_count; i++) {
    struct session *session = session_at(cursors, instance->workers[i]);
    if (session == NULL || (oldest != NULL && oldest->id < session->id)) continue;
    oldest = session;
    *worker = instance->workers[i];
  }
  if (oldest != NULL) cursors[(*worker)->number].next = oldest->link.next;
  return oldest;
}

static void pass_over(struct worker *worker, const struct session *session) {
  for (struct list *node = worker->cursors.next; node != &worker->cursors; node = node->next) {
    struct session_walk_cursor *cursor = LIST_ENTRY(node, struct session_walk_cursor, link);
    if (cursor->next == &session->link) cursor->next = session->link.next;
  }
}

void session_walk_remove(struct worker *worker, struct session *session) {
  if (!list_empty(&worker->cursors)) pass_over(worker, session);
  list_remove(&session->link);
}
