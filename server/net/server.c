/* server.c - the server: its loops and threads, who gets a connection, standing still, signals, the
 * drain. See server.h and loop.h. */
#include "server/net/server.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

#include "server/commands/setup.h"
#include "server/net/loop.h"
#include "server/engine/engine.h"
#include "server/rules/rules.h"

static struct server *server_of(struct instance *instance) {
  return LIST_ENTRY(instance, struct server, instance);
}

/* ---- between loops ---- */

void server_wake(struct server *server, uint64_t loops) {
  if (atomic_load(&server->ending)) return;
  for (; loops != 0; loops &= loops - 1) {
    struct loop *loop = server->loops[__builtin_ctzll(loops)];
    if (atomic_exchange(&loop->asleep, false)) uv_async_send(&loop->wake);
  }
}

static void wake(struct instance *instance, uint64_t loops) {
  server_wake(server_of(instance), loops);
}

static uint64_t all_loops(const struct server *server) {
  return UINT64_MAX >> (64u - server->loop_count);
}

struct loop *server_choose_loop(struct server *server) {
  struct loop *fewest = server->loops[0];
  for (unsigned i = 1; i < server->loop_count; i++) {
    if (atomic_load(&server->loops[i]->connections) < atomic_load(&fewest->connections))
      fewest = server->loops[i];
  }
  return fewest;
}

/*
 * Two loops may want this at the same time: whoever has the stopper comes first, and the other one,
 * which has left its own turn, stands still meanwhile in the middle of a command that has not begun
 * yet. Loops that sleep are not woken: they can not enter a turn.
 */
static void pause_others(struct worker *worker) {
  struct server *server = server_of(worker->instance);
  pthread_mutex_unlock(&server->loops[worker->number]->turn);
  pthread_mutex_lock(&server->stopper);
  atomic_store(&server->stopping, true);
  for (unsigned i = 0; i < server->loop_count; i++) pthread_mutex_lock(&server->loops[i]->turn);
}

static void see_time(struct worker *worker) {
  loop_see_time(server_of(worker->instance)->loops[worker->number]);
}

static void resume_others(struct worker *worker) {
  struct server *server = server_of(worker->instance);
  for (unsigned i = 0; i < server->loop_count; i++) {
    if (i != worker->number) pthread_mutex_unlock(&server->loops[i]->turn);
  }
  atomic_store(&server->stopping, false);
  pthread_mutex_unlock(&server->stopper);
}

/* ---- the drain ---- */

/* Every loop drains itself. The first one closes the listeners before it tells the others, so that
 * nothing is handed to a loop that has ended. */
void server_drain(struct server *server, const char *why) {
  if (atomic_load(&server->draining) != 0) { /* asked twice: at once */
    atomic_store(&server->draining, 2);
  } else {
    log_line(server->log, LOG_LEVEL_NOTICE, "%s: draining %llu connections", why,
             (unsigned long long)atomic_load(&server->instance.session_count));
    atomic_store(&server->instance.draining, true);
    listeners_close(server);
    atomic_store(&server->draining, 1);
  }
  server_wake(server, all_loops(server));
}

