/* pubsub.c - see pubsub.h. Replies and texts are Redis 7.0's, but for -OOM. */
#include "server/commands/pubsub.h"

#include <string.h>

#include "server/base/glob.h"
#include "server/commands/effects.h"
#include "server/commands/publish.h"
#include "server/commands/reply.h"
#include "server/commands/sight.h"
#include "server/commands/topics.h"

size_t pubsub_name_limit(const struct options *options, const struct span *argv, size_t index) {
  (void)argv;
  (void)index;
  return (size_t)options->limits.key_bytes + strlen(EFFECTS_PREFIX);
}

size_t pubsub_publish_limit(const struct options *options, const struct span *argv, size_t index) {
  return index == 1 ? pubsub_name_limit(options, argv, index) : (size_t)options->limits.body_bytes;
}

/* A push and not a reply: it goes to the session, even while CLIENT REPLY silences replies. */
static void confirm(struct call *call, const char *what, struct span name) {
  struct resp_writer push = session_writer(call->session, call->worker);
  resp_write_push(&push, 3);
  resp_write_bulk_text(&push, what);
  resp_write_bulk(&push, name);
  resp_write_integer(&push, (int64_t)(topics_count_both(call->session)));
}

static void subscribe(struct call *call, enum topics_kind kind, const char *what) {
  struct topics *topics = call->worker->topics;
  topics_lock(topics);
  for (size_t i = 1; i < call->argc; i++) {
    if (topics_count_both(call->session) >= TOPICS_MAX_PER_SESSION) {
      resp_write_errorf(call->reply, "ERR a connection may have %u subscriptions",
                        TOPICS_MAX_PER_SESSION);
      break;
    }
    if (!topics_join(call->worker, call->session, kind, call->argv[i])) {
      reply_oom(call);
      break;
    }
    confirm(call, what, call->argv[i]);
  }
  topics_unlock(topics);
  topics_update_effects(call->worker);
}

/* The reply is written after the end of the subscription, which it counts, and before that of the
 * topic, whose name it may show. */
static void end_subscription(struct call *call, const char *what,
                             struct subscription *subscription) {
  struct topic *topic = subscription->topic;
  topics_end(call->worker, subscription);
  confirm(call, what, topics_name(topic));
  topics_drop_empty(call->worker->topics, topic);
}

static void unsubscribe_all(struct call *call, enum topics_kind kind, const char *what) {
  struct session *session = call->session;
  if (topics_count(session, kind) == 0) {
    confirm(call, what, SPAN_ABSENT);
    return;
  }
  for (struct subscription *subscription; (subscription = topics_first(session, kind)) != NULL;)
    end_subscription(call, what, subscription);
}

static void unsubscribe(struct call *call, enum topics_kind kind, const char *what) {
  struct topics *topics = call->worker->topics;
  topics_lock(topics);
  if (call->argc == 1) unsubscribe_all(call, kind, what);
  for (size_t i = 1; i < call->argc; i++) {
    struct topic *topic = topics_find(topics, kind, call->argv[i]);
    struct subscription *subscription =
        topic != NULL ? topics_find_subscription(topics, topic, call->session) : NULL;
    if (subscription != NULL) {
      end_subscription(call, what, subscription);
    } else {
      confirm(call, what, call->argv[i]);
    }
  }
  topics_unlock(topics);
  topics_update_effects(call->worker);
}

void pubsub_subscribe(struct call *call) { subscribe(call, TOPICS_CHANNEL, "subscribe"); }
void pubsub_psubscribe(struct call *call) { subscribe(call, TOPICS_PATTERN, "psubscribe"); }
void pubsub_unsubscribe(struct call *call) { unsubscribe(call, TOPICS_CHANNEL, "unsubscribe"); }
void pubsub_punsubscribe(struct call *call) { unsubscribe(call, TOPICS_PATTERN, "punsubscribe"); }

void pubsub_publish_command(struct call *call) {
  size_t receivers = publish_message(call->worker, call->argv[1], call->argv[2]);
  resp_write_integer(call->reply, (int64_t)receivers);
}

/* The rest of PUBSUB looks at the topics of all workers, whose loops are paused. */

/* A channel with subscribers on several workers is shown by the first. */
static bool told_before(const struct instance *instance, unsigned number, struct span name) {
  for (unsigned i = 0; i < number; i++) {
    if (topics_find(instance->workers[i]->topics, TOPICS_CHANNEL, name) != NULL) return true;
  }
  return false;
}

