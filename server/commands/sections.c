/*
 * sections.c - see sections.h.
 *
 * The rows are in *_metrics.c; here they are put in order. To add a figure, add a row and what it
 * shows:
 *   - of an engine: a count in struct state_counters (engine/state.h), a field in struct stats
 *     (engine/stats.h), a line that copies it in stats_read (engine/stats.c), a row in
 *     engine/engine_metrics.c;
 *   - that commands/ or net/ count for each loop: a field in struct worker_counters (worker.h), a
 *     row in worker_metrics.c;
 *   - any other: a field in the struct of a *_metrics.h here, a line in its *_metrics_read, a row.
 * To add a table: its figures in `struct figures`, and a part in SECTIONS.
 */
#include "server/commands/sections.h"

#include <inttypes.h>

#include "server/commands/redis_metrics.h"
#include "server/commands/shards.h"
#include "server/engine/engine_metrics.h"
#include "server/ops/prometheus.h"

void sections_read(struct worker *worker, struct figures *figures) {
  const struct instance *instance = worker->instance;
  shards_stats(worker, &figures->engine);
  shards_oldest(worker, &figures->engine);
  process_metrics_read(&figures->process);
  memory_metrics_read(&figures->engine, instance->options, &figures->memory);
  instance_metrics_read(worker, &figures->instance);
  worker_metrics_read(instance, &figures->workers);
  pubsub_metrics_read(instance, &figures->pubsub);
  journal_metrics_read(instance, &figures->journal);
}

/* ---- tables: a line for each loop, command, database ---- */

static void put_loops(const struct worker *worker, const struct figures *figures,
                      struct metrics_text *text) {
  (void)figures;
  const struct instance *instance = worker->instance;
  for (unsigned i = 0; i < instance->worker_count; i++) {
    const struct worker *each = instance->workers[i];
    metrics_put(text, "loop_%u:clients=%" PRIu64 ",waiting=%" PRIu64 ",commands=%" PRIu64 "\r\n", i,
                each->session_count, each->waiting_count, each->counters.commands);
  }
}

static struct command_stats command_stats_sum(const struct instance *instance, size_t row) {
  struct command_stats sum = {0};
  for (unsigned i = 0; i < instance->worker_count; i++) {
    const struct command_stats *stats = &instance->workers[i]->stats[row];
    sum.calls += stats->calls;
    sum.nanoseconds += stats->nanoseconds;
    sum.rejected += stats->rejected;
    sum.failed += stats->failed;
  }
  return sum;
}

static void put_commands(const struct worker *worker, const struct figures *figures,
                         struct metrics_text *text) {
  (void)figures;
  for (size_t i = 0; i < worker->commands->count; i++) {
    struct command_stats sum = command_stats_sum(worker->instance, i);
    if (sum.calls + sum.rejected == 0) continue;
    char name[COMMAND_NAME_BYTES];
    command_name(&worker->commands->rows[i], name);
    double usec = (double)sum.nanoseconds / 1000;
    metrics_put(text,
                "cmdstat_%s:calls=%" PRIu64 ",usec=%.0f,usec_per_call=%.2f,rejected_calls=%" PRIu64
                ",failed_calls=%" PRIu64 "\r\n",
                name, sum.calls, usec, sum.calls > 0 ? usec / (double)sum.calls : 0, sum.rejected,
                sum.failed);
  }
}

static void expose_commands(const struct worker *worker, const struct figures *figures,
                            struct metrics_text *text) {
  (void)figures;
  prometheus_put_head(text, "idem_commands_total", METRIC_COUNTER, "Commands run.");
  for (size_t i = 0; i < worker->commands->count; i++) {
    struct command_stats sum = command_stats_sum(worker->instance, i);
    if (sum.calls == 0) continue;
    char name[COMMAND_NAME_BYTES];
    command_name(&worker->commands->rows[i], name);
    metrics_put(text, "idem_commands_total{command=\"%s\"} %" PRIu64 "\n", name, sum.calls);
  }
}

static void put_databases(const struct worker *worker, const struct figures *figures,
                          struct metrics_text *text) {
  (void)worker;
  const struct stats *stats = &figures->engine;
  uint64_t keys = stats->records + stats->values;
  if (keys > 0)
    metrics_put(text, "db0:keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=0\r\n", keys,
                stats->expiring);
}

/* ---- sections ---- */

#define PART(rows, field) \
  { rows, offsetof(struct figures, field) }
#define FIXED(rows) \
  { rows, 0 }

const struct section sections_all[] = {
    {.is = {"Server", true},
     .parts = {PART(process_metrics_program, process), PART(instance_metrics_server, instance)}},
    {.is = {"Clients", true}, .parts = {PART(instance_metrics_clients, instance)}},
    {.is = {"Memory", true}, .parts = {PART(memory_metrics_rows, memory)}},
    {.is = {"Persistence", true},
     .parts = {FIXED(redis_metrics_persistence), PART(journal_metrics_rows, journal)}},
    {.is = {"Stats", true},
     .parts = {PART(worker_metrics_traffic, workers), PART(engine_metrics_keyspace, engine),
               PART(pubsub_metrics_rows, pubsub), PART(worker_metrics_refusals, workers)}},
    {.is = {"Replication", true}, .parts = {PART(instance_metrics_replication, instance)}},
    {.is = {"CPU", true}, .parts = {PART(process_metrics_cpu, process)}},
    {.is = {"Idem", true},
     .parts = {PART(engine_metrics_idem, engine),
               PART(instance_metrics_memory_of_requests, instance)}},
    {.is = {"Threads", true},
     .parts = {PART(instance_metrics_threads, instance)},
     .put_lines = put_loops},
    {.is = {"Commandstats", false}, .put_lines = put_commands, .put_families = expose_commands},
    {.is = {"Cluster", true}, .parts = {FIXED(redis_metrics_cluster)}},
    {.is = {"Keyspace", true}, .put_lines = put_databases},
    {.is = {NULL, false}},
};
