/*
 * topics.h - subscriptions: the channels and patterns to which sessions of a worker are subscribed.
 *
 * A topic is a channel or a pattern with at least one subscriber; a subscription joins one session
 * to one topic:
 *
 *     table    by                   list                            in the order of subscribing
 *     topics   kind and name        topic.subscriptions              of subscriptions
 *     pairs    topic and session    session.subscriptions.of[kind]   of the same subscriptions
 *
 * so that finding, adding and ending a subscription cost O(1) however many there are, and ending
 * all of a session costs O(1) for each. Both tables grow a bucket at a time.
 *
 * It must not know what is sent to a topic (publish.h), nor how joining is confirmed (pubsub.h).
 *
 * Each worker has its own. Its own thread changes them under the lock, and reads them without;
 * other threads read them under the lock, or while all loops are paused.
 *
 * Invariants: a topic without subscriptions and a session's struct without subscriptions do not
 * exist, but between topics_end and topics_drop_empty; the engines keep effects exactly while a
 * pattern or a channel of effects exists (after topics_update_effects).
 */
#ifndef IDEM_SERVER_COMMANDS_TOPICS_H
#define IDEM_SERVER_COMMANDS_TOPICS_H

#include "server/base/table.h"
#include "server/commands/session.h"

enum topics_kind { TOPICS_CHANNEL, TOPICS_PATTERN, TOPICS_KINDS };

/* The most channels and patterns of one session. */
#define TOPICS_MAX_PER_SESSION 100000u

struct topic {
  struct table_node node;
  struct list link;          /* in topics.all[kind] */
  struct list subscriptions; /* struct subscription.in_topic */
  size_t subscriber_count;
  enum topics_kind kind;
  size_t name_len;
  char name[];
};

struct subscription {
  struct table_node node;
  struct list in_topic, in_session;
  struct topic *topic;
  struct session *session;
};

/* Of one session. */
struct subscriptions {
  struct list of[TOPICS_KINDS];
  size_t count[TOPICS_KINDS];
};

/* Random, as the engine's is, so that no client can choose names that collide. */
#define TOPICS_SECRET_BYTES 192

struct topics {
  pthread_mutex_t lock;
  _Atomic size_t topic_count; /* of both kinds: 0 can be seen without the lock */
  struct table topics, pairs;
  struct list all[TOPICS_KINDS]; /* oldest first */
  size_t count[TOPICS_KINDS];
  size_t effect_channels; /* whose name begins with EFFECTS_PREFIX */
  unsigned char secret[TOPICS_SECRET_BYTES];
};

struct topics *topics_create(void); /* NULL when memory, or randomness, is short */
void topics_destroy(struct topics *topics);

/* Around changes, and around the reads of another thread. */
static inline void topics_lock(struct topics *topics) { pthread_mutex_lock(&topics->lock); }
static inline void topics_unlock(struct topics *topics) { pthread_mutex_unlock(&topics->lock); }

static inline struct span topics_name(const struct topic *topic) {
  return (struct span){topic->name, topic->name_len};
}

/* NULL: no session of this worker is subscribed to it. */
struct topic *topics_find(const struct topics *topics, enum topics_kind kind, struct span name);
/* NULL: the session is not subscribed to the topic. */
struct subscription *topics_find_subscription(const struct topics *topics,
                                              const struct topic *topic,
                                              const struct session *session);
/* The oldest of a session; NULL: it has none. */
struct subscription *topics_first(const struct session *session, enum topics_kind kind);

size_t topics_count(const struct session *session, enum topics_kind kind);
size_t topics_count_both(const struct session *session);

/* ---- changes: locked, and topics_update_effects after the lock ---- */

/* False when memory is short, or client-input-total is reached; then nothing has changed. True if
 * it was subscribed already. */
bool topics_join(struct worker *worker, struct session *session, enum topics_kind kind,
                 struct span name);
/* Ends the subscription; its topic stays, even without subscribers, until topics_drop_empty. */
void topics_end(struct worker *worker, struct subscription *subscription);
/* Frees the topic if it has no subscribers. */
void topics_drop_empty(struct topics *topics, struct topic *topic);
/* If it has changed, sets in the engines whether sessions of this worker are subscribed to effects.
 * Not locked. */
void topics_update_effects(struct worker *worker);

/* Ends all subscriptions without replies (the session ends, or RESET). Takes the lock. */
void topics_leave(struct worker *worker, struct session *session);

#endif
