/* keeper.c - see keeper.h. */
#include "client/keeper.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "client/connection.h"

/* Those due within this go along: fewer wake-ups, and nobody's lease is in danger from being early.
 */
#define TOGETHER_MS 5
/* No renewal is given less, however short the lease. */
#define PATIENCE_MIN_MS 50

struct keeper {
  const struct settings *settings;
  pthread_mutex_t lock;
  pthread_cond_t changed; /* something became due earlier, or stop */
  pthread_cond_t called;  /* a callback has returned */
  pthread_t thread;
  _Atomic bool running; /* written under the lock */
  bool stopping;
  struct keeper_item *first, *last;
  int64_t wake_ms; /* when the thread wakes up by itself */
  /* The batch: slots are emptied by removal; the rest belongs to the thread. */
  struct keeper_item *batch[KEEPER_BATCH];
  int batch_count;
  int64_t patience_ms; /* of the shortest lease in it */
  int64_t sent_ms;
  size_t buffer_len;
  struct connection *connection;
  struct wire_reply replies[KEEPER_BATCH];
  char buffer[KEEPER_BATCH_BYTES];
};

int64_t keeper_period_ms(int64_t lease_ms) { return clock_max(1, lease_ms / 3); }

/* A third of the lease, so that a second one is tried before the lease is over. */
int64_t keeper_patience_ms(int64_t lease_ms) {
  return clock_max(PATIENCE_MIN_MS, keeper_period_ms(lease_ms));
}

/* Often enough to have several tries before the lease is over, not so often that a server in
 * trouble has more of it. */
int64_t keeper_retry_ms(int64_t lease_ms) { return clock_max(10, clock_min(lease_ms / 12, 1000)); }

/* ---- the list, sorted by due_ms ---- */

static void unlink_item(struct keeper *keeper, struct keeper_item *item) {
  *(item->previous != NULL ? &item->previous->next : &keeper->first) = item->next;
  *(item->next != NULL ? &item->next->previous : &keeper->last) = item->previous;
  item->next = item->previous = NULL;
}

/* From the end: claims of one client mostly have one lease, and the newest is due last. */
static void link_item(struct keeper *keeper, struct keeper_item *item) {
  struct keeper_item *before = keeper->last;
  while (before != NULL && before->due_ms > item->due_ms) before = before->previous;
  item->previous = before;
  item->next = before != NULL ? before->next : keeper->first;
  *(before != NULL ? &before->next : &keeper->first) = item;
  *(item->next != NULL ? &item->next->previous : &keeper->last) = item;
}

static void schedule(struct keeper *keeper, struct keeper_item *item, int64_t due_ms) {
  unlink_item(keeper, item);
  item->due_ms = due_ms;
  link_item(keeper, item);
}

static void refresh(struct keeper_item *item, int64_t sent_ms, int64_t lease_ms) {
  item->lease_ms = lease_ms;
  item->told_doubtful = false;
  atomic_store(&item->expires_ms, sent_ms + lease_ms);
}

/* ---- one turn ---- */

/* Frames what is due. Under the lock. */
static void gather(struct keeper *keeper, int64_t now) {
  keeper->batch_count = 0;
  keeper->buffer_len = 0;
  keeper->patience_ms = keeper->settings->command_timeout_ms;
  struct wire_frame frame;
  for (struct keeper_item *item = keeper->first; item != NULL && item->due_ms <= now + TOGETHER_MS;
       item = item->next) {
    if (keeper->batch_count == KEEPER_BATCH) break;
    struct wire_request request = {.verb = WIRE_RENEW, .key = item->key, .token = item->token};
    wire_frame(&frame, &request);
    if (keeper->buffer_len + frame.size > KEEPER_BATCH_BYTES) break;
    wire_copy(&frame, keeper->buffer + keeper->buffer_len);
    keeper->buffer_len += frame.size;
    item->slot = keeper->batch_count;
    keeper->batch[keeper->batch_count++] = item;
    keeper->patience_ms = clock_min(keeper->patience_ms, keeper_patience_ms(item->lease_ms));
  }
}

static bool connect_again(struct keeper *keeper, int64_t now) {
  struct idem_error ignored;
  if (keeper->connection != NULL) {
    if (connection_alive(keeper->connection)) return true;
    connection_close(keeper->connection);
    keeper->connection = NULL;
  }
  return connection_open(&keeper->connection, keeper->settings, now + keeper->patience_ms,
                         &ignored) == IDEM_OK;
}

