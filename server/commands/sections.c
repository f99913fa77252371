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

#include "server/commands/allowance.h"
#include "server/commands/command_metrics.h"
#include "server/commands/latency.h"
#include "server/commands/redis_metrics.h"
#include "server/commands/shards.h"
#include "server/commands/waits.h"
#include "server/engine/engine_metrics.h"

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
  error_metrics_read(instance, &figures->errors);
  tls_metrics_read(worker, &figures->tls);
}

/* ---- tables: a line for each database ---- */

static void put_databases(const struct instance *instance, const void *figures,
                          struct metrics_text *text) {
  (void)instance;
  const struct stats *stats = figures;
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
#define TABLE(put, field) \
  { put, offsetof(struct figures, field) }
#define TABLE_OF_WORKERS(put) \
  { put, 0 }

const struct section sections_all[] = {
    {.is = {"Server", true},
     .parts = {PART(process_metrics_program, process), PART(instance_metrics_server, instance)},
     .families = TABLE_OF_WORKERS(process_metrics_put_families),
     .heads = process_metrics_tables},
    {.is = {"Clients", true}, .parts = {PART(instance_metrics_clients, instance)}},
    {.is = {"Memory", true}, .parts = {PART(memory_metrics_rows, memory)}},
    {.is = {"Persistence", true},
     .parts = {FIXED(redis_metrics_persistence), PART(journal_metrics_rows, journal)},
     .families = TABLE(journal_metrics_put_families, journal),
     .heads = journal_metrics_tables},
    {.is = {"Stats", true},
     .parts = {PART(worker_metrics_traffic, workers), PART(engine_metrics_keyspace, engine),
               PART(pubsub_metrics_rows, pubsub), PART(error_metrics_rows, errors),
               PART(worker_metrics_refusals, workers)}},
    {.is = {"TLS", true}, .parts = {PART(tls_metrics_rows, tls)}},
    {.is = {"Replication", true}, .parts = {PART(instance_metrics_replication, instance)}},
    {.is = {"CPU", true}, .parts = {PART(process_metrics_cpu, process)}},
    {.is = {"Idem", true},
     .parts = {PART(engine_metrics_idem, engine), PART(worker_metrics_idem, workers),
               PART(instance_metrics_memory_of_requests, instance)}},
    {.is = {"Waits", true},
     .lines = TABLE_OF_WORKERS(waits_put_lines),
     .families = TABLE_OF_WORKERS(waits_put_families),
     .heads = waits_rows},
    {.is = {"Threads", true},
     .parts = {PART(instance_metrics_threads, instance)},
     .lines = TABLE_OF_WORKERS(worker_metrics_put_lines),
     .families = TABLE_OF_WORKERS(worker_metrics_put_families),
     .heads = worker_metrics_tables},
    {.is = {"Commandstats", false},
     .lines = TABLE_OF_WORKERS(command_metrics_put_lines),
     .families = TABLE_OF_WORKERS(command_metrics_put_families),
     .heads = command_metrics_rows},
    {.is = {"Errorstats", true},
     .lines = TABLE(error_metrics_put_lines, errors),
     .families = TABLE(error_metrics_put_families, errors),
     .heads = error_metrics_tables},
    {.is = {"Latencystats", false},
     .lines = TABLE_OF_WORKERS(latency_put_lines),
     .families = TABLE_OF_WORKERS(latency_put_families),
     .heads = latency_rows},
    {.is = {"Cluster", true}, .parts = {FIXED(redis_metrics_cluster)}},
    {.is = {"Users", false}, .lines = TABLE_OF_WORKERS(allowance_put_lines), .whole = true},
    {.is = {"Keyspace", true}, .lines = TABLE(put_databases, engine), .whole = true},
    {.is = {NULL, false}},
};
