/*
 * topics.h - who listens to what: the channels and patterns to which sessions of a worker listen.
 *
 * A topic is a channel or a pattern with at least one subscriber; a subscription joins one session
 * to one topic:
 *
 *     table    by                   list                            in the order of subscribing
 *     topics   kind and name        topic.subscriptions              of subscriptions
 *     pairs    topic and session    session.subscriptions.of[kind]   of the same subscriptions
 *
 * so that asking, joining and leaving cost O(1) however many listen to how much, and leaving
 * everything costs what the session itself had. Both tables grow a bucket at a time.
 *
 * Each worker has its own. They are changed by its own thread, under the lock; it reads them
 * without, other threads under the lock or while all loops are paused.
 *
 * Invariants: a topic without subscriptions and a session's struct without subscriptions do not
 * exist, but between topics_end and topics_drop_unheard; the engines keep effects exactly while a
 * pattern or a channel of effects exists (after topics_update_effects).
 */
#ifndef IDEM_SERVER_COMMANDS_TOPICS_H
#define IDEM_SERVER_COMMANDS_TOPICS_H

#include "server/base/table.h"
#include "server/commands/session.h"

enum topics_kind { TOPICS_CHANNEL, TOPICS_PATTERN, TOPICS_KINDS };

/* Channels and patterns that one session may listen to. */
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
  _Atomic size_t topic_count; /* of both kinds: others need not lock to see that there is none */
  struct table topics, pairs;
  struct list all[TOPICS_KINDS]; /* oldest first */
  size_t count[TOPICS_KINDS];
  size_t effect_channels; /* whose name begins with EFFECTS_PREFIX */
  unsigned char secret[TOPICS_SECRET_BYTES];
};

struct topics *topics_create(void); /* NULL when memory, or randomness, is short */
void topics_destroy(struct topics *topics);

/* Around changes, and around what another thread reads. */
static inline void topics_lock(struct topics *topics) { pthread_mutex_lock(&topics->lock); }
static inline void topics_unlock(struct topics *topics) { pthread_mutex_unlock(&topics->lock); }

static inline struct span topics_name(const struct topic *topic) {
  return (struct span){topic->name, topic->name_len};
}

/* NULL: no session of this worker listens to it. */
struct topic *topics_find(const struct topics *topics, enum topics_kind kind, struct span name);
/* NULL: the session does not listen to the topic. */
struct subscription *topics_find_subscription(const struct topics *topics,
                                              const struct topic *topic,
                                              const struct session *session);
/* The oldest of a session; NULL: it has none. */
struct subscription *topics_first(const struct session *session, enum topics_kind kind);

size_t topics_count(const struct session *session, enum topics_kind kind);
size_t topics_count_both(const struct session *session);

/* ---- changes: locked, and topics_update_effects after the lock ---- */

/* False when memory, or client-input-total, is short; then nothing has changed. Listening already
 * is fine. */
bool topics_join(struct worker *worker, struct session *session, enum topics_kind kind,
                 struct span name);
/* Ends the subscription; its topic stays, though unheard, until topics_drop_unheard. */
void topics_end(struct worker *worker, struct subscription *subscription);
void topics_drop_unheard(struct topics *topics, struct topic *topic);
/* Tells the engines, when it has changed, whether sessions of this worker listen to effects. Not
 * locked. */
void topics_update_effects(struct worker *worker);

/* Ends all subscriptions, without a word (the session ends, or RESET). Locks. */
void topics_leave(struct worker *worker, struct session *session);

#endif