/* Sends the batch and reads what comes. Returns how many replies were read. Without the lock. */
static int exchange(struct keeper *keeper) {
  struct idem_error ignored;
  int64_t now = clock_ms();
  int count = 0;
  if (!connect_again(keeper, now)) return 0;
  keeper->sent_ms = clock_ms();
  int64_t deadline = keeper->sent_ms + keeper->patience_ms;
  bool good = connection_send_bytes(keeper->connection, keeper->buffer, keeper->buffer_len,
                                    keeper->patience_ms, &ignored);
  while (good && count < keeper->batch_count) {
    redisReply *reply = NULL;
    good = connection_receive(keeper->connection, deadline, &reply, &ignored) == IDEM_OK;
    if (!good) break;
    wire_judge(WIRE_RENEW, reply, &keeper->replies[count]);
    good = !keeper->replies[count].again && !keeper->replies[count].broken;
    count++;
  }
  /* One reply too many: nobody can say which of them answers what. */
  bool stray = !connection_quiet(keeper->connection);
  while (stray && count > 0) wire_reply_deinit(&keeper->replies[--count]);
  if (!good || stray || !connection_reusable(keeper->connection)) {
    connection_close(keeper->connection);
    keeper->connection = NULL;
  }
  return count;
}

/* Tells the application, without the lock. */
static void call_out(struct keeper *keeper, struct keeper_item *item, enum idem_claim_state state) {
  if (keeper->settings->on_lost == NULL || item->muted) return;
  item->calling = true;
  pthread_mutex_unlock(&keeper->lock);
  keeper->settings->on_lost(item->claim, state, keeper->settings->lost_context);
  pthread_mutex_lock(&keeper->lock);
  item->calling = false;
  pthread_cond_broadcast(&keeper->called);
}

/* A renewal that failed, or was never answered. */
static void postpone(struct keeper *keeper, struct keeper_item *item, int64_t now) {
  int64_t due = now + keeper_retry_ms(item->lease_ms), expires = atomic_load(&item->expires_ms);
  if (now < expires) due = clock_min(due, expires);
  schedule(keeper, item, due);
  if (now < expires || item->told_doubtful) return;
  item->told_doubtful = true;
  call_out(keeper, item, IDEM_CLAIM_DOUBTFUL);
}

/* What one reply means for its item. Under the lock, which it may let go at its end. */
static void apply(struct keeper *keeper, struct keeper_item *item, const struct wire_reply *reply,
                  int64_t now) {
  if (reply != NULL && reply->status == IDEM_OK) {
    refresh(item, keeper->sent_ms, reply->number);
    schedule(keeper, item, keeper->sent_ms + keeper_period_ms(reply->number));
  } else if (reply != NULL && reply->status == IDEM_STALE && !item->muted) {
    unlink_item(keeper, item);
    item->added = false;
    atomic_store(&item->state, IDEM_CLAIM_LOST);
    call_out(keeper, item, IDEM_CLAIM_LOST);
  } else {
    postpone(keeper, item, now);
  }
}

static void turn(struct keeper *keeper, int64_t now) {
  gather(keeper, now);
  pthread_mutex_unlock(&keeper->lock);
  int answered = exchange(keeper);
  pthread_mutex_lock(&keeper->lock);
  now = clock_ms();
  for (int i = 0; i < keeper->batch_count; i++) {
    struct keeper_item *item = keeper->batch[i];
    if (item == NULL) continue;
    item->slot = -1;
    keeper->batch[i] = NULL;
    apply(keeper, item, i < answered ? &keeper->replies[i] : NULL, now);
  }
  for (int i = 0; i < answered; i++) wire_reply_deinit(&keeper->replies[i]);
}

static void sleep_until(struct keeper *keeper, int64_t ms) {
  keeper->wake_ms = ms;
  if (ms == CLOCK_NEVER) {
    pthread_cond_wait(&keeper->changed, &keeper->lock);
    return;
  }
  int64_t left = clock_max(0, ms - clock_ms());
  const struct timespec until = clock_alarm(clock_min(left, CLOCK_SLEEP_MAX_MS));
  pthread_cond_timedwait(&keeper->changed, &keeper->lock, &until);
}

