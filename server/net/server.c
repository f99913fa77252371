/* server.c - the server: its loops and threads, signals, what commands ask of the network. See
 * server.h. */
#include "server/net/server.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/random.h"
#include "server/base/thread.h"
#include "server/commands/accounts.h"
#include "server/commands/command_table.h"
#include "server/commands/journaling.h"
#include "server/commands/restoring.h"
#include "server/commands/setup.h"
#include "server/commands/trimming.h"
#include "server/engine/engine.h"
#include "server/net/admit.h"
#include "server/net/drain.h"
#include "server/net/files.h"
#include "server/net/http.h"
#include "server/net/recovery.h"
#include "server/net/reload.h"
#include "server/net/signals.h"
#include "server/net/watchdog.h"
#include "server/rules/rules.h"

struct server {
  struct instance instance;
  struct log *log;
  struct loop_set loops;
  struct listener listener;
  struct drain drain;
  struct files files;
  struct tls tls;
  struct http *http; /* NULL: http-port is off */
  struct restoring restoring;
  struct notify notify;
  struct trimming *trimming;
  struct users *users; /* until the instance has them */
  struct watchdog watchdog;
  struct signals signals; /* these three are the first loop's */
  struct reload reload;
  uv_async_t stop;
  int64_t retention_ms, unknown_retention_ms; /* of the options, as the journal's ends have them */
  _Atomic bool ending;                        /* all loops have ended */
  int64_t keepalive_s, output_timeout_ms;     /* of the options, as connections have them */
};

static struct server *server_of(struct instance *instance) {
  return LIST_ENTRY(instance, struct server, instance);
}

/* ---- what commands ask of the network ---- */

static struct loop *loop_of(struct worker *worker) {
  return server_of(worker->instance)->loops.loops[worker->number];
}

static void wake(struct instance *instance, uint64_t loops) {
  struct server *server = server_of(instance);
  if (!atomic_load(&server->ending)) loop_set_wake(&server->loops, loops);
}

static void pause_others(struct worker *worker) { gate_pause_others(&loop_of(worker)->gate); }

static void resume_others(struct worker *worker) { gate_resume_others(&loop_of(worker)->gate); }

static void see_time(struct worker *worker) { conn_group_see_time(&loop_of(worker)->group); }

/* ---- the end ---- */

static void end_by_signal(void *context, const char *name) {
  struct server *server = context;
  gate_enter(&server->loops.loops[0]->gate);
  drain_begin(&server->drain, name);
}

static void reload_by_signal(void *context) {
  struct server *server = context;
  gate_enter(&server->loops.loops[0]->gate);
  reload_ask(&server->reload);
}

static void on_stop(uv_async_t *stop) {
  struct server *server = stop->data;
  gate_enter(&server->loops.loops[0]->gate);
  drain_leave(&server->drain, "stop");
}

void server_stop(struct server *server) { uv_async_send(&server->stop); }

/* ---- the keyspace ---- */

static struct engine_options engine_options_of(const struct options *options) {
  return (struct engine_options){
      .retention_ms = options->retention_ms,
      .unknown_retention_ms = options->unknown_retention_ms,
      .born_skew_ms = options->born_skew_ms,
      .horizon_bits = (unsigned)__builtin_ctzll((uint64_t)options->horizon_slots),
      .clock_grain_ms = 1, /* libuv's clock is rounded down */
      .memory_limit = (size_t)options->maxmemory.bytes,
      .store_reserve = (size_t)options->store_reserve,
      .waiters_per_key = (uint32_t)options->waiters_per_key,
      .waiters_total = (uint32_t)options->waiters_total,
  };
}

/* False with the reason: the clock leaves no tokens. */
static bool find_first_token(struct log *log, uint64_t random, uint64_t *token,
                             char error[REFUSAL_BYTES]) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  switch (rules_first_token(now.tv_sec, (uint32_t)now.tv_nsec, random, token)) {
    case RULES_CLOCK_LATE:
      snprintf(
          error, REFUSAL_BYTES,
          "the clock of this machine shows 2092 or later (unix time %lld), for which there are "
          "no tokens: set it, and start again",
          (long long)now.tv_sec);
      return false;
    case RULES_CLOCK_EARLY:
      log_line(
          log, LOG_LEVEL_WARNING,
          "the clock of this machine shows a time before 2024 (unix time %lld): tokens begin at "
          "a random low number, perhaps below those of earlier starts; set it, and start again",
          (long long)now.tv_sec);
      return true;
    case RULES_CLOCK_RIGHT:
    default: return true;
  }
}

