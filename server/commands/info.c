/*
 * info.c - INFO: figures in the sections and under the names that monitoring of Redis reads, and
 * idem's own.
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
#include "server/commands/info.h"

#include <inttypes.h>

#include "server/commands/instance_metrics.h"
#include "server/commands/journal_metrics.h"
#include "server/commands/memory_metrics.h"
#include "server/commands/process_metrics.h"
#include "server/commands/pubsub_metrics.h"
#include "server/commands/redis_metrics.h"
#include "server/commands/reply.h"
#include "server/commands/shards.h"
#include "server/commands/worker_metrics.h"
#include "server/engine/engine_metrics.h"
#include "server/engine/stats.h"
#include "server/ops/metrics.h"

/* All figures, read once for a call. */
struct figures {
  struct stats engine; /* the sum over all engines */
  struct process_metrics process;
  struct memory_metrics memory;
  struct instance_metrics instance;
  struct worker_counters workers; /* the sum over all workers */
  struct pubsub_metrics pubsub;
  struct journal_metrics journal;
};

static void read_figures(struct worker *worker, struct figures *figures) {
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

/* A table of rows, and where in `struct figures` its figures are. */
struct part {
  const struct metric *rows;
  size_t figures;
};
#define PART(rows, field) \
  { rows, offsetof(struct figures, field) }
#define FIXED(rows) \
  { rows, 0 }
#define PARTS 4

struct section {
  struct metrics_section is;
  struct part parts[PARTS]; /* the first without rows ends them */
  void (*put_table)(const struct worker *worker, const struct figures *figures,
                    struct metrics_text *text);
};

static const struct section SECTIONS[] = {
    {{"Server", true},
     {PART(process_metrics_program, process), PART(instance_metrics_server, instance)},
     NULL},
    {{"Clients", true}, {PART(instance_metrics_clients, instance)}, NULL},
    {{"Memory", true}, {PART(memory_metrics_rows, memory)}, NULL},
    {{"Persistence", true},
     {FIXED(redis_metrics_persistence), PART(journal_metrics_rows, journal)},
     NULL},
    {{"Stats", true},
     {PART(worker_metrics_traffic, workers), PART(engine_metrics_keyspace, engine),
      PART(pubsub_metrics_rows, pubsub), PART(worker_metrics_refusals, workers)},
     NULL},
    {{"Replication", true}, {PART(instance_metrics_replication, instance)}, NULL},
    {{"CPU", true}, {PART(process_metrics_cpu, process)}, NULL},
    {{"Idem", true},
     {PART(engine_metrics_idem, engine), PART(instance_metrics_memory_of_requests, instance)},
     NULL},
    {{"Threads", true}, {PART(instance_metrics_threads, instance)}, put_loops},
    {{"Commandstats", false}, {{NULL, 0}}, put_commands},
    {{"Cluster", true}, {FIXED(redis_metrics_cluster)}, NULL},
    {{"Keyspace", true}, {{NULL, 0}}, put_databases},
};
#define SECTION_COUNT (sizeof SECTIONS / sizeof SECTIONS[0])

static void put_section(const struct section *section, const struct worker *worker,
                        const struct figures *figures, struct metrics_text *text) {
  metrics_put_heading(text, section->is.title);
  for (size_t i = 0; i < PARTS && section->parts[i].rows != NULL; i++) {
    const struct part *part = &section->parts[i];
    metrics_put_rows(text, part->rows, (const char *)figures + part->figures);
  }
  if (section->put_table != NULL) section->put_table(worker, figures, text);
}

void info_command(struct call *call) {
  struct metrics_text text = {0};
  struct figures figures;
  read_figures(call->worker, &figures);
  for (size_t i = 0; i < SECTION_COUNT; i++) {
    if (metrics_section_wanted(&SECTIONS[i].is, call->argv + 1, call->argc - 1))
      put_section(&SECTIONS[i], call->worker, &figures, &text);
  }
  if (text.failed) {
    reply_no_memory(call);
  } else {
    struct span bytes = {text.bytes != NULL ? text.bytes : "", text.len};
    resp_write_verbatim(call->reply, "txt", bytes);
  }
  metrics_text_deinit(&text);
}