static void on_signal(uv_signal_t *signal, int number) {
  struct server *server = signal->data;
  loop_begin(server->loops[0]);
  server_drain(server, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void on_stop(uv_async_t *stop) {
  struct server *server = stop->data;
  loop_begin(server->loops[0]);
  if (atomic_load(&server->draining) == 0) server_drain(server, "stop");
}

void server_stop(struct server *server) { uv_async_send(&server->stop); }

/* ---- the keyspace ---- */

static struct engine_options engine_options_of(const struct options *options) {
  return (struct engine_options){
      .retention_ms = options->retention_ms,
      .clock_grain_ms = 1, /* libuv's clock is rounded down */
      .memory_limit = (size_t)options->maxmemory,
      .store_reserve = (size_t)options->store_reserve,
      .waiters_per_key = (uint32_t)options->waiters_per_key,
      .waiters_total = (uint32_t)options->waiters_total,
  };
}

static bool get_random(void *bytes, size_t count) {
  return getrandom(bytes, count, 0) == (ssize_t)count;
}

/* False with the reason: the clock leaves no tokens. */
static bool find_first_token(struct log *log, uint64_t random, uint64_t *token,
                             char error[REFUSAL_BYTES]) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  switch (rules_first_token(now.tv_sec, (uint32_t)now.tv_nsec, random, token)) {
    case RULES_CLOCK_LATE:
      snprintf(error, REFUSAL_BYTES,
               "the clock of this machine says 2092 or later (unix time %lld), for which there are "
               "no tokens: set it, and start again",
               (long long)now.tv_sec);
      return false;
    case RULES_CLOCK_EARLY:
      log_line(
          log, LOG_LEVEL_WARNING,
          "the clock of this machine says a time before 2024 (unix time %lld): tokens begin at "
          "a random low number, perhaps below those of earlier starts; set it, and start again",
          (long long)now.tv_sec);
      return true;
    case RULES_CLOCK_RIGHT:
    default: return true;
  }
}

/* NULL with the reason in error. */
static struct keyspace *make_keyspace(const struct options *options, struct log *log,
                                      int64_t now_ms, char error[REFUSAL_BYTES]) {
  struct engine_options engine = engine_options_of(options);
  uint64_t random;
  snprintf(error, REFUSAL_BYTES, "cannot make the engine: out of memory, or no random numbers");
  if (!get_random(engine.hash_secret, sizeof engine.hash_secret) ||
      !get_random(&random, sizeof random))
    return NULL;
  if (!find_first_token(log, random, &engine.first_token, error)) return NULL;
  return keyspace_create(&engine, (unsigned)options->threads, now_ms);
}

/* ---- life ---- */

/* Descriptors that are not connections: listeners, the loop's own, the log, and a few to spare; and
 * those of each further loop. */
#define OTHER_DESCRIPTORS 32
#define LOOP_DESCRIPTORS 8

/* How many of the wanted connections fit under the limit of open files, which is raised if need be,
 * as far as the system lets it. *files: descriptors that they and all others take at most. */
static int64_t connections_that_fit(const struct server *server, int64_t wanted, rlim_t *files) {
  struct rlimit limit;
  rlim_t loops = (rlim_t)server->instance.options->threads;
  rlim_t others = OTHER_DESCRIPTORS + LOOP_DESCRIPTORS * (loops - 1);
  rlim_t needed = (rlim_t)wanted + others;
  *files = needed;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  if (limit.rlim_cur < needed) {
    limit.rlim_cur = limit.rlim_max > needed ? needed : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
  }
  if (limit.rlim_cur >= needed) return wanted;
  *files = limit.rlim_cur;
  return limit.rlim_cur > others ? (int64_t)(limit.rlim_cur - others) : 1;
}

static void fit_maxclients(struct server *server, struct options *options) {
  rlim_t files = 0;
  int64_t fits = connections_that_fit(server, options->maxclients, &files);
  server->descriptors = (int)files;
  server->clients_that_fit = fits;
  if (fits == options->maxclients) return;
  log_line(server->log, LOG_LEVEL_NOTICE,
           "maxclients is %lld instead of %lld: the limit of open files is %llu", (long long)fits,
           (long long)options->maxclients, (unsigned long long)files);
  options->maxclients = fits;
}

/* Whether CONFIG SET may have raised maxclients so far. */
static bool maxclients_fits(struct server *server, char error[REFUSAL_BYTES]) {
  int64_t wanted = server->instance.options->maxclients;
  if (wanted <= server->clients_that_fit) return true;
  rlim_t files = 0;
  int64_t fits = connections_that_fit(server, wanted, &files);
  if (fits == wanted) {
    server->clients_that_fit = wanted;
    return true;
  }
  snprintf(error, REFUSAL_BYTES,
           "The operating system is not able to handle the specified number of clients, try with "
           "%lld: the limit of open files is %llu",
           (long long)fits, (unsigned long long)files);
  return false;
}

/* The other loops stand still, and all shards are held. */
static const char *on_reconfigured(struct instance *instance, char error[REFUSAL_BYTES]) {
  if (!maxclients_fits(server_of(instance), error)) return "maxclients";
  struct engine_options engine = engine_options_of(instance->options);
  for (unsigned i = 0; i < keyspace_shards(instance->keyspace); i++)
    engine_reconfigure(shard_engine(keyspace_shard(instance->keyspace, i)), &engine);
  instance->log->level = (enum log_level)instance->options->loglevel;
  return NULL;
}

/* What the first loop has besides: signals, and the call to stop. */
static int open_handles(struct server *server) {
  uv_loop_t *uv = &server->loops[0]->uv;
  server->stop.data = server->terminate.data = server->interrupt.data = server;
  int error = uv_async_init(uv, &server->stop, on_stop);
  if (error == 0) error = uv_signal_init(uv, &server->terminate);
  if (error == 0) error = uv_signal_init(uv, &server->interrupt);
  if (error == 0) error = uv_signal_start(&server->terminate, on_signal, SIGTERM);
  if (error == 0) error = uv_signal_start(&server->interrupt, on_signal, SIGINT);
  return error;
}

static int make_loops(struct server *server) {
  unsigned wanted = (unsigned)server->instance.options->threads;
  while (server->loop_count < wanted) {
    struct loop *loop = calloc(1, sizeof *loop);
    int error = loop != NULL ? loop_init(loop, server) : UV_ENOMEM;
    if (error != 0) {
      free(loop);
      return error;
    }
    server->loops[server->loop_count++] = loop;
  }
  return open_handles(server);
}

static bool set_up(struct server *server, struct options *options, char error[REFUSAL_BYTES]) {
  int64_t now_ms = (int64_t)(uv_hrtime() / 1000000);
  struct keyspace *keyspace = make_keyspace(options, server->log, now_ms, error);
  if (keyspace == NULL ||
      !setup_instance_init(&server->instance, keyspace, options, server->log, now_ms)) {
    keyspace_destroy(keyspace);
    server->instance = (struct instance){0};
    return false;
  }
  server->instance.describe = conn_describe;
  server->instance.reconfigured = on_reconfigured;
  server->instance.wake = wake;
  server->instance.pause_others = pause_others;
  server->instance.resume_others = resume_others;
  server->instance.see_time = see_time;
  fit_maxclients(server, options);
  int result = make_loops(server);
  if (result != 0) {
    snprintf(error, REFUSAL_BYTES, "cannot set up the event loop: %s", uv_strerror(result));
    return false;
  }
  return listeners_open(server, error);
}

struct server *server_create(struct options *options, struct log *log, char error[REFUSAL_BYTES]) {
  struct server *server = calloc(1, sizeof *server);
  if (server == NULL || pthread_mutex_init(&server->stopper, NULL) != 0) {
    snprintf(error, REFUSAL_BYTES, "cannot make the server: out of memory");
    free(server);
    return NULL;
  }
  server->log = log;
  server->spare_fd = -1;
  if (set_up(server, options, error)) return server;
  server_destroy(server);
  return NULL;
}

static void *run_in_thread(void *loop) {
  allocator_begin_thread();
  loop_run(loop);
  return NULL;
}

/* Signals are the first thread's. */
static int start_thread(struct loop *loop) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&loop->thread, NULL, run_in_thread, loop);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