static bool get_secret(const struct restoring *restoring, unsigned char *secret, size_t bytes) {
  if (restoring->journal == NULL) return random_get(secret, bytes);
  memcpy(secret, restoring->secret, bytes);
  return true;
}

/* Those of the journal may be ahead of the clock, if that was set back. */
static uint64_t above_former(struct log *log, const struct restoring *restoring, uint64_t token) {
  if (token >= restoring->first_token) return token;
  log_line(log, LOG_LEVEL_NOTICE,
           "tokens go on from those of the journal, which are ahead of the clock of this machine");
  return restoring->first_token;
}

/* NULL with the reason in error. What is restored has times before the present one. */
static struct keyspace *make_keyspace(const struct server *server, const struct options *options,
                                      int64_t monotonic_ms, char error[REFUSAL_BYTES]) {
  const struct restoring *restoring = &server->restoring;
  bool restores = restoring->journal != NULL && !restoring->is_new;
  struct engine_options engine = engine_options_of(options);
  uint64_t random;
  snprintf(error, REFUSAL_BYTES, "cannot make the engine: out of memory, or no random numbers");
  if (!get_secret(restoring, engine.hash_secret, sizeof engine.hash_secret) ||
      !random_get(&random, sizeof random))
    return NULL;
  if (!find_first_token(server->log, random, &engine.first_token, error)) return NULL;
  engine.first_token = above_former(server->log, restoring, engine.first_token);
  return keyspace_create(&engine, (unsigned)options->threads, restores ? 0 : monotonic_ms);
}

/* Connections have copies of two options in the kernel. */
static void set_up_connections(struct server *server) {
  const struct options *options = server->instance.options;
  if (options->tcp_keepalive_s == server->keepalive_s &&
      options->client_output_timeout_ms == server->output_timeout_ms)
    return;
  server->keepalive_s = options->tcp_keepalive_s;
  server->output_timeout_ms = options->client_output_timeout_ms;
  for (unsigned i = 0; i < server->loops.count; i++)
    admit_set_up_all(&server->loops.loops[i]->group);
}

/* A longer retention ends later what lies in the journal, too. */
static void delay_ends(struct server *server) {
  const struct options *options = server->instance.options;
  int64_t by_ms = options->retention_ms - server->retention_ms;
  int64_t unknown_by_ms = options->unknown_retention_ms - server->unknown_retention_ms;
  bool for_ever = options->unknown_retention_ms == 0 && server->unknown_retention_ms != 0;
  if (unknown_by_ms > by_ms && server->unknown_retention_ms != 0) by_ms = unknown_by_ms;
  if (for_ever) by_ms = INT64_MAX;
  server->retention_ms = options->retention_ms;
  server->unknown_retention_ms = options->unknown_retention_ms;
  if (by_ms <= 0 || server->instance.journal == NULL) return;
  journal_delay_ends(server->instance.journal, by_ms);
  /* Of commands before it in its EXEC, which is not appended yet. */
  for (unsigned i = 0; i < server->instance.worker_count; i++) {
    struct outbox *outbox = &server->instance.workers[i]->outbox;
    if (outbox->len > 0) outbox->last_end_ms = INT64_MAX;
  }
}

/* The other loops are paused, and all shards are locked. */
static const char *on_reconfigured(struct instance *instance, char error[REFUSAL_BYTES]) {
  struct files *files = &server_of(instance)->files;
  if (!files_allow(files, instance->options->maxclients, error)) return "maxclients";
  const char *refused = tls_follow(&server_of(instance)->tls, instance->options, error);
  if (refused != NULL) return refused;
  struct engine_options engine = engine_options_of(instance->options);
  for (unsigned i = 0; i < keyspace_shards(instance->keyspace); i++)
    engine_reconfigure(shard_engine(keyspace_shard(instance->keyspace, i)), &engine);
  instance->log->level = (enum log_level)instance->options->loglevel;
  instance->log->format = (enum log_format)instance->options->log_format;
  set_up_connections(server_of(instance));
  delay_ends(server_of(instance));
  return NULL;
}

