/* inbox.c - see inbox.h. */
#include "server/commands/inbox.h"

#include <stdlib.h>
#include <string.h>

struct inbox {
  pthread_mutex_t lock;
  struct list entries; /* oldest first */
  size_t bytes;
  bool lost; /* an entry did not fit */
  _Atomic bool waiting;
};

struct inbox *inbox_create(void) {
  struct inbox *inbox = calloc(1, sizeof *inbox);
  if (inbox == NULL) return NULL;
  if (pthread_mutex_init(&inbox->lock, NULL) != 0) {
    free(inbox);
    return NULL;
  }
  list_init(&inbox->entries);
  return inbox;
}

void inbox_destroy(struct inbox *inbox) {
  if (inbox == NULL) return;
  for (struct list *node; (node = list_pop(&inbox->entries)) != NULL;)
    free(LIST_ENTRY(node, struct inbox_entry, link));
  pthread_mutex_destroy(&inbox->lock);
  free(inbox);
}

static struct inbox_entry *entry_create(enum inbox_kind kind, struct span channel,
                                        struct span payload) {
  struct inbox_entry *entry = malloc(sizeof *entry + channel.len + payload.len);
  if (entry == NULL) return NULL;
  entry->kind = kind;
  entry->channel_len = channel.len;
  entry->payload_len = payload.len;
  if (channel.len > 0) memcpy(entry->bytes, channel.data, channel.len);
  if (payload.len > 0) memcpy(entry->bytes + channel.len, payload.data, payload.len);
  return entry;
}

static size_t entry_bytes(const struct inbox_entry *entry) {
  return sizeof *entry + entry->channel_len + entry->payload_len;
}

static void wake(struct worker *to) {
  if (!atomic_exchange(&to->inbox->waiting, true))
    to->instance->wake(to->instance, UINT64_C(1) << to->number);
}

/* NULL: it could not be made. */
static void put(struct worker *to, struct inbox_entry *entry) {
  struct inbox *inbox = to->inbox;
  pthread_mutex_lock(&inbox->lock);
  if (entry == NULL || inbox->bytes + entry_bytes(entry) > INBOX_MAX_BYTES) {
    inbox->lost = true;
  } else {
    inbox->bytes += entry_bytes(entry);
    list_append(&inbox->entries, &entry->link);
    entry = NULL;
  }
  pthread_mutex_unlock(&inbox->lock);
  free(entry);
  wake(to);
}

void inbox_post(struct worker *from, struct worker *to, enum inbox_kind kind, struct span channel,
                struct span payload) {
  struct inbox_entry *entry = entry_create(kind, channel, payload);
  if (entry == NULL || !from->holds_all) {
    put(to, entry);
  } else {
    entry->to = to;
    list_append(&from->kept_back, &entry->link);
  }
}

void inbox_release(struct worker *from) {
  for (struct list *node; (node = list_pop(&from->kept_back)) != NULL;) {
    struct inbox_entry *entry = LIST_ENTRY(node, struct inbox_entry, link);
    put(entry->to, entry);
  }
}

void inbox_lose(struct worker *to) {
  struct inbox *inbox = to->inbox;
  pthread_mutex_lock(&inbox->lock);
  inbox->lost = true;
  pthread_mutex_unlock(&inbox->lock);
  wake(to);
}

bool inbox_empty(const struct worker *worker) { return !atomic_load(&worker->inbox->waiting); }

bool inbox_take(struct worker *worker, struct list *entries) {
  struct inbox *inbox = worker->inbox;
  list_init(entries);
  atomic_store(&inbox->waiting, false);
  pthread_mutex_lock(&inbox->lock);
  for (struct list *node; (node = list_pop(&inbox->entries)) != NULL;) list_append(entries, node);
  bool lost = inbox->lost;
  inbox->lost = false;
  inbox->bytes = 0;
  pthread_mutex_unlock(&inbox->lock);
  return lost;
}