/* Writes the channels that match, unless writer is NULL; returns how many. viewer NULL: all. */
static size_t list_channels(const struct instance *instance, const struct session *viewer,
                            struct span pattern, struct resp_writer *writer) {
  size_t count = 0;
  for (unsigned i = 0; i < instance->worker_count; i++) {
    struct list *head = &instance->workers[i]->topics->all[TOPICS_CHANNEL];
    for (struct list *node = head->next; node != head; node = node->next) {
      struct span name = topics_name(LIST_ENTRY(node, struct topic, link));
      if (viewer != NULL && !sight_channel(viewer, name)) continue;
      if (!glob_match(pattern, name, false) || told_before(instance, i, name)) continue;
      count++;
      if (writer != NULL) resp_write_bulk(writer, name);
    }
  }
  return count;
}

/* Counts first, because the length comes before the channels: walking twice costs less than
 * remembering the matches. */
void pubsub_channels_command(struct call *call) {
  if (call->argc > 3) {
    reply_sub_syntax_error(call, "PUBSUB");
    return;
  }
  const struct span pattern = call->argc == 3 ? call->argv[2] : SPAN_LITERAL("*");
  const struct instance *instance = call->worker->instance;
  resp_write_array(call->reply, list_channels(instance, call->session, pattern, NULL));
  list_channels(instance, call->session, pattern, call->reply);
}

static size_t listeners(const struct instance *instance, struct span channel) {
  size_t count = 0;
  for (unsigned i = 0; i < instance->worker_count; i++) {
    const struct topic *topic = topics_find(instance->workers[i]->topics, TOPICS_CHANNEL, channel);
    if (topic != NULL) count += topic->subscriber_count;
  }
  return count;
}

void pubsub_numsub_command(struct call *call) {
  const struct instance *instance = call->worker->instance;
  resp_write_array(call->reply, 2 * (call->argc - 2));
  for (size_t i = 2; i < call->argc; i++) {
    bool seen = sight_channel(call->session, call->argv[i]);
    resp_write_bulk(call->reply, call->argv[i]);
    resp_write_integer(call->reply, seen ? (int64_t)listeners(instance, call->argv[i]) : 0);
  }
}

size_t pubsub_channel_count(const struct instance *instance) {
  return list_channels(instance, NULL, SPAN_LITERAL("*"), NULL);
}

static bool listens(const struct session *viewer, const struct topic *topic) {
  for (struct list *node = topic->subscriptions.next; node != &topic->subscriptions;
       node = node->next) {
    if (sight_session(viewer, LIST_ENTRY(node, struct subscription, in_topic)->session))
      return true;
  }
  return false;
}

/* Whether one of the first `number` workers has it, for the viewer. */
static bool counted_before(const struct instance *instance, const struct session *viewer,
                           unsigned number, struct span name) {
  for (unsigned i = 0; i < number; i++) {
    const struct topic *topic = topics_find(instance->workers[i]->topics, TOPICS_PATTERN, name);
    if (topic != NULL && (viewer == NULL || listens(viewer, topic))) return true;
  }
  return false;
}

/* A pattern of several workers counts once, as in Redis' PUBSUB NUMPAT. Of a user that may not see
 * every key, those to which sessions of that user are subscribed. viewer NULL: all. */
static size_t count_patterns(const struct instance *instance, const struct session *viewer) {
  size_t count = 0;
  for (unsigned i = 0; i < instance->worker_count; i++) {
    struct list *head = &instance->workers[i]->topics->all[TOPICS_PATTERN];
    for (struct list *node = head->next; node != head; node = node->next) {
      const struct topic *topic = LIST_ENTRY(node, struct topic, link);
      if (viewer != NULL && !listens(viewer, topic)) continue;
      if (!counted_before(instance, viewer, i, topics_name(topic))) count++;
    }
  }
  return count;
}

size_t pubsub_pattern_count(const struct instance *instance) {
  return count_patterns(instance, NULL);
}

void pubsub_numpat_command(struct call *call) {
  const struct session *viewer = sight_all(call->session) ? NULL : call->session;
  resp_write_integer(call->reply, (int64_t)count_patterns(call->worker->instance, viewer));
}