/* ---- loops ---- */

/* Neither is inlined: a loop without HTTP port would save their registers. */
#define OUT_OF_LINE __attribute__((noinline))
OUT_OF_LINE static void end_http_turn(struct http *http, const struct loop *loop) {
  if (loop->group.worker.number == 0) http_turn(http);
}

OUT_OF_LINE static bool left_http_work(const struct http *http, const struct loop *loop) {
  return loop->group.worker.number == 0 && http_left_work(http);
}

static void end_turn(struct loop *loop) {
  struct server *server = loop->context;
  drain_end_turn(&server->drain, loop);
  if (server->http != NULL) end_http_turn(server->http, loop);
}

static bool left_work(struct loop *loop) {
  struct server *server = loop->context;
  if (server->http != NULL && left_http_work(server->http, loop)) return true;
  return drain_left_work(&server->drain, loop);
}

static void on_cron(struct loop *loop) {
  struct server *server = loop->context;
  const struct worker *worker = &loop->group.worker;
  drain_cron(&server->drain, loop);
  watchdog_note(&server->watchdog, worker->number, worker->monotonic_ms);
  if (worker->number != 0) return;
  accept_resume(&server->listener.acceptor);
  http_cron(server->http);
  reload_cron(&server->reload);
  watchdog_feed(&server->watchdog, worker->monotonic_ms);
}

static const struct loop_duties DUTIES = {
    .end_turn = end_turn, .left_work = left_work, .cron = on_cron};

/* What only the first loop has: signals, and the call to stop. */
static int open_handles(struct server *server) {
  uv_loop_t *uv = &server->loops.loops[0]->uv;
  const struct signals_calls calls = {
      .end = end_by_signal, .reload = reload_by_signal, .context = server};
  server->stop.data = server;
  server->reload = (struct reload){.worker = &server->loops.loops[0]->group.worker,
                                   .notify = &server->notify,
                                   .tls = &server->tls};
  int error = uv_async_init(uv, &server->stop, on_stop);
  return error != 0 ? error : signals_open(&server->signals, uv, &calls);
}

static int make_loops(struct server *server) {
  const struct loop_setup setup = {
      .instance = &server->instance,
      .descriptors = server->files.count,
      .duties = &DUTIES,
      .context = server,
  };
  unsigned wanted = (unsigned)server->instance.options->threads;
  while (server->loops.count < wanted) {
    int error = loop_set_add(&server->loops, &setup);
    if (error != 0) return error;
  }
  drain_init(&server->drain, &server->instance, &server->loops, &server->listener);
  server->drain.notify = &server->notify;
  return open_handles(server);
}

/* ---- life ---- */

/* Lowers maxclients to what the limit of open files allows. */
static void fit_maxclients(struct server *server, struct options *options) {
  int64_t fits = files_init(&server->files, options->maxclients, (unsigned)options->threads);
  if (fits == options->maxclients) return;
  log_line(server->log, LOG_LEVEL_NOTICE,
           "maxclients is %lld instead of %lld: the limit of open files is %llu", (long long)fits,
           (long long)options->maxclients, (unsigned long long)server->files.count);
  options->maxclients = fits;
}

/* ---- the journal ---- */

static int open_journal(struct server *server, const struct options *options,
                        struct recovery *recovery, char error[REFUSAL_BYTES]) {
  server->trimming = trimming_create(server->log);
  if (server->trimming == NULL) {
    snprintf(error, REFUSAL_BYTES, "cannot open the journal: out of memory");
    return RESTORING_REFUSED;
  }
  const struct restoring_calls calls = {
      .hooks = {.context = server->trimming,
                .failed = trimming_failed,
                .unreadable = trimming_unreadable,
                .head = trimming_head},
      .steps = {.context = recovery, .next = recovery_step},
  };
  int status = restoring_open(&server->restoring, options, &calls, error);
  if (status == 0 && server->restoring.journal == NULL)
    log_line(server->log, LOG_LEVEL_NOTICE,
             "memory only: a restart forgets everything (dir keeps a journal)");
  return status;
}

