/*
 * pubsub.c - see pubsub.h.
 *
 * A topic is a channel or a pattern with at least one listener; a subscription joins one client to
 * one topic:
 *
 *     table    by                  list                            in the order of subscribing
 *     topics   kind and name       topic.listeners                 of subscriptions
 *     pairs    topic and client    session.subscriptions.of[kind]   of the same subscriptions
 *
 * so that asking, joining and leaving cost O(1) however many listen to how much, and leaving
 * everything costs what the client itself had. Both tables grow a bucket at a time. Invariants: a
 * topic without listeners and a client's struct without subscriptions do not exist; the engine
 * keeps effects exactly while a pattern or a channel of effects exists.
 */
#include "server/base/glob.h"
#include "server/commands/pubsub.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "server/commands/inbox.h"
#include "server/base/table.h"

/* Random, as the engine's is, so that nobody can choose names that collide. */
#define SECRET_BYTES 192
_Static_assert(SECRET_BYTES >= XXH3_SECRET_SIZE_MIN, "a shorter secret is refused by XXH3");

/* Framing around the strings of a message: `>4` and the header of each string, rounded up. */
#define FRAMING_BYTES 128u

enum topic_kind { CHANNEL, PATTERN, TOPIC_KINDS };

struct topic {
  struct table_node node;
  struct list link; /* in pubsub.all[kind] */
  struct list listeners;
  size_t listener_count;
  enum topic_kind kind;
  size_t name_len;
  char name[];
};

struct subscription {
  struct table_node node;
  struct list in_topic, in_session;
  struct topic *topic;
  struct session *session;
};

struct subscriptions {
  struct list of[TOPIC_KINDS];
  size_t count[TOPIC_KINDS];
};

/* Tables and lists are changed by the host's own thread, under the lock; it reads them without. */
struct pubsub {
  pthread_mutex_t lock;
  _Atomic size_t topic_count; /* of both kinds: others need not lock to see that nobody listens */
  struct table topics, pairs;
  struct list all[TOPIC_KINDS]; /* oldest first */
  size_t count[TOPIC_KINDS];
  size_t effect_channels;     /* whose name begins with PUBSUB_EFFECT_PREFIX */
  _Atomic bool wants_effects; /* counted in instance.effect_workers */
  char *effect_name;          /* room for the name of an effect's channel */
  size_t effect_capacity;
  unsigned char secret[SECRET_BYTES];
};

struct pubsub *pubsub_create(void) {
  struct pubsub *pubsub = calloc(1, sizeof *pubsub);
  if (pubsub == NULL) return NULL;
  if (pthread_mutex_init(&pubsub->lock, NULL) != 0) {
    free(pubsub);
    return NULL;
  }
  for (int kind = 0; kind < TOPIC_KINDS; kind++) list_init(&pubsub->all[kind]);
  bool made = table_init(&pubsub->topics) && table_init(&pubsub->pairs);
  if (made && getrandom(pubsub->secret, sizeof pubsub->secret, 0) == (ssize_t)sizeof pubsub->secret)
    return pubsub;
  pubsub_destroy(pubsub);
  return NULL;
}

void pubsub_destroy(struct pubsub *pubsub) {
  if (pubsub == NULL) return;
  assert(pubsub->pairs.count == 0 && pubsub->topics.count == 0);
  table_deinit(&pubsub->topics);
  table_deinit(&pubsub->pairs);
  free(pubsub->effect_name);
  pthread_mutex_destroy(&pubsub->lock);
  free(pubsub);
}

/* ---- topics ---- */

static struct span topic_name(const struct topic *topic) {
  return (struct span){topic->name, topic->name_len};
}

static uint64_t hash_name(const struct pubsub *pubsub, struct span name) {
  return XXH3_64bits_withSecret(name.data, name.len, pubsub->secret, sizeof pubsub->secret);
}

/* A channel and a pattern of the same name share a hash: the kind is compared. */
static struct topic *topic_find(const struct pubsub *pubsub, enum topic_kind kind,
                                struct span name) {
  if (pubsub->count[kind] == 0) return NULL;
  uint64_t hash = hash_name(pubsub, name);
  for (struct table_node *node = *table_bucket(&pubsub->topics, hash); node != NULL;
       node = node->next) {
    struct topic *topic = LIST_ENTRY(node, struct topic, node);
    if (node->hash == hash && topic->kind == kind && span_equal(topic_name(topic), name))
      return topic;
  }
  return NULL;
}

