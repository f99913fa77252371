/* renewer.c - see renewer.h. */
#include "client/renewer.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "client/connection.h"
#include "client/pace.h"

/* Those due within this go along: fewer wake-ups, and no lease is in danger from being early. */
#define TOGETHER_MS 5

/* Renewals in one turn, and the bytes of their commands. */
#define BATCH 64
#define BATCH_BYTES (LEASE_KEY_BYTES + 1024)

/* What leads to one node. */
struct channel {
  SLIST_ENTRY(channel) entry;
  struct node *node;
  struct connection *connection; /* NULL: none */
  int64_t shut_until_ms;         /* it was not reached: others come first */
};

struct renewer {
  const struct settings *settings;
  struct cluster *cluster;
  pthread_mutex_t lock;
  pthread_cond_t changed; /* something became due earlier, or stop */
  pthread_cond_t called;  /* a callback has returned */
  pthread_t thread;
  _Atomic bool running; /* written under the lock */
  bool stopping;
  struct lease_list leases;
  int64_t wake_ms; /* when the thread wakes up by itself */
  /* The batch: slots are emptied by removal; the rest belongs to the thread. */
  struct lease *batch[BATCH];
  int batch_count;
  bool asking[BATCH]; /* the other node is told so before it */
  struct node *node;  /* of the batch; NULL: it is not known */
  int64_t timeout_ms; /* of the shortest lease in it */
  int64_t sent_ms;
  size_t buffer_len;
  SLIST_HEAD(, channel) channels; /* the thread's */
  struct wire_reply replies[BATCH];
  char buffer[BATCH_BYTES];
};

/* ---- one turn ---- */

/* The node of a lease; NULL: not known yet. */
static struct node *node_of(struct renewer *renewer, const struct lease *lease) {
  struct idem_error ignored;
  struct node *node = lease->asked;
  if (node == NULL && cluster_route(renewer->cluster, lease->key, &node, &ignored) != IDEM_OK)
    return NULL;
  return node;
}

/* False: it does not fit. */
static bool put(struct renewer *renewer, const struct wire_request *request) {
  struct wire_frame frame;
  wire_frame(&frame, request);
  if (renewer->buffer_len + frame.size > BATCH_BYTES) return false;
  wire_copy(&frame, renewer->buffer + renewer->buffer_len);
  renewer->buffer_len += frame.size;
  return true;
}

/* Frames its renewal. False: it does not fit any more. */
static bool put_renewal(struct renewer *renewer, struct lease *lease) {
  const struct wire_request ask = {.verb = WIRE_ASKING};
  const struct wire_request renew = {.verb = WIRE_RENEW, .key = lease->key, .token = lease->token};
  size_t before = renewer->buffer_len;
  bool asking = lease->asked != NULL;
  if ((asking && !put(renewer, &ask)) || !put(renewer, &renew)) {
    renewer->buffer_len = before;
    return false;
  }
  lease->asked = NULL;
  lease->slot = renewer->batch_count;
  renewer->asking[renewer->batch_count] = asking;
  renewer->batch[renewer->batch_count++] = lease;
  renewer->timeout_ms = clock_min(renewer->timeout_ms, pace_renewal_timeout_ms(lease->lease_ms));
  return true;
}

/* Frames what is due at the node whose lease is due first. Under the lock. */
static void gather(struct renewer *renewer, int64_t now) {
  struct lease *lease = TAILQ_FIRST(&renewer->leases);
  renewer->node = node_of(renewer, lease);
  renewer->batch_count = 0;
  renewer->buffer_len = 0;
  renewer->timeout_ms = renewer->settings->command_timeout_ms;
  for (; lease != NULL; lease = TAILQ_NEXT(lease, entry)) {
    if (lease->due_ms > now + TOGETHER_MS || renewer->batch_count == BATCH) break;
    if (node_of(renewer, lease) != renewer->node) continue;
    if (!put_renewal(renewer, lease)) break;
  }
}

