/* lane.c - see lane.h. */
#include "client/lane.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "client/pace.h"
#include "client/thread.h"

/* ---- the batch ---- */

static void empty(struct lane *lane) {
  lane->count = 0;
  lane->buffer_len = 0;
  lane->timeout_ms = lane->base->settings->command_timeout_ms;
}

/* False: it does not fit. */
static bool put(struct lane *lane, const struct wire_request *request) {
  struct wire_frame frame;
  wire_frame(&frame, request);
  if (lane->buffer_len + frame.size > LANE_BYTES) return false;
  wire_copy(&frame, lane->buffer + lane->buffer_len);
  lane->buffer_len += frame.size;
  return true;
}

bool lane_load(struct lane *lane, struct lease *lease) {
  const struct wire_request ask = {.verb = WIRE_ASKING};
  const struct wire_request renew = {.verb = WIRE_RENEW, .key = lease->key, .token = lease->token};
  size_t before = lane->buffer_len;
  bool asking = lease->asked != NULL;
  if (lane->count == LANE_BATCH) return false;
  if ((asking && !put(lane, &ask)) || !put(lane, &renew)) {
    lane->buffer_len = before;
    return false;
  }
  lease->asked = NULL;
  lease->lane = lane;
  lease->slot = lane->count;
  lane->asking[lane->count] = asking;
  lane->batch[lane->count++] = lease;
  lane->timeout_ms = clock_min(lane->timeout_ms, pace_renewal_timeout_ms(lease->lease_ms));
  return true;
}

void lane_unload(struct lease *lease) {
  if (lease->lane != NULL) lease->lane->batch[lease->slot] = NULL;
  lease->lane = NULL;
}

/* ---- the exchange ---- */

static void hang_up(struct lane *lane) {
  connection_close(lane->connection);
  lane->connection = NULL;
}

static bool connect_again(struct lane *lane, struct idem_error *error) {
  struct connection *old = lane->connection;
  if (old != NULL && old->node == lane->node && connection_alive(old)) return true;
  hang_up(lane);
  int64_t now = clock_ms();
  const struct connection_order order = {
      .settings = lane->base->settings,
      .target = &lane->node->target,
      .deadline_ms = now + lane->timeout_ms,
      .provisional = cluster_may_rename(lane->base->cluster, lane->node, now)};
  if (connection_open(&lane->connection, &order, error) != IDEM_OK) return false;
  lane->connection->node = lane->node;
  return true;
}

/* Reads the answer to one renewal, after that to ASKING if there is one: a word that does not
 * matter, for without it the other node says so. */
static bool receive(struct lane *lane, int item, int64_t deadline_ms) {
  struct idem_error ignored;
  redisReply *reply = NULL;
  if (lane->asking[item]) {
    if (connection_receive(lane->connection, deadline_ms, &reply, &ignored) != IDEM_OK)
      return false;
    freeReplyObject(reply);
  }
  if (connection_receive(lane->connection, deadline_ms, &reply, &ignored) != IDEM_OK) return false;
  wire_parse(WIRE_RENEW, reply, &lane->replies[item]);
  return true;
}

/* Sends the batch and reads what comes. False: the node has failed. */
static bool exchange_batch(struct lane *lane) {
  struct idem_error ignored;
  lane->reached = connect_again(lane, &ignored);
  if (!lane->reached) return false;
  struct connection *connection = lane->connection;
  lane->sent_ms = clock_ms();
  int64_t deadline_ms = lane->sent_ms + lane->timeout_ms;
  bool good = connection_send_bytes(connection, lane->buffer, lane->buffer_len, lane->timeout_ms,
                                    &ignored) == IDEM_OK;
  while (good && lane->answered < lane->count) {
    good = receive(lane, lane->answered, deadline_ms);
    if (!good) break;
    good = !lane->replies[lane->answered].spent;
    lane->answered++;
  }
  /* One reply too many: which of them answers what cannot be told. */
  bool stray = !connection_quiet(connection);
  while (stray && lane->answered > 0) wire_reply_deinit(&lane->replies[--lane->answered]);
  if (!good || stray || !connection_reusable(connection)) hang_up(lane);
  return good;
}

