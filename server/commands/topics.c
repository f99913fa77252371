/* topics.c - see topics.h. */
#include "server/commands/topics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "server/base/random.h"
#include "server/commands/effects.h"
#include "server/commands/shards.h"

_Static_assert(TOPICS_SECRET_BYTES >= XXH3_SECRET_SIZE_MIN, "a shorter secret is refused by XXH3");

struct topics *topics_create(void) {
  struct topics *topics = calloc(1, sizeof *topics);
  if (topics == NULL) return NULL;
  if (pthread_mutex_init(&topics->lock, NULL) != 0) {
    free(topics);
    return NULL;
  }
  for (int kind = 0; kind < TOPICS_KINDS; kind++) list_init(&topics->all[kind]);
  bool made = table_init(&topics->topics) && table_init(&topics->pairs);
  if (made && random_get(topics->secret, sizeof topics->secret)) return topics;
  topics_destroy(topics);
  return NULL;
}

void topics_destroy(struct topics *topics) {
  if (topics == NULL) return;
  assert(topics->pairs.count == 0 && topics->topics.count == 0);
  table_deinit(&topics->topics);
  table_deinit(&topics->pairs);
  pthread_mutex_destroy(&topics->lock);
  free(topics);
}

/* ---- topics ---- */

static uint64_t hash_name(const struct topics *topics, struct span name) {
  return XXH3_64bits_withSecret(name.data, name.len, topics->secret, sizeof topics->secret);
}

/* A channel and a pattern of the same name share a hash: the kind is compared. */
struct topic *topics_find(const struct topics *topics, enum topics_kind kind, struct span name) {
  if (topics->count[kind] == 0) return NULL;
  uint64_t hash = hash_name(topics, name);
  for (struct table_node *node = *table_bucket(&topics->topics, hash); node != NULL;
       node = node->next) {
    struct topic *topic = LIST_ENTRY(node, struct topic, node);
    if (node->hash == hash && topic->kind == kind && span_equal(topics_name(topic), name))
      return topic;
  }
  return NULL;
}

static bool is_effect_channel(const struct topic *topic) {
  const struct span prefix = SPAN_LITERAL(EFFECTS_PREFIX);
  return topic->kind == TOPICS_CHANNEL && topic->name_len >= prefix.len &&
         memcmp(topic->name, prefix.data, prefix.len) == 0;
}

static struct topic *topic_create(struct topics *topics, enum topics_kind kind, struct span name) {
  struct topic *topic = malloc(sizeof *topic + name.len);
  if (topic == NULL) return NULL;
  *topic = (struct topic){.node.hash = hash_name(topics, name), .kind = kind, .name_len = name.len};
  memcpy(topic->name, name.data, name.len);
  list_init(&topic->subscriptions);
  list_append(&topics->all[kind], &topic->link);
  table_insert(&topics->topics, &topic->node);
  topics->count[kind]++;
  atomic_fetch_add(&topics->topic_count, 1);
  if (is_effect_channel(topic)) topics->effect_channels++;
  return topic;
}

/* Takes the node out of the table. */
static void take_out(struct table *table, struct table_node *node) {
  struct table_node **link = table_bucket(table, node->hash);
  while (*link != node) link = &(*link)->next;
  table_remove(table, link);
}

void topics_drop_empty(struct topics *topics, struct topic *topic) {
  if (topic->subscriber_count > 0) return;
  if (is_effect_channel(topic)) topics->effect_channels--;
  topics->count[topic->kind]--;
  atomic_fetch_sub(&topics->topic_count, 1);
  take_out(&topics->topics, &topic->node);
  list_remove(&topic->link);
  free(topic);
}

/* ---- subscriptions ---- */

/* The ids spread the subscribers of one topic over the buckets evenly, the secret hash spreads
 * topics. */
static uint64_t hash_pair(const struct topic *topic, const struct session *session) {
  return topic->node.hash ^ session->id * UINT64_C(0x9e3779b97f4a7c15);
}

struct subscription *topics_find_subscription(const struct topics *topics,
                                              const struct topic *topic,
                                              const struct session *session) {
  if (session_subscriptions(session) == NULL) return NULL;
  uint64_t hash = hash_pair(topic, session);
  for (struct table_node *node = *table_bucket(&topics->pairs, hash); node != NULL;
       node = node->next) {
    struct subscription *subscription = LIST_ENTRY(node, struct subscription, node);
    if (subscription->topic == topic && subscription->session == session) return subscription;
  }
  return NULL;
}