/* NULL: no memory. */
static struct channel *channel_to(struct renewer *renewer, struct node *node) {
  struct channel *channel;
  SLIST_FOREACH(channel, &renewer->channels, entry) {
    if (channel->node == node) return channel;
  }
  channel = calloc(1, sizeof *channel);
  if (channel == NULL) return NULL;
  channel->node = node;
  SLIST_INSERT_HEAD(&renewer->channels, channel, entry);
  return channel;
}

static void close_channel(struct channel *channel) {
  connection_close(channel->connection);
  channel->connection = NULL;
}

/* A node that is not reached takes the time of the others: so it is left alone for as long as the
 * last try took. */
static bool connect_again(struct renewer *renewer, struct channel *channel, int64_t now) {
  struct idem_error ignored;
  if (channel->connection != NULL && connection_alive(channel->connection)) return true;
  close_channel(channel);
  if (now < channel->shut_until_ms) return false;
  const struct connection_order order = {renewer->settings, &channel->node->target,
                                         now + renewer->timeout_ms};
  if (connection_open(&channel->connection, &order, &ignored) == IDEM_OK) return true;
  int64_t end_ms = clock_ms();
  channel->shut_until_ms = end_ms + (end_ms - now);
  cluster_failed(renewer->cluster, channel->node);
  return false;
}

/* Reads the answer to one renewal, after that to ASKING if there is one: a word that does not
 * matter, for without it the other node says so. */
static bool receive(struct renewer *renewer, struct connection *connection, int item,
                    int64_t deadline_ms) {
  struct idem_error ignored;
  redisReply *reply = NULL;
  if (renewer->asking[item]) {
    if (connection_receive(connection, deadline_ms, &reply, &ignored) != IDEM_OK) return false;
    freeReplyObject(reply);
  }
  if (connection_receive(connection, deadline_ms, &reply, &ignored) != IDEM_OK) return false;
  wire_parse(WIRE_RENEW, reply, &renewer->replies[item]);
  return true;
}

/* Sends the batch and reads what comes. Returns how many replies were read. Without the lock. */
static int exchange_over(struct renewer *renewer, struct channel *channel) {
  struct idem_error ignored;
  struct connection *connection = channel->connection;
  int count = 0;
  renewer->sent_ms = clock_ms();
  int64_t deadline = renewer->sent_ms + renewer->timeout_ms;
  bool good = connection_send_bytes(connection, renewer->buffer, renewer->buffer_len,
                                    renewer->timeout_ms, &ignored) == IDEM_OK;
  while (good && count < renewer->batch_count) {
    good = receive(renewer, connection, count, deadline);
    if (!good) break;
    good = !renewer->replies[count].spent;
    count++;
  }
  /* One reply too many: which of them answers what cannot be told. */
  bool stray = !connection_quiet(connection);
  while (stray && count > 0) wire_reply_deinit(&renewer->replies[--count]);
  if (!good) cluster_failed(renewer->cluster, channel->node);
  if (!good || stray || !connection_reusable(connection)) close_channel(channel);
  return count;
}

static int exchange(struct renewer *renewer) {
  struct channel *channel = renewer->node != NULL ? channel_to(renewer, renewer->node) : NULL;
  if (channel == NULL || !connect_again(renewer, channel, clock_ms())) return 0;
  return exchange_over(renewer, channel);
}

/* Brings the table of a cluster up to date, if this is the time and nobody else does. Without the
 * lock. */
static void refresh_table(struct renewer *renewer) {
  const struct wire_request request = {.verb = WIRE_NODES};
  struct idem_error error = {""};
  struct wire_frame frame;
  struct wire_reply parsed;
  redisReply *reply = NULL;
  int64_t now = clock_ms();
  struct node *source = cluster_refresh(renewer->cluster, now);
  if (source == NULL) return;
  struct channel *channel = channel_to(renewer, source);
  bool good = channel != NULL && connect_again(renewer, channel, now);
  wire_frame(&frame, &request);
  int64_t until_ms = clock_ms() + renewer->timeout_ms;
  good = good &&
         connection_send(channel->connection, &frame, renewer->timeout_ms, &error) == IDEM_OK &&
         connection_receive(channel->connection, until_ms, &reply, &error) == IDEM_OK;
  if (good) {
    wire_parse(WIRE_NODES, reply, &parsed);
  } else {
    wire_reply_fail(&parsed, IDEM_UNAVAILABLE, error.text);
    if (channel != NULL) close_channel(channel);
  }
  cluster_learn(renewer->cluster, source, &parsed);
  wire_reply_deinit(&parsed);
}

