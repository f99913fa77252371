/*
 * monitor.c - see monitor.h. A line looks as Redis writes it:
 *
 *     +1700000000.123000 [0 127.0.0.1:1234] "CLAIM" "k"
 */
#include "server/commands/monitor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/commands/inbox.h"
#include "server/commands/output_limit.h"
#include "server/commands/reply.h"
#include "server/commands/session_walk.h"

/* Room at the end of a line for the mark that it was cut, and CRLF. */
#define CUT_MARK "...\r\n"
#define LINE_ROOM (MONITOR_MAX_LINE - sizeof CUT_MARK)

struct line {
  size_t len;
  bool cut;
  char bytes[MONITOR_MAX_LINE];
};

static void line_add(struct line *line, const char *bytes, size_t len) {
  if (line->cut || len > LINE_ROOM - line->len) {
    line->cut = true;
    return;
  }
  memcpy(line->bytes + line->len, bytes, len);
  line->len += len;
}

static void line_add_escaped(struct line *line, unsigned char c) {
  static const char plain[] = "\n\r\t\a\b\"\\", escaped[] = "nrtab\"\\";
  const char *known = c != '\0' ? strchr(plain, c) : NULL;
  char text[5] = {(char)c};
  if (known != NULL) {
    snprintf(text, sizeof text, "\\%c", escaped[known - plain]);
  } else if (c < ' ' || c > '~') {
    snprintf(text, sizeof text, "\\x%02x", c);
  }
  line_add(line, text, strlen(text));
}

static void line_add_quoted(struct line *line, struct span argument) {
  line_add(line, " \"", 2);
  for (size_t i = 0; i < argument.len && !line->cut; i++)
    line_add_escaped(line, (unsigned char)argument.data[i]);
  line_add(line, "\"", 1);
}

/* All arguments of AUTH; the two after AUTH in HELLO. Other commands with a password are admin
 * commands, which are not shown. */
static bool is_secret(const struct call *call, size_t index) {
  if (index == 0) return false;
  if (strcmp(call->command->name, "AUTH") == 0) return true;
  if (strcmp(call->command->name, "HELLO") != 0) return false;
  return span_is(call->argv[index - 1], "AUTH") ||
         (index > 1 && span_is(call->argv[index - 2], "AUTH"));
}

static void line_make(struct line *line, const struct call *call) {
  const struct worker *worker = call->worker;
  struct session_address address = {.peer = ""};
  worker->instance->describe(call->session, &address);
  int64_t unix_ms = worker_unix_ms(worker);
  char head[SESSION_ADDRESS_BYTES + 64];
  int len = snprintf(head, sizeof head, "+%" PRId64 ".%06" PRId64 " [0 %s]", unix_ms / 1000,
                     unix_ms % 1000 * 1000, address.peer);
  line->len = 0;
  line->cut = false;
  line_add(line, head, (size_t)len);
  for (size_t i = 0; i < call->argc && !line->cut; i++) {
    line_add_quoted(line, is_secret(call, i) ? SPAN_LITERAL("(redacted)") : call->argv[i]);
  }
  const struct span end = line->cut ? SPAN_LITERAL(CUT_MARK) : SPAN_LITERAL("\r\n");
  memcpy(line->bytes + line->len, end.data, end.len);
  line->len += end.len;
}

/* Watchers stand before the worker's other sessions (monitor_command puts them there), so the walk
 * takes one step per watcher. NULL: the first; returns NULL after the last. */
static struct session *next_watcher(struct worker *worker, struct session *after) {
  struct list *node = after != NULL ? after->link.next : worker->sessions.next;
  if (worker->monitor_count == 0 || node == &worker->sessions) return NULL;
  struct session *session = LIST_ENTRY(node, struct session, link);
  return session->monitors ? session : NULL;
}

void monitor_deliver(struct worker *worker, struct span line) {
  for (struct session *session = NULL; (session = next_watcher(worker, session)) != NULL;) {
    if (!output_limit_allows_push(worker, session, line.len)) continue;
    struct resp_writer writer = session_writer(session, worker);
    resp_output_append(writer.out, line.data, line.len);
  }
}

void monitor_close_watchers(struct worker *worker) {
  for (struct session *session = NULL; (session = next_watcher(worker, session)) != NULL;) {
    if (!session->close_now) output_limit_close(worker, session);
  }
}

static void feed(struct worker *from, struct span line) {
  struct instance *instance = from->instance;
  for (unsigned i = 0; i < instance->worker_count; i++) {
    struct worker *worker = instance->workers[i];
    if (worker == from) {
      monitor_deliver(worker, line);
    } else if (atomic_load(&worker->monitor_count) > 0) {
      inbox_post(from, worker, INBOX_MONITOR_LINE, SPAN_ABSENT, line);
    }
  }
}

/* A watcher that cannot be sent a line is closed, as when the inbox is full. */
static void lose_line(struct instance *instance) {
  for (unsigned i = 0; i < instance->worker_count; i++) {
    if (atomic_load(&instance->workers[i]->monitor_count) > 0) inbox_lose(instance->workers[i]);
  }
}

void monitor_feed(const struct call *call) {
  if ((call->command->flags & COMMAND_ADMIN) != 0) return;
  struct line *line = malloc(sizeof *line);
  if (line == NULL) {
    lose_line(call->worker->instance);
    return;
  }
  line_make(line, call);
  feed(call->worker, (struct span){line->bytes, line->len});
  free(line);
}

void monitor_leave(struct worker *worker, struct session *session) {
  if (!session->monitors) return;
  session->monitors = false;
  atomic_fetch_sub(&worker->monitor_count, 1);
  atomic_fetch_sub(&worker->instance->monitor_count, 1);
}

/* Redis' words: what is inside EXEC must not turn its connection into a stream. */
void monitor_command(struct call *call) {
  if (call->in_exec) {
    resp_write_error(call->reply, "ERR MONITOR isn't allowed for DENY BLOCKING client");
    return;
  }
  struct session *session = call->session;
  if (!session->monitors) {
    session->monitors = true;
    atomic_fetch_add(&call->worker->monitor_count, 1);
    atomic_fetch_add(&call->worker->instance->monitor_count, 1);
    session_walk_remove(call->worker, session);
    list_prepend(&call->worker->sessions, &session->link);
  }
  reply_ok(call);
}
