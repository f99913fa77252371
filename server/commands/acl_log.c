/* acl_log.c - see acl_log.h. Fields are Redis 7.0's. */
#include "server/commands/acl_log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/commands/client_line.h"

#define SAME_MS 60000 /* as Redis; as is the next */
#define SAME_ENTRIES 10u

struct text {
  size_t len;
  char bytes[ACL_LOG_OBJECT_MAX];
};

struct entry {
  struct list link; /* newest first */
  uint64_t count;
  enum acl_log_reason reason;
  bool in_multi;
  struct text object, username;
  int64_t monotonic_ms;
  char *client; /* owned */
};

struct acl_log {
  pthread_mutex_t lock; /* noted by all loops */
  struct list entries;
  size_t count;
};

struct acl_log *acl_log_create(void) {
  struct acl_log *log = calloc(1, sizeof *log);
  if (log == NULL) return NULL;
  if (pthread_mutex_init(&log->lock, NULL) != 0) {
    free(log);
    return NULL;
  }
  list_init(&log->entries);
  return log;
}

static void drop(struct acl_log *log, struct entry *entry) {
  list_remove(&entry->link);
  free(entry->client);
  free(entry);
  log->count--;
}

static void trim(struct acl_log *log, size_t count) {
  while (log->count > count) drop(log, LIST_ENTRY(log->entries.prev, struct entry, link));
}

void acl_log_destroy(struct acl_log *log) {
  if (log == NULL) return;
  trim(log, 0);
  pthread_mutex_destroy(&log->lock);
  free(log);
}

/* ---- noting ---- */

static void keep(struct text *text, struct span span) {
  text->len = span.len < sizeof text->bytes ? span.len : sizeof text->bytes;
  if (text->len > 0) memcpy(text->bytes, span.data, text->len);
}

static struct span kept(const struct text *text) { return (struct span){text->bytes, text->len}; }

static struct entry *entry_create(const struct call *call, const struct acl_log_event *event) {
  char line[CLIENT_LINE_BYTES + 1];
  size_t len = client_line(call->worker, call->session, line) - strlen("\n");
  struct entry *entry = calloc(1, sizeof *entry);
  if (entry == NULL) return NULL;
  entry->client = strndup(line, len);
  if (entry->client == NULL) {
    free(entry);
    return NULL;
  }
  entry->count = 1;
  entry->reason = event->reason;
  entry->in_multi = call->in_exec || session_queue(call->session) != NULL;
  entry->monotonic_ms = call->worker->monotonic_ms;
  keep(&entry->object, event->object);
  keep(&entry->username, event->username);
  return entry;
}

static bool same(const struct entry *a, const struct entry *b) {
  return a->reason == b->reason && a->in_multi == b->in_multi &&
         b->monotonic_ms - a->monotonic_ms <= SAME_MS &&
         span_equal(kept(&a->object), kept(&b->object)) &&
         span_equal(kept(&a->username), kept(&b->username));
}

static void add(struct acl_log *log, struct entry *entry) {
  struct list *node = log->entries.next;
  for (size_t i = 0; i < SAME_ENTRIES && node != &log->entries; i++, node = node->next) {
    struct entry *earlier = LIST_ENTRY(node, struct entry, link);
    if (!same(earlier, entry)) continue;
    entry->count += earlier->count;
    drop(log, earlier);
    break;
  }
  list_prepend(&log->entries, &entry->link);
  log->count++;
}

void acl_log_note(const struct call *call, const struct acl_log_event *event) {
  struct acl_log *log = call->worker->instance->acl_log;
  size_t most = (size_t)call->worker->options->acllog_max_len;
  struct entry *entry = most > 0 ? entry_create(call, event) : NULL;
  pthread_mutex_lock(&log->lock);
  if (entry != NULL) add(log, entry);
  trim(log, most);
  pthread_mutex_unlock(&log->lock);
}

/* ---- showing ---- */

/* A double, which RESP2 has not. */
static void reply_age(struct resp_writer *reply, int64_t age_ms) {
  char text[64];
  int len = snprintf(text, sizeof text, "%.3f", (double)age_ms / 1000);
  if (reply->version == 2) {
    resp_write_bulk(reply, (struct span){text, (size_t)len});
    return;
  }
  len = snprintf(text, sizeof text, ",%.3f\r\n", (double)age_ms / 1000);
  resp_output_append(reply->out, text, (size_t)len);
}

static void reply_entry(struct resp_writer *reply, const struct entry *entry, int64_t now_ms) {
  static const char *const reasons[] = {
      [ACL_LOG_COMMAND] = "command",
      [ACL_LOG_KEY] = "key",
      [ACL_LOG_CHANNEL] = "channel",
      [ACL_LOG_AUTH] = "auth",
  };
  resp_write_map(reply, 7);
  resp_write_bulk_text(reply, "count");
  resp_write_integer(reply, (int64_t)entry->count);
  resp_write_bulk_text(reply, "reason");
  resp_write_bulk_text(reply, reasons[entry->reason]);
  resp_write_bulk_text(reply, "context");
  resp_write_bulk_text(reply, entry->in_multi ? "multi" : "toplevel");
  resp_write_bulk_text(reply, "object");
  resp_write_bulk(reply, kept(&entry->object));
  resp_write_bulk_text(reply, "username");
  resp_write_bulk(reply, kept(&entry->username));
  resp_write_bulk_text(reply, "age-seconds");
  reply_age(reply, now_ms - entry->monotonic_ms);
  resp_write_bulk_text(reply, "client-info");
  resp_write_bulk_text(reply, entry->client);
}

void acl_log_reply(struct call *call, size_t count) {
  struct acl_log *log = call->worker->instance->acl_log;
  pthread_mutex_lock(&log->lock);
  if (count > log->count) count = log->count;
  resp_write_array(call->reply, count);
  struct list *node = log->entries.next;
  for (size_t i = 0; i < count; i++, node = node->next)
    reply_entry(call->reply, LIST_ENTRY(node, struct entry, link), call->worker->monotonic_ms);
  pthread_mutex_unlock(&log->lock);
}

void acl_log_clear(struct acl_log *log) {
  pthread_mutex_lock(&log->lock);
  trim(log, 0);
  pthread_mutex_unlock(&log->lock);
}
