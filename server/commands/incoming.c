/* incoming.c - see incoming.h. */
#include "server/commands/incoming.h"

#include <stdlib.h>

#include "server/commands/inbox.h"
#include "server/commands/monitor.h"
#include "server/commands/publish.h"

static void deliver(struct worker *worker, const struct inbox_entry *entry) {
  const struct span channel = {entry->bytes, entry->channel_len};
  const struct span payload = {entry->bytes + entry->channel_len, entry->payload_len};
  switch (entry->kind) {
    case INBOX_MESSAGE: publish_here(worker, channel, payload); return;
    case INBOX_MONITOR_LINE:
    default: monitor_deliver(worker, payload); return;
  }
}

static void deliver_all(struct worker *worker) {
  struct list entries;
  bool lost = inbox_take(worker, &entries);
  for (struct list *node; (node = list_pop(&entries)) != NULL;) {
    struct inbox_entry *entry = LIST_ENTRY(node, struct inbox_entry, link);
    deliver(worker, entry);
    free(entry);
  }
  if (!lost) return;
  publish_close_subscribers(worker);
  monitor_close_watchers(worker);
}

void incoming_deliver(struct worker *worker) {
  if (!inbox_empty(worker)) deliver_all(worker);
}
