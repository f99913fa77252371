/* command_metrics.c - see command_metrics.h. */
#include "server/commands/command_metrics.h"

#include <inttypes.h>

#include "server/ops/prometheus.h"

struct figures {
  uint64_t calls, nanoseconds, rejected, failed;
};

static void read_figures(const struct instance *instance, const struct command *command,
                         struct figures *sum) {
  *sum = (struct figures){0};
  for (unsigned i = 0; i < instance->worker_count; i++) {
    const struct command_stats *stats = worker_stats(instance->workers[i], command);
    sum->calls += stats->calls;
    sum->nanoseconds += stats->nanoseconds;
    sum->rejected += stats->rejected;
    sum->failed += stats->failed;
  }
}

void command_metrics_put_lines(const struct instance *instance, const void *figures,
                               struct metrics_text *text) {
  (void)figures;
  struct figures sum;
  char name[COMMAND_NAME_BYTES];
  for (size_t i = 0; i < instance->commands->count; i++) {
    const struct command *command = &instance->commands->rows[i];
    read_figures(instance, command, &sum);
    if (sum.calls + sum.rejected == 0) continue;
    command_name(command, name);
    double usec = (double)sum.nanoseconds / 1000;
    metrics_put(text,
                "cmdstat_%s:calls=%" PRIu64 ",usec=%.0f,usec_per_call=%.2f,rejected_calls=%" PRIu64
                ",failed_calls=%" PRIu64 "\r\n",
                name, sum.calls, usec, sum.calls > 0 ? usec / (double)sum.calls : 0, sum.rejected,
                sum.failed);
  }
}

#define COUNTER METRIC_COUNTER, METRIC_NO_UNIT
#define OF_COMMAND(field) \
  METRIC_TYPE_TABLE, offsetof(struct figures, field), "cmdstat_", NULL, "command"

const struct metric command_metrics_rows[] = {
    {"commands", COUNTER, "Commands run.", OF_COMMAND(calls)},
    {"commands_duration", METRIC_COUNTER, METRIC_NANOSECONDS, "Time that they took.",
     OF_COMMAND(nanoseconds)},
    {"commands_rejected", COUNTER, "Commands refused before they ran.", OF_COMMAND(rejected)},
    {"commands_failed", COUNTER, "Commands that ran and answered an error.", OF_COMMAND(failed)},
    METRIC_END,
};

static void put_family(const struct instance *instance, const struct metric *row,
                       struct metrics_text *text) {
  struct figures sum;
  char name[COMMAND_NAME_BYTES];
  prometheus_put_head(text, row);
  for (size_t i = 0; i < instance->commands->count; i++) {
    const struct command *command = &instance->commands->rows[i];
    read_figures(instance, command, &sum);
    if (sum.calls + sum.rejected == 0) continue;
    command_name(command, name);
    prometheus_put_sample(text, row, name,
                          *(const uint64_t *)(const void *)((const char *)&sum + row->offset));
  }
}

void command_metrics_put_families(const struct instance *instance, const void *figures,
                                  struct metrics_text *text) {
  (void)figures;
  for (const struct metric *row = command_metrics_rows; row->name != NULL; row++)
    put_family(instance, row, text);
}
