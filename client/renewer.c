/* renewer.c - see renewer.h. */
#include "client/renewer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "client/clock.h"
#include "client/lane.h"
#include "client/pace.h"
#include "client/thread.h"

/* Those due within this go along: fewer wake-ups, and no lease is in danger from being early. */
#define TOGETHER_MS 5

struct renewer {
  struct lane_base base;
  pthread_mutex_t lock;
  pthread_cond_t changed; /* something became due earlier, a lane is DONE, or stop */
  pthread_cond_t called;  /* a callback has returned */
  pthread_t thread;
  _Atomic bool running; /* written under the lock */
  bool stopping;
  struct lease_list leases;    /* those in no lane */
  int64_t wake_ms;             /* when the thread wakes up by itself */
  SLIST_HEAD(, lane) lanes;    /* the thread's, as is the next one */
  struct lane *lane_for_table; /* NULL: none was needed yet */
};

/* ---- the end of a renewal ---- */

/* Tells the application, without the lock. */
static void call_out(struct renewer *renewer, struct lease *lease, enum idem_claim_state state) {
  const struct settings *settings = renewer->base.settings;
  if (settings->on_lost == NULL) return;
  lease->calling = true;
  pthread_mutex_unlock(&renewer->lock);
  settings->on_lost(lease->claim, state, settings->lost_context);
  pthread_mutex_lock(&renewer->lock);
  lease->calling = false;
  pthread_cond_broadcast(&renewer->called);
}

/* Under the lock, which it may let go at its end. */
static void end_renewal(struct renewer *renewer, struct lease *lease,
                        const struct lease_renewal *renewal) {
  enum idem_claim_state told = lease_renewal_ended(&renewer->leases, lease, renewal);
  if (told != IDEM_CLAIM_HELD) call_out(renewer, lease, told);
}

/* One in the batch of a lane. What was sent elsewhere has failed, and is tried there soon. */
static void take_reply(struct renewer *renewer, struct lane *lane, int item, int64_t now) {
  struct lease *lease = lane->batch[item];
  const struct wire_reply *reply = item < lane->answered ? &lane->replies[item] : NULL;
  const struct lease_renewal renewal = {reply, lane->sent_ms, now};
  if (lease == NULL) return;
  lane_unload(lease);
  if (reply != NULL)
    lease->asked = cluster_follow(renewer->base.cluster, lane->node, lease->key, reply);
  end_renewal(renewer, lease, &renewal);
}

/* Those that are in a lane, and in no batch, look for their node again. */
static void send_back(struct renewer *renewer, struct lane *lane) {
  for (struct lease *lease; (lease = TAILQ_LAST(&lane->leases, lease_list)) != NULL;)
    lease_move_first(&renewer->leases, lease);
}

static void load_next(struct lane *lane) {
  struct lease *lease;
  TAILQ_FOREACH(lease, &lane->leases, entry) {
    if (!lane_load(lane, lease)) break;
  }
}

/* What a lane has done. Those that became due meanwhile come next, if the node has answered. */
static void conclude(struct renewer *renewer, struct lane *lane) {
  int64_t now = clock_ms();
  bool well = lane->answered == lane->count;
  for (int i = 0; i < lane->count; i++) take_reply(renewer, lane, i, now);
  lane_finish(lane);
  if (well) {
    load_next(lane);
  } else {
    send_back(renewer, lane);
  }
}

static void conclude_all(struct renewer *renewer) {
  struct lane *lane, *table = renewer->lane_for_table;
  SLIST_FOREACH(lane, &renewer->lanes, entry) {
    if (lane->state == LANE_DONE) conclude(renewer, lane);
  }
  if (table != NULL && table->state == LANE_DONE) lane_finish(table);
}

/* ---- what is due ---- */

/* NULL: no memory. */
static struct lane *lane_to(struct renewer *renewer, struct node *node) {
  struct lane *lane;
  SLIST_FOREACH(lane, &renewer->lanes, entry) {
    if (lane->node == node) return lane;
  }
  lane = lane_create(&renewer->base, node);
  if (lane != NULL) SLIST_INSERT_HEAD(&renewer->lanes, lane, entry);
  return lane;
}

/* NULL: its node is not known yet, or there is no memory. */
static struct lane *lane_of(struct renewer *renewer, const struct lease *lease) {
  struct idem_error ignored;
  struct node *node = lease->asked;
  if (node == NULL && cluster_route(renewer->base.cluster, lease->key, &node, &ignored) != IDEM_OK)
    return NULL;
  return lane_to(renewer, node);
}

/* Finds its lane for a lease that is due. Under the lock, which it may let go. */
static void dispatch(struct renewer *renewer, struct lease *lease, int64_t now) {
  if (lease->lane != NULL) { /* a call of the user came before the answer to its renewal */
    lease_schedule(&renewer->leases, lease, now + pace_renewal_retry_ms(lease->lease_ms));
    return;
  }
  struct lane *lane = lane_of(renewer, lease);
  if (lane == NULL) {
    const struct lease_renewal none = {NULL, now, now};
    end_renewal(renewer, lease, &none);
    return;
  }
  if (lane->state == LANE_IDLE) (void)lane_load(lane, lease);
  lease_move_last(&lane->leases, lease);
}

