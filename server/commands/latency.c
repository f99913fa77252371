/* latency.c - see latency.h. */
#include "server/commands/latency.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/rare.h"
#include "server/base/histogram.h"
#include "server/ops/options_percentiles.h"
#include "server/ops/prometheus.h"

/* ---- counting ---- */

RARE static struct histogram *make(struct command_stats *stats) {
  return stats->latency = calloc(1, sizeof *stats->latency); /* NULL: what comes now is not seen */
}

void latency_note(struct worker *worker, const struct command *command, unsigned calls,
                  uint64_t spent_ns) {
  if (!worker->options->latency_tracking) return;
  struct command_stats *stats = worker_stats(worker, command);
  struct histogram *histogram = stats->latency != NULL ? stats->latency : make(stats);
  if (histogram == NULL) return;
  /* Most runs of a client that awaits each reply: a division would be half of the cost. */
  uint64_t each_ns = calls == 1 ? spent_ns : spent_ns / calls;
  histogram_add(histogram, each_ns, calls);
}

void latency_reset(struct worker *worker) {
  for (size_t i = 0; i < worker->commands->count; i++) {
    free(worker->stats[i].latency);
    worker->stats[i].latency = NULL;
  }
}

/* ---- reading ---- */

/* The sum over all loops. False: there is nothing. */
static bool sum(const struct instance *instance, const struct command *command,
                struct histogram *all) {
  *all = (struct histogram){0};
  for (unsigned i = 0; i < instance->worker_count; i++) {
    const struct histogram *latency = worker_stats(instance->workers[i], command)->latency;
    if (latency != NULL) histogram_merge(all, latency);
  }
  return all->count > 0;
}

static void put_line(const struct command *command, const struct histogram *all,
                     const char *percentiles, struct metrics_text *text) {
  char name[COMMAND_NAME_BYTES];
  command_name(command, name);
  metrics_put(text, "latency_percentiles_usec_%s:", name);
  const char *comma = "";
  for (double each; options_percentiles_next(&percentiles, &each); comma = ",")
    metrics_put(text, "%sp%.10g=%.3f", comma, each, (double)histogram_percentile(all, each) / 1000);
  metrics_put(text, "\r\n");
}

void latency_put_lines(const struct instance *instance, const void *figures,
                       struct metrics_text *text) {
  (void)figures;
  const struct options *options = instance->options;
  struct histogram all;
  if (!options->latency_tracking) return;
  for (size_t i = 0; i < instance->commands->count; i++) {
    const struct command *command = &instance->commands->rows[i];
    if (sum(instance, command, &all)) put_line(command, &all, options->latency_percentiles, text);
  }
}

const struct metric latency_rows[] = {
    {"command_duration", METRIC_HISTOGRAM, METRIC_NANOSECONDS,
     "How long commands took, without waiting; nothing while latency-tracking is off.",
     METRIC_TABLE("command", "latency_percentiles_usec_")},
    METRIC_END,
};

void latency_put_families(const struct instance *instance, const void *figures,
                          struct metrics_text *text) {
  /* 1.024 us to 1.07 s */
  static const struct prometheus_buckets buckets = {.first = 10, .last = 30, .step = 2};
  (void)figures;
  struct histogram all;
  char name[COMMAND_NAME_BYTES];
  prometheus_put_head(text, latency_rows);
  for (size_t i = 0; i < instance->commands->count; i++) {
    const struct command *command = &instance->commands->rows[i];
    if (!sum(instance, command, &all)) continue;
    command_name(command, name);
    prometheus_put_histogram(text, latency_rows, name, &all, &buckets);
  }
}

/* ---- LATENCY HISTOGRAM ---- */

/* Redis counts from 1024 ns on in powers of two, up to a second, and shows the largest value, in
 * microseconds, that its own histogram does not tell from the bound: 1/128 more. */
#define FIRST_BITS 10u
#define LAST_BITS HISTOGRAM_BITS
static uint64_t shown_us(unsigned bits) {
  uint64_t bound_ns = UINT64_C(1) << bits;
  return (bound_ns + bound_ns / 128 - 1) / 1000;
}

struct level {
  uint64_t us, count;
};

/* Those that have more than the one before. */
static size_t list_levels(const struct histogram *all, struct level levels[LAST_BITS]) {
  size_t count = 0;
  uint64_t before = 0;
  for (unsigned bits = FIRST_BITS; bits <= LAST_BITS && before < all->count; bits++) {
    uint64_t below = bits == LAST_BITS ? all->count : histogram_below(all, bits);
    if (below > before) levels[count++] = (struct level){shown_us(bits), below};
    before = below;
  }
  return count;
}

static void reply_histogram(struct resp_writer *reply, const struct command *command,
                            const struct histogram *all) {
  char name[COMMAND_NAME_BYTES];
  struct level levels[LAST_BITS];
  size_t count = list_levels(all, levels);
  command_name(command, name);
  resp_write_bulk_text(reply, name);
  resp_write_map(reply, 2);
  resp_write_bulk_text(reply, "calls");
  resp_write_integer(reply, (int64_t)all->count);
  resp_write_bulk_text(reply, "histogram_usec");
  resp_write_map(reply, count);
  for (size_t i = 0; i < count; i++) {
    resp_write_integer(reply, (int64_t)levels[i].us);
    resp_write_integer(reply, (int64_t)levels[i].count);
  }
}

/* The row of "config" or "config|get"; NULL: there is none. */
static const struct command *find(const struct lookup *commands, struct span name) {
  const char *bar = name.len > 0 ? memchr(name.data, '|', name.len) : NULL;
  if (bar == NULL) return lookup_find(commands, name);
  struct span container = {name.data, (size_t)(bar - name.data)};
  struct span sub = {bar + 1, name.len - container.len - 1};
  return lookup_find_sub(commands, container, sub);
}

/* Whether a row is this one, or one of its subcommands. */
static bool belongs_to(const struct command *row, const struct command *named) {
  size_t len = strlen(named->name);
  return strncmp(row->name, named->name, len) == 0 &&
         (row->name[len] == '\0' || row->name[len] == '|');
}

/* A mark for each row that the arguments ask for. An argument that repeats costs a look-up only. */
static void mark_wanted(const struct call *call, bool wanted[LOOKUP_SLOTS]) {
  const struct lookup *commands = call->worker->commands;
  memset(wanted, call->argc == 2, LOOKUP_SLOTS * sizeof *wanted);
  for (size_t i = 2; i < call->argc; i++) {
    const struct command *named = find(commands, call->argv[i]);
    if (named == NULL || wanted[named - commands->rows]) continue;
    for (size_t row = 0; row < commands->count; row++)
      wanted[row] |= belongs_to(&commands->rows[row], named);
  }
}

void latency_histogram(struct call *call) {
  const struct lookup *commands = call->worker->commands;
  const struct instance *instance = call->worker->instance;
  bool wanted[LOOKUP_SLOTS];
  struct histogram all;
  size_t count = 0;
  mark_wanted(call, wanted);
  for (size_t i = 0; i < commands->count; i++)
    count += wanted[i] = wanted[i] && sum(instance, &commands->rows[i], &all);
  resp_write_map(call->reply, count);
  for (size_t i = 0; i < commands->count; i++) {
    if (wanted[i] && sum(instance, &commands->rows[i], &all))
      reply_histogram(call->reply, &commands->rows[i], &all);
  }
}