/* NULL when memory is short. */
static struct subscriptions *make_subscriptions(struct session *session) {
  struct session_details *details = session_details(session);
  if (details == NULL) return NULL;
  if (details->subscriptions != NULL) return details->subscriptions;
  struct subscriptions *made = calloc(1, sizeof *made);
  if (made == NULL) return NULL;
  for (int kind = 0; kind < TOPICS_KINDS; kind++) list_init(&made->of[kind]);
  return details->subscriptions = made;
}

struct subscription *topics_first(const struct session *session, enum topics_kind kind) {
  struct subscriptions *own = session_subscriptions(session);
  if (own == NULL || list_empty(&own->of[kind])) return NULL;
  return LIST_ENTRY(own->of[kind].next, struct subscription, in_session);
}

static void destroy_unused(struct session *session) {
  struct subscriptions *own = session_subscriptions(session);
  if (own == NULL || own->count[TOPICS_CHANNEL] + own->count[TOPICS_PATTERN] > 0) return;
  free(own);
  session->details->subscriptions = NULL;
}

/* The bytes of a subscription in client-input-total, as if its topic had no other subscriber. */
static size_t size_of(size_t name_len) {
  return sizeof(struct subscription) + sizeof(struct topic) + name_len;
}

bool topics_join(struct worker *worker, struct session *session, enum topics_kind kind,
                 struct span name) {
  struct topics *topics = worker->topics;
  struct topic *topic = topics_find(topics, kind, name);
  if (topic != NULL && topics_find_subscription(topics, topic, session) != NULL) return true;
  if (atomic_load(&worker->instance->input_bytes) + size_of(name.len) >
      (uint64_t)worker->options->client_input_total)
    return false;
  struct subscriptions *own = make_subscriptions(session);
  struct subscription *subscription = own != NULL ? malloc(sizeof *subscription) : NULL;
  if (subscription != NULL && topic == NULL) topic = topic_create(topics, kind, name);
  if (subscription == NULL || topic == NULL) {
    free(subscription);
    destroy_unused(session);
    return false;
  }
  *subscription = (struct subscription){
      .node.hash = hash_pair(topic, session), .topic = topic, .session = session};
  table_insert(&topics->pairs, &subscription->node);
  list_append(&topic->subscriptions, &subscription->in_topic);
  list_append(&own->of[kind], &subscription->in_session);
  topic->subscriber_count++;
  own->count[kind]++;
  atomic_fetch_add(&worker->instance->input_bytes, size_of(name.len));
  return true;
}

void topics_end(struct worker *worker, struct subscription *subscription) {
  struct topic *topic = subscription->topic;
  atomic_fetch_sub(&worker->instance->input_bytes, size_of(topic->name_len));
  take_out(&worker->topics->pairs, &subscription->node);
  list_remove(&subscription->in_topic);
  list_remove(&subscription->in_session);
  topic->subscriber_count--;
  session_subscriptions(subscription->session)->count[topic->kind]--;
  destroy_unused(subscription->session);
  free(subscription);
}

void topics_update_effects(struct worker *worker) {
  const struct topics *topics = worker->topics;
  shards_want_effects(worker, topics->count[TOPICS_PATTERN] > 0 || topics->effect_channels > 0);
}

void topics_leave(struct worker *worker, struct session *session) {
  if (session_subscriptions(session) == NULL) return;
  topics_lock(worker->topics);
  for (enum topics_kind kind = TOPICS_CHANNEL; kind < TOPICS_KINDS; kind++) {
    for (struct subscription *subscription; (subscription = topics_first(session, kind)) != NULL;) {
      struct topic *topic = subscription->topic;
      topics_end(worker, subscription);
      topics_drop_empty(worker->topics, topic);
    }
  }
  topics_unlock(worker->topics);
  topics_update_effects(worker);
}

size_t topics_count(const struct session *session, enum topics_kind kind) {
  const struct subscriptions *own = session_subscriptions(session);
  return own != NULL ? own->count[kind] : 0;
}

size_t topics_count_both(const struct session *session) {
  return topics_count(session, TOPICS_CHANNEL) + topics_count(session, TOPICS_PATTERN);
}
