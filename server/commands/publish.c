/* publish.c - see publish.h. */
#include "server/commands/publish.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/glob.h"
#include "server/commands/counted.h"
#include "server/commands/inbox.h"
#include "server/commands/output_limit.h"
#include "server/commands/sight.h"
#include "server/commands/topics.h"

/* Framing around the strings of a message: `>4` and the header of each string, rounded up. */
#define FRAMING_BYTES 128u

/* A payload of at least so many bytes is copied once, and the outputs of its subscribers refer to
 * the copy. */
#define SHARED_BYTES (16u * 1024)

struct payload {
  struct counted head;
  char bytes[];
};

struct message {
  struct span channel, payload;
  struct payload *shared; /* NULL: the payload is short, or memory is */
};

static struct payload *share(struct span bytes) {
  struct payload *payload = bytes.len >= SHARED_BYTES ? malloc(sizeof *payload + bytes.len) : NULL;
  if (payload == NULL) return NULL;
  payload->head.references = 1;
  memcpy(payload->bytes, bytes.data, bytes.len);
  return payload;
}

static void push_payload(struct resp_writer *push, const struct message *message) {
  struct payload *shared = message->shared;
  if (shared == NULL) {
    resp_write_bulk(push, message->payload);
    return;
  }
  size_t refs = push->out->ref_count;
  resp_write_bulk_pinned(push, (struct span){shared->bytes, message->payload.len}, shared, NULL);
  if (push->out->ref_count > refs) shared->head.references++;
}

static void send_to_subscribers(struct worker *worker, struct topic *topic,
                                const struct message *message) {
  size_t bytes = FRAMING_BYTES + topic->name_len + message->channel.len + message->payload.len;
  for (struct list *node = topic->subscriptions.next; node != &topic->subscriptions;
       node = node->next) {
    struct session *session = LIST_ENTRY(node, struct subscription, in_topic)->session;
    if (!sight_channel(session, message->channel)) continue;
    if (!output_limit_allows_push(worker, session, bytes)) continue;
    struct resp_writer push = session_writer(session, worker);
    resp_write_push(&push, topic->kind == TOPICS_PATTERN ? 4 : 3);
    resp_write_bulk_text(&push, topic->kind == TOPICS_PATTERN ? "pmessage" : "message");
    if (topic->kind == TOPICS_PATTERN) resp_write_bulk(&push, topics_name(topic));
    resp_write_bulk(&push, message->channel);
    push_payload(&push, message);
  }
}

/* Calls visit for the channel's topic and all patterns that match it. Returns how many
 * subscribers they have. */
typedef void topic_visitor(struct worker *worker, struct topic *topic,
                           const struct message *message);

static size_t visit_topics(struct worker *worker, const struct message *message,
                           topic_visitor *visit) {
  struct topics *topics = worker->topics;
  size_t receivers = 0;
  struct topic *topic = topics_find(topics, TOPICS_CHANNEL, message->channel);
  if (topic != NULL) {
    visit(worker, topic, message);
    receivers += topic->subscriber_count;
  }
  for (struct list *node = topics->all[TOPICS_PATTERN].next; node != &topics->all[TOPICS_PATTERN];
       node = node->next) {
    struct topic *pattern = LIST_ENTRY(node, struct topic, link);
    if (!glob_match(topics_name(pattern), message->channel, false)) continue;
    visit(worker, pattern, message);
    receivers += pattern->subscriber_count;
  }
  return receivers;
}

static void only_count(struct worker *worker, struct topic *topic, const struct message *message) {
  (void)worker;
  (void)topic;
  (void)message;
}

size_t publish_here(struct worker *worker, struct span channel, struct span payload) {
  const struct message message = {channel, payload, share(payload)};
  size_t receivers = visit_topics(worker, &message, send_to_subscribers);
  if (message.shared != NULL) counted_release(&message.shared->head);
  return receivers;
}

/* How many sessions of another worker are subscribed now. The message goes to those that are when
 * it arrives. */
static size_t count_elsewhere(struct worker *other, const struct message *message) {
  if (atomic_load(&other->topics->topic_count) == 0) return 0;
  topics_lock(other->topics);
  size_t receivers = visit_topics(other, message, only_count);
  topics_unlock(other->topics);
  return receivers;
}

size_t publish_message(struct worker *worker, struct span channel, struct span payload) {
  const struct message message = {channel, payload, NULL};
  size_t receivers = publish_here(worker, channel, payload);
  for (unsigned i = 0; i < worker->instance->worker_count; i++) {
    struct worker *other = worker->instance->workers[i];
    size_t there = other != worker ? count_elsewhere(other, &message) : 0;
    if (there > 0) inbox_post(worker, other, INBOX_MESSAGE, channel, payload);
    receivers += there;
  }
  return receivers;
}

void publish_close_subscribers(struct worker *worker) {
  for (struct list *node = worker->sessions.next; node != &worker->sessions; node = node->next) {
    struct session *session = LIST_ENTRY(node, struct session, link);
    if (session_subscriptions(session) != NULL && !session->close_now)
      output_limit_close(worker, session);
  }
}