static bool is_effect_channel(const struct topic *topic) {
  const struct span prefix = SPAN_LITERAL(PUBSUB_EFFECT_PREFIX);
  return topic->kind == CHANNEL && topic->name_len >= prefix.len &&
         memcmp(topic->name, prefix.data, prefix.len) == 0;
}

static struct topic *topic_create(struct pubsub *pubsub, enum topic_kind kind, struct span name) {
  struct topic *topic = malloc(sizeof *topic + name.len);
  if (topic == NULL) return NULL;
  *topic = (struct topic){.node.hash = hash_name(pubsub, name), .kind = kind, .name_len = name.len};
  memcpy(topic->name, name.data, name.len);
  list_init(&topic->listeners);
  list_append(&pubsub->all[kind], &topic->link);
  table_insert(&pubsub->topics, &topic->node);
  pubsub->count[kind]++;
  atomic_fetch_add(&pubsub->topic_count, 1);
  if (is_effect_channel(topic)) pubsub->effect_channels++;
  return topic;
}

/* Takes the node, which is in the table, out of it. */
static void take_out(struct table *table, struct table_node *node) {
  struct table_node **link = table_bucket(table, node->hash);
  while (*link != node) link = &(*link)->next;
  table_remove(table, link);
}

static void topic_destroy_unheard(struct pubsub *pubsub, struct topic *topic) {
  if (topic->listener_count > 0) return;
  if (is_effect_channel(topic)) pubsub->effect_channels--;
  pubsub->count[topic->kind]--;
  atomic_fetch_sub(&pubsub->topic_count, 1);
  take_out(&pubsub->topics, &topic->node);
  list_remove(&topic->link);
  free(topic);
}

/* Engines keep effects while any host has somebody who listens. Which of two hosts that change
 * their minds at once comes last does not matter: each asks under the locks. A host that begins to
 * listen tells all engines, even when another one has begun before: that one may not be through
 * yet. */
static void update_wanted_effects(struct worker *worker) {
  struct pubsub *pubsub = worker->pubsub;
  struct instance *instance = worker->instance;
  bool wanted = pubsub->count[PATTERN] > 0 || pubsub->effect_channels > 0;
  if (wanted == atomic_load(&pubsub->wants_effects)) return;
  atomic_store(&pubsub->wants_effects, wanted);
  if (wanted) {
    atomic_fetch_add(&instance->effect_workers, 1);
  } else if (atomic_fetch_sub(&instance->effect_workers, 1) > 1) {
    return;
  }
  for (unsigned i = 0; i < keyspace_shards(instance->keyspace); i++) {
    struct shard *shard = keyspace_shard(instance->keyspace, i);
    int64_t now_ms = worker->now_ms;
    struct engine *engine = worker_lock(worker, shard, &now_ms);
    engine_want_effects(engine, atomic_load(&instance->effect_workers) > 0);
    worker_unlock(worker, shard);
  }
}

/* ---- subscriptions ---- */

/* Of the listeners of one topic, the ids spread over the buckets evenly; between topics the secret
 * hash does it. */
static uint64_t hash_pair(const struct topic *topic, const struct session *session) {
  return topic->node.hash ^ session->id * UINT64_C(0x9e3779b97f4a7c15);
}

