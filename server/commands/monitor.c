/*
 * monitor.c - see monitor.h. A line looks as Redis writes it:
 *
 *     +1700000000.123000 [0 127.0.0.1:1234] "CLAIM" "k"
 */
#include "server/commands/monitor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/commands/clients.h"
#include "server/commands/inbox.h"
#include "server/commands/pubsub.h"

/* Kept free at the end of a line for what says that it was cut, and CRLF. */
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

/* All that AUTH is given; the two words behind AUTH in HELLO. What else takes a password is an
 * admin command, not shown. */
static bool is_secret(const struct call *call, size_t index) {
  if (index == 0) return false;
  if (strcmp(call->command->name, "AUTH") == 0) return true;
  if (strcmp(call->command->name, "HELLO") != 0) return false;
  return span_is(call->argv[index - 1], "AUTH") ||
         (index > 1 && span_is(call->argv[index - 2], "AUTH"));
}

static void line_make(struct line *line, const struct call *call) {
  const struct host *host = call->host;
  struct client_address address = {.peer = ""};
  host->shared->describe(call->client, &address);
  int64_t unix_ms = call->now_ms + host_wall_offset_ms(host);
  char head[CLIENT_ADDRESS_BYTES + 64];
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

/* Those who watch stand in front of the host's clients (monitor_command puts them there), so the
 * walk is as long as they are many. NULL: the first; returns NULL behind the last. */
static struct client *next_watcher(struct host *host, struct client *after) {
  struct list *node = after != NULL ? after->link.next : host->clients.next;
  if (host->monitor_count == 0 || node == &host->clients) return NULL;
  struct client *client = LIST_ENTRY(node, struct client, link);
  return client->monitors ? client : NULL;
}

void monitor_deliver(struct host *host, struct span line) {
  for (struct client *client = NULL; (client = next_watcher(host, client)) != NULL;) {
    if (!pubsub_may_push(host, client, line.len)) continue;
    struct resp_writer writer = client_writer(client, host);
    resp_output_append(writer.out, line.data, line.len);
  }
}

void monitor_close_watchers(struct host *host) {
  for (struct client *client = NULL; (client = next_watcher(host, client)) != NULL;) {
    if (!client->close_now) pubsub_close(host, client);
  }
}

static void feed(struct host *from, struct span line) {
  struct shared *shared = from->shared;
  for (unsigned i = 0; i < shared->host_count; i++) {
    struct host *host = shared->hosts[i];
    if (host == from) {
      monitor_deliver(host, line);
    } else if (atomic_load(&host->monitor_count) > 0) {
      inbox_post(host, INBOX_MONITOR_LINE, SPAN_ABSENT, line);
    }
  }
}

/* Who watches and cannot be told is closed, as when the inbox is full. */
static void lose_line(struct shared *shared) {
  for (unsigned i = 0; i < shared->host_count; i++) {
    if (atomic_load(&shared->hosts[i]->monitor_count) > 0) inbox_lose(shared->hosts[i]);
  }
}

void monitor_feed(const struct call *call) {
  if ((call->command->flags & COMMAND_ADMIN) != 0) return;
  struct line *line = malloc(sizeof *line);
  if (line == NULL) {
    lose_line(call->host->shared);
    return;
  }
  line_make(line, call);
  feed(call->host, (struct span){line->bytes, line->len});
  free(line);
}

void monitor_leave(struct host *host, struct client *client) {
  if (!client->monitors) return;
  client->monitors = false;
  atomic_fetch_sub(&host->monitor_count, 1);
  atomic_fetch_sub(&host->shared->monitor_count, 1);
}

/* Redis' words: what is inside EXEC must not turn its connection into a stream. */
void monitor_command(struct call *call) {
  if (call->in_exec) {
    resp_error(call->reply, "ERR MONITOR isn't allowed for DENY BLOCKING client");
    return;
  }
  struct client *client = call->client;
  if (!client->monitors) {
    client->monitors = true;
    atomic_fetch_add(&call->host->monitor_count, 1);
    atomic_fetch_add(&call->host->shared->monitor_count, 1);
    clients_forget(call->host, client);
    list_prepend(&call->host->clients, &client->link);
  }
  reply_ok(call);
}
