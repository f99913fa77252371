/* server.c - the loop: its life, the turn, housekeeping, the drain. See server.h and loop.h. */
#include "server/net/server.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

#include "server/commands/pubsub.h"
#include "server/net/loop.h"

/* ---- the clock ---- */

/* The wall clock may jump; what is told of it follows within a cron tick, and small differences
 * between the two clocks are not followed at all, so that a time that was given comes back as it
 * was given. */
#define WALL_STEP_MS 50

static int64_t wall_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void see_wall_clock(struct server *server) {
  int64_t offset_ms = wall_ms() - (int64_t)(uv_hrtime() / 1000000);
  int64_t moved_ms = offset_ms - server->host.wall_offset_ms;
  if (moved_ms > WALL_STEP_MS || moved_ms < -WALL_STEP_MS) server->host.wall_offset_ms = offset_ms;
}

/* Unix time in units of 2^-22 s since the epoch of tokens: the contract's seconds << 22, with the
 * fraction of the second in the low bits, so that a server that restarts within the same second
 * goes on above where it was. */
static uint64_t first_token(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  uint64_t seconds =
      (uint64_t)(t.tv_sec > RULES_TOKEN_EPOCH_S ? t.tv_sec - RULES_TOKEN_EPOCH_S : 0);
  uint64_t fraction = ((uint64_t)t.tv_nsec << RULES_TOKEN_SHIFT) / 1000000000u;
  return (seconds << RULES_TOKEN_SHIFT | fraction) + 1;
}

/* ---- the turn ---- */

static void answer_ready(struct server *server) {
  for (unsigned i = 0; i < LOOP_WAITERS_PER_TURN; i++) {
    struct engine_waiter *waiter = engine_next_ready(server->host.engine);
    if (waiter == NULL) return;
    peer_answer(server, waiter);
  }
}

/* Those that are made runnable meanwhile are for the next turn. */
static void resume_runnable(struct server *server) {
  struct list now;
  list_init(&now);
  for (unsigned i = 0; i < LOOP_RESUMED_PER_TURN && !list_empty(&server->runnable); i++) {
    list_append(&now, list_pop(&server->runnable));
  }
  for (struct list *node; (node = list_pop(&now)) != NULL;)
    peer_resume(LIST_ENTRY(node, struct peer, runnable));
}

static void send_unsent(struct server *server) {
  for (struct list *node; (node = list_pop(&server->host.unsent)) != NULL;) {
    peer_flush(peer_of(LIST_ENTRY(node, struct client, unsent)));
  }
}

static void on_due(uv_timer_t *timer);

static void set_due_timer(struct server *server) {
  int64_t due_ms = engine_next_due(server->host.engine);
  assert(due_ms > server->host.now_ms);
  if (due_ms == server->due_ms) return;
  server->due_ms = due_ms;
  if (due_ms == INT64_MAX) {
    uv_timer_stop(&server->due);
    return;
  }
  uv_timer_start(&server->due, on_due, (uint64_t)(due_ms - server->host.now_ms), 0);
}

/* Budgets ran out, or a connection that ended late in the turn made something due. */
static bool work_is_left(const struct server *server) {
  const struct host *host = &server->host;
  return engine_next_due(host->engine) <= host->now_ms || engine_has_ready(host->engine) ||
         !list_empty(&server->runnable) || !list_empty(&host->unsent);
}

static bool drain_step(struct server *server);
static void on_busy(uv_idle_t *idle) { (void)idle; }

static void end_turn(struct server *server) {
  struct host *host = &server->host;
  server_see_time(server);
  engine_tick(host->engine, host->now_ms, LOOP_TICK_STEPS);
  answer_ready(server);
  resume_runnable(server);
  pubsub_publish_effects(host);
  send_unsent(server);
  if (host->shutdown_wanted && !server->draining) server_drain(server, "SHUTDOWN");
  bool again = server->draining && drain_step(server);
  if (again || work_is_left(server)) {
    uv_idle_start(&server->busy, on_busy);
  } else {
    uv_idle_stop(&server->busy);
    set_due_timer(server);
  }
}

static void on_check(uv_check_t *check) { end_turn(check->data); }

static void on_due(uv_timer_t *timer) {
  struct server *server = timer->data;
  server->due_ms = INT64_MIN; /* fired: not set any more */
  end_turn(server);
}

/* ---- housekeeping ---- */

