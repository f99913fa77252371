/* slowlog.c - see slowlog.h. */
#include "server/commands/slowlog.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/commands/reply.h"
#include "server/commands/sight.h"

#define SHOWN_BY_DEFAULT 10

struct entry {
  struct list link; /* newest first */
  uint64_t id;
  int64_t unix_s, microseconds;
  char peer[SESSION_ADDRESS_BYTES];
  char *client_name, *user; /* whose it is; NUL-terminated */
  size_t argc;
  char *argv[SLOWLOG_MAX_ARGS];
  size_t lengths[SLOWLOG_MAX_ARGS];
};

struct slowlog {
  pthread_mutex_t lock; /* noted by all loops */
  struct list entries;
  uint64_t next_id;
  size_t count;
};

struct slowlog *slowlog_create(void) {
  struct slowlog *slowlog = calloc(1, sizeof *slowlog);
  if (slowlog == NULL) return NULL;
  if (pthread_mutex_init(&slowlog->lock, NULL) != 0) {
    free(slowlog);
    return NULL;
  }
  list_init(&slowlog->entries);
  return slowlog;
}

static void entry_destroy(struct entry *entry) {
  for (size_t i = 0; i < entry->argc; i++) free(entry->argv[i]);
  free(entry->client_name);
  free(entry->user);
  free(entry);
}

static void drop(struct slowlog *slowlog, struct entry *entry) {
  list_remove(&entry->link);
  entry_destroy(entry);
  slowlog->count--;
}

static void trim(struct slowlog *slowlog, size_t count) {
  while (slowlog->count > count)
    drop(slowlog, LIST_ENTRY(slowlog->entries.prev, struct entry, link));
}

void slowlog_destroy(struct slowlog *slowlog) {
  if (slowlog == NULL) return;
  trim(slowlog, 0);
  pthread_mutex_destroy(&slowlog->lock);
  free(slowlog);
}

/* A cut argument, or a cut list of them, ends with how much was left out. */
static bool keep_argument(struct entry *entry, const struct call *call, size_t i) {
  struct span argument = call->argv[i];
  char text[SLOWLOG_MAX_ARG_BYTES + 64];
  size_t len = argument.len < SLOWLOG_MAX_ARG_BYTES ? argument.len : SLOWLOG_MAX_ARG_BYTES;
  if (i == SLOWLOG_MAX_ARGS - 1 && call->argc > SLOWLOG_MAX_ARGS) {
    len = (size_t)snprintf(text, sizeof text, "... (%zu more arguments)",
                           call->argc - SLOWLOG_MAX_ARGS + 1);
  } else {
    if (len > 0) memcpy(text, argument.data, len);
    if (len < argument.len)
      len += (size_t)snprintf(text + len, sizeof text - len, "... (%zu more bytes)",
                              argument.len - len);
  }
  entry->argv[i] = malloc(len + 1);
  if (entry->argv[i] == NULL) return false;
  memcpy(entry->argv[i], text, len);
  entry->lengths[i] = len;
  entry->argc++;
  return true;
}

static struct entry *entry_create(const struct call *call, uint64_t nanoseconds) {
  struct entry *entry = calloc(1, sizeof *entry);
  if (entry == NULL) return NULL;
  struct session_address address;
  call->worker->instance->describe(call->session, &address);
  memcpy(entry->peer, address.peer, sizeof entry->peer);
  const struct session_details *details = call->session->details;
  entry->client_name = strdup(details != NULL && details->name != NULL ? details->name : "");
  entry->user = strdup(call->session->user->name);
  entry->unix_s = worker_unix_ms(call->worker) / 1000;
  entry->microseconds = (int64_t)(nanoseconds / 1000);
  bool kept = entry->client_name != NULL && entry->user != NULL;
  for (size_t i = 0; kept && i < call->argc && i < SLOWLOG_MAX_ARGS; i++)
    kept = keep_argument(entry, call, i);
  if (kept) return entry;
  entry_destroy(entry);
  return NULL;
}

void slowlog_note(const struct call *call, uint64_t nanoseconds) {
  if ((call->command->flags & (COMMAND_BEFORE_AUTH | COMMAND_ADMIN)) != 0)
    return; /* may carry a password */
  struct slowlog *slowlog = call->worker->slowlog;
  struct entry *entry = entry_create(call, nanoseconds);
  if (entry == NULL) return;
  pthread_mutex_lock(&slowlog->lock);
  entry->id = slowlog->next_id++;
  list_prepend(&slowlog->entries, &entry->link);
  slowlog->count++;
  trim(slowlog, (size_t)call->worker->options->slowlog_max_len);
  pthread_mutex_unlock(&slowlog->lock);
}

/* The next entry that the caller may see, from this one on; NULL: there is no other. */
static struct entry *next_seen(const struct call *call, struct list *node) {
  for (; node != &call->worker->slowlog->entries; node = node->next) {
    struct entry *entry = LIST_ENTRY(node, struct entry, link);
    if (sight_user(call->session, span_of(entry->user))) return entry;
  }
  return NULL;
}

static size_t count_seen(const struct call *call) {
  size_t count = 0;
  struct entry *entry = next_seen(call, call->worker->slowlog->entries.next);
  for (; entry != NULL; entry = next_seen(call, entry->link.next)) count++;
  return count;
}

static void reply_entry(struct resp_writer *reply, const struct entry *entry) {
  resp_write_array(reply, 6);
  resp_write_integer(reply, (int64_t)entry->id);
  resp_write_integer(reply, entry->unix_s);
  resp_write_integer(reply, entry->microseconds);
  resp_write_array(reply, entry->argc);
  for (size_t i = 0; i < entry->argc; i++)
    resp_write_bulk(reply, (struct span){entry->argv[i], entry->lengths[i]});
  resp_write_bulk_text(reply, entry->peer);
  resp_write_bulk_text(reply, entry->client_name);
}

void slowlog_get(struct call *call) {
  struct slowlog *slowlog = call->worker->slowlog;
  long long wanted = SHOWN_BY_DEFAULT;
  if (call->argc > 3) {
    reply_syntax_error(call);
    return;
  }
  if (call->argc == 3 && (!span_to_i64(call->argv[2], &wanted) || wanted < -1)) {
    resp_write_error(call->reply, "ERR count should be greater than or equal to -1");
    return;
  }
  pthread_mutex_lock(&slowlog->lock);
  size_t count = count_seen(call);
  if (wanted != -1 && (uint64_t)wanted < count) count = (size_t)wanted;
  resp_write_array(call->reply, count);
  for (struct list *node = slowlog->entries.next; count > 0; count--) {
    struct entry *entry = next_seen(call, node);
    reply_entry(call->reply, entry);
    node = entry->link.next;
  }
  pthread_mutex_unlock(&slowlog->lock);
}

void slowlog_len(struct call *call) {
  struct slowlog *slowlog = call->worker->slowlog;
  pthread_mutex_lock(&slowlog->lock);
  resp_write_integer(call->reply, (int64_t)count_seen(call));
  pthread_mutex_unlock(&slowlog->lock);
}

void slowlog_reset(struct call *call) {
  struct slowlog *slowlog = call->worker->slowlog;
  pthread_mutex_lock(&slowlog->lock);
  struct entry *entry = next_seen(call, slowlog->entries.next);
  while (entry != NULL) {
    struct entry *next = next_seen(call, entry->link.next);
    drop(slowlog, entry);
    entry = next;
  }
  pthread_mutex_unlock(&slowlog->lock);
  reply_ok(call);
}