static struct subscription *subscription_find(const struct pubsub *pubsub,
                                              const struct topic *topic,
                                              const struct session *session) {
  if (session_subscriptions(session) == NULL) return NULL;
  uint64_t hash = hash_pair(topic, session);
  for (struct table_node *node = *table_bucket(&pubsub->pairs, hash); node != NULL;
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
  for (int kind = 0; kind < TOPIC_KINDS; kind++) list_init(&made->of[kind]);
  return details->subscriptions = made;
}

static struct subscription *first_subscription(const struct session *session,
                                               enum topic_kind kind) {
  struct subscriptions *own = session_subscriptions(session);
  if (own == NULL || list_empty(&own->of[kind])) return NULL;
  return LIST_ENTRY(own->of[kind].next, struct subscription, in_session);
}

static void destroy_unused(struct session *session) {
  struct subscriptions *own = session_subscriptions(session);
  if (own == NULL || own->count[CHANNEL] + own->count[PATTERN] > 0) return;
  free(own);
  session->details->subscriptions = NULL;
}

/* What a subscription counts in client-input-total: as if nobody else listened to its topic. */
static size_t size_of(size_t name_len) {
  return sizeof(struct subscription) + sizeof(struct topic) + name_len;
}

/* False when memory, or client-input-total, is short; then nothing has changed. Listening already
 * is fine. */
static bool listen_to(struct worker *worker, struct session *session, enum topic_kind kind,
                      struct span name) {
  struct pubsub *pubsub = worker->pubsub;
  struct topic *topic = topic_find(pubsub, kind, name);
  if (topic != NULL && subscription_find(pubsub, topic, session) != NULL) return true;
  if (atomic_load(&worker->instance->input_bytes) + size_of(name.len) >
      (uint64_t)worker->options->client_input_total)
    return false;
  struct subscriptions *own = make_subscriptions(session);
  struct subscription *subscription = own != NULL ? malloc(sizeof *subscription) : NULL;
  if (subscription != NULL && topic == NULL) topic = topic_create(pubsub, kind, name);
  if (subscription == NULL || topic == NULL) {
    free(subscription);
    destroy_unused(session);
    return false;
  }
  *subscription = (struct subscription){
      .node.hash = hash_pair(topic, session), .topic = topic, .session = session};
  table_insert(&pubsub->pairs, &subscription->node);
  list_append(&topic->listeners, &subscription->in_topic);
  list_append(&own->of[kind], &subscription->in_session);
  topic->listener_count++;
  own->count[kind]++;
  atomic_fetch_add(&worker->instance->input_bytes, size_of(name.len));
  return true;
}

/* Ends the subscription; its topic stays, though unheard, until topic_destroy_unheard. */
static void stop_listening(struct worker *worker, struct subscription *subscription) {
  struct topic *topic = subscription->topic;
  atomic_fetch_sub(&worker->instance->input_bytes, size_of(topic->name_len));
  take_out(&worker->pubsub->pairs, &subscription->node);
  list_remove(&subscription->in_topic);
  list_remove(&subscription->in_session);
  topic->listener_count--;
  session_subscriptions(subscription->session)->count[topic->kind]--;
  destroy_unused(subscription->session);
  free(subscription);
}

static void lock(struct pubsub *pubsub) { pthread_mutex_lock(&pubsub->lock); }
static void unlock(struct pubsub *pubsub) { pthread_mutex_unlock(&pubsub->lock); }

void pubsub_leave(struct worker *worker, struct session *session) {
  if (session_subscriptions(session) == NULL) return;
  lock(worker->pubsub);
  for (enum topic_kind kind = CHANNEL; kind < TOPIC_KINDS; kind++) {
    for (struct subscription *subscription;
         (subscription = first_subscription(session, kind)) != NULL;) {
      struct topic *topic = subscription->topic;
      stop_listening(worker, subscription);
      topic_destroy_unheard(worker->pubsub, topic);
    }
  }
  unlock(worker->pubsub);
  update_wanted_effects(worker);
}

static size_t count_of(const struct session *session, enum topic_kind kind) {
  const struct subscriptions *own = session_subscriptions(session);
  return own != NULL ? own->count[kind] : 0;
}

size_t pubsub_count_channels(const struct session *session) { return count_of(session, CHANNEL); }

size_t pubsub_count_patterns(const struct session *session) { return count_of(session, PATTERN); }

/* In RESP3 pushes can be told from replies, so any command may be sent between them. */
bool pubsub_restricts(const struct session *session) {
  return session->version == 2 && session_subscriptions(session) != NULL;
}

/* ---- messages ---- */

bool pubsub_may_push(struct worker *worker, struct session *session, size_t bytes) {
  if (session->close_now || session->close_when_sent) return false;
  if (!session_output_over(session, worker, bytes)) return true;
  pubsub_close(worker, session);
  return false;
}

void pubsub_close(struct worker *worker, struct session *session) {
  worker->counters.closed_by_output_limit++;
  session_close(session, worker);
}

void pubsub_close_listeners(struct worker *worker) {
  for (struct list *node = worker->sessions.next; node != &worker->sessions; node = node->next) {
    struct session *session = LIST_ENTRY(node, struct session, link);
    if (session_subscriptions(session) != NULL && !session->close_now)
      pubsub_close(worker, session);
  }
}

/* A payload of at least so many bytes is copied once, and its listeners refer to that. */
#define SHARED_BYTES (16u * 1024)

struct payload {
  struct counted head;
  char bytes[];
};

struct message {
  struct span channel, payload;
  struct payload *instance; /* NULL: short, or memory is */
};

static struct payload *share(struct span bytes) {
  struct payload *payload = bytes.len >= SHARED_BYTES ? malloc(sizeof *payload + bytes.len) : NULL;
  if (payload == NULL) return NULL;
  payload->head.references = 1;
  memcpy(payload->bytes, bytes.data, bytes.len);
  return payload;
}

static void push_payload(struct resp_writer *push, const struct message *message) {
  struct payload *instance = message->instance;
  if (instance == NULL) {
    resp_write_bulk(push, message->payload);
    return;
  }
  size_t refs = push->out->ref_count;
  resp_write_bulk_pinned(push, (struct span){instance->bytes, message->payload.len}, instance,
                         NULL);
  if (push->out->ref_count > refs) instance->head.references++;
}

static void send_to_listeners(struct worker *worker, struct topic *topic,
                              const struct message *message) {
  size_t bytes = FRAMING_BYTES + topic->name_len + message->channel.len + message->payload.len;
  for (struct list *node = topic->listeners.next; node != &topic->listeners; node = node->next) {
    struct session *session = LIST_ENTRY(node, struct subscription, in_topic)->session;
    if (!pubsub_may_push(worker, session, bytes)) continue;
    struct resp_writer push = session_writer(session, worker);
    resp_write_push(&push, topic->kind == PATTERN ? 4 : 3);
    resp_write_bulk_text(&push, topic->kind == PATTERN ? "pmessage" : "message");
    if (topic->kind == PATTERN) resp_write_bulk(&push, topic_name(topic));
    resp_write_bulk(&push, message->channel);
    push_payload(&push, message);
  }
}

/* Calls visit for the channel's topic and all patterns that match it. Returns how many listen to
 * them. */
typedef void topic_visitor(struct worker *worker, struct topic *topic,
                           const struct message *message);

static size_t visit_topics(struct worker *worker, const struct message *message,
                           topic_visitor *visit) {
  struct pubsub *pubsub = worker->pubsub;
  size_t receivers = 0;
  struct topic *topic = topic_find(pubsub, CHANNEL, message->channel);
  if (topic != NULL) {
    visit(worker, topic, message);
    receivers += topic->listener_count;
  }
  for (struct list *node = pubsub->all[PATTERN].next; node != &pubsub->all[PATTERN];
       node = node->next) {
    struct topic *pattern = LIST_ENTRY(node, struct topic, link);
    if (!glob_match(topic_name(pattern), message->channel, false)) continue;
    visit(worker, pattern, message);
    receivers += pattern->listener_count;
  }
  return receivers;
}

static void only_count(struct worker *worker, struct topic *topic, const struct message *message) {
  (void)worker;
  (void)topic;
  (void)message;
}

size_t pubsub_deliver(struct worker *worker, struct span channel, struct span payload) {
  const struct message message = {channel, payload, share(payload)};
  size_t receivers = visit_topics(worker, &message, send_to_listeners);
  if (message.instance != NULL) worker_release(&message.instance->head);
  return receivers;
}

/* How many clients of another host listen now. It is sent to those who do when it arrives. */
static size_t count_elsewhere(struct worker *other, const struct message *message) {
  if (atomic_load(&other->pubsub->topic_count) == 0) return 0;
  lock(other->pubsub);
  size_t receivers = visit_topics(other, message, only_count);
  unlock(other->pubsub);
  return receivers;
}

size_t pubsub_publish(struct worker *worker, struct span channel, struct span payload) {
  const struct message message = {channel, payload, NULL};
  size_t receivers = pubsub_deliver(worker, channel, payload);
  for (unsigned i = 0; i < worker->instance->worker_count; i++) {
    struct worker *other = worker->instance->workers[i];
    size_t there = other != worker ? count_elsewhere(other, &message) : 0;
    if (there > 0) inbox_post(other, INBOX_MESSAGE, channel, payload);
    receivers += there;
  }
  return receivers;
}

/* ---- effects ---- */

/* The channel of the key, in a buffer that the next call reuses; absent when memory is short. */
static struct span effect_channel(struct pubsub *pubsub, struct span key) {
  const struct span prefix = SPAN_LITERAL(PUBSUB_EFFECT_PREFIX);
  size_t len = prefix.len + key.len;
  if (len > pubsub->effect_capacity) {
    char *grown = realloc(pubsub->effect_name, len);
    if (grown == NULL) return SPAN_ABSENT;
    memcpy(grown, prefix.data, prefix.len);
    pubsub->effect_name = grown;
    pubsub->effect_capacity = len;
  }
  memcpy(pubsub->effect_name + prefix.len, key.data, key.len);
  return (struct span){pubsub->effect_name, len};
}

static void tell_effect(struct worker *worker, const struct engine_effect *effect) {
  static const char *const words[] = {
      [ENGINE_EFFECT_DONE] = "done",
      [ENGINE_EFFECT_UNKNOWN] = "unknown",
      [ENGINE_EFFECT_FREE] = "free",
  };
  struct span channel = SPAN_ABSENT;
  if (effect->kind != ENGINE_EFFECTS_LOST) channel = effect_channel(worker->pubsub, effect->key);
  for (unsigned i = 0; i < worker->instance->worker_count; i++) {
    struct worker *to = worker->instance->workers[i];
    if (!atomic_load(&to->pubsub->wants_effects)) continue;
    if (span_present(channel)) {
      inbox_post(to, INBOX_MESSAGE, channel, span_of(words[effect->kind]));
    } else {
      inbox_lose(to);
    }
  }
}

/* Through the inbox on one's own host too: what one shard has to tell of a key comes in the order
 * in which it happened, since the shard is locked, and not in the middle of a command's reply. */
void pubsub_tell_effects(struct worker *worker, struct engine *engine) {
  for (struct engine_effect effect; engine_next_effect(engine, &effect);)
    tell_effect(worker, &effect);
}

/* ---- commands ---- */

size_t pubsub_name_limit(const struct options *options, const struct span *argv, size_t index) {
  (void)argv;
  (void)index;
  return (size_t)options->limits.key_bytes + strlen(PUBSUB_EFFECT_PREFIX);
}

size_t pubsub_publish_limit(const struct options *options, const struct span *argv, size_t index) {
  return index == 1 ? pubsub_name_limit(options, argv, index) : (size_t)options->limits.body_bytes;
}

static void confirm(struct call *call, const char *what, struct span name) {
  resp_write_push(call->reply, 3);
  resp_write_bulk_text(call->reply, what);
  resp_write_bulk(call->reply, name);
  resp_write_integer(call->reply, (int64_t)(pubsub_count_channels(call->session) +
                                            pubsub_count_patterns(call->session)));
}

static void subscribe(struct call *call, enum topic_kind kind, const char *what) {
  struct pubsub *pubsub = call->worker->pubsub;
  lock(pubsub);
  for (size_t i = 1; i < call->argc; i++) {
    if (pubsub_count_channels(call->session) + pubsub_count_patterns(call->session) >=
        PUBSUB_MAX_PER_CLIENT) {
      resp_write_errorf(call->reply, "ERR a connection may have %u subscriptions",
                        PUBSUB_MAX_PER_CLIENT);
      break;
    }
    if (!listen_to(call->worker, call->session, kind, call->argv[i])) {
      reply_oom(call);
      break;
    }
    confirm(call, what, call->argv[i]);
  }
  unlock(pubsub);
  update_wanted_effects(call->worker);
}

/* The reply stands between the end of the subscription, which it counts, and that of the topic,
 * whose name it may show. */
static void end_subscription(struct call *call, const char *what,
                             struct subscription *subscription) {
  struct topic *topic = subscription->topic;
  stop_listening(call->worker, subscription);
  confirm(call, what, topic_name(topic));
  topic_destroy_unheard(call->worker->pubsub, topic);
}

static void unsubscribe_all(struct call *call, enum topic_kind kind, const char *what) {
  struct session *session = call->session;
  if (count_of(session, kind) == 0) {
    confirm(call, what, SPAN_ABSENT);
    return;
  }
  for (struct subscription *subscription;
       (subscription = first_subscription(session, kind)) != NULL;)
    end_subscription(call, what, subscription);
}

static void unsubscribe(struct call *call, enum topic_kind kind, const char *what) {
  struct pubsub *pubsub = call->worker->pubsub;
  lock(pubsub);
  if (call->argc == 1) unsubscribe_all(call, kind, what);
  for (size_t i = 1; i < call->argc; i++) {
    struct topic *topic = topic_find(pubsub, kind, call->argv[i]);
    struct subscription *subscription =
        topic != NULL ? subscription_find(pubsub, topic, call->session) : NULL;
    if (subscription != NULL) {
      end_subscription(call, what, subscription);
    } else {
      confirm(call, what, call->argv[i]);
    }
  }
  unlock(pubsub);
  update_wanted_effects(call->worker);
}

void pubsub_subscribe(struct call *call) { subscribe(call, CHANNEL, "subscribe"); }
void pubsub_psubscribe(struct call *call) { subscribe(call, PATTERN, "psubscribe"); }
void pubsub_unsubscribe(struct call *call) { unsubscribe(call, CHANNEL, "unsubscribe"); }
void pubsub_punsubscribe(struct call *call) { unsubscribe(call, PATTERN, "punsubscribe"); }

void pubsub_publish_command(struct call *call) {
  size_t receivers = pubsub_publish(call->worker, call->argv[1], call->argv[2]);
  resp_write_integer(call->reply, (int64_t)receivers);
}

/* The rest of PUBSUB looks at the tables of all hosts, whose loops stand still meanwhile. */

/* A topic with listeners on several hosts is told by the first. */
static bool told_before(const struct instance *instance, unsigned number, enum topic_kind kind,
                        struct span name) {
  for (unsigned i = 0; i < number; i++) {
    if (topic_find(instance->workers[i]->pubsub, kind, name) != NULL) return true;
  }
  return false;
}

/* Writes the channels that match, unless writer is NULL; returns how many. */
static size_t list_channels(const struct instance *instance, struct span pattern,
                            struct resp_writer *writer) {
  size_t count = 0;
  for (unsigned i = 0; i < instance->worker_count; i++) {
    struct list *head = &instance->workers[i]->pubsub->all[CHANNEL];
    for (struct list *node = head->next; node != head; node = node->next) {
      struct span name = topic_name(LIST_ENTRY(node, struct topic, link));
      if (!glob_match(pattern, name, false) || told_before(instance, i, CHANNEL, name)) continue;
      count++;
      if (writer != NULL) resp_write_bulk(writer, name);
    }
  }
  return count;
}

/* Counted first, because the length stands in front: what it costs twice is less than what
 * remembering the matches would. */
void pubsub_channels_command(struct call *call) {
  if (call->argc > 3) {
    resp_write_error_quoting(call->reply,
                             "ERR unknown subcommand or wrong number of arguments for '",
                             call->argv[1], "'. Try PUBSUB HELP.");
    return;
  }
  const struct span pattern = call->argc == 3 ? call->argv[2] : SPAN_LITERAL("*");
  const struct instance *instance = call->worker->instance;
  resp_write_array(call->reply, list_channels(instance, pattern, NULL));
  list_channels(instance, pattern, call->reply);
}

void pubsub_numsub_command(struct call *call) {
  const struct instance *instance = call->worker->instance;
  resp_write_array(call->reply, 2 * (call->argc - 2));
  for (size_t i = 2; i < call->argc; i++) {
    size_t listeners = 0;
    for (unsigned h = 0; h < instance->worker_count; h++) {
      const struct topic *topic = topic_find(instance->workers[h]->pubsub, CHANNEL, call->argv[i]);
      if (topic != NULL) listeners += topic->listener_count;
    }
    resp_write_bulk(call->reply, call->argv[i]);
    resp_write_integer(call->reply, (int64_t)listeners);
  }
}

size_t pubsub_channels(const struct instance *instance) {
  return list_channels(instance, SPAN_LITERAL("*"), NULL);
}

/* A pattern that several hosts know is counted once, as PUBSUB NUMPAT of Redis does. */
size_t pubsub_patterns(const struct instance *instance) {
  size_t count = 0;
  for (unsigned i = 0; i < instance->worker_count; i++) {
    struct list *head = &instance->workers[i]->pubsub->all[PATTERN];
    for (struct list *node = head->next; node != head; node = node->next) {
      struct span name = topic_name(LIST_ENTRY(node, struct topic, link));
      if (!told_before(instance, i, PATTERN, name)) count++;
    }
  }
  return count;
}

void pubsub_numpat_command(struct call *call) {
  resp_write_integer(call->reply, (int64_t)pubsub_patterns(call->worker->instance));
}