static void end_pause(struct server *server) {
  struct host *host = &server->host;
  if (host->pause_until_ms == 0 || host->pause_until_ms > host->now_ms) return;
  host->pause_until_ms = 0;
  for (struct list *node = host->clients.next; node != &host->clients; node = node->next) {
    struct peer *peer = peer_of(LIST_ENTRY(node, struct client, link));
    if (list_empty(&peer->runnable)) list_append(&server->runnable, &peer->runnable);
  }
}

static void on_cron(uv_timer_t *timer) {
  struct server *server = timer->data;
  struct host *host = &server->host;
  server_see_time(server);
  see_wall_clock(server);
  end_pause(server);
  uint64_t count =
      host->client_count < LOOP_CRON_CONNECTIONS ? host->client_count : LOOP_CRON_CONNECTIONS;
  for (; count > 0 && !list_empty(&host->clients); count--) {
    struct list *node = server->review;
    if (node == NULL || node == &host->clients) node = host->clients.next;
    server->review = node->next;
    peer_review(peer_of(LIST_ENTRY(node, struct client, link)));
  }
  end_turn(server);
}

/* ---- the drain ---- */

/* Turns in which everybody is still read: what had been sent before the drain began is answered. */
#define DRAIN_READING_TURNS 3u

static void close_all(struct server *server) {
  while (!list_empty(&server->host.clients)) {
    peer_close(peer_of(LIST_ENTRY(server->host.clients.next, struct client, link)));
  }
}

static void on_drain_deadline(uv_timer_t *timer) {
  struct server *server = timer->data;
  log_line(server->log, LOG_LEVEL_WARNING,
           "%llu connections are closed before they took all their replies",
           (unsigned long long)server->host.client_count);
  close_all(server);
}

void server_drain(struct server *server, const char *why) {
  struct host *host = &server->host;
  if (server->draining) { /* asked twice: at once */
    close_all(server);
    return;
  }
  log_line(server->log, LOG_LEVEL_NOTICE, "%s: draining %llu connections", why,
           (unsigned long long)host->client_count);
  server->draining = host->draining = true;
  host->pause_until_ms = 0;
  listeners_close(server);
  for (struct list *node = host->clients.next; node != &host->clients; node = node->next) {
    struct client *client = LIST_ENTRY(node, struct client, link);
    if (client->waiting) engine_waiter_expire(host->engine, client->waiter, host->now_ms);
  }
  uv_timer_start(&server->drain_deadline, on_drain_deadline,
                 (uint64_t)host->options->drain_timeout_ms, 0);
}

static void end_when_sent(struct server *server) {
  struct list *clients = &server->host.clients;
  for (struct list *node = clients->next, *next; node != clients; node = next) {
    next = node->next;
    struct client *client = LIST_ENTRY(node, struct client, link);
    struct peer *peer = peer_of(client);
    if (client->waiting || !list_empty(&peer->runnable)) continue;
    client->close_when_sent = true;
    peer_resume(peer);
  }
}

/* True: the next turn is wanted at once. */
static bool drain_step(struct server *server) {
  if (server->host.client_count == 0) {
    uv_stop(&server->loop);
    return false;
  }
  if (server->drain_turns < DRAIN_READING_TURNS) {
    server->drain_turns++;
    return true;
  }
  end_when_sent(server);
  return server->host.client_count == 0;
}

/* ---- life ---- */