static void log_restored(const struct server *server) {
  const struct restoring *restoring = &server->restoring;
  struct journal_figures figures;
  journal_figures(restoring->journal, &figures);
  log_line(server->log, LOG_LEVEL_NOTICE,
           "journal %s: %llu records of %llu batches in %.3f s, %llu bytes of a torn batch cut",
           server->instance.options->dir, (unsigned long long)restoring->records,
           (unsigned long long)figures.recovered_batches, restoring->seconds,
           (unsigned long long)figures.cut_bytes);
  if (restoring->files->group_may_enter)
    log_line(server->log, LOG_LEVEL_WARNING, "dir %s: its group may enter it (chmod 700)",
             server->instance.options->dir);
}

/* The loops are there, and have not started. */
static int start_journal(struct server *server, char error[REFUSAL_BYTES]) {
  struct restoring *restoring = &server->restoring;
  if (restoring->journal == NULL) return 0;
  struct worker *worker = &server->loops.loops[0]->group.worker;
  if (!restoring->is_new)
    wall_clock_raise_largest(&server->instance.wall,
                             restoring->largest_ms + worker->now_ms - worker->monotonic_ms);
  const struct journal_moment moment = journaling_moment(worker);
  char text[JOURNAL_ERROR_BYTES];
  enum journal_result result = journal_start(restoring->journal, worker, &moment, text);
  if (result != JOURNAL_OK) {
    snprintf(error, REFUSAL_BYTES, "%s", text);
    return RESTORING_REFUSED;
  }
  log_restored(server);
  return 0;
}

/* ---- life, on ---- */

static int restore_keyspace_of(struct server *server, struct options *options,
                               char error[REFUSAL_BYTES]) {
  struct restoring *restoring = &server->restoring;
  int64_t monotonic_ms = (int64_t)(clock_monotonic_ns() / 1000000);
  struct keyspace *keyspace = make_keyspace(server, options, monotonic_ms, error);
  int status = keyspace == NULL ? RESTORING_REFUSED : restoring_run(restoring, keyspace, error);
  monotonic_ms = (int64_t)(clock_monotonic_ns() / 1000000); /* what that took counts for no lease */
  if (status == 0 &&
      !setup_instance_init(&server->instance, keyspace, options, server->log, monotonic_ms)) {
    snprintf(error, REFUSAL_BYTES, "cannot make the server: out of memory, or no random numbers");
    status = RESTORING_REFUSED;
  }
  if (status != 0) {
    /* To free millions of keys takes as long as to read them: the process ends now. */
    if (status != RESTORING_STOPPED) keyspace_destroy(keyspace);
    server->instance = (struct instance){0};
    return status;
  }
  struct instance *instance = &server->instance;
  setup_instance_users(instance, server->users);
  server->users = NULL;
  instance->journal = restoring->journal;
  instance->trimming = server->trimming;
  instance->restored_most_bytes = restoring->most_bytes;
  instance->eras = restoring->eras;
  instance->recovered_ms = (uint64_t)(restoring->seconds * 1000);
  if (restoring->journal != NULL)
    served_clock_begin(&instance->clock, monotonic_ms, restoring->now_ms);
  return 0;
}

/* While the journal is read. */
static void serve_http(void *http, struct journal_step step) {
  http_work(http, step.whole > 0 ? (unsigned)(step.done * 100 / step.whole) : 0);
}

/* Returns 0, RESTORING_STOPPED or the exit status. */
static int set_up(struct server *server, struct options *options, struct recovery *recovery,
                  char error[REFUSAL_BYTES]) {
  const struct accounts_rows rows = {command_table_commands, command_table_command_count};
  server->users = accounts_read(rows, options, server->log, error);
  if (server->users == NULL) return 1;
  if (!http_open(&server->http, options, server->log, error)) return 1;
  server->files.others = server->http != NULL ? HTTP_DESCRIPTORS : 0;
  recovery->guest = (struct recovery_guest){.turn = serve_http, .context = server->http};
  int status = open_journal(server, options, recovery, error);
  if (status == 0) status = restore_keyspace_of(server, options, error);
  if (status != 0) return status;
  server->instance.describe = conn_describe;
  server->instance.reconfigured = on_reconfigured;
  server->instance.wake = wake;
  server->instance.pause_others = pause_others;
  server->instance.resume_others = resume_others;
  server->instance.see_time = see_time;
  fit_maxclients(server, options);
  server->keepalive_s = options->tcp_keepalive_s;
  server->output_timeout_ms = options->client_output_timeout_ms;
  server->retention_ms = options->retention_ms;
  server->unknown_retention_ms = options->unknown_retention_ms;
  if (!tls_init(&server->tls, options, &server->instance.tls, server->log, error)) return 1;
  if (server->tls.context != NULL) server->loops.tls = &server->tls;
  int result = make_loops(server);
  if (result != 0) {
    snprintf(error, REFUSAL_BYTES, "cannot set up the event loop: %s", uv_strerror(result));
    return 1;
  }
  recovery_tell(recovery);
  status = start_journal(server, error);
  if (status != 0) return status;
  if (!listener_open(&server->listener, error)) return 1;
  result = http_attach(server->http, server->loops.loops[0]);
  if (result == 0) return 0;
  snprintf(error, REFUSAL_BYTES, "cannot open http-port: %s", uv_strerror(result));
  return 1;
}

