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

struct renewer {
  const struct settings *settings;
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
  int64_t timeout_ms; /* of the shortest lease in it */
  int64_t sent_ms;
  size_t buffer_len;
  struct connection *connection;
  struct wire_reply replies[BATCH];
  char buffer[BATCH_BYTES];
};

/* ---- one turn ---- */

/* Frames what is due. Under the lock. */
static void gather(struct renewer *renewer, int64_t now) {
  renewer->batch_count = 0;
  renewer->buffer_len = 0;
  renewer->timeout_ms = renewer->settings->command_timeout_ms;
  struct wire_frame frame;
  struct lease *lease;
  TAILQ_FOREACH(lease, &renewer->leases, entry) {
    if (lease->due_ms > now + TOGETHER_MS || renewer->batch_count == BATCH) break;
    struct wire_request request = {.verb = WIRE_RENEW, .key = lease->key, .token = lease->token};
    wire_frame(&frame, &request);
    if (renewer->buffer_len + frame.size > BATCH_BYTES) break;
    wire_copy(&frame, renewer->buffer + renewer->buffer_len);
    renewer->buffer_len += frame.size;
    lease->slot = renewer->batch_count;
    renewer->batch[renewer->batch_count++] = lease;
    renewer->timeout_ms = clock_min(renewer->timeout_ms, pace_renewal_timeout_ms(lease->lease_ms));
  }
}

static bool connect_again(struct renewer *renewer, int64_t now) {
  struct idem_error ignored;
  if (renewer->connection != NULL) {
    if (connection_alive(renewer->connection)) return true;
    connection_close(renewer->connection);
    renewer->connection = NULL;
  }
  return connection_open(&renewer->connection, renewer->settings, now + renewer->timeout_ms,
                         &ignored) == IDEM_OK;
}

/* Sends the batch and reads what comes. Returns how many replies were read. Without the lock. */
static int exchange(struct renewer *renewer) {
  struct idem_error ignored;
  int64_t now = clock_ms();
  int count = 0;
  if (!connect_again(renewer, now)) return 0;
  renewer->sent_ms = clock_ms();
  int64_t deadline = renewer->sent_ms + renewer->timeout_ms;
  bool good = connection_send_bytes(renewer->connection, renewer->buffer, renewer->buffer_len,
                                    renewer->timeout_ms, &ignored) == IDEM_OK;
  while (good && count < renewer->batch_count) {
    redisReply *reply = NULL;
    good = connection_receive(renewer->connection, deadline, &reply, &ignored) == IDEM_OK;
    if (!good) break;
    wire_parse(WIRE_RENEW, reply, &renewer->replies[count]);
    good = !renewer->replies[count].spent;
    count++;
  }
  /* One reply too many: which of them answers what cannot be told. */
  bool stray = !connection_quiet(renewer->connection);
  while (stray && count > 0) wire_reply_deinit(&renewer->replies[--count]);
  if (!good || stray || !connection_reusable(renewer->connection)) {
    connection_close(renewer->connection);
    renewer->connection = NULL;
  }
  return count;
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
  const struct lease_renewal renewal = {reply, renewer->sent_ms, now};
  enum idem_claim_state told = lease_renewal_ended(&renewer->leases, lease, &renewal);
  if (told != IDEM_CLAIM_HELD) call_out(renewer, lease, told);
}

static void turn(struct renewer *renewer, int64_t now) {
  gather(renewer, now);
  pthread_mutex_unlock(&renewer->lock);
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
  connection_close(renewer->connection);
  renewer->connection = NULL;
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

struct renewer *renewer_create(const struct settings *settings) {
  struct renewer *renewer = malloc(sizeof *renewer);
  if (renewer == NULL) return NULL;
  /* The buffers stay as they are: a client that holds no claim for long never touches them. */
  memset(renewer, 0, offsetof(struct renewer, replies));
  renewer->settings = settings;
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