void server_run(struct server *server) {
  unsigned started = 1;
  int error = 0;
  while (error == 0 && started < server->loop_count) {
    error = start_thread(server->loops[started]);
    if (error == 0) started++;
  }
  if (error != 0) {
    log_line(server->log, LOG_LEVEL_WARNING, "cannot start thread %u of %u: %s", started + 1,
             server->loop_count, strerror(error));
    server_stop(server);
  }
  loop_run(server->loops[0]);
  for (unsigned i = 1; i < started; i++) pthread_join(server->loops[i]->thread, NULL);
  log_line(server->log, LOG_LEVEL_NOTICE, "stopped");
}

void server_destroy(struct server *server) {
  if (server == NULL) return;
  atomic_store(&server->ending, true);
  if (server->loop_count > 0) listeners_close(server);
  for (unsigned i = 0; i < server->loop_count; i++) loop_close_clients(server->loops[i]);
  /* All are there until each has ended: a walk through clients (CLIENT LIST) has cursors in all. */
  for (unsigned i = 0; i < server->loop_count; i++) loop_deinit(server->loops[i]);
  for (unsigned i = 0; i < server->loop_count; i++) free(server->loops[i]);
  struct keyspace *keyspace = server->instance.keyspace;
  if (keyspace != NULL) setup_instance_deinit(&server->instance);
  keyspace_destroy(keyspace);
  pthread_mutex_destroy(&server->stopper);
  free(server);
}

int server_port(const struct server *server) { return server->instance.port; }