/* Tells the application, without the lock. */
static void call_out(struct renewer *renewer, struct lease *lease, enum idem_claim_state state) {
  if (renewer->settings->on_lost == NULL) return;
  lease->calling = true;
  pthread_mutex_unlock(&renewer->lock);
  renewer->settings->on_lost(lease->claim, state, renewer->settings->lost_context);
  pthread_mutex_lock(&renewer->lock);
  lease->calling = false;
  pthread_cond_broadcast(&renewer->called);
}

/* One renewal has ended. Under the lock, which it may let go at its end. */
static void end_renewal(struct renewer *renewer, struct lease *lease,
                        const struct wire_reply *reply, int64_t now) {
  /* One that was sent elsewhere has failed, and is tried there soon. */
  if (reply != NULL)
    lease->asked = cluster_follow(renewer->cluster, renewer->node, lease->key, reply);
  const struct lease_renewal renewal = {reply, renewer->sent_ms, now};
  enum idem_claim_state told = lease_renewal_ended(&renewer->leases, lease, &renewal);
  if (told != IDEM_CLAIM_HELD) call_out(renewer, lease, told);
}

static void turn(struct renewer *renewer, int64_t now) {
  gather(renewer, now);
  pthread_mutex_unlock(&renewer->lock);
  refresh_table(renewer);
  int answered = exchange(renewer);
  pthread_mutex_lock(&renewer->lock);
  now = clock_ms();
  for (int i = 0; i < renewer->batch_count; i++) {
    struct lease *lease = renewer->batch[i];
    if (lease == NULL) continue;
    lease->slot = -1;
    renewer->batch[i] = NULL;
    end_renewal(renewer, lease, i < answered ? &renewer->replies[i] : NULL, now);
  }
  for (int i = 0; i < answered; i++) wire_reply_deinit(&renewer->replies[i]);
}

static void sleep_until(struct renewer *renewer, int64_t ms) {
  renewer->wake_ms = ms;
  if (ms == CLOCK_NEVER) {
    pthread_cond_wait(&renewer->changed, &renewer->lock);
    return;
  }
  int64_t left = clock_max(0, ms - clock_ms());
  const struct timespec until = clock_alarm(clock_min(left, CLOCK_SLEEP_MAX_MS));
  pthread_cond_timedwait(&renewer->changed, &renewer->lock, &until);
}

static void *run(void *argument) {
  struct renewer *renewer = argument;
  pthread_mutex_lock(&renewer->lock);
  while (!renewer->stopping) {
    int64_t now = clock_ms();
    const struct lease *first = TAILQ_FIRST(&renewer->leases);
    int64_t due_ms = first != NULL ? first->due_ms : CLOCK_NEVER;
    if (due_ms > now) {
      sleep_until(renewer, due_ms);
    } else {
      renewer->wake_ms = 0;
      turn(renewer, now);
    }
  }
  pthread_mutex_unlock(&renewer->lock);
  for (struct channel *channel; (channel = SLIST_FIRST(&renewer->channels)) != NULL;) {
    SLIST_REMOVE_HEAD(&renewer->channels, entry);
    close_channel(channel);
    free(channel);
  }
  return NULL;
}

/* ---- life ---- */

static bool init_conditions(struct renewer *renewer) {
  pthread_condattr_t monotonic;
  if (pthread_condattr_init(&monotonic) != 0) return false;
  bool good = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&renewer->changed, &monotonic) == 0;
  pthread_condattr_destroy(&monotonic);
  if (!good) return false;
  if (pthread_cond_init(&renewer->called, NULL) == 0) return true;
  pthread_cond_destroy(&renewer->changed);
  return false;
}