static void on_signal(uv_signal_t *signal, int number) {
  server_drain(signal->data, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void on_stop(uv_async_t *stop) {
  struct server *server = stop->data;
  if (!server->draining) server_drain(server, "stop");
}

void server_stop(struct server *server) { uv_async_send(&server->stop); }

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

static struct engine *make_engine(const struct options *options, int64_t now_ms) {
  struct engine_options engine = engine_options_of(options);
  engine.first_token = first_token();
  if (getrandom(engine.hash_secret, sizeof engine.hash_secret, 0) !=
      (ssize_t)sizeof engine.hash_secret)
    return NULL;
  return engine_create(&engine, now_ms);
}

static void on_reconfigured(struct host *host) {
  struct engine_options engine = engine_options_of(host->options);
  engine_reconfigure(host->engine, &engine);
  host->unasked_bytes = command_unasked_bytes(host->options);
  host->log->level = (enum log_level)host->options->loglevel;
}

void server_setup_reader(struct server *server, struct resp_reader *reader) {
  resp_reader_init(reader);
  reader->argument_limit = command_argument_limit;
  reader->context = &server->host;
  reader->unasked_bytes = server->host.unasked_bytes;
  reader->command_limit = (size_t)server->host.options->body_limit + LOOP_COMMAND_BYTES;
}

/* Descriptors that are not connections: listeners, the loop's own, the log, and a few to spare. */
#define OTHER_DESCRIPTORS 32

static void fit_maxclients(struct server *server, struct options *options) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  rlim_t wanted = (rlim_t)options->maxclients + OTHER_DESCRIPTORS;
  if (limit.rlim_cur < wanted) {
    limit.rlim_cur =
        limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted ? wanted : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
  }
  if (limit.rlim_cur >= wanted) return;
  int64_t fits =
      limit.rlim_cur > OTHER_DESCRIPTORS ? (int64_t)limit.rlim_cur - OTHER_DESCRIPTORS : 1;
  log_line(server->log, LOG_LEVEL_NOTICE,
           "maxclients is %lld instead of %lld: the limit of open files is %llu", (long long)fits,
           (long long)options->maxclients, (unsigned long long)limit.rlim_cur);
  options->maxclients = fits;
}

/* Handles of the loop cannot fail to be made, the async, the signals and the check's timers
 * excepted; all are closed in server_destroy by walking the loop. */
static int open_handles(struct server *server) {
  uv_loop_t *loop = &server->loop;
  uv_check_init(loop, &server->check);
  uv_idle_init(loop, &server->busy);
  uv_timer_init(loop, &server->due);
  uv_timer_init(loop, &server->cron);
  uv_timer_init(loop, &server->drain_deadline);
  int error = uv_async_init(loop, &server->stop, on_stop);
  if (error == 0) error = uv_signal_init(loop, &server->terminate);
  if (error == 0) error = uv_signal_init(loop, &server->interrupt);
  server->check.data = server->due.data = server->cron.data = server->drain_deadline.data = server;
  server->stop.data = server->terminate.data = server->interrupt.data = server;
  if (error == 0) error = uv_signal_start(&server->terminate, on_signal, SIGTERM);
  if (error == 0) error = uv_signal_start(&server->interrupt, on_signal, SIGINT);
  if (error == 0) error = uv_check_start(&server->check, on_check);
  if (error == 0) error = uv_timer_start(&server->cron, on_cron, LOOP_CRON_MS, LOOP_CRON_MS);
  return error;
}

static bool set_up(struct server *server, struct options *options,
                   char error[OPTIONS_ERROR_BYTES]) {
  int64_t now_ms = (int64_t)(uv_hrtime() / 1000000);
  struct engine *engine = make_engine(options, now_ms);
  if (engine == NULL || !host_init(&server->host, engine, options, server->log, now_ms)) {
    engine_destroy(engine);
    server->host = (struct host){0};
    snprintf(error, OPTIONS_ERROR_BYTES,
             "cannot make the engine: out of memory, or no random numbers");
    return false;
  }
  server->host.describe = peer_describe;
  server->host.reconfigured = on_reconfigured;
  server_setup_reader(server, &server->reader);
  see_wall_clock(server);
  fit_maxclients(server, options);
  int result = open_handles(server);
  if (result == 0) return listeners_open(server, error);
  snprintf(error, OPTIONS_ERROR_BYTES, "cannot set up the event loop: %s", uv_strerror(result));
  return false;
}

struct server *server_create(struct options *options, struct log *log,
                             char error[OPTIONS_ERROR_BYTES]) {
  struct server *server = calloc(1, sizeof *server);
  int result = server != NULL ? uv_loop_init(&server->loop) : UV_ENOMEM;
  if (result != 0) {
    snprintf(error, OPTIONS_ERROR_BYTES, "cannot make the event loop: %s", uv_strerror(result));
    free(server);
    return NULL;
  }
  server->log = log;
  server->due_ms = INT64_MAX;
  list_init(&server->runnable);
  if (set_up(server, options, error)) return server;
  server_destroy(server);
  return NULL;
}

void server_run(struct server *server) {
  uv_run(&server->loop, UV_RUN_DEFAULT);
  log_line(server->log, LOG_LEVEL_NOTICE, "stopped");
}

static void close_handle(uv_handle_t *handle, void *context) {
  (void)context;
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

void server_destroy(struct server *server) {
  if (server == NULL) return;
  bool has_host = server->host.engine != NULL;
  if (has_host) {
    listeners_close(server);
    close_all(server);
  }
  uv_walk(&server->loop, close_handle, NULL);
  uv_run(&server->loop, UV_RUN_DEFAULT);
  int busy = uv_loop_close(&server->loop);
  assert(busy == 0);
  (void)busy;
  if (has_host) {
    resp_reader_deinit(&server->reader);
    struct engine *engine = server->host.engine;
    host_deinit(&server->host);
    engine_destroy(engine);
  }
  free(server);
}

int server_port(const struct server *server) { return server->host.port; }