struct server *server_create(struct options *options, struct log *log, int *status,
                             char error[REFUSAL_BYTES]) {
  struct server *server = calloc(1, sizeof *server);
  *status = 1;
  if (server == NULL || !loop_set_init(&server->loops)) {
    snprintf(error, REFUSAL_BYTES, "cannot make the server: out of memory");
    free(server);
    return NULL;
  }
  server->log = log;
  notify_open(&server->notify);
  listener_init(&server->listener, &server->instance, &server->loops);
  struct recovery recovery;
  recovery_begin(&recovery, log, &server->notify);
  *status = set_up(server, options, &recovery, error);
  if (*status != 0) {
    if (*status == RESTORING_STOPPED) *status = 0;
    server_destroy(server);
    server = NULL;
  }
  recovery_end(&recovery);
  return server;
}

static void *run_in_thread(void *context) {
  struct loop *loop = context;
  struct server *server = loop->context;
  loop_run(loop);
  watchdog_note(&server->watchdog, loop->group.worker.number, INT64_MAX);
  return NULL;
}

/* Nothing hears them from here on: another one must not end the process before it has ended by
 * itself. */
static void ignore_late_signals(void) {
  sigset_t late;
  sigemptyset(&late);
  sigaddset(&late, SIGTERM);
  sigaddset(&late, SIGINT);
  pthread_sigmask(SIG_BLOCK, &late, NULL);
}

void server_run(struct server *server) {
  struct loop_set *loops = &server->loops;
  watchdog_init(&server->watchdog, &server->notify, loops->count,
                (int64_t)(clock_monotonic_ns() / 1000000));
  unsigned started = 1;
  int error = 0;
  while (error == 0 && started < loops->count) {
    struct loop *loop = loops->loops[started];
    error = thread_start(&loop->thread, run_in_thread, loop);
    if (error == 0) started++;
  }
  if (error != 0) {
    log_line(server->log, LOG_LEVEL_WARNING, "cannot start thread %u of %u: %s", started + 1,
             loops->count, strerror(error));
    server_stop(server);
  } else {
    listener_announce(&server->listener);
    notify_send(&server->notify, "READY=1\nSTATUS=serving");
  }
  loop_run(loops->loops[0]);
  ignore_late_signals();
  for (unsigned i = 1; i < started; i++) pthread_join(loops->loops[i]->thread, NULL);
  drain_log_end(&server->drain);
  /* The journal's last sync follows. */
  notify_send(&server->notify, "EXTEND_TIMEOUT_USEC=%u\nSTATUS=ending", RECOVERY_EXTEND_US);
}

void server_destroy(struct server *server) {
  if (server == NULL) return;
  struct loop_set *loops = &server->loops;
  atomic_store(&server->ending, true);
  listener_close(&server->listener);
  http_close(server->http);
  for (unsigned i = 0; i < loops->count; i++) loop_close_connections(loops->loops[i]);
  restoring_close(&server->restoring);
  loop_set_deinit(loops);
  listener_deinit(&server->listener);
  tls_deinit(&server->tls);
  struct keyspace *keyspace = server->instance.keyspace;
  if (keyspace != NULL) setup_instance_deinit(&server->instance);
  keyspace_destroy(keyspace);
  trimming_destroy(server->trimming);
  users_destroy(server->users);
  notify_close(&server->notify);
  free(server);
}

int server_port(const struct server *server) { return server->instance.port; }