struct renewer *renewer_create(const struct settings *settings, struct cluster *cluster) {
  struct renewer *renewer = malloc(sizeof *renewer);
  if (renewer == NULL) return NULL;
  /* The buffers stay as they are: a client that holds no claim for long never touches them. */
  memset(renewer, 0, offsetof(struct renewer, replies));
  renewer->settings = settings;
  renewer->cluster = cluster;
  SLIST_INIT(&renewer->channels);
  renewer->wake_ms = CLOCK_NEVER;
  TAILQ_INIT(&renewer->leases);
  if (pthread_mutex_init(&renewer->lock, NULL) != 0) {
    free(renewer);
    return NULL;
  }
  if (init_conditions(renewer)) return renewer;
  pthread_mutex_destroy(&renewer->lock);
  free(renewer);
  return NULL;
}

void renewer_stop(struct renewer *renewer) {
  pthread_mutex_lock(&renewer->lock);
  bool running = renewer->running;
  renewer->running = false;
  renewer->stopping = true;
  pthread_cond_signal(&renewer->changed);
  pthread_mutex_unlock(&renewer->lock);
  if (running) pthread_join(renewer->thread, NULL);
}

void renewer_destroy(struct renewer *renewer) {
  if (renewer == NULL) return;
  renewer_stop(renewer);
  pthread_cond_destroy(&renewer->changed);
  pthread_cond_destroy(&renewer->called);
  pthread_mutex_destroy(&renewer->lock);
  free(renewer);
}

/* Signals belong to the application's threads. */
static bool spawn(struct renewer *renewer) {
  sigset_t all, before;
  sigfillset(&all);
  if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
  bool good = pthread_create(&renewer->thread, NULL, run, renewer) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return good;
}

bool renewer_start(struct renewer *renewer) {
  if (atomic_load_explicit(&renewer->running, memory_order_acquire)) return true;
  pthread_mutex_lock(&renewer->lock);
  if (!renewer->running && !renewer->stopping) renewer->running = spawn(renewer);
  bool good = renewer->running;
  pthread_mutex_unlock(&renewer->lock);
  return good;
}

/* The thread sleeps until the first lease is due, as it last saw it. */
static void wake_for(struct renewer *renewer, const struct lease *lease) {
  if (lease->listed && lease->due_ms < renewer->wake_ms) pthread_cond_signal(&renewer->changed);
}

void renewer_add(struct renewer *renewer, struct lease *lease, int64_t sent_ms) {
  pthread_mutex_lock(&renewer->lock);
  lease->slot = -1;
  lease_schedule(&renewer->leases, lease, sent_ms + pace_renewal_period_ms(lease->lease_ms));
  wake_for(renewer, lease);
  pthread_mutex_unlock(&renewer->lock);
}

void renewer_renewed(struct renewer *renewer, struct lease *lease, int64_t sent_ms,
                     int64_t lease_ms) {
  pthread_mutex_lock(&renewer->lock);
  lease_renewed(&renewer->leases, lease, sent_ms, lease_ms);
  wake_for(renewer, lease);
  pthread_mutex_unlock(&renewer->lock);
}

void renewer_mute(struct renewer *renewer, struct lease *lease, bool muted) {
  pthread_mutex_lock(&renewer->lock);
  lease->muted = muted;
  pthread_mutex_unlock(&renewer->lock);
}

void renewer_remove(struct renewer *renewer, struct lease *lease) {
  pthread_mutex_lock(&renewer->lock);
  lease_remove(&renewer->leases, lease);
  if (lease->slot >= 0) renewer->batch[lease->slot] = NULL;
  lease->slot = -1;
  while (lease->calling) pthread_cond_wait(&renewer->called, &renewer->lock);
  pthread_mutex_unlock(&renewer->lock);
}