/* Fills *table in any case. */
static void ask_for_table(struct lane *lane, struct wire_reply *table) {
  const struct wire_request request = {.verb = WIRE_NODES};
  struct idem_error error = {""};
  struct wire_frame frame;
  redisReply *reply = NULL;
  wire_frame(&frame, &request);
  bool good = connect_again(lane, &error);
  int64_t until_ms = clock_ms() + lane->timeout_ms;
  good = good && connection_send(lane->connection, &frame, lane->timeout_ms, &error) == IDEM_OK &&
         connection_receive(lane->connection, until_ms, &reply, &error) == IDEM_OK;
  if (good) {
    wire_parse(WIRE_NODES, reply, table);
  } else {
    wire_reply_fail(table, IDEM_UNAVAILABLE, error.text);
  }
  if (!good || table->spent || !connection_reusable(lane->connection)) hang_up(lane);
}

/* Without the lock. */
static void exchange(struct lane *lane) {
  struct cluster *cluster = lane->base->cluster;
  struct wire_reply table;
  if (!lane->for_table) {
    if (!exchange_batch(lane)) cluster_failed(cluster, lane->node, clock_ms());
    return;
  }
  ask_for_table(lane, &table);
  cluster_learn(cluster, lane->node, &table);
  wire_reply_deinit(&table);
}

/* ---- its thread ---- */

static void *run(void *argument) {
  struct lane *lane = argument;
  pthread_mutex_t *lock = lane->base->lock;
  pthread_mutex_lock(lock);
  for (;;) {
    while (lane->state != LANE_RUNNING && !lane->ends) pthread_cond_wait(&lane->wanted, lock);
    if (lane->state != LANE_RUNNING) break;
    pthread_mutex_unlock(lock);
    exchange(lane);
    pthread_mutex_lock(lock);
    lane->state = LANE_DONE;
    pthread_cond_signal(lane->base->changed);
  }
  pthread_mutex_unlock(lock);
  return NULL;
}

/* False: it has none, for there are no other nodes or no thread is to be had. */
static bool have_thread(struct lane *lane) {
  if (lane->threaded) return true;
  if (!atomic_load_explicit(&lane->base->cluster->on, memory_order_relaxed)) return false;
  lane->threaded = thread_start(&lane->thread, run, lane);
  return lane->threaded;
}

void lane_start(struct lane *lane, int64_t now) {
  lane->state = LANE_RUNNING;
  lane->used_ms = now;
  lane->answered = 0;
  if (have_thread(lane)) {
    pthread_cond_signal(&lane->wanted);
    return;
  }
  pthread_mutex_unlock(lane->base->lock);
  exchange(lane);
  pthread_mutex_lock(lane->base->lock);
  lane->state = LANE_DONE;
}

void lane_finish(struct lane *lane) {
  for (int i = 0; i < lane->answered; i++) wire_reply_deinit(&lane->replies[i]);
  lane->answered = 0;
  lane->state = LANE_IDLE;
  empty(lane);
}

/* ---- life ---- */

struct lane *lane_create(const struct lane_base *base, struct node *node) {
  struct lane *lane = malloc(sizeof *lane);
  if (lane == NULL) return NULL;
  /* The buffers stay as they are: what is not used is not touched. */
  memset(lane, 0, offsetof(struct lane, replies));
  if (pthread_cond_init(&lane->wanted, NULL) != 0) {
    free(lane);
    return NULL;
  }
  lane->base = base;
  lane->node = node;
  lane->for_table = node == NULL;
  TAILQ_INIT(&lane->leases);
  empty(lane);
  return lane;
}

void lane_destroy(struct lane *lane) {
  lane->ends = true;
  if (lane->threaded) {
    pthread_cond_signal(&lane->wanted);
    pthread_mutex_unlock(lane->base->lock);
    pthread_join(lane->thread, NULL);
    pthread_mutex_lock(lane->base->lock);
  }
  lane_finish(lane);
  hang_up(lane);
  pthread_cond_destroy(&lane->wanted);
  free(lane);
}