static void *run(void *argument) {
  struct keeper *keeper = argument;
  pthread_mutex_lock(&keeper->lock);
  while (!keeper->stopping) {
    int64_t now = clock_ms();
    if (keeper->first == NULL) {
      sleep_until(keeper, CLOCK_NEVER);
    } else if (keeper->first->due_ms > now) {
      sleep_until(keeper, keeper->first->due_ms);
    } else {
      keeper->wake_ms = 0;
      turn(keeper, now);
    }
  }
  pthread_mutex_unlock(&keeper->lock);
  connection_close(keeper->connection);
  keeper->connection = NULL;
  return NULL;
}

/* ---- life ---- */

static bool init_conditions(struct keeper *keeper) {
  pthread_condattr_t monotonic;
  if (pthread_condattr_init(&monotonic) != 0) return false;
  bool good = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&keeper->changed, &monotonic) == 0;
  pthread_condattr_destroy(&monotonic);
  if (!good) return false;
  if (pthread_cond_init(&keeper->called, NULL) == 0) return true;
  pthread_cond_destroy(&keeper->changed);
  return false;
}

struct keeper *keeper_create(const struct settings *settings) {
  struct keeper *keeper = malloc(sizeof *keeper);
  if (keeper == NULL) return NULL;
  /* The buffers stay as they are: a client that holds no claim for long never touches them. */
  memset(keeper, 0, offsetof(struct keeper, replies));
  keeper->settings = settings;
  keeper->wake_ms = CLOCK_NEVER;
  if (pthread_mutex_init(&keeper->lock, NULL) != 0) {
    free(keeper);
    return NULL;
  }
  if (init_conditions(keeper)) return keeper;
  pthread_mutex_destroy(&keeper->lock);
  free(keeper);
  return NULL;
}

void keeper_stop(struct keeper *keeper) {
  pthread_mutex_lock(&keeper->lock);
  bool running = keeper->running;
  keeper->running = false;
  keeper->stopping = true;
  pthread_cond_signal(&keeper->changed);
  pthread_mutex_unlock(&keeper->lock);
  if (running) pthread_join(keeper->thread, NULL);
}

void keeper_destroy(struct keeper *keeper) {
  if (keeper == NULL) return;
  keeper_stop(keeper);
  pthread_cond_destroy(&keeper->changed);
  pthread_cond_destroy(&keeper->called);
  pthread_mutex_destroy(&keeper->lock);
  free(keeper);
}

/* Signals belong to the application's threads. */
static bool spawn(struct keeper *keeper) {
  sigset_t all, before;
  sigfillset(&all);
  if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
  bool good = pthread_create(&keeper->thread, NULL, run, keeper) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return good;
}

bool keeper_start(struct keeper *keeper) {
  if (atomic_load_explicit(&keeper->running, memory_order_acquire)) return true;
  pthread_mutex_lock(&keeper->lock);
  if (!keeper->running && !keeper->stopping) keeper->running = spawn(keeper);
  bool good = keeper->running;
  pthread_mutex_unlock(&keeper->lock);
  return good;
}

void keeper_add(struct keeper *keeper, struct keeper_item *item, int64_t granted_ms) {
  pthread_mutex_lock(&keeper->lock);
  refresh(item, granted_ms, item->lease_ms);
  item->slot = -1;
  item->added = true;
  item->due_ms = granted_ms + keeper_period_ms(item->lease_ms);
  link_item(keeper, item);
  bool earlier = item->due_ms < keeper->wake_ms;
  if (earlier) pthread_cond_signal(&keeper->changed);
  pthread_mutex_unlock(&keeper->lock);
}

void keeper_renewed(struct keeper *keeper, struct keeper_item *item, int64_t sent_ms,
                    int64_t lease_ms) {
  pthread_mutex_lock(&keeper->lock);
  refresh(item, sent_ms, lease_ms);
  if (item->added) {
    schedule(keeper, item, sent_ms + keeper_period_ms(lease_ms));
    if (item->due_ms < keeper->wake_ms) pthread_cond_signal(&keeper->changed);
  }
  pthread_mutex_unlock(&keeper->lock);
}

void keeper_mute(struct keeper *keeper, struct keeper_item *item, bool muted) {
  pthread_mutex_lock(&keeper->lock);
  item->muted = muted;
  pthread_mutex_unlock(&keeper->lock);
}

void keeper_remove(struct keeper *keeper, struct keeper_item *item) {
  pthread_mutex_lock(&keeper->lock);
  if (item->added) {
    unlink_item(keeper, item);
    if (item->slot >= 0) keeper->batch[item->slot] = NULL;
    item->added = false;
  }
  while (item->calling) pthread_cond_wait(&keeper->called, &keeper->lock);
  pthread_mutex_unlock(&keeper->lock);
}