/* Brings the table of a cluster up to date, if this is the time and nobody else does. */
static void refresh_table(struct renewer *renewer, int64_t now) {
  struct cluster *cluster = renewer->base.cluster;
  if (!atomic_load_explicit(&cluster->on, memory_order_relaxed)) return;
  if (renewer->lane_for_table == NULL) renewer->lane_for_table = lane_create(&renewer->base, NULL);
  struct lane *lane = renewer->lane_for_table;
  if (lane == NULL || lane->state != LANE_IDLE) return;
  struct node *source = cluster_refresh(cluster, now);
  if (source == NULL) return;
  lane->node = source;
  lane_start(lane, now);
}

static void run_due(struct renewer *renewer, int64_t now) {
  struct lease *first = TAILQ_FIRST(&renewer->leases);
  if (first == NULL || first->due_ms > now) return;
  refresh_table(renewer, now);
  while ((first = TAILQ_FIRST(&renewer->leases)) != NULL && first->due_ms <= now + TOGETHER_MS)
    dispatch(renewer, first, now);
}

static void start_all(struct renewer *renewer, int64_t now) {
  struct lane *lane;
  SLIST_FOREACH(lane, &renewer->lanes, entry) {
    if (lane->state == LANE_IDLE && lane->count > 0) lane_start(lane, now);
  }
}

/* Nodes come and go: threads that lead to former ones do not stay. */
static void end_unused(struct renewer *renewer, int64_t now) {
  struct lane *lane = SLIST_FIRST(&renewer->lanes);
  for (struct lane *next = NULL; lane != NULL; lane = next) {
    next = SLIST_NEXT(lane, entry);
    bool unused = lane->threaded && lane->state == LANE_IDLE && lane->count == 0;
    if (!unused || now - lane->used_ms < LANE_IDLE_MS) continue;
    SLIST_REMOVE(&renewer->lanes, lane, lane, entry);
    lane_destroy(lane);
  }
}

/* ---- the thread ---- */

/* When the thread has something to do by itself; 0: now. */
static int64_t next_due(const struct renewer *renewer) {
  const struct lane *lane, *table = renewer->lane_for_table;
  const struct lease *first = TAILQ_FIRST(&renewer->leases);
  if (table != NULL && table->state == LANE_DONE) return 0;
  SLIST_FOREACH(lane, &renewer->lanes, entry) {
    if (lane->state == LANE_DONE) return 0;
  }
  return first != NULL ? first->due_ms : CLOCK_NEVER;
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

static void await_end(struct renewer *renewer, const struct lane *lane) {
  while (lane->state == LANE_RUNNING) pthread_cond_wait(&renewer->changed, &renewer->lock);
}

/* Leases stay where they are, out of the lanes. */
static void end_lane(struct renewer *renewer, struct lane *lane) {
  await_end(renewer, lane);
  for (int i = 0; i < lane->count; i++) {
    if (lane->batch[i] != NULL) lane_unload(lane->batch[i]);
  }
  send_back(renewer, lane);
  lane_destroy(lane);
}

static void end_all(struct renewer *renewer) {
  for (struct lane *lane; (lane = SLIST_FIRST(&renewer->lanes)) != NULL;) {
    SLIST_REMOVE_HEAD(&renewer->lanes, entry);
    end_lane(renewer, lane);
  }
  if (renewer->lane_for_table != NULL) end_lane(renewer, renewer->lane_for_table);
  renewer->lane_for_table = NULL;
}

static void *run(void *argument) {
  struct renewer *renewer = argument;
  pthread_mutex_lock(&renewer->lock);
  while (!renewer->stopping) {
    int64_t now = clock_ms(), due_ms = next_due(renewer);
    if (due_ms > now) {
      sleep_until(renewer, due_ms);
      continue;
    }
    renewer->wake_ms = 0;
    conclude_all(renewer);
    run_due(renewer, clock_ms());
    end_unused(renewer, now);
    if (!renewer->stopping) start_all(renewer, now);
  }
  end_all(renewer);
  pthread_mutex_unlock(&renewer->lock);
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
  struct renewer *renewer = calloc(1, sizeof *renewer);
  if (renewer == NULL) return NULL;
  renewer->base = (struct lane_base){settings, cluster, &renewer->lock, &renewer->changed};
  SLIST_INIT(&renewer->lanes);
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

bool renewer_start(struct renewer *renewer) {
  if (atomic_load_explicit(&renewer->running, memory_order_acquire)) return true;
  pthread_mutex_lock(&renewer->lock);
  if (!renewer->running && !renewer->stopping)
    renewer->running = thread_start(&renewer->thread, run, renewer);
  bool good = renewer->running;
  pthread_mutex_unlock(&renewer->lock);
  return good;
}

/* The thread sleeps until the first lease is due, as it last saw it. */
static void wake_for(struct renewer *renewer, const struct lease *lease) {
  if (lease->list != NULL && lease->due_ms < renewer->wake_ms)
    pthread_cond_signal(&renewer->changed);
}

void renewer_add(struct renewer *renewer, struct lease *lease, int64_t sent_ms) {
  pthread_mutex_lock(&renewer->lock);
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
  lease_remove(lease);
  lane_unload(lease);
  while (lease->calling) pthread_cond_wait(&renewer->called, &renewer->lock);
  pthread_mutex_unlock(&renewer->lock);
}
